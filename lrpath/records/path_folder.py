"""The folder of one path in a study: its tables, its states, and who owns it."""

import contextlib
import pathlib
import re
import shutil
from collections.abc import Iterable, Iterator
from typing import Any

from lrpath.errors import BusyError, StateError, StorageError
from lrpath.records.files import read_json, remove_temporaries
from lrpath.records.lease import Lease, owned
from lrpath.records.manifest import MANIFEST
from lrpath.records.remote.path_copy import PathCopy
from lrpath.records.remote.study_copy import StudyCopy
from lrpath.records.rows import EvaluationRow, GuardRow, MetricsRow, RepairRow, SpeedRow
from lrpath.records.tables import Table

_STATE_NAME = re.compile("[0-9]{9,}")


def oldest_spared(positions: Iterable[int], *, keep: int) -> int:
    """Return the position of the oldest of the newest `keep` states; 0 if there is none.

    >>> oldest_spared([4, 12, 14], keep=2), oldest_spared([4], keep=2)
    (12, 4)
    """
    return min(sorted(positions)[-keep:], default=0)


class PathFolder:
    """The folder of one path in a study."""

    def __init__(self, folder: pathlib.Path, *, lease: Lease | None = None) -> None:
        """Name the folder, which need not exist yet; a run that writes into it gives the lease that it holds."""
        self.folder = folder
        self._lease = lease
        self._copy = None if lease is None else lease.copy
        check = self.check_owned
        self.metrics = Table(folder / "metrics.csv", MetricsRow, check=check, behind=True)
        self.evaluation = Table(folder / "evaluation.csv", EvaluationRow, key_columns=3, check=check, behind=True)
        self.later_evaluation = Table(folder / "later_evaluation.csv", EvaluationRow, key_columns=3, check=check)
        self.speed = Table(folder / "speed.csv", SpeedRow, check=check, expendable=True, behind=True)
        self.guard = Table(folder / "guard.csv", GuardRow, check=check)
        self.repairs = Table(folder / "repairs.csv", RepairRow, key_columns=3, check=check)

    @property
    def path_id(self) -> str:
        """Id of the path, by the folder's name."""
        return self.folder.name.rpartition("-")[2]

    @property
    def tables(self) -> tuple[Table[MetricsRow], Table[EvaluationRow], Table[SpeedRow]]:
        """The tables that grow while the path is run; their rows are flushed behind the updates."""
        return self.metrics, self.evaluation, self.speed

    def flush_tables(self) -> None:
        """Wait until the rows that this process has appended are on the disk.

        Raises:
            OSError: If the disk has not taken them.
        """
        for table in self.tables:
            table.flush()

    def evaluations(self) -> list[EvaluationRow]:
        """Return all evaluations by position: those of the runs, and those that were made later of what these lack.

        Raises:
            StateError: If a table cannot be read.
        """
        rows = self.evaluation.rows()
        known = {(row.position, row.held_out) for row in rows}
        later = [row for row in self.later_evaluation.rows() if (row.position, row.held_out) not in known]
        return sorted([*rows, *later], key=lambda row: row.position) if later else rows

    def skipped(self) -> list[range]:
        """Return the positions that were reached without a change of weights, one range for each update at fault.

        Raises:
            StateError: If the table cannot be read.
        """
        return [range(row.first, row.position + 1) for row in self.guard.rows()]

    def document_losses(self, position: int) -> pathlib.Path:
        """Return the file of the losses of a state by document, whether it is there or not."""
        return self.folder / "documents" / f"{position:09d}.csv"

    @property
    def profile(self) -> pathlib.Path:
        """Folder of what profiled updates spent their time on."""
        return self.folder / "profile"

    @property
    def tensorboard(self) -> pathlib.Path:
        """Folder of the TensorBoard events."""
        return self.folder / "tb"

    def recipe(self) -> dict[str, Any]:
        """Return what all updates of the path share, as plain data.

        Raises:
            StateError: If the path's file is missing, is not JSON, or has no recipe.
        """
        try:
            found: dict[str, Any] = dict(read_json(self.folder / "path.json")["identity"]["recipe"])
        except (KeyError, TypeError, ValueError):
            raise StateError(f"{self.folder / 'path.json'} has no recipe of the path; restore it from a copy") from None
        return found

    @property
    def start(self) -> int:
        """Position at which the path begins, by its file; by its first row where the file cannot be read."""
        try:
            parent = read_json(self.folder / "path.json")["identity"]["parent"]
            return 0 if parent is None else int(parent["position"])
        except (StateError, KeyError, TypeError, ValueError):
            with contextlib.suppress(StateError):
                return min((row.position for row in self.metrics.rows()), default=1) - 1
            return 0

    def state(self, position: int) -> pathlib.Path:
        """Return the folder of the state at a position, whether it is there or not."""
        return self.folder / "states" / f"{position:09d}"

    def positions(self) -> list[int]:
        """Return the positions of the complete states, ascending; a folder without manifest does not count."""
        names = (file.parent.name for file in (self.folder / "states").glob(f"*/{MANIFEST}"))
        return sorted(int(name) for name in names if _STATE_NAME.fullmatch(name))

    def has_state(self, position: int) -> bool:
        """Say whether a complete state is on disk."""
        return (self.state(position) / MANIFEST).exists()

    def remove_state(self, position: int) -> None:
        """Remove a state, its manifest first, so that a kill in between leaves nothing that counts as a state.

        Raises:
            BusyError: If another process owns the path by now.
        """
        self.check_owned()
        assert self._copy is not None or PathCopy.of(self.folder) is None, "at a URL, a state is removed by its owner"
        if self._copy is not None:
            self._copy.remove_state(position)  # first there: what is here and not there would be uploaded again
        (self.state(position) / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(self.state(position), ignore_errors=True)

    def incomplete(self) -> list[pathlib.Path]:
        """Return what a killed save left: folders with a temporary name, and folders without manifest."""
        folders = sorted((self.folder / "states").glob("*"))
        return [
            folder
            for folder in folders
            if folder.name.startswith(".") or (_STATE_NAME.fullmatch(folder.name) and not (folder / MANIFEST).exists())
        ]

    def clear_incomplete(self) -> None:
        """Remove what killed writes left. Call it with the lock held: a write that is going on looks just like it."""
        self.check_owned()
        for folder in self.incomplete():
            shutil.rmtree(folder, ignore_errors=True)
        for folder in (self.folder, *(place for place in self.folder.iterdir() if place.is_dir())):
            remove_temporaries(folder)

    def is_here(self, position: int) -> bool:
        """Say whether the shards of a state are on this machine, and not at the study's URL alone.

        Raises:
            StateError: If the state has no manifest.
        """
        copy = PathCopy.of(self.folder)
        return copy is None or copy.is_here(self.state(position))

    def remote_problem(self, position: int, *, reads: bool) -> str | None:
        """Return what is wrong with a state at the study's URL, in whole sentences; None if nothing is, or it has none.

        Args:
            position: The state.
            reads: Whether its objects are read and their SHA-256 compared.
        """
        copy = PathCopy.of(self.folder)
        return None if copy is None else copy.problem(position, reads=reads)

    def fetched_state(self, position: int) -> pathlib.Path:
        """Return the folder of a state with its shards, which are fetched if they are at the study's URL alone.

        Raises:
            StateError: If the folder has no manifest, or a shard at the URL is not what it says.
        """
        if (copy := PathCopy.of(self.folder)) is not None:
            copy.fetch_state(self.state(position))
        return self.state(position)

    def is_ahead(self) -> bool:
        """Say whether something here is not at the study's URL yet; False for a study on this machine."""
        copy = PathCopy.of(self.folder)
        return copy is not None and copy.is_ahead()

    def upload(self) -> None:
        """Upload whole states and tables to the study's URL, if it has one and this process owns the path.

        Raises:
            BusyError: If another process owns the path by now.
            StorageError: If the URL cannot be written to.
        """
        if self._copy is not None:
            self._copy.upload()

    @contextlib.contextmanager
    def lock(self) -> Iterator[Lease]:
        """Own the path while a block runs; see `lrpath.records.lease`.

        In a working copy the path is owned at the URL too: what others have written there is fetched before the block,
        and what the block has written is uploaded after it.

        Raises:
            BusyError: If another process owns it.
            StorageError: If the URL cannot be read or written.
        """
        with owned(self.folder / "lock") as lease:
            if (copy := PathCopy.of(self.folder)) is None:
                yield lease
                return
            copy.lease = copy.new_lease()
            copy.lease.acquire()
            with copy.lease:
                copy.fetch()
                lease.copy = copy
                try:
                    yield lease
                except BaseException:
                    with contextlib.suppress(BusyError, StorageError):  # the error of the block is the one to know
                        self._upload_all(copy)
                    raise
                self._upload_all(copy)

    def _upload_all(self, copy: PathCopy) -> None:
        copy.upload()
        if (study := StudyCopy.of(self.folder.parent.parent)) is not None:
            study.upload_lines()

    def check_owned(self) -> None:
        """Raise if the lease that this folder was given has been taken over.

        Raises:
            BusyError: Naming the new owner.
        """
        if self._lease is not None:
            self._lease.check()
        if self._copy is not None and self._copy.lease is not None:
            self._copy.lease.check_renewed()
