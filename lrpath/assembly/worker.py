"""`python -m lrpath.assembly.worker`: a further process that runs paths beside the one that has started it.

It is started by `lrpath.assembly.worker_pool`, which says what it is told, and what it answers.
"""

import gc
import io
import json
import os
import pickle
import signal
import sys
import threading
from typing import IO, Any

from rich.console import Console

from lrpath.assembly.project import Project
from lrpath.assembly.worker_pool import BEGIN, DEVICE, ERROR, EXIT_CODE, LINE, UPDATES
from lrpath.config.command_line import as_lrpath_error, extra_of
from lrpath.config.schema import Config
from lrpath.errors import LrpathError, StoppedError
from lrpath.training.command.settings import CommandEngine
from lrpath.training.distributed import signals
from lrpath.training.plan_runner import PlanRunner


def main() -> int:
    """Run paths of the plan that standard input describes, until none is left, and return the exit code."""
    number = int(os.environ[signals.WORKER])
    os.set_inheritable(descriptor := int(sys.argv[1]), False)  # noqa: FBT003 (Python's signature)
    orders, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(descriptor, "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # code of the user's, and commands that it starts, find nothing there
    try:
        with signals.raise_on_signal():
            updates = _run(orders, answers, number=number)
    except (LrpathError, OSError, ModuleNotFoundError) as error:
        if isinstance(error, ModuleNotFoundError) and extra_of(error) is None:
            raise
        known = as_lrpath_error(error)
        if not isinstance(known, StoppedError):  # the first worker was stopped too, and says so
            _answer(answers, **{ERROR: str(known), EXIT_CODE: known.exit_code})
        return known.exit_code
    _answer(answers, **{UPDATES: updates})
    return 0


def _run(orders: IO[bytes], answers: IO[bytes], *, number: int) -> int:
    config: Config
    sys.path[:], config, count = pickle.load(orders)  # of the process that has started this one
    project = Project(config)
    if not isinstance(config.engine, CommandEngine):
        _import_training()
    order = json.loads(orders.readline() or "{}")
    if BEGIN not in order:
        raise StoppedError("the first worker has ended before it began")
    if order[DEVICE] is not None:  # torch reads it when it first uses a GPU
        os.environ["CUDA_VISIBLE_DEVICES"] = order[DEVICE]
    threading.Thread(target=_end_with_the_first, args=(orders.fileno(),), daemon=True).start()
    console = Console(file=_Lines(answers), width=10_000, force_terminal=False)
    return _build(project, console, worker=number, workers=count).run()


def _build(project: Project, console: Console, **place: Any) -> PlanRunner:
    if isinstance(project.config.engine, CommandEngine):
        from lrpath.assembly.command_factory import build_command_trainer
        from lrpath.assembly.runner import build_runner

        return build_runner(project, build_command_trainer(project, project.prepare()), console, **place)
    from lrpath.assembly.training_factory import build_hardware, open_training_factory

    hardware = build_hardware(project)
    return open_training_factory(project, hardware.process_group).runner(hardware, console, **place)


def _import_training() -> None:
    """Import torch and Lightning, and keep the garbage collector from going through them again and again."""
    gc.disable()
    import lrpath.assembly.training_factory  # noqa: F401

    gc.freeze()
    gc.enable()


def _end_with_the_first(orders: int) -> None:
    """Stop this process when the first worker has ended without a word, by SIGKILL for instance."""
    while os.read(orders, 1):  # not through the buffer, whose lock the interpreter could not get at its end
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _answer(answers: IO[bytes], **message: Any) -> None:
    answers.write(json.dumps(message).encode() + b"\n")
    answers.flush()


class _Lines(io.StringIO):
    """Sends every line that is written to it as a message."""

    def __init__(self, answers: IO[bytes]) -> None:
        super().__init__()
        self._answers = answers
        self._rest = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            _answer(self._answers, **{LINE: line})
        return len(text)


if __name__ == "__main__":
    sys.exit(main())
