"""Who owns a path: one process group at a time, on whatever machine, until it ends, dies, or stops renewing its lease.

A path's folder holds one file, `lock`. Its owner keeps it locked (flock), which ends with the process, and renews its
modification time, which other machines see where the file system does not carry locks between them. Times are compared
by the file system's own clock, so the machines' clocks need not agree.

`filelock.SoftFileLease` was tried in place of this and does not do two things (filelock 4.3.1). An owner that was
stopped and taken over learns of it from a thread that looks every few seconds: the first `is_locked` after it wakes up
is still true, so it would write a row or a state into a path that is another's; `Lease.check` looks at the file itself,
before every write. And since it compares no times of files, it gives up an owner on another machine only after having
watched it for the whole term, so a run that was restarted elsewhere an hour after a crash would wait for it once more.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import socket
import threading
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any
from uuid import uuid4

from lrpath.errors import BusyError
from lrpath.records.files import NO_LOCKS, file_system_time, held_folder, make_folder

if TYPE_CHECKING:
    from lrpath.records.remote.path_copy import PathCopy

EXPIRY = 120.0
"""Time without a renewal after which an owner on another machine counts as dead [s]."""


class Lease:
    """Ownership of a path, renewed by a thread while it is held; `owned` makes it.

    Args:
        file: The lock file.
        token: What only this lease has written into it.

    Attributes:
        copy: Of a study at a URL, the path here and there, which is owned there too.
    """

    def __init__(self, file: pathlib.Path, *, token: str) -> None:
        self.copy: PathCopy | None = None
        self._file = file
        self._token = token
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name=f"lease of {file.parent.name}", daemon=True)

    def check(self) -> None:
        """Raise if the path was taken over, because this process stood still for longer than the lease lasts.

        Raises:
            BusyError: Naming the new owner; nothing must be written any more.
        """
        owner = _read(self._file)
        if owner.get("token") != self._token:
            raise BusyError(
                f"path {self._file.parent.name} was taken over by {_named(owner)}, because this process did not renew "
                f"its lease for more than {EXPIRY:.0f} s; training goes on there"
            )

    def __enter__(self) -> "Lease":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _renew(self) -> None:
        while not self._ended.wait(EXPIRY / 8):
            with contextlib.suppress(OSError, BusyError):
                self.check()
                os.utime(self._file)


@contextlib.contextmanager
def owned(file: pathlib.Path) -> Iterator[Lease]:
    """Own a path while the block runs.

    Args:
        file: The path's lock file; made if it is not there.

    Raises:
        BusyError: If another process owns the path, or one on another machine did and may still be alive.
    """
    make_folder(file.parent)
    token = uuid4().hex
    with file.open("a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise BusyError(_busy(file, _read(file))) from None
            # Without locks the lease alone counts, also among the processes of one machine. Of two that look at it at
            # the same time one must be first.
            with held_folder(file.with_name(f".{file.name}-held")):
                _take(handle, file, token=token, known_to_be_gone="")
        else:
            # the owners of this machine would hold the lock, so one that is named in it is gone
            _take(handle, file, token=token, known_to_be_gone=machine_id())
        with Lease(file, token=token) as lease:
            try:
                yield lease
            finally:
                if _read(file).get("token") == token:
                    _write(handle, {})


def _take(handle: IO[str], file: pathlib.Path, *, token: str, known_to_be_gone: str) -> None:
    """Write this process into the lock file as its owner, unless an owner on another machine may be alive.

    Args:
        handle: The lock file, open.
        file: Its place.
        token: What the new lease writes into it.
        known_to_be_gone: The machine whose owners cannot be alive; empty for none.

    Raises:
        BusyError: If one may be alive.
    """
    before = _read(file)
    if before and before.get("machine", known_to_be_gone) != known_to_be_gone and (silent := _silent(file)) < EXPIRY:
        raise BusyError(
            f"{_busy(file, before)}. It renewed its lease {silent:.0f} s ago; after {EXPIRY:.0f} s without renewal "
            "it counts as dead"
        )
    _write(handle, {"machine": machine_id(), "host": socket.gethostname(), "process": os.getpid(), "token": token})


def _write(handle: IO[str], owner: dict[str, Any]) -> None:
    handle.truncate(0)
    handle.write(json.dumps(owner) if owner else "")
    handle.flush()


def _read(file: pathlib.Path) -> dict[str, Any]:
    """Return what the owner has written of itself; nothing if there is none, or a kill left it incomplete."""
    try:
        found = json.loads(file.read_text(encoding="utf-8") or "{}")
    except (FileNotFoundError, ValueError, RecursionError):  # brackets in brackets name no owner either
        return {}
    return found if isinstance(found, dict) else {}


def _named(owner: dict[str, Any]) -> str:
    return (
        f"process {owner['process']} on {owner['host']}" if {"process", "host"} <= owner.keys() else "another process"
    )


def _busy(file: pathlib.Path, owner: dict[str, Any]) -> str:
    return (
        f"path {file.parent.name} is being run by {_named(owner)}; wait until it ends and run this again, or add "
        "wait=true"
    )


def _silent(file: pathlib.Path) -> float:
    """Return the time since a file's last renewal by the file system's clock [s].

    A time in the future, left by a clock that was wrong or by a copy, would never grow old: it is set to now.
    """
    silent = file_system_time(file.parent) - file.stat().st_mtime
    if silent < -1.0:
        os.utime(file)
    return max(silent, 0.0)


def machine_id() -> str:
    """Return an id of this machine and its current boot: whoever held a lock before a restart is gone."""
    try:
        return pathlib.Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return socket.gethostname()
