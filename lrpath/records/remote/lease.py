"""Who owns what lies at a URL: one process on one machine at a time, until it ends, dies, or stops renewing its lease.

    lease/000000007.json    {"machine": …, "host": …, "process": …, "copy": …, "token": …, "ended": false}

The newest number is the owner. Whoever takes over writes the next number, which is made only if it is not there: of two
machines that come at the same time, one is refused by the file system itself. A renewal writes one's own number again,
which changes its time; times are compared by the file system's clock. Where a file system cannot make an object only if
it is absent (`RemoteFolder.is_exclusive`), the object is looked for, written, and read back: two machines that begin in
the same second could both take it, so there they must not.

The rules are those of `lrpath.records.lease`; that one holds between the processes of one working copy, this one
between working copies.
"""

import contextlib
import json
import os
import pathlib
import re
import socket
import threading
import time
from typing import Any
from uuid import uuid4

from lrpath.errors import BusyError, StorageError
from lrpath.records.lease import EXPIRY, machine_id
from lrpath.records.remote.folder import Entries, RemoteEntry, RemoteFolder

FOLDER = "lease"
_NUMBERED = re.compile(rf"{FOLDER}/([0-9]{{9}})\.json")
_KEPT = 2
_POLL_SECONDS = 1.0


def newest_lease(names: Entries) -> int:
    """Return the newest number among the objects of a folder; 0 if nobody has owned it."""
    return max((int(found[1]) for name in names if (found := _NUMBERED.fullmatch(name))), default=0)


class RemoteLease:
    """Ownership of a folder at a URL; `acquire` it, then use it as a block, which renews it and ends it.

    Args:
        folder: The folder.
        copy: Id of the working copy that this process works in.
    """

    def __init__(self, folder: RemoteFolder, *, copy: str) -> None:
        self._folder = folder
        self._copy = copy
        self._owner: dict[str, Any] = {}
        self._lost: BusyError | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name=f"lease of {folder.address}", daemon=True)
        self.before = 0
        self.number = 0

    def acquire(self) -> None:
        """Take the lease; `before` is then the number of the owner before, and `number` one's own.

        Raises:
            BusyError: If another process owns the folder, or did and may still be alive.
            StorageError: If the URL cannot be read or written.
        """
        entries = self._folder.entries(FOLDER)
        self.before = newest_lease(entries)
        if self.before:
            self._check_free(entries[_name(self.before)])
        self.number = self.before + 1
        self._owner = {
            "machine": machine_id(),
            "namespace": _namespace(),
            "host": socket.gethostname(),
            "process": os.getpid(),
            "copy": self._copy,
            "token": uuid4().hex,
            "ended": False,
        }
        if not self._folder.create(_name(self.number), self._content()):
            raise self._busy(self._read(self.number))
        self.check()  # others may have come and gone since the listing
        for name in entries:
            if (found := _NUMBERED.fullmatch(name)) and int(found[1]) <= self.before - _KEPT:
                self._folder.remove(name)

    def acquire_patiently(self) -> None:
        """Take the lease, and wait for another process that holds it for a moment.

        Raises:
            BusyError: If it is held for longer than a lease lasts.
        """
        begun = time.monotonic()
        while True:
            try:
                return self.acquire()
            except BusyError:
                if time.monotonic() - begun > 1.5 * EXPIRY:
                    raise
                time.sleep(_POLL_SECONDS)

    def check(self) -> None:
        """Raise unless this lease is the newest at the URL, which is asked.

        Raises:
            BusyError: Naming the new owner; nothing must be written any more.
        """
        if self._lost is not None:
            raise self._lost
        newest = newest_lease(self._folder.entries(FOLDER))
        owner = self._read(newest)
        if newest != self.number or owner.get("token") != self._owner["token"]:
            self._lost = BusyError(
                f"{self._folder.address} was taken over by {_named(owner)}, because this process did not renew its "
                f"lease for more than {EXPIRY:.0f} s; training goes on there"
            )
            raise self._lost

    def check_renewed(self) -> None:
        """Raise if a renewal has found that the folder was taken over; asks nobody.

        Raises:
            BusyError: As `check`.
        """
        if self._lost is not None:
            raise self._lost

    def end(self) -> None:
        """Give the folder back, so that the next owner need not wait; does nothing if it was taken over."""
        with contextlib.suppress(BusyError, StorageError):
            self.check()
            self._owner["ended"] = True
            self._folder.write(_name(self.number), self._content())

    def __enter__(self) -> "RemoteLease":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self.end()

    def _renew(self) -> None:
        while not self._ended.wait(EXPIRY / 8):
            with contextlib.suppress(BusyError, StorageError):  # the next renewal, or the next upload, finds it again
                self.check()
                self._folder.write(_name(self.number), self._content())

    def _check_free(self, entry: RemoteEntry) -> None:
        owner = self._read(self.before)
        if owner.get("ended") is not False or self._is_gone(owner) or entry.modified is None:
            return
        silent = max(self._folder.now() - entry.modified, 0.0)
        if silent < EXPIRY:
            raise BusyError(
                f"{self._busy(owner)}. It renewed its lease {silent:.0f} s ago; after {EXPIRY:.0f} s without renewal "
                "it counts as dead"
            )

    def _is_gone(self, owner: dict[str, Any]) -> bool:
        """Say whether the owner was a process of this machine that is not alive."""
        if (owner.get("machine"), owner.get("namespace")) != (machine_id(), _namespace()):
            return False
        try:
            os.kill(int(owner["process"]), 0)
        except ProcessLookupError:
            return True
        except (OSError, ValueError, TypeError, KeyError, OverflowError):
            return False
        # Alive, or another of the same number. Whoever asks holds the lock of its working copy, as nobody else does.
        return owner.get("copy") == self._copy

    def _busy(self, owner: dict[str, Any]) -> BusyError:
        return BusyError(
            f"{self._folder.address} is owned by {_named(owner)}; wait until it ends and run this again, or add "
            "wait=true"
        )

    def _read(self, number: int) -> dict[str, Any]:
        try:
            found = json.loads(self._folder.read(_name(number)))
        except (FileNotFoundError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def _content(self) -> bytes:
        return json.dumps(self._owner).encode()


def _name(number: int) -> str:
    return f"{FOLDER}/{number:09d}.json"


def _named(owner: dict[str, Any]) -> str:
    known = {"process", "host"} <= owner.keys()
    return f"process {owner['process']} on {owner['host']}" if known else "another process"


def _namespace() -> str:
    """Return the namespace of this process's number: containers of one machine count their processes apart."""
    try:
        return str(pathlib.Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""
