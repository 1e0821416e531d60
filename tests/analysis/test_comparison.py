"""Series that were evaluated on other held-out tokens are never ranked beside each other."""

from dataclasses import replace
from pathlib import Path

import pytest

from lrpath.analysis.compare import outcomes_of, read_plans, series_of
from lrpath.analysis.comparison import StudyComparison
from lrpath.planning.plan import Plan
from lrpath.planning.recipe import Seeds
from lrpath.records.held_out import HeldOutSet
from lrpath.records.study import Study
from lrpath.reporting.release_tables import last_version_tables, seed_csv, summary_csv
from lrpath.reporting.report import write_report
from tests.analysis.studies import evaluate_evenly, keep, plan_of, run_all

LOSSES = {"from_scratch": [3.0, 2.0], "continual": [3.0, 2.5], "path_switching": [3.1, 2.25]}


def evaluated(folder: Path, *, digest: str, text_bytes: int, seed: int = 0) -> tuple[Study, Plan]:
    study, plan = Study(folder), plan_of(10, 10, seed=seed)
    keep(study, plan)
    run_all(study, plan)
    evaluate_evenly(study, plan, LOSSES)
    sets = {
        (version, "all"): HeldOutSet(sha256=digest * 64, tokens=100, text_bytes=text_bytes, documents=5)
        for version in plan.versions
    }
    study.held_out.add((path.id for path in plan.tree.paths), sets)
    return study, plan


def test_equal_digests_are_one_group(tmp_path: Path) -> None:
    july, _ = evaluated(tmp_path / "july", digest="a", text_bytes=400)
    august, _ = evaluated(tmp_path / "august", digest="a", text_bytes=400, seed=1)

    (group,) = StudyComparison.read(july, august).groups

    assert group.name == ""
    assert [one.seeds for one in group.last_summaries] == [((0, 0), (1, 1))] * 3


def test_other_digests_are_other_tables_and_other_fronts(tmp_path: Path) -> None:
    july, _ = evaluated(tmp_path / "july", digest="a", text_bytes=400)
    august, _ = evaluated(tmp_path / "august", digest="b", text_bytes=200, seed=1)

    comparison = StudyComparison.read(july, august)

    assert [group.name for group in comparison.groups] == ["july", "august"]
    assert [table.title for table in last_version_tables(comparison)] == [
        "Releases of v2, best first (july)",
        "Releases of v2, best first (august)",
    ]
    assert [len(front) for front in comparison.fronts] == [3, 3]
    for front in comparison.fronts:
        assert len({one.first.series.study for one in front}) == 1


def test_bits_per_byte_stand_beside_nats_per_token(tmp_path: Path) -> None:
    study, _ = evaluated(tmp_path / "july", digest="a", text_bytes=400)

    (one, *_) = StudyComparison.read(study).groups[0].last_summaries

    # 2 nats a token, 4 bytes a token: 2 / ln 2 / 4 bits a byte
    assert one.loss.mean == 2.0
    assert one.bits_per_byte is not None
    assert one.bits_per_byte.mean == pytest.approx(0.72134752)


def test_every_seed_s_value_is_written(tmp_path: Path) -> None:
    july, _ = evaluated(tmp_path / "july", digest="a", text_bytes=400)
    august, _ = evaluated(tmp_path / "august", digest="a", text_bytes=400, seed=1)
    comparison = StudyComparison.read(july, august)

    rows = [line.split(",") for line in seed_csv(comparison).splitlines()]

    assert rows[0][:5] == ["version", "paradigm", "alpha", "seed_weights", "seed_order"]
    assert len(rows) == 1 + 2 * 3 * 2
    assert [row[3] for row in rows if row[:2] == ["v2", "continual"]] == ["0", "1"]
    assert len(summary_csv(comparison).splitlines()) == 1 + 2 * 3


@pytest.mark.slow
def test_a_report_of_what_cannot_be_compared_says_so(tmp_path: Path) -> None:
    july, _ = evaluated(tmp_path / "july", digest="a", text_bytes=400)
    august, _ = evaluated(tmp_path / "august", digest="b", text_bytes=200, seed=1)

    report = write_report(july, august, folder=tmp_path / "both")

    assert "quality_cost_2.png" in {file.name for file in report.files}
    assert "not comparable" in report.text


def test_a_study_can_hold_the_order_still_and_vary_the_weights(tmp_path: Path) -> None:
    study = Study(tmp_path / "toy")
    for weights in (1, 2):
        plan = plan_of(10, 10, seed=Seeds(weights=weights, order=7))
        keep(study, plan)
        evaluate_evenly(study, plan, LOSSES)

    comparison = StudyComparison.read(study)

    assert [series.label for series in comparison.series[:2]] == [
        "from_scratch (weights=1)",
        "from_scratch (weights=2)",
    ]
    assert {one.seeds for one in comparison.summaries} == {((1, 7), (2, 7))}
    assert "all read the text in one order" in last_version_tables(comparison)[0].text()


def test_other_training_text_under_one_tokenizer_is_another_setup(tmp_path: Path) -> None:
    studies = []
    for name in ("law", "code"):
        study, plan = Study(tmp_path / name), plan_of(10, 10)
        increments = tuple(replace(one, content=name * 16) for one in plan.increments)
        keep(study, replace(plan, increments=increments))
        evaluate_evenly(study, plan, LOSSES)
        studies.append(study)

    outcomes = [outcomes_of(series_of({study: read_plans(study)}))[0] for study in studies]

    assert outcomes[0].setup != outcomes[1].setup
