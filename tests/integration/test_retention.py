"""Promise 6: a state that any plan of the study needs is never removed; rolling states go."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import pytest

from lrpath.errors import TrainingError
from lrpath.planning.paths import StateKey
from lrpath.records.path_folder import PathFolder
from lrpath.training.checkpoints import states
from lrpath.training.checkpoints.retention import remove_rolling
from tests.integration.lab import Lab, states_of
from tests.refusals import refused

pytestmark = pytest.mark.slow

OTHER = "alpha=0.3"
"""Forks at 7 and 17, where the small study's own are at 4 and 14."""


def main_states(lab: Lab) -> list[int]:
    main = lab.project().plan.tree.paths[0]
    return sorted(position for path_id, position in states_of(lab.study()) if path_id == main.id)


def test_rolling_states_go_when_the_plan_is_done_but_for_the_one_before_the_end_of_the_main_path(lab: Lab) -> None:
    lab.run("cadence.save_every=1")

    assert main_states(lab) == [4, 10, 13, 14]
    branches = {key for key in states_of(lab.study()) if key[0] != lab.project().plan.tree.paths[0].id}
    assert sorted(position for _, position in branches) == [10, 20]


def test_the_newest_states_are_kept_and_the_older_one_goes_when_the_newer_has_been_read_back(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []
    read, remove = states.digest_file, PathFolder.remove_state
    reads: list[str] = []

    def note_read(file: Path) -> str:
        reads.append(file.parent.name)
        return read(file)

    def note(folder: PathFolder, position: int) -> None:
        seen.append(folder.positions())
        assert len(reads) % 2 == 0  # what was written last, and what the disk holds
        remove(folder, position)

    monkeypatch.setattr(states, "digest_file", note_read)
    monkeypatch.setattr(PathFolder, "remove_state", note)

    lab.run("paths=main", "cadence.save_every=1", "cadence.keep=3")

    assert seen[:3] == [[1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 6]]
    assert main_states(lab) == [4, 10, 12, 13, 14]


def test_a_state_that_does_not_read_back_as_it_was_written_is_none_and_older_ones_stay(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, calls = states.digest_file, iter(range(1000))

    def misread(file: Path) -> str:
        return digest(file) if next(calls) != 2 * 4 + 1 else "0" * 64  # the fifth state's second reading

    monkeypatch.setattr(states, "digest_file", misread)

    with refused(TrainingError, stable=False) as caught:
        lab.run("paths=main", "cadence.save_every=1", "cadence.save_in_background=false")

    assert "does not read back" in str(caught.value)
    assert main_states(lab) == [3, 4]
    assert lab.run("paths=main") == 10


def test_states_of_a_plan_that_was_run_survive_another_plan(lab: Lab) -> None:
    lab.run(OTHER)
    before = states_of(lab.study())

    lab.run("cadence.save_every=1")

    assert main_states(lab) == [4, 7, 10, 14, 15, 17]
    assert {key: bits for key, bits in states_of(lab.study()).items() if key in before} == before
    assert lab.run(OTHER) == 0


def test_a_state_that_only_a_kept_plan_needs_is_kept_when_the_main_path_passes_it(lab: Lab) -> None:
    plan = lab.project(OTHER).plan
    lab.study().save_plan(plan.as_record())

    lab.run("cadence.save_every=1")

    assert main_states(lab) == [4, 7, 10, 13, 14]
    assert lab.run(OTHER) == 3 + 3 + 3  # two branches of 3 updates, and the main path from 14 to 17


def test_a_plan_that_is_kept_while_another_runs_is_heard(lab: Lab) -> None:
    plan = lab.project(OTHER).plan
    study = lab.study()
    main = plan.tree.paths[0]

    class Planner(lightning.Callback):
        """Another process that keeps a plan when the state at 7 is there as a rolling one."""

        def on_train_batch_start(self, *_: Any) -> None:
            if study.has_state(StateKey(main.id, 7)):
                study.save_plan(plan.as_record())

    runner = lab.runner("cadence.save_every=1", "cadence.save_in_background=false")  # 7 is seen before 8 is saved
    replace(runner, path_trainer=replace(runner.path_trainer, extra_callbacks=(Planner(),))).run()

    assert main_states(lab) == [4, 7, 10, 13, 14]


def test_a_rolling_state_of_a_path_that_another_process_runs_is_left_alone(lab: Lab) -> None:
    runner = lab.runner("cadence.save_every=1")
    runner.run()
    folder = lab.study().find(runner.tree.paths[0].id)
    assert folder is not None
    runner = lab.runner()
    folder.state(4).rename(folder.state(3))  # whatever it holds, it counts as a rolling state

    with folder.lock():
        remove_rolling(runner.study, runner.tree, keep=2)
    left = folder.positions()
    remove_rolling(runner.study, runner.tree, keep=2)

    assert left == [3, 10, 13, 14]
    assert folder.positions() == [10, 13, 14]
