"""Finds a data loader that does not start where its path does, by digests of a few batches.

Where a loader starts is its owner's duty: `PathRun.begin` says where it must. What can be checked without knowing the
data: an update that was run before, by this path or the one it leaves, must read the same batch again; and a path that
goes on must not begin with the very first batch of all. Digests are of the first rank's first micro-batch, and only of
the updates that a fit can start from: those behind a saved state.
"""

import hashlib
import pathlib
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from lrpath.errors import MismatchError, StateError
from lrpath.lightning.path_run import PathRun
from lrpath.planning.paths import Path
from lrpath.records.files import read_json, write_json


class BatchDigests:
    """Keeps digests of batches beside a path's states, and compares with them.

    Args:
        run: The path.
    """

    def __init__(self, run: PathRun) -> None:
        self._run = run
        self._due = {run.begin}

    def is_due(self, update: int) -> bool:
        """Say whether the batch of an update is to be looked at."""
        return update in self._due

    def expect(self, position: int) -> None:
        """Look at the update behind a state that was saved: a later fit may start from it."""
        self._due.add(position)

    def compare(self, update: int, batch: Any, *, ranks: int) -> None:
        """Compare a batch with what is known, and keep its digest; the first rank.

        Raises:
            MismatchError: If the path, or its parent, has read another batch there, or the loader has started over.
        """
        self._due.discard(update)
        found = f"{ranks} ranks: {_digest(batch)}"
        for path in self._same_data(update):
            known = self._read(path).get(str(update), found)
            if known != found and known.startswith(f"{ranks} ranks"):
                raise self._error(update, f"is not the one that {path.name} has read at that position before")
        root = self._run.plan.tree.line(self._run.path.id)[0]
        if update > 0 and update == self._run.begin and self._read(root).get("0") == found:
            raise self._error(update, "is the very first one again")
        file = self._file(self._run.path)
        if file is not None and str(update) not in self._read(self._run.path):
            write_json(file, self._read(self._run.path) | {str(update): found})

    def _error(self, update: int, what: str) -> MismatchError:
        return MismatchError(
            f"{self._run.path.name}: the batch of the update from {update:,} {what}; start the data loader at "
            f"PathRun.begin, {update:,} updates into the data, or give PathForks(check_batches=False) if data repeat",
            field="check_batches",
            value=True,
        )

    def _same_data(self, update: int) -> list[Path]:
        """Return the path, and its parent if both read the same there."""
        path, tree = self._run.path, self._run.plan.tree
        if path.parent is None or update != path.start:
            return [path]
        parent = tree.path(path.parent.path_id)
        goes_on = parent.stream.end > update and parent.stream.spans(update, update + 1) == path.stream.spans(
            update, update + 1
        )
        return [path, parent] if goes_on else [path]

    def _file(self, path: Path) -> pathlib.Path | None:
        folder = self._run.study.find(path.id)
        return None if folder is None else folder.folder / "batches.json"

    def _read(self, path: Path) -> dict[str, str]:
        file = self._file(path)
        if file is None or not file.exists():
            return {}
        record = read_json(file, remedy="remove it")
        if not isinstance(record, dict) or not all(isinstance(one, str) for one in record.values()):
            raise StateError(f"{file} does not hold digests of batches; remove it")
        return record


def _digest(batch: Any) -> str:
    """Return a digest of the tensors in a batch, and of what else is plain data in it."""
    digest = hashlib.sha256()
    for leaf in tree_leaves(batch):
        if isinstance(leaf, torch.Tensor):
            digest.update(f"{leaf.dtype} {tuple(leaf.shape)}".encode())
            digest.update(leaf.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        elif isinstance(leaf, bool | int | float | str):
            digest.update(repr(leaf).encode())
    return digest.hexdigest()[:32]
