"""Promise 3: killed anywhere and run again = never killed, bit for bit, no row twice and none missing."""

import csv
import shutil
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from lrpath.planning.paths import StateKey
from lrpath.records.ledger import Run
from lrpath.records.manifest import check_state
from tests.integration.lab import Lab, states_of, tables_of

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("micro_batch", "moments"),
    [
        pytest.param("4", ("reach:5", "shards:1", "rename:2", "manifest:1", "end"), id="at states"),
        pytest.param("4", ("meanwhile:1", "meanwhile:3", "rename:1", "end"), id="at updates beside a save"),
        pytest.param("2", ("row:3", "half:4", "ledger:1", "rename:3", "ledger:2", "end"), id="at rows, accumulating"),
        pytest.param("2", ("poll:6", "poll:13", "end"), id="from outside, accumulating"),
    ],
)
def test_a_run_that_was_killed_and_run_again_equals_one_that_was_not(
    lab: Lab, micro_batch: str, moments: tuple[str, ...]
) -> None:
    hardware = f"strategy.micro_batch={micro_batch}"
    lab.run("study=undisturbed", hardware)

    ended = lab.train("study=killed", hardware, moments=moments)

    assert ended.codes == [-9] * (len(moments) - 1) + [0], ended.err
    assert states_of(lab.study("killed")) == states_of(lab.study("undisturbed"))
    assert tables_of(lab.study("killed")) == tables_of(lab.study("undisturbed"))


def test_updates_made_while_a_state_is_written_do_not_reach_it(lab: Lab) -> None:
    lab.run("study=undisturbed", "cadence.save_in_background=false")

    ended = lab.train("study=late", moments=("late:1",))  # the state at 3 is written when 3 → 4 has begun

    assert ended.codes == [0], ended.err
    assert states_of(lab.study("late")) == states_of(lab.study("undisturbed"))
    assert tables_of(lab.study("late")) == tables_of(lab.study("undisturbed"))


def test_a_kill_is_counted_to_the_last_update(lab: Lab) -> None:
    # main 0 → 4 counts 0…4, v1 4 → 10 counts 4…10, main 4 → 14 counts 4, 5, 6, 7, 8: the 17th call, saved last at 6
    ended = lab.train("cadence.save_in_background=false", moments=("reach:17", "end"))

    assert ended.codes == [-9, 0]
    ledger = lab.study().ledger.runs()
    plan = lab.project().plan
    cost, per_update = plan.cost(plan.tree), plan.recipe.tokens_between(0, 1)
    killed, again = [run for run in ledger if run.name.endswith("main") and run.end > 4]
    assert (killed.begin, killed.end, killed.repeated, killed.outcome) == (4, 8, 0, "killed")
    assert (again.begin, again.end, again.repeated, again.outcome) == (6, 14, 2, "done")
    assert [run.repeated for run in ledger if run not in (killed, again)] == [0, 0, 0]
    assert totals(ledger) == (cost.updates + 2, cost.tokens + 2 * per_update, cost.flops * 28 / 26)


def totals(runs: list[Run]) -> tuple[int, int, float]:
    return sum(run.updates for run in runs), sum(run.tokens for run in runs), sum(run.flops for run in runs)


def test_tensorboard_shows_every_position_once_after_kills(lab: Lab) -> None:
    ended = lab.train("logger=tensorboard", moments=("reach:9", "rename:3", "poll:12", "end"))

    assert ended.codes == [-9, -9, -9, 0]
    folders = [file.parent for file in (lab.study().folder / "paths").glob("*/path.json")]
    assert len(folders) == 3
    for folder in folders:
        with (folder / "metrics.csv").open() as file:
            rows = {int(row["position"]): float(row["loss"]) for row in csv.DictReader(file)}
        points = points_of(folder / "tb", "train/loss")
        assert [position for position, _ in points] == list(rows)
        assert dict(points) == pytest.approx(rows, rel=1e-6)  # TensorBoard keeps float32
        raw = raw_points_of(folder / "tb")
        assert len(raw) == len(set(raw))


def test_points_behind_a_fork_that_is_made_later_are_kept(lab: Lab) -> None:
    lab.trained("logger=tensorboard")

    lab.run("logger=tensorboard", "alpha=0.3", "versions=1")  # the main path goes from 4 to the new fork at 7

    (main,) = (lab.study().folder / "paths").glob("*main*")
    assert [position for position, _ in points_of(main / "tb", "train/loss")] == [*range(1, 15)]
    raw = raw_points_of(main / "tb")
    assert len(raw) == len(set(raw))
    assert [position for tag, position in raw if tag == "train/loss"] == [*range(1, 15)]


def points_of(folder: Path, tag: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def raw_points_of(folder: Path) -> list[tuple[str, int]]:
    """Return tag and position of every point in the files, as they are before TensorBoard leaves any out."""
    return [
        (value.tag, event.step)
        for file in sorted(folder.iterdir())
        for event in EventFileLoader(str(file)).Load()
        for value in event.summary.value
    ]


def test_a_state_that_was_removed_from_the_middle_is_made_again_without_a_gap(lab: Lab) -> None:
    lab.run("study=undisturbed")
    lab.run("study=removed")
    main = lab.project().plan.tree.paths[0]
    study = lab.study("removed")
    folder = study.find(main.id)
    assert folder is not None
    shutil.rmtree(folder.state(4))
    shutil.rmtree(next((study.folder / "paths").glob("*.v1-*")))

    updates = lab.run("study=removed")

    assert updates == 4 + 6
    assert states_of(study) == states_of(lab.study("undisturbed"))
    assert tables_of(study) == tables_of(lab.study("undisturbed"))
    assert lab.run("study=removed", "versions=3") == 10 + 6  # the main path goes on behind the gap
    check_state(folder.state(24), key=StateKey(main.id, 24))
