"""A study: the plans that were run in one folder, their paths, and the ledger."""

import os
import pathlib
import re
from typing import Any

from lrpath.errors import MismatchError, StateError
from lrpath.planning.lineage import content_id, differences
from lrpath.planning.paths import Path, StateKey
from lrpath.records.commands import CommandLog
from lrpath.records.file_memory import FOLDER_TICK_SECONDS, FileMemory
from lrpath.records.files import (
    flush_folder,
    locked,
    make_folder,
    move_into_place,
    read_json,
    remove_temporaries,
    temporary_name,
    write_json,
)
from lrpath.records.held_out import HeldOutFile
from lrpath.records.kept_plans import KeptPlan, read_kept_plans
from lrpath.records.ledger import Ledger
from lrpath.records.path_folder import PathFolder
from lrpath.records.remote.folder import is_address, remote_of
from lrpath.records.remote.study_copy import StudyCopy, fetch_study, studies_at

_LEFT_BEHIND_SECONDS = 3600.0


class Study:
    """A study's folder: plans, paths, ledger and report."""

    def __init__(self, folder: pathlib.Path) -> None:
        """Name the folder; it need not exist yet."""
        self.folder = folder
        self.ledger = Ledger(folder / "ledger.jsonl")
        self.held_out = HeldOutFile(folder)
        self.commands = CommandLog(folder)
        self.report = folder / "report"

    @classmethod
    def at(cls, outputs: str | pathlib.Path, name: str) -> "Study":
        """Return a study in a folder of studies, or in one at a URL: then its working copy, after it was fetched.

        Raises:
            StorageError: If the URL cannot be read.
        """
        place = f"{str(outputs).rstrip('/')}/{name}" if is_address(str(outputs)) else str(pathlib.Path(outputs, name))
        return cls(fetch_study(place))

    @classmethod
    def existing(cls, outputs: str | pathlib.Path, name: str) -> "Study":
        """Return a study that has been run.

        Args:
            outputs: Folder of studies, or its URL.
            name: Name of the study.

        Raises:
            StateError: If there is none of that name; lists those that there are.
            StorageError: If the URL cannot be read.
        """
        found = cls.at(outputs, name)
        if not (found.folder / "plans").is_dir():
            local = sorted(folder.parent.name for folder in found.folder.parent.glob("*/plans"))
            known = studies_at(str(outputs)) if remote_of(str(outputs)) is not None else local
            raise StateError(
                f"{outputs} has no study {name!r}; known studies: {', '.join(known) or 'none'}",
                field="study",
                value=name,
            )
        return found

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.folder.name

    def save_plan(self, record: dict[str, Any]) -> None:
        """Keep a plan under its content id; from now on the states it needs are never removed."""
        file = self.folder / "plans" / f"{content_id(record)}.json"
        if not file.exists():
            write_json(file, record)
        if (copy := StudyCopy.of(self.folder)) is not None:
            copy.upload_plan(file.stem)

    @property
    def url(self) -> str | None:
        """Where the study's truth lies, of a working copy; None for a study on this machine."""
        copy = StudyCopy.of(self.folder)
        return None if copy is None else copy.copy.address

    def url_of(self, folder: pathlib.Path) -> str:
        """Return where people find a folder: of a working copy, below the study's URL."""
        inside = self.url is not None and folder.is_relative_to(self.folder)
        return f"{self.url}/{folder.relative_to(self.folder).as_posix()}" if inside else str(folder)

    def fetch(self, *, plans_only: bool = False) -> None:
        """Fetch what other machines have written to the study's URL since; does nothing for one on this machine.

        Raises:
            StorageError: If the URL cannot be read.
        """
        if (copy := StudyCopy.of(self.folder)) is not None:
            copy.fetch_plans() if plans_only else copy.fetch()

    def upload(self) -> None:
        """Upload what belongs to no single path to the study's URL; does nothing for a study on this machine.

        Raises:
            StorageError: If the URL cannot be written to.
        """
        if (copy := StudyCopy.of(self.folder)) is not None:
            copy.upload()

    def drop_plan(self, plan_id: str) -> None:
        """Keep a plan no longer: the states that it alone needs may then be removed."""
        if (copy := StudyCopy.of(self.folder)) is not None:
            copy.drop_plan(plan_id)
        (self.folder / "plans" / f"{plan_id}.json").unlink()

    def kept_plans(self) -> list[KeptPlan]:
        """Return all plans run here, oldest first.

        Raises:
            StateError: If a plan was altered: states that it needs could then be removed.
        """
        return read_kept_plans(self.folder / "plans")

    def exchanged_versions(self) -> frozenset[str]:
        """Return the versions that plans of the study have different data for, and so different held-out sets."""
        held_out: dict[str, set[str | None]] = {}
        for kept in self.kept_plans():
            for increment in kept.plan.increments:
                held_out.setdefault(increment.version, set()).add(increment.held_out)
        return frozenset(version for version, found in held_out.items() if len(found - {None}) > 1)

    def plans(self) -> dict[str, dict[str, Any]]:
        """Return the records of all plans run here by id, oldest first; raises as `kept_plans`."""
        return {kept.id: kept.record for kept in self.kept_plans()}

    def folders(self) -> list[PathFolder]:
        """Return the folders of all paths, of this plan or another."""
        return [PathFolder(file.parent) for file in sorted((self.folder / "paths").glob("*/path.json"))]

    def find(self, path_id: str) -> PathFolder | None:
        """Return the folder of a path, if it has one; of several, which `open` refuses, the one not renamed."""
        found = self._folders_of(path_id)
        if len(found) > 1:
            found.sort(key=lambda folder: folder.name != _made_as(folder))
        return PathFolder(found[0]) if found else None

    def _folders_of(self, path_id: str) -> list[pathlib.Path]:
        """Return the folders of a path by name, of which there should be one at most."""
        place = self.folder / "paths"
        try:
            return [place / name for name in _FOLDER_NAMES.get(place).get(path_id, ())]
        except FileNotFoundError:
            return []

    def check_single(self, path_id: str) -> None:
        """Raise if a path has more than one folder: states and rows of two would be mixed.

        Raises:
            StateError: Naming the folders.
        """
        found = self._folders_of(path_id)
        if len(found) > 1:
            names = " and ".join(folder.name for folder in found)
            raise StateError(
                f"{self.folder / 'paths'} has more than one folder of path {path_id}: {names}. One is a copy: move it "
                "out of the study's folder, or delete it"
            )

    def clear_leftovers(self) -> None:
        """Remove what killed processes left where no single process is the owner, once it is older than an hour."""
        for folder in (self.folder, self.folder / "plans", self.folder / "paths", self.report, self.report / "tb"):
            remove_temporaries(folder, older_than=_LEFT_BEHIND_SECONDS)

    def place_of(self, path: Path) -> pathlib.Path:
        """Return where the folder of a path is, or will be made."""
        found = self.find(path.id)
        return self.folder / "paths" / f"{plain_name(path.name)}-{path.id}" if found is None else found.folder

    def open(self, path: Path) -> PathFolder:
        """Return the folder of a path, made if it is missing.

        Raises:
            MismatchError: If the folder was made for another path.
            StateError: If the path has a second folder.
        """
        self.check_single(path.id)
        found = self.find(path.id)
        if found is None or not (found.folder / "path.json").exists():
            found = self._make(path)
        file = found.folder / "path.json"
        record = read_json(file)
        lines = differences(record.get("identity") if isinstance(record, dict) else record, path.identity())
        if lines:
            raise MismatchError(f"{file} was made for another path ({'; '.join(lines)}); restore it from a copy")
        return found

    def _make(self, path: Path) -> PathFolder:
        """Make the folder of a path with its file; a path that two plans name differently has one folder.

        The file is not written inside the folder: who owns the path by then removes every temporary file in it.
        """
        paths = self.folder / "paths"
        with locked(paths):
            made = PathFolder(self.place_of(path))
            make_folder(made.folder)
            if not (made.folder / "path.json").exists():
                temporary = temporary_name(paths / "path.json")
                write_json(temporary, {"id": path.id, "name": path.name, "identity": path.identity()})
                move_into_place(temporary, made.folder / "path.json")
            flush_folder(paths)  # an earlier version did not, and neither did a process that was killed here
        return made

    def has_state(self, key: StateKey) -> bool:
        """Say whether a complete state is on disk."""
        folder = self.find(key.path_id)
        return folder is not None and folder.has_state(key.position)


def _names_by_id(place: pathlib.Path) -> dict[str, list[str]]:
    """Return the names of the folders of paths by the ids that they end with."""
    found: dict[str, list[str]] = {}
    for name in sorted(os.listdir(place)):  # noqa: PTH208 (of a thousand paths no objects are needed)
        if "-" in name:
            found.setdefault(name.rpartition("-")[2], []).append(name)
    return found


_FOLDER_NAMES = FileMemory(_names_by_id, tick=FOLDER_TICK_SECONDS)
"""To look a path up among a thousand folders takes a listing of them all; each of a thousand paths is looked up."""


def _made_as(folder: pathlib.Path) -> str:
    """Return the name that a path's folder was made under, by its record; empty where that cannot be read."""
    try:
        record = read_json(folder / "path.json")
        return f"{plain_name(record['name'])}-{record['id']}"
    except (StateError, KeyError, TypeError):
        return ""


def plain_name(name: str) -> str:
    """Return the name of a path as its folder has it.

    >>> plain_name("switching.v1 α/β")
    'switching.v1_'
    """
    return re.sub(r"[^A-Za-z0-9._]+", "_", name)
