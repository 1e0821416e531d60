from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from lrpath.analysis.comparison import StudyComparison
from lrpath.planning.cost import DEVICES
from lrpath.records.ledger import Run
from lrpath.records.rows import SpeedRow
from lrpath.records.study import Study
from lrpath.reporting.speed_table import speed_tables
from tests.analysis.studies import keep, plan_of

H100 = "NVIDIA H100 80GB HBM3"


def test_a_path_has_the_speed_of_its_last_device_and_its_share_of_a_known_peak(tmp_path: Path) -> None:
    study, plan = Study(tmp_path / "study"), plan_of(10, flops_per_token=10**9)
    keep(study, plan)
    one, other, *_ = plan.tree.paths
    run = Run(
        id="", path_id=one.id, name="one", begin=0, end=5, repeated=0, tokens=40, flops=40e9, seconds=1.0,
        outcome="done", device="cpu", ranks=1,
    )  # fmt: skip
    on_gpu = replace(run, begin=5, end=10, device=H100, ranks=2, memory_bytes=3 * 10**9)
    for entry in (run, on_gpu, replace(run, path_id=other.id, name="other", memory_bytes=7)):
        study.ledger.append(replace(entry, id=uuid4().hex))
    # Seconds, tokens per second; the first rows of a run, in which blocks are compiled, are left out.
    for path, rows in ((one, ((4, 9.0, 1.0), (6, 9.0, 2.0), (8, 1.0, 2e5), (10, 3.0, 4e5))), (other, ((4, 9.0, 5.0),))):
        study.open(path).speed.append(SpeedRow(*row) for row in rows)

    (table,) = speed_tables(StudyComparison.read(study))

    share = 100 * 3.5e5 * 1e9 / (2 * DEVICES["H100"].peak_flops)
    assert table.rows == (("one", H100, 2, 350_000, share, 3 * 10**9), ("other", "cpu", 1, 5, None, 7))
    assert any("cpu" in note for note in table.notes)


def test_a_study_that_has_not_run_has_no_table_of_speeds(tmp_path: Path) -> None:
    study = Study(tmp_path / "study")
    keep(study, plan_of(10))

    assert speed_tables(StudyComparison.read(study)) == []
