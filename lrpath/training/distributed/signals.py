"""The signals that ask a process to stop. Outside of a fit they raise an error at once, within one they are noted.

SIGINT is a terminal's Ctrl-C, SIGTERM what launchers, `scancel` and preemption send, SIGUSR1 what SLURM sends before a
time limit (`--signal=USR1@120`). No torch is imported here: every entry uses this.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from lrpath.errors import StoppedError

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)

_ECHO_SECONDS = 5.0
"""A launcher repeats a signal that its whole job has been sent (SLURM signals torchrun and the ranks, and torchrun the
ranks again): until then it is the same one."""


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Let a signal raise a StoppedError while the block runs."""
    with _handled(_raise):
        yield


def _raise(number: int, frame: FrameType | None) -> None:
    if _is_put_off(number, frame):
        return
    raise StoppedError(
        f"stopped by {signal.Signals(number).name}; what was saved is whole: run the same command again to go on"
    )


def _is_put_off(number: int, frame: FrameType | None) -> bool:
    """Send a signal that came within a finalizer once more, a moment later: what is raised there is lost."""
    while frame is not None and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    if frame is None:
        return False
    later = threading.Timer(0.01, os.kill, (os.getpid(), number))
    later.daemon = True
    later.start()
    return True


def ignore() -> None:
    """Ignore the signals for good: a process that ends keeps its message and its exit code."""
    if _in_main_thread():
        for number in STOPPING:
            signal.signal(number, signal.SIG_IGN)


class SignalRecorder:
    """Notes the first signal while its block runs, so that the block ends where it suits; a second one raises.

    Args:
        launched: Whether a launcher started the process, whose echo of a signal is no second one.

    Attributes:
        number: Number of the signal; 0 without one.
    """

    def __init__(self, *, launched: bool) -> None:
        self.number = 0
        self._echo = _ECHO_SECONDS if launched else 0.0
        self._first = 0.0

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Note signals while the block runs, and leave the handlers as they were."""
        with _handled(self._note):
            yield

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not self.number:
            self.number, self._first = number, time.monotonic()
        elif number != signal.SIGUSR1 and time.monotonic() - self._first >= self._echo:
            if _is_put_off(number, frame):
                return
            raise StoppedError(
                f"stopped by a second {signal.Signals(number).name} before a state was saved; earlier states are "
                "whole: run the same command again to go on from the last of them"
            )


@contextlib.contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    if not _in_main_thread():  # a joblib worker, for example: Python lets no other thread set handlers
        yield
        return
    before = {number: signal.signal(number, handler) for number in STOPPING}
    try:
        yield
    finally:
        for number, previous in before.items():
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, previous)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
