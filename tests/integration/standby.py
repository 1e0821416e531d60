"""Starts `lrpath.train` on demand, on one process or on the ranks of torchrun's agent; torch is imported once.

    python standby.py

A line of JSON on standard input is a run: its folder, overrides, ranks (0: no torchrun) and log, and perhaps a rank
that ends itself, or all of them (`whole`), at a moment of `killing.py`. Every run is a fork of this process with a
process group of its own, and each of its ranks is a fork of that. On standard output `began <rank> <pid> <group>`
follows when a rank begins to train, and `ended <code>` when no process of the run is left.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from tests.integration import killing, ranked

ANSWERS = os.dup(1)


def answer(text: str) -> None:
    os.write(ANSWERS, f"{text}\n".encode())  # one write of a short line stays whole, whoever else writes


def log_to(file: str) -> None:
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)


def kill_group() -> None:
    os.killpg(0, signal.SIGKILL)


def train(run: dict[str, Any]) -> None:
    """Train as one rank."""
    ranked.RANK = int(os.environ.get("RANK", "0"))
    log_to(f"{run['log']}.{ranked.RANK}")
    if run["whole"]:
        killing.kill_self = kill_group
    answer(f"began {ranked.RANK} {os.getpid()} {os.getpgrp()}")
    ranked.run(run)


def launch(run: dict[str, Any]) -> None:
    """Be torchrun's agent for a run on several ranks."""
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=run["ranks"],
        run_id="standby",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        start_method="fork",
    )
    try:
        elastic_launch(config, train)(run)
    except ChildFailedError:
        sys.exit(1)


def fork(run: dict[str, Any]) -> int:
    """Return how a run has ended, when all its processes have."""
    alive, held = os.pipe()  # every process of the run holds the writing end
    process = os.fork()
    if not process:
        os.close(alive)
        os.setpgid(0, 0)
        os.chdir(run["folder"])
        log_to(f"{run['log']}.agent")
        code: Any = 1
        try:
            (launch if run["ranks"] else train)(run)
            code = 0
        except SystemExit as end:
            code = end.code
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code if isinstance(code, int) else 1)
    os.close(held)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    os.read(alive, 1)
    os.close(alive)
    return code


if __name__ == "__main__":
    answer("ready")
    for line in sys.stdin:
        answer(f"ended {fork(json.loads(line))}")
