"""The folder of one path here and at a URL: what is fetched, what is uploaded, and in which order.

Uploaded are the shards of every state that is whole here and not there, then the tables, then the manifests. A kill in
between leaves shards that no manifest names, which the next owner removes, or tables that have rows behind the last
state, which a run cuts as it cuts its own.
"""

import pathlib
import re
import shutil
from collections.abc import Iterator
from uuid import uuid4

from lrpath.errors import StateError, StorageError
from lrpath.records.files import digest_file, make_folder
from lrpath.records.manifest import MANIFEST, read_manifest
from lrpath.records.remote.folder import Entries, RemoteFolder, is_plain
from lrpath.records.remote.lease import FOLDER, RemoteLease, newest_lease
from lrpath.records.remote.working_copy import MARKER, SyncRecord, WorkingCopy, files_in, stamp_of
from lrpath.records.shards import SUFFIX, shown

_STATES = "states"
_MANIFEST = re.compile(rf"{_STATES}/[0-9]{{9,}}/{re.escape(MANIFEST)}")
_NOT_TABLES = frozenset({_STATES, "tb", "wandb"})
"""Folders of a path that are not uploaded with its tables; the files of TensorBoard and W&B are made from these."""
FETCHING = ".fetching"
"""Folder of the working copy of a study in which shards are while they are fetched."""


class PathCopy:
    """One path of a working copy.

    Args:
        folder: The path's folder here.
        study: The working copy of its study.
        lease: What this process owns the path by, there; None for a process that reads.
    """

    def __init__(self, folder: pathlib.Path, *, study: WorkingCopy, lease: RemoteLease | None = None) -> None:
        self.folder = folder
        self._study = study
        self.remote = RemoteFolder(f"{study.address}/paths/{folder.name}")
        self.lease = lease

    @classmethod
    def of(cls, folder: pathlib.Path, *, lease: RemoteLease | None = None) -> "PathCopy | None":
        """Return the copy that a path's folder is; None if its study is no working copy."""
        study = WorkingCopy.of(folder.parent.parent) if folder.parent.name == "paths" else None
        return None if study is None else cls(folder, study=study, lease=lease)

    def new_lease(self) -> RemoteLease:
        """Return a lease of the path there, not acquired yet."""
        return RemoteLease(self.remote, copy=self._study.copy)

    def fetch(self, entries: Entries | None = None) -> None:
        """Make tables and manifests here those at the URL, unless this copy's process was the last to write there.

        Call it with the path locked here.

        Args:
            entries: The objects there; None to list them.
        """
        entries = self.remote.entries() if entries is None else entries
        if self.lease is not None:
            self._clear_incomplete(entries)
        record = SyncRecord.read(self.folder)
        newest = self.lease.before if self.lease is not None else newest_lease(entries)
        replaces = newest != record.lease
        if replaces and not newest and not record.exists:
            return  # made here and not uploaded yet
        wanted = {name: entry for name, entry in entries.items() if _is_table(name) or _is_manifest(name)}
        if replaces:
            self._drop_others(wanted)
        self._drop_states(wanted, also_here=replaces)
        for name, entry in sorted(wanted.items(), key=lambda item: _is_manifest(item[0])):  # rows before their states
            file = self.folder / name
            is_same = record.same_here(name, file) and record.same_there(name, entry)
            if is_same or (file.exists() and not replaces):
                continue
            if _is_manifest(name):
                shutil.rmtree(file.parent, ignore_errors=True)  # shards of a state that is another there
            try:
                self.remote.download(name, file)
            except FileNotFoundError:
                continue  # its owner has removed it meanwhile
            record.files[name] = stamp_of(file), entry.stamp
        # From here on what is here counts as the newest, also if this process is killed before it uploads anything.
        record.lease = newest if self.lease is None else self.lease.number
        if self.folder.exists():
            record.write()

    def _drop_others(self, wanted: Entries) -> None:
        """Remove what is here and not there: another machine has gone on, from an earlier state perhaps."""
        for name, file in files_in(self.folder, without=_NOT_TABLES).items():
            if name not in wanted:
                file.unlink()

    def _drop_states(self, wanted: Entries, *, also_here: bool) -> None:
        """Remove states that are not there: those whose shards are not here either, or all."""
        for name, file in self._manifests():
            if name not in wanted and (also_here or not self.is_here(file.parent)):
                file.unlink()
                shutil.rmtree(file.parent, ignore_errors=True)

    def is_ahead(self) -> bool:
        """Say whether something here was not uploaded yet, by the record alone."""
        record = SyncRecord.read(self.folder)
        files = files_in(self.folder, without=_NOT_TABLES) | dict(self._manifests())
        return any(not record.same_here(name, file) for name, file in files.items())

    def upload(self) -> None:
        """Make the URL what is here: whole states that are not there, and tables that have changed.

        Raises:
            BusyError: If another process owns the path there by now.
            StorageError: If the URL cannot be written to.
        """
        assert self.lease is not None
        self.lease.check()
        record, entries = SyncRecord.read(self.folder), self.remote.entries()
        record.lease = self.lease.number
        manifests = {
            name: file for name, file in self._manifests() if name not in entries or not record.same_here(name, file)
        }
        for file in manifests.values():
            if self.is_here(file.parent):
                self._upload_shards(file.parent, entries)
        self.lease.check()
        tables = files_in(self.folder, without=_NOT_TABLES)
        changed = {
            name: file for name, file in tables.items() if name not in entries or not record.same_here(name, file)
        }
        # a file may be written to meanwhile: what is remembered is how it was before
        stamps = {name: stamp_of(file) for name, file in (changed | manifests).items()}
        for name, file in changed.items():
            self.remote.write(name, file.read_bytes())
        for name in entries:
            if _is_table(name) and name not in tables:
                self.remote.remove(name)
        if manifests:
            self.lease.check()
        for name, file in manifests.items():
            self.remote.write(name, file.read_bytes())
        if changed or manifests:
            entries = self.remote.entries()
        record.files = {
            name: (stamps.get(name, record.files.get(name, ((-1, -1), ""))[0]), entry.stamp)
            for name, entry in entries.items()
            if _is_table(name) or _is_manifest(name)
        }
        record.write()

    def _upload_shards(self, state: pathlib.Path, entries: Entries) -> None:
        """Upload the shards of a state, unless what is there was committed with the same digests."""
        files, below = read_manifest(state)["files"], f"{_STATES}/{state.name}/"
        if f"{below}{MANIFEST}" in entries:  # its manifest alone has changed: tables were mended
            return
        assert self.lease is not None
        for name in files:
            self.lease.check()
            self.remote.upload(state / name, f"{below}{name}")
        there = self.remote.entries(below.rstrip("/"))
        for name in there.keys() - {f"{below}{name}" for name in files}:
            self.remote.remove(name)  # of an upload that was killed, by another number of ranks
        for name, entry in files.items():
            found = there.get(f"{below}{name}")
            if found is None or found.size != entry["bytes"]:
                raise StorageError(
                    f"{self.remote.address}/{below}{name} has {found.size if found else 0:,} bytes after it was "
                    f"uploaded, and {entry['bytes']:,} here; run the same command again"
                )

    def remove_state(self, position: int) -> None:
        """Remove a state there, its manifest first."""
        assert self.lease is not None
        self.lease.check()
        below = f"{_STATES}/{position:09d}"
        self.remote.remove(f"{below}/{MANIFEST}")
        for name in self.remote.entries(below):
            self.remote.remove(name)

    def _clear_incomplete(self, entries: Entries) -> None:
        """Remove what killed uploads have left there: shards of a state that has no manifest there."""
        for name in entries:
            if name.startswith(f"{_STATES}/") and f"{name.rpartition('/')[0]}/{MANIFEST}" not in entries:
                self.remote.remove(name)

    def is_here(self, state: pathlib.Path) -> bool:
        """Say whether all shards of a state are on this machine."""
        return all((state / name).exists() for name in read_manifest(state)["files"])

    def fetch_state(self, state: pathlib.Path) -> None:
        """Fetch the shards of a state that are not here, and compare each with its manifest before it takes its place.

        Raises:
            StateError: If a shard there is missing or is not what the manifest says.
        """
        files, aside = read_manifest(state)["files"], self._study.folder / FETCHING / uuid4().hex[:12]
        missing = {name: entry for name, entry in files.items() if not (state / name).exists()}
        if not missing:
            return
        make_folder(aside)
        try:
            for name, entry in missing.items():
                place = f"{_STATES}/{state.name}/{name}"
                if "/" in name or not is_plain(name) or not name.endswith(SUFFIX):
                    raise self._damaged(f"{_STATES}/{state.name}/{MANIFEST}", f"lists {shown(name)}, which is no shard")
                try:
                    self.remote.download(place, aside / name)
                except FileNotFoundError:
                    raise self._damaged(place, "is missing") from None
                if (size := (aside / name).stat().st_size) != entry["bytes"]:
                    raise self._damaged(place, f"has {size:,} bytes, {MANIFEST} says {entry['bytes']:,}")
                if digest_file(aside / name) != entry["sha256"]:
                    raise self._damaged(place, f"was altered: its SHA-256 is not the one in {MANIFEST}")
                (aside / name).replace(state / name)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def problem(self, position: int, *, reads: bool) -> str | None:
        """Return what is wrong with a state there, by the manifest here; None if nothing is.

        Args:
            position: The state.
            reads: Whether its objects are read and their SHA-256 compared.
        """
        state, below = self.folder / _STATES / f"{position:09d}", f"{_STATES}/{position:09d}"
        entries = self.remote.entries(below)
        if f"{below}/{MANIFEST}" not in entries:
            return None if self.is_here(state) else f"{self.remote.address}/{below} is gone; run the same command again"
        if self.remote.read(f"{below}/{MANIFEST}") != (state / MANIFEST).read_bytes():
            return str(self._damaged(f"{below}/{MANIFEST}", "is not the manifest that was fetched"))
        for name, entry in read_manifest(state)["files"].items():
            place = f"{below}/{name}"
            if place not in entries:
                return str(self._damaged(place, "is missing"))
            if entries[place].size != entry["bytes"]:
                return str(self._damaged(place, f"has {entries[place].size:,} bytes, not {entry['bytes']:,}"))
            if reads and self.remote.digest(place) != entry["sha256"]:
                return str(self._damaged(place, f"was altered: its SHA-256 is not the one in {MANIFEST}"))
        return None

    def _damaged(self, name: str, what: str) -> StateError:
        state = name.rpartition("/")[0]
        return StateError(
            f"{self.remote.address}/{name} {what}; restore it from a copy, or remove {self.remote.address}/{state} and "
            "run the same command again: the path then goes on from its state before, or uploads this one again where "
            "it is whole"
        )

    def _manifests(self) -> Iterator[tuple[str, pathlib.Path]]:
        for file in sorted((self.folder / _STATES).glob(f"[0-9]*/{MANIFEST}")):
            yield file.relative_to(self.folder).as_posix(), file


def _is_table(name: str) -> bool:
    """Say whether an object is a table, or what else lies beside the states; a copied working copy has other files."""
    top = name.partition("/")[0]
    is_hidden = any(part.startswith(".") for part in name.split("/"))
    return top not in {*_NOT_TABLES, FOLDER, MARKER, "lock"} and not is_hidden and not name.startswith("clock-")


def _is_manifest(name: str) -> bool:
    return _MANIFEST.fullmatch(name) is not None
