"""Saves the states of one fit, in the background: the updates wait for a copy of the tensors, not for the disk.

Everything behind the copy (shards, flush, digests, rename, manifest, removal of earlier states) happens in a thread of
each rank, and the threads talk over a group of their own. It is the work of a save that the updates wait for, by the
same functions in the same order, so the states on disk are the same.
"""

import pathlib
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

import torch

from lrpath.planning.paths import StateKey
from lrpath.training.checkpoints.saved_copy import SavedCopy, keep
from lrpath.training.checkpoints.states import ShardWriter, write_state
from lrpath.training.distributed.process_group import SINGLE_PROCESS, ProcessGroup, is_process_group_error

LONGEST_END_SECONDS = 600.0
"""How long a fit that ends with an error waits for its last save [s]: the thread of a rank that hangs would never end.

After the loss of a rank it does not wait at all: the other ranks' threads may be waiting for the lost rank, or for this
one to leave the process group.
"""


class StateSaver:
    """Saves states one at a time. As a block around a fit, its end waits for the last save and raises what went wrong.

    Args:
        background: Whether updates go on while a state is written; else they wait for it.
        ranks: Those that hold the states, all of which save them together.
    """

    def __init__(self, *, background: bool, ranks: ProcessGroup = SINGLE_PROCESS) -> None:
        self._background = background
        self._ranks = ranks
        self._shards: ShardWriter | None = None
        self._thread: threading.Thread | None = None
        self._failure: Exception | None = None
        self._last: SavedCopy | None = None

    def __enter__(self) -> "StateSaver":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if kind is None:
            self.wait()
            keep(self._last)
        elif self._thread is not None and not is_process_group_error(error):
            self._thread.join(LONGEST_END_SECONDS)
        self._shards = None  # a copy as large as this rank's share

    @property
    def failure(self) -> Exception | None:
        """Why a save has failed, if one has; cheap enough to be asked at every update."""
        return self._failure

    def wait(self) -> None:
        """Wait for the save before.

        Raises:
            TrainingError: If it failed, on all ranks alike.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._failure is not None:
            raise self._failure

    def prepare(self, tensors: dict[str, torch.Tensor]) -> None:
        """Agree which rank writes what, and allocate the copy in host memory, once for all saves.

        Args:
            tensors: What the states hold, as `tensors_of` returns it.

        Raises:
            TrainingError: If a rank has too little host memory.
        """
        if self._shards is None:
            self._shards = ShardWriter(tensors, ranks=self._ranks, copied=self._background)

    def save(
        self,
        folder: pathlib.Path,
        *,
        key: StateKey,
        tensors: dict[str, torch.Tensor],
        facts: dict[str, Any],
        check: Callable[[], None] = lambda: None,
        before: Callable[[], None] = lambda: None,
        then: Callable[[], None] = lambda: None,
    ) -> None:
        """Save a state after the one before; it is whole when `wait` returns.

        Args:
            folder: Place of the state.
            key: Path and position.
            tensors: What it holds, as `tensors_of` returns it; in the background they may change when this returns.
            facts: Further fields of the manifest.
            check: Called on the first rank before the state takes its place; raises if it must not.
            before: Called on the first rank before the state is written: what must be on the disk earlier.
            then: Called on the first rank when the state is whole.

        Raises:
            TrainingError: If this save or the one before could not be written; earlier states are untouched.
        """
        self.wait()
        self.prepare(tensors)
        assert self._shards is not None
        shards, self._last = self._shards, None
        shards.take(tensors)

        def write() -> None:
            self._ranks.background.on_rank_zero(before)
            write_state(folder, key=key, shards=shards, facts=facts, ranks=self._ranks.background, check=check)
            self._ranks.background.on_rank_zero(then)
            if shards.copies and self._ranks.world_size == 1:  # of several ranks, each has a part
                self._last = SavedCopy.of(folder, key=key, copies=shards.copies)

        if self._background:
            self._thread = threading.Thread(target=self._keep_failure, args=(write,), name=f"save {key}", daemon=True)
            self._thread.start()
        else:
            write()

    def _keep_failure(self, write: Callable[[], None]) -> None:
        try:
            write()
        except Exception as error:  # whatever it is, the updates must not go on as if the state were there
            self._failure = error
