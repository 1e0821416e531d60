"""Runs a command to its end; a signal that stops lrpath is passed on, so that the command can save first."""

import os
import signal
import subprocess
from collections.abc import Sequence

from lrpath.errors import ConfigError

STOPPED = 75
"""Exit code EX_TEMPFAIL, lrpath's own too: the command was asked to stop, and may have saved an earlier position."""


def run_command(words: Sequence[str], *, stop_seconds: float) -> tuple[int, BaseException | None]:
    """Run a command in a process group of its own; return its exit code, and the error that interrupted it, if any.

    Its output goes where lrpath's goes. A killed lrpath cannot end it: it then goes on to its end, and what it writes
    is removed by the next run, or never looked at.

    Args:
        words: The command.
        stop_seconds: How long it may take to end after an interruption [s]; then its process group is killed.

    Raises:
        ConfigError: If there is no such program.
    """
    try:
        process = subprocess.Popen(list(words), start_new_session=True)
    except OSError as error:
        text = f"engine.run: {words[0]} cannot be started ({error}); give the path of a program"
        raise ConfigError(text, field="engine.run", value=words[0]) from error
    try:
        return process.wait(), None
    except BaseException as error:  # whatever interrupts, the command must not go on by itself
        return _end(process, stop_seconds), error


def _end(process: "subprocess.Popen[bytes]", stop_seconds: float) -> int:
    try:
        os.killpg(process.pid, signal.SIGTERM)
        return process.wait(stop_seconds)
    except ProcessLookupError:
        return process.wait()
    except BaseException:  # it took too long, or a second signal came
        os.killpg(process.pid, signal.SIGKILL)
        return process.wait()
