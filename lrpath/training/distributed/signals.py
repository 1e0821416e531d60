"""The signals that ask a process to stop. Outside of a fit they raise an error at once, within one they are recorded.

SIGINT is a terminal's Ctrl-C, SIGTERM what launchers, `scancel` and preemption send, SIGUSR1 what SLURM sends before a
time limit (`--signal=USR1@120`). A job of submitit gets one more, SIGUSR2 by default, for preemption and time limits;
submitit's own handler puts the job into the queue again and exits (submitit/core/job_environment.py, `SignalHandler`).
It is called after the state is saved, in place of exiting with our code. No torch is imported here: every entry uses
this.
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

_REPEAT_SECONDS = 5.0
"""A launcher repeats a signal that was sent to its whole job (SLURM signals torchrun and the ranks, then torchrun
signals the ranks again). Within this time a second signal counts as a repetition of the first."""

WORKER = "LRPATH_WORKER"
"""Variable with the number of a process that another one has started beside itself, and to which it repeats signals."""

_told: list[Callable[[], object]] = []

_Handler = Callable[[int, FrameType | None], object]


def stopping_signals() -> tuple[int, ...]:
    """Return the signals that ask this process to stop: `STOPPING`, and submitit's own in one of its jobs."""
    requeue = _requeue_signal()
    return STOPPING if requeue in (0, *STOPPING) else (*STOPPING, requeue)


def _requeue_signal() -> int:
    """Return the signal whose handler by submitit puts this job into the queue again; 0 outside of its jobs."""
    if "SUBMITIT_EXECUTOR" not in os.environ:
        return 0
    return int(getattr(signal, f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}", 0))


@contextlib.contextmanager
def raise_on_signal() -> Iterator[None]:
    """Raise a StoppedError in the main thread when a signal arrives while the block runs."""
    with _handlers_set(_raise):
        yield


@contextlib.contextmanager
def telling(tell: Callable[[], object]) -> Iterator[None]:
    """Call a function as soon as a signal arrives while the block runs, before this process has saved anything."""
    _told.append(tell)
    try:
        yield
    finally:
        _told.remove(tell)


def _tell() -> None:
    for tell in _told:
        tell()


def _raise(number: int, frame: FrameType | None) -> None:
    if _is_postponed(number, frame):
        return
    _tell()
    raise StoppedError(
        f"stopped by {signal.Signals(number).name}; what was saved is whole: run the same command again to go on",
        signal_number=number,
    )


def _is_postponed(number: int, frame: FrameType | None) -> bool:
    """Send a signal that arrived within a finalizer again, a moment later: Python discards what is raised there."""
    while frame is not None and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    if frame is None:
        return False
    timer = threading.Timer(0.01, os.kill, (os.getpid(), number))
    timer.daemon = True
    timer.start()
    return True


def shell_code(code: int) -> int:
    """Return the exit code of a process as a shell has it: 128 + n for one that signal n has ended."""
    return code if code >= 0 else 128 - code


def ignore_signals() -> None:
    """Ignore the signals for good: a process that ends keeps its message and its exit code."""
    if _in_main_thread():
        for number in stopping_signals():
            signal.signal(number, signal.SIG_IGN)


class SignalRecorder:
    """Records the first signal while its block runs, so that the block can end at an update; a second one raises.

    Args:
        launched: Whether a launcher started the process; a launcher repeats signals.

    Attributes:
        number: Number of the signal; 0 without one.
    """

    def __init__(self, *, launched: bool) -> None:
        self.number = 0
        self._repeat_seconds = _REPEAT_SECONDS if launched or WORKER in os.environ else 0.0
        self._first_at = 0.0

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Record signals while the block runs, and restore the handlers afterwards."""
        with _handlers_set(self._record):
            try:
                yield
            except StoppedError as stopped:
                # another rank may have stopped this one by a SIGTERM that came before
                if self.number and self.number == _requeue_signal():
                    stopped.signal_number = self.number
                raise

    def _record(self, number: int, frame: FrameType | None) -> None:
        if not self.number:
            self.number, self._first_at = number, time.monotonic()
            _tell()
        elif number == _requeue_signal():  # it follows a SIGTERM at once where SLURM preempts, and asks for more
            self.number = number
        elif number != signal.SIGUSR1 and time.monotonic() - self._first_at >= self._repeat_seconds:
            if _is_postponed(number, frame):
                return
            raise StoppedError(
                f"stopped by a second {signal.Signals(number).name} before a state was saved; earlier states are "
                "whole: run the same command again to go on from the last of them",
                signal_number=number,
            )


@contextlib.contextmanager
def _handlers_set(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    if not _in_main_thread():  # a joblib worker, for example: Python sets handlers in the main thread only
        yield
        return
    before = {number: signal.signal(number, handler) for number in stopping_signals()}
    stopped: StoppedError | None = None
    try:
        yield
    except StoppedError as error:
        stopped = error
        raise
    finally:
        for number, previous in before.items():
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, previous)
        if stopped is not None and stopped.signal_number and stopped.signal_number == _requeue_signal():
            replaced = before.get(stopped.signal_number)
            if callable(replaced) and replaced is not _raise:  # that one is ours, and its block ends later
                _requeue(replaced, stopped)


def _requeue(handler: _Handler, stopped: StoppedError) -> None:
    """Let submitit put this job into the queue again, which ends the process; on other ranks than 0 it does nothing.

    Raises:
        StoppedError: If submitit does not do it, since the job has reached its time limit too often, for instance.
    """
    try:
        handler(stopped.signal_number, None)
    except Exception as error:
        raise StoppedError(f"{stopped} ({error})", signal_number=stopped.signal_number) from error


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
