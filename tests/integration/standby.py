"""Starts `lrpath.train` on demand, on one process or on the ranks of torchrun's agent; torch is imported once.

    python standby.py

A line of JSON on standard input is a run: its folder, overrides, ranks (0: no torchrun), log, two pipes with names, and
perhaps a rank that ends itself, or all of them (`whole`), at a moment of `killing.py`. A run is a fork of this process
with a process group of its own, and its ranks are forks of that; a `cold` run is started by the command line instead.
A run that `stops` stands still at the moment in place of ending.
Into the pipe `answers` goes `began agent <pid>` when it is there, `began <rank> <pid>` when a rank begins to train, and
`ended <code>` when the agent, or the one process, has ended; the ranks hold the pipe `alive` open while they live.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from tests.integration import killing, ranked
from tests.integration.forks import start_fork, wait_for


def answer(run: dict[str, Any], text: str) -> None:
    pipe = os.open(run["answers"], os.O_WRONLY)
    os.write(pipe, f"{text}\n".encode())  # one write of a short line stays whole, whoever else writes
    os.close(pipe)


def log_to(file: str) -> None:
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)


def kill_group() -> None:
    os.killpg(0, signal.SIGKILL)


def train(run: dict[str, Any]) -> None:
    """Train as one rank."""
    ranked.forget_handlers()
    os.environ |= run["environment"]
    killing.move_to_another_machine()
    rank = ranked.rank()
    log_to(f"{run['log']}.{rank}")
    if run["whole"]:
        killing.kill_self = kill_group
    if run["stops"]:
        killing.kill_self = lambda: killing.stop_self(say=lambda text: answer(run, text))
    os.open(f"{run['log']}.alive", os.O_WRONLY)
    answer(run, f"began {rank} {os.getpid()}")
    ranked.run(run)


def launch(run: dict[str, Any]) -> None:
    """Be torchrun's agent for a run on several ranks."""
    try:
        ranked.launch(train, run, ranks=run["ranks"])
    except ChildFailedError:
        sys.exit(1)


def launch_cold(run: dict[str, Any]) -> None:
    """Become the command that starts a run from nothing."""
    place = ("--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", f"--nproc-per-node={run['ranks']}")
    torchrun = ("-m", "torch.distributed.run", *place) if run["ranks"] else ()
    os.execv(sys.executable, [sys.executable, *torchrun, __file__, json.dumps(run)])


def fork(run: dict[str, Any]) -> None:
    """Make a run and say how it has ended."""

    def act() -> None:
        os.setpgid(0, 0)
        os.chdir(run["folder"])
        log_to(f"{run['log']}.agent")
        if run["cold"]:
            launch_cold(run)
        (launch if run["ranks"] else train)(run)

    process = start_fork(act)
    answer(run, f"began agent {process}")
    answer(run, f"ended {wait_for(process)}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        train(json.loads(sys.argv[1]))
    else:
        for line in sys.stdin:
            fork(json.loads(line))
