"""The copy on this machine of a folder at a URL: whose it is, and what of its files is the same here and there."""

import json
import os
import pathlib
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from lrpath.errors import StateError
from lrpath.records.files import is_temporary, locked, make_folder, read_json, write_json
from lrpath.records.remote.folder import RemoteEntry, RemoteFolder, local_folder, remote_of

MARKER = "remote.json"
"""In the folder of a working copy: the URL and an id of the copy; in that of a path: see `SyncRecord`."""

Stamp = tuple[int, int]
"""Size [bytes] and time of change [ns] of a file here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkingCopy:
    """A folder on this machine whose truth lies at a URL.

    Args:
        folder: The folder here.
        address: The URL.
        copy: Id of this copy, by which its machine knows the leases that it has held.
    """

    folder: pathlib.Path
    address: str
    copy: str

    @classmethod
    def of(cls, folder: pathlib.Path) -> "WorkingCopy | None":
        """Return the working copy that a folder is; None for a folder that is no copy.

        Raises:
            StateError: If its marker cannot be read.
        """
        file = folder / MARKER
        if not file.exists():
            return None
        record = read_json(file, remedy=f"remove {folder}: it is a copy, and is fetched again")
        if not isinstance(record, dict) or not all(isinstance(record.get(name), str) for name in ("address", "copy")):
            raise StateError(f"{file} names no URL; remove {folder}: it is a copy, and is fetched again")
        return cls(folder=folder, address=record["address"], copy=record["copy"])

    @classmethod
    def at(cls, place: str) -> "WorkingCopy | None":
        """Return the working copy of a URL, made if there is none yet; None if the place is on this machine."""
        if (address := remote_of(place)) is None:
            return None
        folder = local_folder(place)
        make_folder(folder)
        with locked(folder):
            if not (folder / MARKER).exists():
                write_json(folder / MARKER, {"address": address, "copy": uuid4().hex})
        return cls.of(folder)

    def remote(self) -> RemoteFolder:
        """Return the folder at the URL."""
        return RemoteFolder(self.address)


@dataclass(slots=True, kw_only=True)
class SyncRecord:
    """What is known to be the same here and at the URL.

    A file that has another stamp here than the record was changed here since; one that has another there, there.

    Args:
        file: Where the record is kept.
        lease: Number of the lease that this copy held last; 0 for none. If there is a newer one, others have written.
        files: Stamp here and stamp there, by name.
    """

    file: pathlib.Path
    lease: int = 0
    files: dict[str, tuple[Stamp, str]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: pathlib.Path) -> "SyncRecord":
        """Return the record of a folder; one that cannot be read knows nothing, so that all is compared anew."""
        file = folder / MARKER
        try:
            record: Any = json.loads(file.read_text(encoding="utf-8"))
            files = {name: ((int(size), int(ns)), str(there)) for name, (size, ns, there) in record["files"].items()}
            return cls(file=file, lease=int(record["lease"]), files=files)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return cls(file=file)

    @property
    def exists(self) -> bool:
        """Whether this folder was ever uploaded or fetched."""
        return self.file.exists()

    def write(self) -> None:
        """Keep the record."""
        files = {name: [*here, there] for name, (here, there) in sorted(self.files.items())}
        write_json(self.file, {"lease": self.lease, "files": files})

    def same_here(self, name: str, file: pathlib.Path) -> bool:
        """Say whether a file here is as it was when it was last the same as there."""
        known = self.files.get(name)
        return known is not None and file.exists() and stamp_of(file) == known[0]

    def same_there(self, name: str, entry: RemoteEntry) -> bool:
        """Say whether an object is as it was then."""
        known = self.files.get(name)
        return known is not None and known[1] == entry.stamp


def stamp_of(file: pathlib.Path) -> Stamp:
    """Return size and time of change of a file."""
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def files_in(folder: pathlib.Path, *, without: frozenset[str] = frozenset()) -> dict[str, pathlib.Path]:
    """Return the files of a folder that belong at a URL too, by name with `/`: no locks, records, or unfinished files.

    Args:
        folder: The folder.
        without: Names of files and folders in it that are left out.
    """
    found: dict[str, pathlib.Path] = {}
    for place, folders, files in os.walk(folder):
        here = pathlib.Path(place)
        top = here == folder
        folders[:] = sorted(
            name
            for name in folders
            if not (name.startswith(".") or is_temporary(here / name) or (top and name in without))
        )
        for name in files:
            if not (name.startswith(".") or (top and name in {MARKER, "lock", *without})):
                found[(here / name).relative_to(folder).as_posix()] = here / name
    return found
