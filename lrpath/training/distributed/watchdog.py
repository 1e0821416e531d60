"""Watches the ranks from a thread of each: finds the one that stands still, and tells all why one has failed.

Every rank keeps a mark of where it is in a store that all reach, the one at which they met. Ranks make the same marks
in the same order, so of several that wait for each other, the one with the fewest marks is waited for; a process that
does not even renew its mark stands still as a whole. Whoever ends the run writes why into the store, once; the threads
of the others read it, and end a process whose main thread cannot, because it waits for a rank that will never come.
"""

import contextlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import NoReturn

from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from lrpath.errors import LrpathError, TrainingError, reported

_END = "end"
_ANSWER = timedelta(seconds=10)
_END_SECONDS = 3.0
_BEATS_OF_SILENCE = 4
_GRACE_SECONDS = 10.0
"""How long a rank may take to notice by itself that another has failed: its own error closes files and the ledger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """Where a rank is.

    Args:
        count: Marks it has made.
        position: Updates completed.
        phase: What it does.
        patient: Whether that may take as long as it likes while the process is alive.
        waiting: Whether it waits for the other ranks.
        seconds: Since the last change.
        beat: Number of times its thread has written the mark.
        host: Its node.
    """

    count: int
    position: int
    phase: str
    patient: bool
    waiting: bool
    seconds: float
    beat: int
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a run ends.

    Args:
        rank: Who says so.
        message: What to tell the user.
        code: Exit code of all ranks.
        hang: Whether a rank stands still, so that the main threads cannot be expected to notice.
    """

    rank: int
    message: str
    code: int
    hang: bool = False

    def error(self) -> LrpathError:
        """Return what the other ranks raise; the one that says it prints it."""
        error = TrainingError(self.message)
        error.exit_code = self.code
        return reported(error)


class Watchdog:
    """What one rank tells of itself, and what it finds out about the others; silent until it is begun.

    Args:
        rank: Number of this process.
        count: Number of processes.
    """

    def __init__(self, *, rank: int = 0, count: int = 1) -> None:
        self._rank = rank
        self._count = count
        self._limit: float | None = None
        self._interval = 1.0
        self._store: Store | None = None
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._left = False
        self._reason: Reason | None = None
        self._marks, self._position, self._phase, self._patient = 0, 0, "", False
        self._waiting = 0
        self._changed = 0.0
        self._beats = 0
        self._first_look: tuple[int, dict[int, Heartbeat]] | None = None
        self._answered = 0.0

    # -- what the main thread says

    def begin(self, *, name: str, timeout: timedelta | None) -> None:
        """Start watching.

        Args:
            name: Of this run of the process group: a store may outlive it.
            timeout: How long a rank may show no change in a fit; None for as long as it likes.
        """
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = TCPStore(address, port, is_master=False, wait_for_workers=False, timeout=_ANSWER)
        self._store = PrefixStore(f"lrpath/{name}", store)
        self._limit = None if timeout is None else timeout.total_seconds()
        self._interval = 1.0 if self._limit is None else min(1.0, self._limit / 10)
        self._answered = time.monotonic()
        self._store.set(f"mark/{self._rank}", json.dumps(asdict(self._mark(0.0))))
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def mark(self, phase: str, *, position: int | None = None, patient: bool = False) -> None:
        """Say what this rank does from now on; all ranks make the same marks in the same order."""
        self._marks += 1
        self._phase, self._patient = phase, patient
        if position is not None:
            self._position = position
        self._changed = time.monotonic()

    def touch(self) -> None:
        """Say that the phase goes on."""
        self._changed = time.monotonic()

    def rest(self) -> None:
        """Say that no fit runs: standing still is no hang."""
        self._phase = ""

    @contextlib.contextmanager
    def phase(self, phase: str, *, patient: bool = False) -> Iterator[None]:
        """Say what this rank does while the block runs; outside of a fit, nothing."""
        before, before_patient = self._phase, self._patient
        if not before:
            yield
            return
        self.mark(phase, patient=patient)
        try:
            yield
        finally:
            self.mark(before, patient=before_patient)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Say that this rank waits for the others while the block runs."""
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    def publish(self, reason: Reason) -> bool:
        """Tell the others why this rank ends the run; return whether it is the first to say anything."""
        if self._store is None:
            return True
        text = json.dumps(asdict(reason))
        try:
            return bool(self._store.compare_set(_END, "", text).decode() == text)
        except RuntimeError:  # the store is gone, and so is whoever could listen
            return True

    def reason(self) -> Reason | None:
        """Return why another rank has ended the run, if it has said so."""
        if self._reason is None and self._store is not None:
            with contextlib.suppress(RuntimeError):
                if self._store.check([_END]):  # whoever leaves on purpose has said so before
                    self._reason = self._read()
        return self._reason

    def end(self) -> None:
        """Stop watching; the rank that keeps the store waits a moment until the others have stopped too."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self._announce_end()
        self._store, self._thread = None, None

    def _announce_end(self) -> None:
        """Leave the store; the rank that keeps it waits a moment until the others have, and know what it has said."""
        if self._store is None or self._left:
            return
        self._left = True
        with contextlib.suppress(RuntimeError):
            self._store.set(f"left/{self._rank}", "")
            others = [f"left/{rank}" for rank in range(self._count)]
            until = time.monotonic() + _END_SECONDS
            while self._keeps_store and time.monotonic() < until and not self._store.check(others):
                time.sleep(0.02)

    @property
    def _keeps_store(self) -> bool:
        return self._rank == 0 and not _agent_keeps_store()

    # -- what the thread does

    def _run(self) -> None:
        while not self._ended.wait(self._interval):
            try:
                self._beat()
            except RuntimeError:
                self._miss_store()
                return

    def _beat(self) -> None:
        assert self._store is not None
        now = time.monotonic()
        still, self._beats = now - self._changed, self._beats + 1
        self._store.set(f"mark/{self._rank}", json.dumps(asdict(self._mark(still))))
        if self._store.check([_END]):
            self._handle(self._read())
        elif self._is_still(still):
            self._judge()
        else:
            self._first_look = None
        self._answered = time.monotonic()

    def _mark(self, still: float) -> Heartbeat:
        return Heartbeat(
            count=self._marks,
            position=self._position,
            phase=self._phase,
            patient=self._patient,
            waiting=self._waiting > 0,
            seconds=still,
            beat=self._beats,
            host=socket.gethostname(),
        )

    def _is_still(self, seconds: float) -> bool:
        return bool(self._phase) and self._limit is not None and seconds >= self._limit

    def _judge(self) -> None:
        """End the run if a rank stands still: this one has seen no change for the whole limit."""
        assert self._limit is not None
        marks = self._others()
        if self._first_look is None:
            self._first_look = (self._beats, marks)
        beats, earlier = self._first_look
        if self._beats < beats + _BEATS_OF_SILENCE:
            return
        silent = [rank for rank, mark in marks.items() if rank in earlier and mark.beat == earlier[rank].beat]
        mine = self._mark(time.monotonic() - self._changed)
        message = explain_standstill(marks | {self._rank: mine}, silent=silent, limit=self._limit)
        if message is None:
            self._first_look = None
            return
        reason = Reason(rank=self._rank, message=message, code=TrainingError.exit_code, hang=True)
        if self.publish(reason):
            self._end_process(reason.code, message)

    def _others(self) -> dict[int, Heartbeat]:
        assert self._store is not None
        ranks = [rank for rank in range(self._count) if rank != self._rank and self._store.check([f"mark/{rank}"])]
        texts = self._store.multi_get([f"mark/{rank}" for rank in ranks])
        return {rank: Heartbeat(**json.loads(text)) for rank, text in zip(ranks, texts, strict=True)}

    def _read(self) -> Reason:
        assert self._store is not None
        return Reason(**json.loads(self._store.get(_END)))

    def _handle(self, reason: Reason) -> None:
        """End this process, unless its main thread does so by itself; what this rank said itself is not for it."""
        self._reason = reason
        if reason.rank == self._rank:
            return
        self._announce_end()
        if not self._ended.wait(0.0 if reason.hang else _GRACE_SECONDS):
            self._end_process(reason.code)

    def _miss_store(self) -> None:
        """End this process if the store has been silent for the limit: the host that keeps it stands still."""
        while not self._ended.wait(self._interval):
            if not self._patient and self._is_still(time.monotonic() - max(self._changed, self._answered)):
                place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
                keeper = "torchrun of the first node" if _agent_keeps_store() else "rank 0"
                speaks = self._rank == (0 if _agent_keeps_store() else 1)
                message = f"{keeper}, at {place}, has not answered for {self._limit:g} s and stands still; {_GO_ON}"
                self._left = True
                self._end_process(TrainingError.exit_code, message if speaks else None)

    def _end_process(self, code: int, message: str | None = None) -> NoReturn:
        """End the process from its thread: the main thread hangs in a call that never returns."""
        if message is not None:
            print(f"error: {message}", file=sys.stderr)  # noqa: T201
        sys.stdout.flush()
        sys.stderr.flush()
        self._announce_end()
        os._exit(code)


_GO_ON = "all saved states are whole: run the same command again to go on from the last of them"


def explain_standstill(marks: dict[int, Heartbeat], *, silent: list[int], limit: float) -> str | None:
    """Return who stands still, or None if that is a rank that may.

    Args:
        marks: The mark of every rank.
        silent: Ranks whose process gives no sign at all.
        limit: How long nothing has changed [s].
    """
    fewest = min(mark.count for mark in marks.values())
    behind = [rank for rank, mark in marks.items() if mark.count == fewest and not mark.waiting]
    suspects = silent or behind or [rank for rank, mark in marks.items() if mark.count == fewest]
    still = sorted(rank for rank in suspects if rank in silent or _may_not(marks[rank], limit=limit))
    if not still:
        return None
    named = ", ".join(_place(rank, marks[rank], silent=rank in silent) for rank in still[:8])
    more = f" and {len(still) - 8} more" if len(still) > 8 else ""
    unclear = "; they wait for each other" if len(still) == len(marks) > 1 else ""
    return (
        f"no update for {limit:g} s (strategy.timeout_minutes): {named}{more} of {len(marks)} stands still{unclear}; "
        f"{_GO_ON}"
    )


def _may_not(mark: Heartbeat, *, limit: float) -> bool:
    return mark.seconds >= limit and not mark.patient


def _place(rank: int, mark: Heartbeat, *, silent: bool) -> str:
    how = "gives no sign since" if silent else f"for {mark.seconds:.0f} s in"
    return f"rank {rank} on {mark.host} ({how} {mark.phase or 'preparing'}, after position {mark.position:,})"


def _agent_keeps_store() -> bool:
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
