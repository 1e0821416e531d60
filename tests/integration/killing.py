"""Runs `lrpath.train` in processes of its own, one after another, and ends each at a stated moment.

    python killing.py reach:6 shards:2 end -- study=a versions=2 …

A moment is `name:n`, the n-th time that something has happened in that process; `end` lets it run to its end. The
processes are forks, so that torch is imported once. The exit codes are printed as JSON, −9 for a killed one.
"""

import errno
import fcntl
import itertools
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lrpath.reporting.report
import tests.integration.preloaded  # noqa: F401
from lrpath import entry, train
from lrpath.data import datamodule
from lrpath.data.stream import TokenBatches
from lrpath.errors import DataError
from lrpath.records import files, lease
from lrpath.records.ledger import Ledger, RunningCount
from lrpath.records.path_folder import PathFolder
from lrpath.records.tables import Table
from lrpath.training import path_trainer
from lrpath.training.checkpoints import states
from lrpath.training.checkpoints.states import ShardWriter
from lrpath.training.distributed import process_group
from lrpath.training.fit_evaluation import FitEvaluation
from lrpath.training.lit_module import LitCausalLM
from tests.integration.forks import start_fork, wait_for
from tests.integration.planting import VARIABLE, plant


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stop_self(say: Callable[[str], None]) -> None:
    """Say so, and stand still until the process is told to go on."""
    say(f"stopped {os.getpid()}")
    # To this thread: sent to the process, the signal may reach it through another thread, and this one would go on
    # meanwhile, be it to the end of a save.
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


OTHER_MACHINE = "OTHER_MACHINE"
"""Variable that names a machine that this process is on, so that its locks and another's do not meet."""
NO_FLOCK = "NO_FLOCK"
"""Variable that makes the file system one without locks."""


def move_to_another_machine() -> None:
    """Let locks and the machine's name be those of another machine, or of a file system without locks."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    if os.environ.get(OTHER_MACHINE):
        lease.machine_id = lambda: os.environ[OTHER_MACHINE]
        fcntl.flock = lambda *_: None
    if os.environ.get(NO_FLOCK):
        fcntl.flock = refuse


def wait() -> None:
    """Say so on standard output, and wait until standard input is closed."""
    os.write(1, b"waiting\n")
    sys.stdin.read()


def stand_still() -> None:
    """Wait for what never comes, as for a disk that is gone."""
    os.read(os.pipe()[0], 1)


def fail() -> None:
    raise DataError("the window at this place cannot be read")


def leave_half_a_row(table: Table, *_: object) -> None:
    with table.file.open("a") as file:
        file.write("7,4.3")
    kill_self()


def die_while_writing() -> None:
    """Let the thread that writes the state stay after the shards, and the next micro-batch be this process's last."""
    write = states._write_shards

    def write_and_stay(*args: Any) -> None:
        write(*args)
        threading.Event().wait()

    states._write_shards = write_and_stay
    arm("micro:1")


def write_after_an_update() -> None:
    """Let the thread that writes the state begin when the next micro-batch has been made."""
    made, step, write = threading.Event(), LitCausalLM.training_step, states._write_shards

    def recorder(*args: Any) -> Any:
        made.set()
        return step(*args)

    def wait_and_write(*args: Any) -> Any:
        made.wait()
        return write(*args)

    LitCausalLM.training_step = recorder  # type: ignore[method-assign]
    states._write_shards = wait_and_write


def fill_the_disk() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def is_states(folder: Path) -> bool:
    return folder.name == "states"


# moment: whose function, which calls of it count, what is done after the call
MOMENTS: dict[str, tuple[Any, str, Callable[..., bool], Callable[..., None]]] = {
    "reach": (RunningCount, "reach", lambda *_: True, lambda *_: kill_self()),
    "row": (Table, "append", lambda *_: True, lambda *_: kill_self()),
    "half": (Table, "append", lambda *_: True, leave_half_a_row),
    "shards": (states, "_write_shards", lambda *_: True, lambda *_: kill_self()),
    "meanwhile": (ShardWriter, "take", lambda *_: True, lambda *_: die_while_writing()),
    "late": (ShardWriter, "take", lambda *_: True, lambda *_: write_after_an_update()),
    "full": (states, "_write_shards", lambda *_: True, lambda *_: fill_the_disk()),
    "rename": (files, "flush_folder", is_states, lambda *_: kill_self()),
    "manifest": (states, "write_json", lambda *_: True, lambda *_: kill_self()),
    "ledger": (Ledger, "append", lambda *_: True, lambda *_: kill_self()),
    "interrupt": (RunningCount, "reach", lambda *_: True, lambda *_: os.kill(os.getpid(), signal.SIGINT)),
    "terminate": (RunningCount, "reach", lambda *_: True, lambda *_: os.kill(os.getpid(), signal.SIGTERM)),
    "usr1": (LitCausalLM, "training_step", lambda *_: True, lambda *_: os.kill(os.getpid(), signal.SIGUSR1)),
    "sigterm": (LitCausalLM, "training_step", lambda *_: True, lambda *_: os.kill(os.getpid(), signal.SIGTERM)),
    "hang": (TokenBatches, "rows", lambda *_: True, lambda *_: stand_still()),
    "freeze": (LitCausalLM, "training_step", lambda *_: True, lambda *_: os.kill(os.getpid(), signal.SIGSTOP)),
    "fail": (TokenBatches, "rows", lambda *_: True, lambda *_: fail()),
    "micro": (LitCausalLM, "training_step", lambda *_: True, lambda *_: kill_self()),
    "removed": (PathFolder, "remove_state", lambda *_: True, lambda *_: kill_self()),
    "rewound": (path_trainer, "rewind", lambda *_: True, lambda *_: kill_self()),
    "groups": (process_group, "_control_group", lambda *_: True, lambda *_: kill_self()),
    "evaluated": (FitEvaluation, "losses", lambda *_: True, lambda *_: kill_self()),
    "wait": (RunningCount, "reach", lambda *_: True, lambda *_: wait()),
}


def arm(moment: str) -> None:
    """Let the n-th call of a moment's function end the process."""
    name, _, number = moment.partition(":")
    datamodule._MOST_UPDATES = datamodule._THREADS = 1  # so that the n-th reading is of the n-th update
    owner, function, counts, act = MOMENTS[name]
    original, calls = getattr(owner, function), itertools.count(1)

    def armed(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        if counts(*args) and next(calls) == int(number):
            act(*args)
        return result

    setattr(owner, function, armed)


def run_in_fork(moment: str, overrides: list[str]) -> int:
    """Return how a process that trains has ended."""

    def act() -> None:
        sys.argv = ["lrpath.train", *overrides]
        if moment.partition(":")[0] in MOMENTS:
            arm(moment)
        entry.run(train.train, config_name="config")

    process = start_fork(act)
    if moment.startswith("poll:"):
        kill_when_reached(process, int(moment.removeprefix("poll:")), overrides)
    return wait_for(process)


def kill_when_reached(process: int, position: int, overrides: list[str]) -> None:
    """Kill a process from outside as soon as one of its paths has counted to a position, unless it ends before."""
    given = dict(override.split("=", 1) for override in overrides)
    study = Path(given["outputs"]) / given["study"]
    while os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        for running in study.glob("paths/*/running.json"):
            text = running.with_name("reached").read_text().strip()
            if text and int(text) >= position:
                os.kill(process, signal.SIGKILL)
                return


if __name__ == "__main__":
    lrpath.reporting.report.write_report = lambda study: study.name  # figures take longer than these runs
    plant(os.environ.get(VARIABLE, ""))
    split = sys.argv.index("--")
    codes = [run_in_fork(moment, sys.argv[split + 1 :]) for moment in sys.argv[1:split]]
    sys.stdout.write(json.dumps(codes) + "\n")
