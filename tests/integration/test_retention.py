"""Promise 6: a state that any plan of the study needs is never removed; rolling states go."""

from dataclasses import replace
from typing import Any

import lightning
import pytest

from lrpath.planning.paths import StateKey
from lrpath.training.checkpoints.retention import remove_rolling
from tests.integration.lab import Lab, states_of

pytestmark = pytest.mark.slow

OTHER = "alpha=0.3"
"""Forks at 7 and 17, where the small study's own are at 4 and 14."""


def main_states(lab: Lab) -> list[int]:
    main = lab.project().plan.tree.paths[0]
    return sorted(position for path_id, position in states_of(lab.study()) if path_id == main.id)


def test_rolling_states_go_when_the_plan_is_done(lab: Lab) -> None:
    lab.run("cadence.save_every=1")

    assert main_states(lab) == [4, 10, 14]


def test_states_of_a_plan_that_was_run_survive_another_plan(lab: Lab) -> None:
    lab.run(OTHER)
    before = states_of(lab.study())

    lab.run("cadence.save_every=1")

    assert main_states(lab) == [4, 7, 10, 14, 17]
    assert {key: bits for key, bits in states_of(lab.study()).items() if key in before} == before
    assert lab.run(OTHER) == 0


def test_a_state_that_only_a_kept_plan_needs_is_kept_when_the_main_path_passes_it(lab: Lab) -> None:
    plan = lab.project(OTHER).plan
    lab.study().save_plan(plan.as_record())

    lab.run("cadence.save_every=1")

    assert main_states(lab) == [4, 7, 10, 14]
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

    assert main_states(lab) == [4, 7, 10, 14]


def test_a_rolling_state_of_a_path_that_another_process_runs_is_left_alone(lab: Lab) -> None:
    runner = lab.runner("cadence.save_every=1")
    runner.run()
    folder = lab.study().find(runner.tree.paths[0].id)
    assert folder is not None
    runner = lab.runner()
    folder.state(4).rename(folder.state(3))  # whatever it holds, it counts as a rolling state

    with folder.lock():
        remove_rolling(runner.study, runner.tree)
    left = folder.positions()
    remove_rolling(runner.study, runner.tree)

    assert left == [3, 10, 14]
    assert folder.positions() == [10, 14]
