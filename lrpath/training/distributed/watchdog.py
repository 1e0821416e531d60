"""Watches the ranks from a thread of each: finds the rank that hangs, and tells all ranks why one has failed.

Every rank writes a heartbeat with the phase it is in to the rendezvous store, which all ranks reach. All ranks enter
the same phases in the same order, so of several ranks that wait for each other, the one that has entered the fewest is
the one waited for; a process whose heartbeat is not even renewed hangs as a whole. The first rank that ends the run
writes the reason into the store. The threads of the others read it, and end a process whose main thread cannot end
by itself because it waits for a rank that will never come.
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

_REASON_KEY = "reason"
_STORE_TIMEOUT = timedelta(seconds=10)
_LEAVE_SECONDS = 3.0
"""How long the rank that hosts the store waits for the others to read it for the last time."""
_BEATS_UNTIL_SILENT = 4
"""Beats of this rank after which another whose heartbeat was not renewed counts as silent."""
_GRACE_SECONDS = 10.0
"""How long a rank may take to notice by itself that another has failed: its own error closes files and the ledger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """What a rank last said of itself.

    Args:
        phases: Number of phases that it has entered.
        position: Updates completed.
        phase: What it does.
        unlimited: Whether the phase may take any time while the process is alive.
        waiting: Whether it waits for the other ranks.
        idle_seconds: Time since it last made progress.
        beats: Number of heartbeats that its thread has written.
        host: Its node.
    """

    phases: int
    position: int
    phase: str
    unlimited: bool
    waiting: bool
    idle_seconds: float
    beats: int
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a run ends.

    Args:
        rank: The rank that ends it.
        message: The error message for the user.
        code: Exit code of all ranks.
        hang: Whether a rank hangs, so that main threads cannot be expected to notice.
    """

    rank: int
    message: str
    code: int
    hang: bool = False

    def error(self) -> LrpathError:
        """Return the error that the other ranks raise; the rank that published the reason prints it."""
        error = TrainingError(self.message)
        error.exit_code = self.code
        return reported(error)


class Watchdog:
    """The heartbeat of one rank, and what it finds out about the others; does nothing until it is started.

    Args:
        rank: Number of this process.
        world_size: Number of processes.
    """

    def __init__(self, *, rank: int = 0, world_size: int = 1) -> None:
        self._rank = rank
        self._world_size = world_size
        self._limit: float | None = None
        self._interval = 1.0
        self._store: Store | None = None
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._left = False
        self._reason: Reason | None = None
        self._phases, self._position, self._phase, self._unlimited = 0, 0, "", False
        self._waiting = 0
        self._progress_at = 0.0
        self._beats = 0
        self._first_check: tuple[int, dict[int, Heartbeat]] | None = None
        self._store_answered_at = 0.0

    # -- called by the main thread

    def start(self, *, name: str, timeout: timedelta | None) -> None:
        """Start the watchdog thread.

        Args:
            name: Unique name of this use of the store, which may outlive it.
            timeout: How long a rank may make no progress within a fit; None for no limit.
        """
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = TCPStore(address, port, is_master=False, wait_for_workers=False, timeout=_STORE_TIMEOUT)
        self._store = PrefixStore(f"lrpath/{name}", store)
        self._limit = None if timeout is None else timeout.total_seconds()
        self._interval = 1.0 if self._limit is None else min(1.0, self._limit / 10)
        self._store_answered_at = time.monotonic()
        self._store.set(f"heartbeat/{self._rank}", json.dumps(asdict(self._heartbeat(0.0))))
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._thread.start()

    def enter_phase(self, phase: str, *, position: int | None = None, unlimited: bool = False) -> None:
        """Note what this rank does from now on; all ranks enter the same phases in the same order."""
        self._phases += 1
        self._phase, self._unlimited = phase, unlimited
        if position is not None:
            self._position = position
        self._progress_at = time.monotonic()

    def note_progress(self) -> None:
        """Note progress within the phase."""
        self._progress_at = time.monotonic()

    def leave_fit(self) -> None:
        """Note that no fit runs: until the next phase, no progress is expected."""
        self._phase = ""

    @contextlib.contextmanager
    def phase(self, phase: str, *, unlimited: bool = False) -> Iterator[None]:
        """Note what this rank does while the block runs; outside of a fit, do nothing."""
        outer, outer_unlimited = self._phase, self._unlimited
        if not outer:
            yield
            return
        self.enter_phase(phase, unlimited=unlimited)
        try:
            yield
        finally:
            self.enter_phase(outer, unlimited=outer_unlimited)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Note that this rank waits for the others while the block runs."""
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    def publish(self, reason: Reason) -> bool:
        """Publish why this rank ends the run; return whether it is the first to publish a reason."""
        if self._store is None:
            return True
        text = json.dumps(asdict(reason))
        try:
            return bool(self._store.compare_set(_REASON_KEY, "", text).decode() == text)
        except RuntimeError:  # the store is gone, and with it whoever could read it
            return True

    def reason(self) -> Reason | None:
        """Return why another rank has ended the run, if it has published a reason."""
        if self._reason is None and self._store is not None:
            with contextlib.suppress(RuntimeError):
                if self._store.check([_REASON_KEY]):  # a rank that ends on purpose publishes first
                    self._reason = self._read_reason()
        return self._reason

    def stop(self) -> None:
        """Stop the thread; the rank that hosts the store waits a moment until the others have stopped too."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
        self._leave_store()
        self._store, self._thread = None, None

    def _leave_store(self) -> None:
        """Leave the store; the rank that hosts it waits a moment until the others have, and have read its reason."""
        if self._store is None or self._left:
            return
        self._left = True
        with contextlib.suppress(RuntimeError):
            self._store.set(f"left/{self._rank}", "")
            others = [f"left/{rank}" for rank in range(self._world_size)]
            until = time.monotonic() + _LEAVE_SECONDS
            while self._hosts_store and time.monotonic() < until and not self._store.check(others):
                time.sleep(0.02)

    @property
    def _hosts_store(self) -> bool:
        return self._rank == 0 and not _agent_hosts_store()

    # -- run by the watchdog thread

    def _run(self) -> None:
        while not self._stopped.wait(self._interval):
            try:
                self._beat()
            except RuntimeError:
                self._handle_lost_store()
                return

    def _beat(self) -> None:
        assert self._store is not None
        now = time.monotonic()
        idle, self._beats = now - self._progress_at, self._beats + 1
        self._store.set(f"heartbeat/{self._rank}", json.dumps(asdict(self._heartbeat(idle))))
        if self._store.check([_REASON_KEY]):
            self._handle(self._read_reason())
        elif self._is_overdue(idle):
            self._check_ranks()
        else:
            self._first_check = None
        self._store_answered_at = time.monotonic()

    def _heartbeat(self, idle_seconds: float) -> Heartbeat:
        return Heartbeat(
            phases=self._phases,
            position=self._position,
            phase=self._phase,
            unlimited=self._unlimited,
            waiting=self._waiting > 0,
            idle_seconds=idle_seconds,
            beats=self._beats,
            host=socket.gethostname(),
        )

    def _is_overdue(self, idle_seconds: float) -> bool:
        return bool(self._phase) and self._limit is not None and idle_seconds >= self._limit

    def _check_ranks(self) -> None:
        """End the run if a rank hangs: this one has seen no progress for the whole limit."""
        assert self._limit is not None
        others = self._others()
        if self._first_check is None:
            self._first_check = (self._beats, others)
        beats, earlier = self._first_check
        if self._beats < beats + _BEATS_UNTIL_SILENT:
            return
        silent = [rank for rank, now in others.items() if rank in earlier and now.beats == earlier[rank].beats]
        mine = self._heartbeat(time.monotonic() - self._progress_at)
        message = explain_hang(others | {self._rank: mine}, silent=silent, limit=self._limit)
        if message is None:
            self._first_check = None
            return
        reason = Reason(rank=self._rank, message=message, code=TrainingError.exit_code, hang=True)
        if self.publish(reason):
            self._end_process(reason.code, message)

    def _others(self) -> dict[int, Heartbeat]:
        assert self._store is not None
        ranks = [
            rank for rank in range(self._world_size) if rank != self._rank and self._store.check([f"heartbeat/{rank}"])
        ]
        texts = self._store.multi_get([f"heartbeat/{rank}" for rank in ranks])
        return {rank: Heartbeat(**json.loads(text)) for rank, text in zip(ranks, texts, strict=True)}

    def _read_reason(self) -> Reason:
        assert self._store is not None
        return Reason(**json.loads(self._store.get(_REASON_KEY)))

    def _handle(self, reason: Reason) -> None:
        """End this process, unless its main thread does so by itself; this rank's own reason needs no handling."""
        self._reason = reason
        if reason.rank == self._rank:
            return
        self._leave_store()
        if not self._stopped.wait(0.0 if reason.hang else _GRACE_SECONDS):
            self._end_process(reason.code)

    def _handle_lost_store(self) -> None:
        """End this process if the store has not answered for the limit: its host hangs."""
        while not self._stopped.wait(self._interval):
            if not self._unlimited and self._is_overdue(
                time.monotonic() - max(self._progress_at, self._store_answered_at)
            ):
                address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
                host = "torchrun of the first node" if _agent_hosts_store() else "rank 0"
                reports = self._rank == (0 if _agent_hosts_store() else 1)
                message = f"{host}, at {address}, has not answered for {self._limit:g} s; it hangs. {_GO_ON}"
                self._left = True
                self._end_process(TrainingError.exit_code, message if reports else None)

    def _end_process(self, code: int, message: str | None = None) -> NoReturn:
        """End the process from this thread: the main thread is in a call that never returns."""
        if message is not None:
            print(f"error: {message}", file=sys.stderr)  # noqa: T201
        sys.stdout.flush()
        sys.stderr.flush()
        self._leave_store()
        os._exit(code)


_GO_ON = "All saved states are whole: run the same command again to go on from the last of them"


def explain_hang(heartbeats: dict[int, Heartbeat], *, silent: list[int], limit: float) -> str | None:
    """Return an error message that names the ranks that hang, or None if the rank waited for may take its time.

    Args:
        heartbeats: By rank, of all ranks.
        silent: Ranks whose heartbeat is not renewed.
        limit: How long no rank has made progress [s].
    """
    fewest = min(one.phases for one in heartbeats.values())
    behind = [rank for rank, one in heartbeats.items() if one.phases == fewest and not one.waiting]
    suspects = silent or behind or [rank for rank, one in heartbeats.items() if one.phases == fewest]
    hung = sorted(rank for rank in suspects if rank in silent or _is_hung(heartbeats[rank], limit=limit))
    if not hung:
        return None
    named = ", ".join(_describe(rank, heartbeats[rank], silent=rank in silent) for rank in hung[:8])
    more = f" and {len(hung) - 8} more" if len(hung) > 8 else ""
    unclear = " (they wait for each other)" if len(hung) == len(heartbeats) > 1 else ""
    return (
        f"no progress for {limit:g} s (strategy.timeout_minutes); of {len(heartbeats)} ranks these hang{unclear}: "
        f"{named}{more}. {_GO_ON}"
    )


def _is_hung(heartbeat: Heartbeat, *, limit: float) -> bool:
    return heartbeat.idle_seconds >= limit and not heartbeat.unlimited


def _describe(rank: int, heartbeat: Heartbeat, *, silent: bool) -> str:
    phase = heartbeat.phase or "preparing"
    how = f"no heartbeat since phase {phase}" if silent else f"{heartbeat.idle_seconds:.0f} s in phase {phase}"
    return f"rank {rank} on {heartbeat.host} ({how}, after position {heartbeat.position:,})"


def _agent_hosts_store() -> bool:
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
