"""A study at a URL beside its working copy: plans, paths, and the lines that several machines add to."""

import contextlib
import json
import os
import pathlib
import shutil
import time
from collections.abc import Iterable, Iterator

from lrpath.errors import BusyError, StateError, StorageError
from lrpath.records.files import complete_lines, exclusive, locked, read_json, write_json, write_whole
from lrpath.records.lease import owned
from lrpath.records.remote.folder import Entries, RemoteEntry, RemoteFolder, local_folder, remote_of
from lrpath.records.remote.lease import RemoteLease
from lrpath.records.remote.path_copy import FETCHING, PathCopy
from lrpath.records.remote.working_copy import SyncRecord, WorkingCopy, files_in, stamp_of

_LEDGER, _COMMANDS, _HELD_OUT = "ledger.jsonl", "commands.jsonl", "held_out.json"
_MERGED = (_LEDGER, _COMMANDS, _HELD_OUT)
_SYNC = ".sync"
"""Folder whose lock lets one process of a working copy at a time merge and compare."""
_LEFT_BEHIND_SECONDS = 3600.0


def studies_at(outputs: str) -> list[str]:
    """Return the names of the studies in a folder at a URL."""
    names = (name.split("/") for name in RemoteFolder(outputs).entries())
    return sorted({parts[0] for parts in names if len(parts) == 3 and parts[1] == "plans"})


def fetch_study(place: str) -> pathlib.Path:
    """Return the folder of a study; of one at a URL the working copy, after plans, tables and manifests were fetched.

    Raises:
        StorageError: If the URL cannot be read.
    """
    copy = WorkingCopy.at(place)
    if copy is None:
        return local_folder(place)
    StudyCopy(copy).fetch()
    return copy.folder


class StudyCopy:
    """A study's working copy and what is at its URL."""

    def __init__(self, copy: WorkingCopy) -> None:
        self.copy = copy
        self.remote = copy.remote()

    @classmethod
    def of(cls, folder: pathlib.Path) -> "StudyCopy | None":
        """Return the study whose working copy a folder is; None if it is none."""
        copy = WorkingCopy.of(folder)
        return None if copy is None else cls(copy)

    def fetch(self) -> None:
        """Make the working copy what is at the URL, and keep what this machine has and has not uploaded yet."""
        entries, folder = self.remote.entries(), self.copy.folder
        with locked(folder / _SYNC):
            self._clear_leftovers()
            self._fetch_plans(entries)
            self._merge()
            for name, entry in entries.items():
                if name.startswith("releases/") and name.count("/") == 2:  # losses of means of states, not exports
                    self._fetch_release_file(name, entry)
        for name, below in sorted(_paths(entries).items()):
            path = folder / "paths" / name
            # Whose path is owned by a process of this working copy, its copy is the newest.
            with contextlib.suppress(BusyError), owned(path / "lock"):
                PathCopy(path, study=self.copy).fetch(below)

    def _fetch_plans(self, entries: Entries) -> None:
        plans = {name: entry for name, entry in entries.items() if name.startswith("plans/") and name.endswith(".json")}
        for file in (self.copy.folder / "plans").glob("[!.]*.json"):
            if f"plans/{file.name}" not in plans:  # dropped there, or killed before it was uploaded: it is kept again
                file.unlink()
        for name, entry in plans.items():
            file = self.copy.folder / name
            with contextlib.suppress(FileNotFoundError):
                if not file.exists():
                    self.remote.download(name, file)
                if entry.modified is not None:  # plans are numbered by their age
                    os.utime(file, (entry.modified, entry.modified))

    def _fetch_release_file(self, name: str, entry: RemoteEntry) -> None:
        file = self.copy.folder / name
        with contextlib.suppress(FileNotFoundError):
            if not file.exists() or file.stat().st_size != entry.size:
                self.remote.download(name, file)

    def fetch_plans(self) -> None:
        """Fetch the plans that other machines have kept meanwhile: what they need must not be removed."""
        with locked(self.copy.folder / _SYNC):
            self._fetch_plans(self.remote.entries("plans"))

    def upload_lines(self) -> None:
        """Upload the lines that were added here to what several machines add to, and keep what others have added.

        Raises:
            BusyError: If another machine does so, and does not end.
            StorageError: If the URL cannot be written to.
        """
        with locked(self.copy.folder / _SYNC):
            if not self._merge():
                return
            with self._lease():
                self._merge()  # what was added since the first look
                for name in _MERGED:
                    self._write_if_other(name)

    def upload(self) -> None:
        """Upload what belongs to no single path: lines, plans, releases that are means of states, exports and reports.

        Raises:
            BusyError: As `upload_lines`.
            StorageError: If the URL cannot be written to.
        """
        self.upload_lines()
        with locked(self.copy.folder / _SYNC):
            record = SyncRecord.read(self.copy.folder / _SYNC)
            for top in ("plans", "releases", "report", "predict", "advise"):
                self._upload_folder(top, record)
            record.write()

    def _upload_folder(self, top: str, record: SyncRecord) -> None:
        entries, stamps = self.remote.entries(top), {}
        files = files_in(self.copy.folder / top, without=frozenset({"tb"}))
        for name, file in sorted(files.items(), key=lambda item: (_is_last(item[0]), item[0])):
            place = f"{top}/{name}"
            if place in entries and record.same_here(place, file) and record.same_there(place, entries[place]):
                continue
            stamps[place] = stamp_of(file)
            self.remote.upload(file, place)
        if stamps:
            there = self.remote.entries(top)
            record.files |= {place: (stamp, there[place].stamp) for place, stamp in stamps.items() if place in there}

    def upload_plan(self, plan_id: str) -> None:
        """Upload a plan before anything of it is trained: from then on no machine removes a state that it needs."""
        name = f"plans/{plan_id}.json"
        self.remote.create(name, (self.copy.folder / name).read_bytes())  # not written again: its time is its age

    def drop_plan(self, plan_id: str) -> None:
        """Remove a plan there."""
        self.remote.remove(f"plans/{plan_id}.json")

    def _write_if_other(self, name: str) -> None:
        file = self.copy.folder / name
        if not file.exists():
            return
        try:
            there: bytes | None = self.remote.read(name)
        except FileNotFoundError:
            there = None
        if there != (here := file.read_bytes()):
            self.remote.write(name, here)

    @contextlib.contextmanager
    def _lease(self) -> Iterator[None]:
        lease = RemoteLease(self.remote, copy=self.copy.copy)
        lease.acquire_patiently()
        with lease:
            yield

    def _merge(self) -> bool:
        """Add to the files here what is at the URL and not here; say whether something is here that is not there."""
        ahead = [self._merge_file(name) for name in _MERGED]  # each of them, also where the first is ahead
        return any(ahead)

    def _merge_file(self, name: str) -> bool:
        file, content = self.copy.folder / name, b""
        with contextlib.suppress(FileNotFoundError):
            content = self.remote.read(name)
        if name == _HELD_OUT:
            with locked(self.copy.folder):
                try:
                    return _merge_held_out(file, content)
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    raise StateError(
                        f"{self.copy.address}/{name} does not say on what paths are evaluated ({error}); restore it "
                        "from a copy"
                    ) from None
        lines = content.decode(errors="replace").splitlines()
        if name == _COMMANDS:
            with locked(self.copy.folder):
                return _merge_lines(file, lines, in_place=False)
        if not lines and not file.exists():
            return False
        with file.open("a+b") as handle, exclusive(handle, file):  # as `Ledger.append`, which renames nothing
            return _merge_lines(file, lines, in_place=True)

    def _clear_leftovers(self) -> None:
        for aside in (self.copy.folder / FETCHING).glob("*"):
            if time.time() - aside.stat().st_mtime > _LEFT_BEHIND_SECONDS:
                shutil.rmtree(aside, ignore_errors=True)


def check_empty(place: str) -> None:
    """Raise if there is something at a URL already; a folder on this machine is not looked at.

    Raises:
        StorageError: If there is.
    """
    if remote_of(place) is not None and RemoteFolder(place).entries():
        text = f"{place} holds files already; choose another folder or remove them"
        raise StorageError(text, field="folder", value=place)


def upload_files(address: str, folder: pathlib.Path) -> None:
    """Upload a folder's files to a URL, last those that say what the others are: `config.json`, `index.html`.

    Raises:
        StorageError: If the URL cannot be written to.
    """
    remote = RemoteFolder(address)
    for name, file in sorted(files_in(folder).items(), key=lambda item: (_is_last(item[0]), item[0])):
        remote.upload(file, name)


def _is_last(name: str) -> bool:
    return pathlib.PurePosixPath(name).name in ("config.json", "index.html")


def _paths(entries: Entries) -> dict[str, Entries]:
    """Return the objects of every path by the name of its folder, with names relative to it."""
    found: dict[str, Entries] = {}
    for name, entry in entries.items():
        parts = name.split("/", 2)
        if parts[0] == "paths" and len(parts) == 3:
            found.setdefault(parts[1], {})[parts[2]] = entry
    return found


def _merge_lines(file: pathlib.Path, there: Iterable[str], *, in_place: bool) -> bool:
    """Add lines to a file of JSON lines, each once, and say whether the file has others."""
    here, there = complete_lines(file), list(there)
    known = {_identity(line) for line in here}
    new = [line for line in there if _identity(line) not in known]
    if new:
        content = "".join(f"{line}\n" for line in [*here, *new])
        if in_place:
            with file.open("r+b") as handle:
                handle.write(content.encode())
                handle.truncate()
                handle.flush()
                os.fsync(handle.fileno())
        else:
            write_whole(file, content)
    return bool(known - {_identity(line) for line in there})


def _identity(line: str) -> str:
    """Return by what a line is known: a run of the ledger by its id, which two machines may have counted."""
    try:
        return str(json.loads(line)["id"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return line


def _merge_held_out(file: pathlib.Path, content: bytes) -> bool:
    """Add the paths that are evaluated on held-out sets there, and say whether here are others."""
    there = json.loads(content) if content else {"collections": {}, "paths": {}}
    here = read_json(file) if file.exists() else {"collections": {}, "paths": {}}
    paths = {**there["paths"], **here["paths"]}
    collections = {**there["collections"], **here["collections"]}
    merged = {"collections": {name: collections[name] for name in dict.fromkeys(paths.values())}, "paths": paths}
    if merged != here:
        write_json(file, merged)
    return bool(merged["paths"] != there["paths"])
