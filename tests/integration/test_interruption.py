"""What stops, breaks or freezes one rank ends all of them, with one message, and the same command goes on.

All on the CPU over gloo, in processes of torchrun or with the variables that srun sets.
"""

import os
import re
import signal
import time
from collections.abc import Iterator

import pytest

from tests.integration.harness import Blow, Standby
from tests.integration.lab import Job, Lab, free_ports, states_of, tables_of, write_texts
from tests.integration.test_ranks import DDP, FSDP, PAIR, largest_difference

pytestmark = pytest.mark.slow

SIX_SECONDS = "strategy.timeout_minutes=0.1"  # less, and a busy machine's healthy ranks are taken for standing still


def test_a_signal_to_one_rank_stops_all_at_one_position_and_the_same_command_goes_on(lab: Lab) -> None:
    unclipped = "optimizer.clip_norm=null"  # the norm of a sharded gradient is added shard by shard
    lab.run("study=single", *PAIR)
    lab.run("study=unclipped", *PAIR, unclipped)

    ended = lab.ranked(
        Job(("study=ddp", DDP, *PAIR), kill=(1, "sigterm:2")),
        Job(("study=ddp", DDP, *PAIR), kill=(0, "interrupt:6")),
        Job(("study=ddp", DDP, *PAIR)),
        Job(("study=fsdp", FSDP, *PAIR, unclipped), kill=(1, "usr1:5")),
        Job(("study=fsdp", FSDP, *PAIR, unclipped)),
        Job(("study=late", DDP, *PAIR), kill=(1, "sigterm:4")),
        ranks=2,
    )

    assert lab.codes_of(2) == [(75, 75), (75, 75), (0, 0), (75, 75), (0, 0), (75, 75)], ended.err
    go_on = "its state is saved: run the same command again to go on"
    reported = [line for line in ended.err.splitlines() if "error" in line]
    assert reported == [
        f"error: path_switching.main was stopped at position 3 of 4 by SIGTERM; {go_on}",
        f"error: path_switching.v1 was stopped at position 9 of 10 by SIGINT; {go_on}",
        f"error: path_switching.v1 was stopped at position 6 of 10 by SIGUSR1; {go_on}",
        f"error: the plan was stopped by SIGTERM when path_switching.main had reached position 4; {go_on}",
    ]
    for study, expected in (("ddp", "single"), ("fsdp", "unclipped")):
        assert states_of(lab.study(study)) == states_of(lab.study(expected))
        runs = lab.study(study).ledger.runs()
        assert sum(run.updates for run in runs) == 26
        assert sum(run.repeated for run in runs) == 0
        assert {run.outcome for run in runs} == {"stopped", "done"}
    assert tables_of(lab.study("ddp")) == tables_of(lab.study("single"))
    assert largest_difference(lab.study("fsdp"), lab.study("unclipped")) == 0
    assert [(run.end, run.outcome) for run in lab.study("late").ledger.runs()] == [(4, "done")]


def test_a_rank_that_hangs_or_fails_ends_all_and_is_named(lab: Lab) -> None:
    ended = lab.ranked(
        Job(("study=hung", FSDP, SIX_SECONDS), kill=(0, "hang:3")),
        Job(("study=failed", DDP), kill=(1, "fail:4")),
        Job(("study=failed", FSDP), kill=(0, "fail:3")),
        ranks=2,
    )

    assert lab.codes_of(2) == [(4, 4), (2, 2), (2, 2)], ended.err
    hung, *failed = [line for line in ended.err.splitlines() if "error" in line]
    assert "no progress for 6 s (strategy.timeout_minutes); of 2 ranks these hang: rank 0 on " in hung
    assert "s in phase data, after position 2). All saved states are whole: run the same" in hung
    assert failed == [f"{whose}error: the window at this place cannot be read" for whose in ("[rank 1] ", "")]


def srun(rank: int, *, ranks: int, port: str) -> dict[str, str]:
    """Return what srun sets for a task of a step of one node."""
    return {
        "SLURM_JOB_ID": "4711",
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NUM_TASKS": str(ranks),
        "SLURM_STEP_TASKS_PER_NODE": str(ranks),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": str(ranks),
        "SLURM_PROCID": str(rank),
        "SLURM_LOCALID": str(rank),
        "SLURM_NODEID": "0",
        "MASTER_PORT": port,
    }


def test_tasks_that_srun_starts_make_what_one_process_makes(lab: Lab) -> None:
    lab.run("study=single", *PAIR)
    (port,) = free_ports(1)

    tasks = [lab.start("study=slurm", DDP, *PAIR, env=srun(rank, ranks=2, port=port)) for rank in range(2)]
    ended = [task.communicate() for task in tasks]

    assert [task.returncode for task in tasks] == [0, 0], ended
    assert ["26 updates were run" in out for out, _ in ended] == [True, False]
    assert states_of(lab.study("slurm")) == states_of(lab.study("single"))
    assert tables_of(lab.study("slurm")) == tables_of(lab.study("single"))


def test_a_process_that_was_stopped_by_its_system_is_named_by_the_others(lab: Lab) -> None:
    (port,) = free_ports(1)
    words = ("study=frozen", DDP, SIX_SECONDS)

    frozen = lab.start(*words, moments=("freeze:6",), env=srun(1, ranks=2, port=port), start_new_session=True)
    other = lab.start(*words, env=srun(0, ranks=2, port=port))
    _, err = other.communicate()
    os.killpg(frozen.pid, signal.SIGKILL)
    frozen.communicate()

    assert other.returncode == 4
    assert re.search(
        r"of 2 ranks these hang: rank 1 on .* \(no heartbeat since phase \w+, after position \d\). All saved", err
    ), err


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Standby, Standby]]:
    """Two "nodes", and what one process makes."""
    folder = tmp_path_factory.mktemp("nodes")
    write_texts(folder / "texts")
    lab = Lab(folder=folder, texts=folder / "texts", stores=folder / "stores")
    with Standby(lab, name="first") as first, Standby(lab, name="second") as second:
        lab.run("study=whole", *PAIR)
        yield first, second


@pytest.mark.parametrize(
    ("phase", "moment"),
    [("start", "groups:1"), ("update", "micro:3"), ("save", "shards:1"), ("evaluation", "evaluated:1")],
)
def test_a_node_that_is_lost_ends_the_other_within_the_limit_and_the_same_command_goes_on(
    nodes: tuple[Standby, Standby], phase: str, moment: str
) -> None:
    (port,) = free_ports(1)
    lab, began, runs = nodes[0].lab, time.monotonic(), []
    for rank, node in enumerate(nodes):
        environment = srun(rank, ranks=2, port=port) | {"SLURM_NODEID": str(rank)}
        blow = Blow(who=0, moment=moment) if rank else None  # a node of one process, so it is lost with it
        changes = (*PAIR, SIX_SECONDS)
        runs.append(node.start(phase, "ddp", log=phase, blow=blow, changes=changes, ranks=0, environment=environment))

    codes = [run.finish() for run in runs]

    assert codes == [4, -9], runs[0].said()
    assert re.search(r"rank 1 .*(no heartbeat|hang)|lost the others", runs[0].said()), runs[0].said()
    assert time.monotonic() - began < 120
    assert lab.run(f"study={phase}", *PAIR) >= 0
    assert states_of(lab.study(phase)) == states_of(lab.study("whole"))
