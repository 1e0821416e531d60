"""One path at a time, and several processes on one study: nothing is made twice, and the result is one process's."""

import os

import pytest

from lrpath.errors import BusyError
from lrpath.records.lease import EXPIRY
from lrpath.records.ledger import RunningCount
from tests.integration.lab import Lab, started, states_of, tables_of
from tests.refusals import refused

pytestmark = pytest.mark.slow


def check_as_alone(lab: Lab, study: str) -> None:
    lab.trained("study=alone")
    assert states_of(lab.study(study)) == states_of(lab.study("alone"))
    assert tables_of(lab.study(study)) == tables_of(lab.study("alone"))
    runs = lab.study(study).ledger.runs()
    assert (sum(run.updates for run in runs), sum(run.repeated for run in runs)) == (26, 0)


def test_paths_run_one_at_a_time_are_those_of_the_whole_plan(lab: Lab) -> None:
    with refused(BusyError):
        lab.run("paths=v2")
    assert states_of(lab.study()) == {}

    updates = [lab.run(f"paths={name}") for name in ("main", "v2", "[path_switching.v1,main]", "v*")]

    assert updates == [14, 6, 6, 0]
    check_as_alone(lab, "study")


def test_a_paradigm_runs_as_much_of_a_shared_path_as_it_needs(lab: Lab) -> None:
    common = "kind:path_switching,peak:1e-2,warmup:2,decay:{shape:linear,floor:0.0},anchor:end,alpha:0.6"
    plain, mixed = f"+paradigms.plain={{{common},reads:own}}", f"+paradigms.mixed={{{common},reads:union,replay:union}}"

    def run(name: str) -> int:
        return lab.run("paradigm=[]", plain, mixed, f"paths={name}")

    assert run("mixed.main") == 14  # 10 that both read, and 4 of its own
    ends = {path.folder.name.partition("-")[0]: path.positions()[-1] for path in lab.study().folders()}
    assert ends == {"plain.main": 10, "mixed.main_from_10": 14}
    assert run("mixed") == 12
    assert run("main") == 4


def test_a_run_of_one_path_keeps_the_rolling_states_of_another_that_is_not_finished(lab: Lab) -> None:
    killed = lab.train("paths=main", "cadence.save_in_background=false", moments=("reach:9",))
    assert killed.codes == [-9]
    main = lab.study().folders()[0]
    assert main.positions() == [4, 6]

    assert lab.run("paths=v1") == 6

    assert main.positions() == [4, 6]
    assert lab.run() == 8 + 6
    assert max(main.positions()) == 14


def test_a_branch_waits_for_its_fork_and_says_so(lab: Lab) -> None:
    lab.runner()  # prepares the text
    branch = lab.start("paths=v2", "wait=true")
    line = started(branch, "waiting")

    lab.run("paths=main")
    out, err = branch.communicate()
    lab.run("paths=v1")

    assert "path_switching.v2" in line
    assert "path_switching.main at 14" in line
    assert branch.returncode == 0, err
    assert "6 updates were run" in out
    check_as_alone(lab, "study")


def test_processes_that_wait_share_a_plan(lab: Lab) -> None:
    lab.runner()
    both = [lab.start("wait=true") for _ in range(2)]

    ended = [process.communicate() for process in both]

    assert [process.returncode for process in both] == [0, 0], ended
    assert sum(int(out.split(" updates were run")[0].split()[-1]) for out, _ in ended) == 26
    check_as_alone(lab, "study")


def test_a_path_whose_owner_on_another_machine_is_silent_is_taken_over(lab: Lab) -> None:
    runner = lab.runner()
    file = lab.study().open(runner.tree.paths[0]).folder / "lock"
    file.write_text('{"machine": "another", "host": "node7", "process": 12, "token": "t"}')
    with refused(BusyError):
        runner.run()

    last = file.stat().st_mtime - EXPIRY - 1
    os.utime(file, (last, last))

    assert runner.run() == 26


def test_a_process_that_stood_still_for_too_long_writes_no_more(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    reach = RunningCount.reach

    def taken_over(count: RunningCount, position: int) -> None:
        reach(count, position)
        if position == 5:
            new = '{"machine": "another", "host": "node7", "process": 12, "token": "theirs"}'
            (lab.study().folders()[0].folder / "lock").write_text(new)

    monkeypatch.setattr(RunningCount, "reach", taken_over)

    with refused(BusyError):
        lab.run("paths=main")

    main = lab.study().folders()[0]
    assert main.positions() == [3, 4]
    assert [row.position for row in main.metrics.rows()] == [1, 2, 3, 4]
