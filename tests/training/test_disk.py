"""What a run needs on the disk is known, and asked for, before its first update."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from lrpath.errors import TrainingError
from lrpath.planning.paths import Path as PlannedPath
from lrpath.planning.paths import StateKey
from lrpath.planning.schedule import Schedule, constant, ramp
from lrpath.planning.streams import sequential
from lrpath.training.checkpoints.disk import check_disk, count_states
from lrpath.training.planned_run import PlannedRun
from tests.integration.lab import Lab
from tests.planning.strategies import RECIPE, increments_of
from tests.refusals import refused

ROOT = PlannedPath(
    name="root", recipe=RECIPE, schedule=Schedule(pieces=(constant(0.1),)), stream=sequential(increments_of(100))
)


def run(begin: int, end: int, *, rolling_every: int, pinned: set[int], keep: int = 2) -> PlannedRun:
    return PlannedRun(
        path=ROOT,
        begin=begin,
        end=end,
        pinned=frozenset(pinned),
        rolling_every=rolling_every,
        evaluate_every=100,
        keep=keep,
    )


def most_states(run: PlannedRun) -> int:
    """Return the most states that are there at one time, by going through them."""
    there, most = set(), 0
    for position in range(run.begin + 1, run.end + 1):
        if run.saves(position):
            there.add(position)
            most = max(most, len(there))
            there = {kept for kept in there if kept in run.pinned or kept >= run.oldest_kept(position, there)}
    return most


@pytest.mark.parametrize(
    ("run", "counted"),
    [
        (run(0, 30, rolling_every=100, pinned={30}), (1, 0)),
        (run(0, 30, rolling_every=30, pinned={30}), (1, 0)),
        (run(0, 30, rolling_every=10, pinned={30}), (1, 2)),
        (run(0, 30, rolling_every=10, pinned={10, 20, 30, 40}), (3, 0)),
        (run(20, 30, rolling_every=10, pinned={10, 30}), (1, 0)),
        (run(19, 30, rolling_every=10, pinned={10, 30}), (1, 1)),
        (run(0, 30, rolling_every=1, pinned={15, 30}), (2, 2)),
        (run(0, 30, rolling_every=1, pinned=set()), (1, 2)),
        (run(0, 30, rolling_every=1, pinned=set(), keep=5), (1, 5)),
    ],
)
def test_states_that_are_kept_and_those_to_restart_from_are_counted(run: PlannedRun, counted: tuple[int, int]) -> None:
    assert count_states([run]) == counted
    assert most_states(run) == sum(counted)


def test_kept_states_of_several_runs_add_up_but_rolling_ones_are_there_one_run_at_a_time() -> None:
    runs = [run(0, 30, rolling_every=7, pinned={30}), run(30, 60, rolling_every=7, pinned={30, 60})]

    assert count_states(runs) == (2, 2)
    assert count_states([]) == (0, 0)


def test_the_state_before_the_end_of_a_main_path_stays_while_its_branches_are_run() -> None:
    decay = Schedule(pieces=(ramp(0.1, 0.0, updates=30),), start=30)
    branch = PlannedPath(name="branch", recipe=RECIPE, schedule=decay, stream=ROOT.stream, parent=StateKey(ROOT.id, 30))
    main = run(0, 30, rolling_every=10, pinned={30})
    later = replace(run(30, 60, rolling_every=10, pinned={60}), path=branch)

    assert count_states([main, later]) == (2, 3)


def test_a_disk_that_holds_just_the_states_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3_000))
    runs = [run(0, 30, rolling_every=10, pinned={30})]

    check_disk(tmp_path / "not" / "there", runs, state_bytes=1_000)
    with refused(TrainingError):
        check_disk(tmp_path / "not" / "there", runs, state_bytes=1_001)


@pytest.mark.slow
def test_a_plan_that_does_not_fit_is_refused_before_anything_is_trained(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = lab.runner("cadence.save_every=1000")
    size = runner.path_trainer.state_bytes
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5 * size - 1))
        with refused(TrainingError):
            runner.run()

        assert not list(lab.study().folder.glob("paths/*/metrics.csv"))
        patched.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5 * size))
        assert runner.run() == 26
    states = (lab.study().folder / "paths").glob("*/states/*")
    assert all(
        sum(file.stat().st_size for file in state.iterdir()) < size + 4_096 for state in states
    )  # and a manifest
