"""Promises 8 and 9: what is done is not done again, no two processes run a path at once, and the ledger is true."""

import io
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from rich.console import Console

from lrpath.assembly.finished import is_finished
from lrpath.assembly.training_factory import ProjectTrainingFactory, build_hardware
from lrpath.errors import BusyError, StateError
from tests.integration.lab import Lab, states_of, tables_of
from tests.refusals import refused

pytestmark = pytest.mark.slow


def test_a_finished_plan_run_again_runs_nothing_and_writes_nothing(lab: Lab) -> None:
    first = lab.run()
    states, tables, runs = states_of(lab.study()), tables_of(lab.study()), lab.study().ledger.runs()

    second = lab.run()

    assert (first, second) == (26, 0)
    assert (states_of(lab.study()), tables_of(lab.study()), lab.study().ledger.runs()) == (states, tables, runs)


def test_the_ledger_of_an_undisturbed_run_is_the_plan(lab: Lab) -> None:
    paradigms = "paradigm=[path_switching,continual,from_scratch]"
    plan = lab.project(paradigms).plan

    updates = lab.run(paradigms)

    runs, cost = lab.study().ledger.runs(), plan.cost(plan.tree)
    assert updates == cost.updates == sum(run.updates for run in runs)
    assert cost.tokens == sum(run.tokens for run in runs)
    assert cost.flops == sum(run.flops for run in runs)
    assert {run.repeated for run in runs} == {0}
    assert {run.outcome for run in runs} == {"done"}
    by_path = {path.id: sum(run.updates for run in runs if run.path_id == path.id) for path in plan.tree.paths}
    assert by_path == {path.id: plan.tree.updates(path.id) for path in plan.tree.paths}


def test_a_later_version_runs_only_what_is_new_on_the_same_main_path(lab: Lab) -> None:
    lab.run("versions=4")
    before = lab.study().ledger.runs()

    updates = lab.run("versions=5")

    new = lab.study().ledger.runs()[len(before) :]
    main = lab.project().plan.tree.paths[0]
    assert updates == 10 + 6
    assert [(run.name, run.begin, run.end) for run in new] == [
        ("path_switching.main", 34, 44),
        ("path_switching.v5", 44, 50),
    ]
    assert new[0].path_id == main.id == before[0].path_id
    whole = lab.project("versions=5").plan
    assert sum(run.updates for run in [*before, *new]) == whole.cost(whole.tree).updates


def test_a_fork_that_is_asked_for_later_is_made_from_the_state_before_it(lab: Lab) -> None:
    lab.run("alpha=0.6")

    updates = lab.run("alpha=0.3")

    # main 4 → 7 a second time, its branch, main 14 → 17 for the first time, its branch
    assert updates == 3 + 3 + 3 + 3
    runs = lab.study().ledger.runs()
    assert [run.repeated for run in runs if run.repeated] == [3]
    lab.run("study=alone", "alpha=0.3")
    alone, both = states_of(lab.study("alone")), states_of(lab.study())
    assert {key: both[key] for key in alone} == alone
    main = lab.project().plan.tree.paths[0]
    folder = lab.study().find(main.id)
    assert folder is not None
    assert [row.position for row in folder.metrics.rows()] == list(range(1, 18))
    assert folder.metrics.file.read_bytes() == lab.study("alone").find(main.id).metrics.file.read_bytes()


def test_a_second_process_is_told_who_runs_the_path_and_runs_nothing(lab: Lab) -> None:
    first = lab.start("study=shared", moments=("wait:3", "end"))
    assert first.stdout is not None
    while "waiting" not in (line := first.stdout.readline()):
        assert line, first.communicate()[1]  # or the process has ended

    second = lab.train("study=shared")
    during = lab.study("shared").ledger.runs()
    out, err = first.communicate()

    assert second.code == 3
    assert re.search(r"^error: path path_switching\.main-\w+ .*\bprocess \d+\b", second.err, flags=re.MULTILINE)
    assert during == []
    assert out.endswith("[0, 0]\n"), err
    lab.trained("study=alone")
    assert states_of(lab.study("shared")) == states_of(lab.study("alone"))
    assert sum(run.updates for run in lab.study("shared").ledger.runs()) == 26


class Interposing(ProjectTrainingFactory):
    """A training factory that lets another process run the plan after this one has seen what is missing."""

    def check_data(self) -> None:
        super().check_data()
        ProjectTrainingFactory(project=self.project, store=self.store).runner(
            build_hardware(self.project), Console(file=io.StringIO())
        ).run()


def test_what_another_process_made_since_the_plan_was_compared_is_not_made_again(lab: Lab) -> None:
    runner = lab.runner()
    factory = runner.path_trainer.factory
    assert isinstance(factory, ProjectTrainingFactory)
    other = Interposing(project=factory.project, store=factory.store)

    updates = replace(runner, path_trainer=replace(runner.path_trainer, factory=other)).run()

    lab.trained("study=alone")
    assert updates == 0
    assert sum(run.updates for run in lab.study().ledger.runs()) == 26
    assert tables_of(lab.study()) == tables_of(lab.study("alone"))


def test_a_path_is_refused_while_its_lock_is_held(lab: Lab) -> None:
    runner = lab.runner()
    folder = lab.study().open(runner.tree.paths[0])

    with folder.lock(), refused(BusyError):
        runner.run()

    assert states_of(lab.study()) == {}
    assert runner.run() == 26


def test_a_bit_that_flipped_in_a_finished_release_is_seen_when_the_plan_is_run_again(lab: Lab) -> None:
    runner = lab.runner()
    runner.run()
    key = runner.tree.releases[-1].last
    folder = lab.study().find(key.path_id)
    assert folder is not None
    (shard,) = folder.state(key.position).glob("*.safetensors")
    content = bytearray(shard.read_bytes())
    content[-5] ^= 1
    shard.write_bytes(content)

    with pytest.raises(StateError, match=shard.name):
        lab.run()
    with pytest.raises(StateError, match=shard.name):
        is_finished(lab.project())


def test_a_finished_plan_is_known_to_be_finished_without_torch_and_anything_odd_is_not(lab: Lab) -> None:
    assert not is_finished(lab.project())
    lab.trained()
    (main,) = [folder for folder in lab.study().folders() if "main" in folder.folder.name]

    assert is_finished(lab.project())
    assert not is_finished(lab.project("versions=5"))
    assert not is_finished(lab.project("cadence.held_out_windows=1"))
    (main.folder / "running.json").write_text("{}")
    assert not is_finished(lab.project())


def test_the_check_for_a_finished_plan_imports_no_torch() -> None:
    code = "import sys, lrpath.train, lrpath.assembly.finished; print({'torch', 'lightning'} & sys.modules.keys())"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "set()\n"
