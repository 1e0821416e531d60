"""Saves states: weights, moments and position, as safetensors through torch's distributed checkpoint.

A state is written under a temporary name, flushed, read back, given its manifest with digests, and renamed into place:
a folder in its place is a whole state. Random numbers and data are functions of position, so a state holds neither.
No pickle is written; `loading.py` reads them back.
"""

import contextlib
import errno
import os
import pathlib
import shutil
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.metadata import MetadataIndex
from torch.distributed.checkpoint.planner import WriteItem
from torch.distributed.tensor import DTensor

from lrpath import __version__
from lrpath.errors import TrainingError
from lrpath.planning.paths import StateKey
from lrpath.records.files import (
    digest_file,
    flush_file,
    flush_folder,
    make_folder,
    move_into_place,
    temporary_name,
    write_json,
)
from lrpath.records.manifest import MANIFEST, STATE_FORMAT, seal_manifest
from lrpath.records.shards import SUFFIX
from lrpath.training.checkpoints.disk import explain_disk_error
from lrpath.training.checkpoints.saved_copy import Copies, take_copies
from lrpath.training.checkpoints.shard_file import ShardPart, in_order_of_file, write_shard
from lrpath.training.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from lrpath.training.optimizers import moments


def tensors_of(module: nn.Module, optimizer: torch.optim.Optimizer | None) -> dict[str, torch.Tensor]:
    """Return everything a state holds, by name; the tensors are the live ones, so loading into them is loading.

    Args:
        module: Backbone; tied parameters are named once.
        optimizer: Its optimizer; None for the weights alone.
    """
    found = {}
    trained = set() if optimizer is None else {id(one) for group in optimizer.param_groups for one in group["params"]}
    for name, parameter in module.named_parameters():
        found[f"model.{name}"] = parameter.detach()
        if optimizer is not None and parameter.requires_grad:
            assert id(parameter) in trained, f"{name} is gathered: its moments are those of its shards"
            for moment, value in moments(optimizer, parameter).items():
                found[f"{moment}.{name}"] = value
    return found


class ShardWriter:
    """What this rank writes of a fit's states: the tensors themselves, or one copy of them in host memory.

    Who writes what is agreed once, since names, shapes and ranks stay. A tensor that several ranks hold is written, and
    copied, by one of them.

    Args:
        tensors: What the states hold, as `tensors_of` returns it.
        ranks: Those that hold the tensors, all of which make this.
        copied: Whether `take` copies, so that training may go on while the copy is written; host memory of the size of
            this rank's share is then held.

    Raises:
        TrainingError: If a rank has too little host memory for the copy.
    """

    def __init__(self, tensors: dict[str, torch.Tensor], *, ranks: ProcessGroup, copied: bool) -> None:
        self._planner = _Planner()
        self._copied = copied
        self._planner.set_up_planner(tensors, is_coordinator=ranks.is_rank_zero)
        plans, _ = self._planner.create_global_plan(ranks.gather(self._planner.create_local_plan))
        self._file = f"shard-{ranks.rank + 1:05d}-model-00001-of-00001{SUFFIX}"
        items = plans[ranks.rank].items
        parts = [_part(item) for item in items]
        order = in_order_of_file(parts)
        self._items, self._parts = [items[number] for number in order], parts
        self._device = next(iter(tensors.values())).device
        if copied:
            ranks.gather(self._allocate)

    def _allocate(self) -> None:
        on_gpu = self._device.type == "cuda"
        wanted = {item.index: _chunk(item) for item in self._items}
        if (kept := take_copies(wanted)) is not None:
            self._planner.copies |= kept
            return
        size = 0
        try:
            for index, (sizes, dtype) in wanted.items():
                copy = torch.empty(sizes, dtype=dtype, pin_memory=on_gpu)
                size += copy.nbytes
                self._planner.copies[index] = copy.zero_()  # touch the pages now, not in the first save
        except RuntimeError as error:
            raise TrainingError(
                f"the copy of a state does not fit into host memory ({error}) after {size / 1e9:.2f} GB; save without "
                "a copy: cadence.save_in_background=false",
                field="cadence.save_in_background",
                value=True,
            ) from error

    def take(self, tensors: dict[str, torch.Tensor]) -> None:
        """Take the values that the tensors have now; without copies, those they have when they are written."""
        self._planner.set_up_planner(tensors)
        for index, copy in self._planner.copies.items():
            copy.copy_(self._planner.lookup_live(index), non_blocking=True)
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()
        if self._copied:
            self._planner.state_dict = {}  # else the live tensors would outlive the fit

    @property
    def copies(self) -> Copies:
        """The copy in host memory, of what was taken last; empty where nothing is copied."""
        return self._planner.copies

    def write(self, folder: pathlib.Path) -> list[pathlib.Path]:
        """Write this rank's part of the state into a folder, and return the files that it has made."""
        if not self._items:
            return []
        file = folder / self._file
        with contextlib.ExitStack() as own:
            if self._device.type == "cuda":
                # What is not copied waits for the current stream. In a new thread that would be one of the first GPU,
                # or the one that the updates go on filling.
                own.enter_context(torch.cuda.device(self._device))
                own.enter_context(torch.cuda.stream(torch.cuda.Stream(self._device)))
                if not self._copied:
                    torch.cuda.current_stream().wait_stream(torch.cuda.default_stream())
            write_shard(file, self._parts, map(self._planner.value_of, self._items))
        return [file]


def _chunk(item: WriteItem) -> tuple[torch.Size, torch.dtype]:
    """Return sizes and type of what a rank writes of a tensor."""
    data = item.tensor_data
    assert data is not None
    return data.chunk.sizes, data.properties.dtype


def _part(item: WriteItem) -> ShardPart:
    sizes, dtype = _chunk(item)
    assert item.tensor_data is not None
    offsets = tuple(item.tensor_data.chunk.offsets)
    return ShardPart(name=item.index.fqn, dtype=dtype, offsets=offsets, sizes=tuple(sizes))


def all_finite(tensors: dict[str, torch.Tensor], *, ranks: ProcessGroup = SINGLE_PROCESS) -> bool:
    """Say whether no number of some tensors, over all ranks, is NaN or infinite; all ranks call this.

    One norm of all tensors at once, and one wait for the device: the largest absolute value is finite if all are. A sum
    would overflow before its terms do.
    """
    parts = [part for tensor in tensors.values() if (part := _local(tensor)).is_floating_point() and part.numel()]
    device = next(iter(tensors.values())).device
    odd = torch.zeros((), device=device)
    if parts:
        largest = torch.nn.utils.get_total_norm(parts, norm_type=float("inf"), foreach=True)
        odd = (~torch.isfinite(largest)).to(odd)
    return not ranks.all_reduce_sum(odd).item()


def _local(tensor: torch.Tensor) -> torch.Tensor:
    """Return this rank's part of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


class _Planner(DefaultSavePlanner):
    """Looks a tensor up in its copy, if there are copies.

    torch's own `async_save` copies too, but it plans anew for every save, lets one save overtake another's errors, and
    decides itself in which thread and process group the rest is done; here it must be the group whose other end knows
    that this rank is saving. So torch.distributed.checkpoint makes the plan, once, and `shard_file.py` writes each
    state.
    """

    def __init__(self) -> None:
        super().__init__()
        self.copies: dict[MetadataIndex, torch.Tensor] = {}

    def value_of(self, item: WriteItem) -> torch.Tensor:
        """Return the values of what this rank writes of a tensor."""
        found = self.resolve_data(item)
        assert isinstance(found, torch.Tensor), item.index.fqn
        return found

    def lookup_object(self, index: MetadataIndex) -> Any:
        return self.copies[index] if self.copies else self.lookup_live(index)

    def lookup_live(self, index: MetadataIndex) -> Any:
        return super().lookup_object(index)


def write_state(
    folder: pathlib.Path,
    *,
    key: StateKey,
    shards: ShardWriter,
    facts: dict[str, Any],
    ranks: ProcessGroup,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Write a state, whole or not at all; what it holds does not depend on the ranks that saved it.

    Args:
        folder: Place of the state.
        key: Path and position, kept in the manifest.
        shards: What this rank writes.
        facts: Further fields of the manifest: identity, what was read, where it ran.
        ranks: Those that hold the module, all of which call this; each writes its part into the one folder.
        check: Called on rank 0 before anything is written and before the state takes its place; raises if it must not.

    Raises:
        TrainingError: If it could not be written, a full disk for example, or does not read back as it was written;
            earlier states are untouched.
    """
    temporary = ranks.on_rank_zero(lambda: temporary_name(folder))
    try:
        ranks.on_rank_zero(lambda: _make(temporary, check))
        parts = ranks.gather(lambda: _write_shards(temporary, shards))
        files = dict(sorted((name, entry) for part in parts for name, entry in part.items()))
        ranks.on_rank_zero(
            lambda: _finish(temporary, folder=folder, key=key, rest={"files": files} | facts, check=check)
        )
    except BaseException as error:
        if ranks.is_rank_zero:
            shutil.rmtree(temporary, ignore_errors=True)
            check()  # a new owner has removed the folder that this one was writing into
        if isinstance(error, OSError):
            raise TrainingError(explain_disk_error(error, folder)) from error
        raise


def _make(temporary: pathlib.Path, check: Callable[[], None]) -> None:
    check()
    make_folder(temporary.parent)
    temporary.mkdir()


def _write_shards(folder: pathlib.Path, shards: ShardWriter) -> dict[str, Any]:
    """Write and flush this rank's files, which another node may not see yet, and return their sizes and digests.

    Raises:
        TrainingError: If a file does not read back as it was written.
    """
    entries = {}
    for file in shards.write(folder):
        digest = digest_file(file)
        flush_file(file)
        _drop_cached(file)
        if digest_file(file) != digest:
            raise TrainingError(
                f"{file} does not read back as it was written: the disk, or the memory, of this machine is at fault. "
                "Earlier states are kept; go on on another disk or machine"
            )
        entries[file.name] = {"bytes": file.stat().st_size, "sha256": digest}
    return entries


def _drop_cached(file: pathlib.Path) -> None:
    """Let what is read next of a file that was flushed come from the disk, as far as the system follows the advice."""
    with file.open("rb") as handle, contextlib.suppress(OSError):
        os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _finish(
    temporary: pathlib.Path, *, folder: pathlib.Path, key: StateKey, rest: dict[str, Any], check: Callable[[], None]
) -> None:
    manifest = {"format": STATE_FORMAT, "path_id": key.path_id, "position": key.position}
    made = {"lrpath": __version__, "torch": torch.__version__, "written": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    write_json(temporary / MANIFEST, seal_manifest(manifest | made | rest))
    flush_folder(temporary)
    check()
    if folder.exists() and not (folder / MANIFEST).exists():
        shutil.rmtree(folder)  # what a save of an earlier version left when it was killed
    try:
        move_into_place(temporary, folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        shutil.rmtree(temporary)  # a state of this name is there, whole, and the same
