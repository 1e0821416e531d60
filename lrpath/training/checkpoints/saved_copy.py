"""The copy of the last state that this process has saved: a branch that leaves there begins with it, not with the disk.

The copy is in host memory anyway while a path is run. Between two runs of a plan it is kept, for the next one to begin
with and then to save into: to pin host memory for a GPU takes seconds. There is one at most, and none after the plan.
"""

import pathlib
from dataclasses import dataclass
from typing import Any

import torch
from torch.distributed.checkpoint.metadata import MetadataIndex
from torch.distributed.tensor import DTensor

from lrpath.planning.paths import StateKey
from lrpath.records.file_memory import Fingerprint, fingerprint_of
from lrpath.records.manifest import MANIFEST, read_manifest

Copies = dict[MetadataIndex, torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedCopy:
    """The tensors of a state that is whole on disk.

    Args:
        folder: Place of the state.
        key: Path and position.
        manifest: What its manifest looked like when it had been written.
        copies: The tensors.
    """

    folder: pathlib.Path
    key: StateKey
    manifest: Fingerprint
    copies: Copies

    @classmethod
    def of(cls, folder: pathlib.Path, *, key: StateKey, copies: Copies) -> "SavedCopy":
        """Take the copies of a state that has just been written."""
        return cls(folder=folder, key=key, manifest=fingerprint_of(folder / MANIFEST), copies=copies)


_kept: list[SavedCopy] = []


def keep(copy: SavedCopy | None) -> None:
    """Keep a copy in place of the one before; None keeps none."""
    _kept[:] = [] if copy is None else [copy]


def take_copies(wanted: dict[MetadataIndex, tuple[torch.Size, torch.dtype]]) -> Copies | None:
    """Return the memory of the copy that is kept, if it has the sizes that are wanted; then no copy is kept."""
    found = _kept.pop().copies if _kept else {}
    return found if {index: (one.shape, one.dtype) for index, one in found.items()} == wanted else None


def recall(folder: pathlib.Path, *, key: StateKey, wanted: dict[str, torch.Tensor]) -> dict[str, Any] | None:
    """Copy the state that was saved last into tensors, and return its manifest; None if it is not that state.

    Args:
        folder: Place of the state that is wanted, whose manifest must be as this process left it.
        key: Its path and position.
        wanted: Tensors by name, all of them on this rank; they get the state's numbers.
    """
    if not _kept or (_kept[0].key, _kept[0].folder.absolute()) != (key, folder.absolute()):
        return None
    found = {index.fqn: tensor for index, tensor in _kept[0].copies.items()}
    alike = {name: (tensor.shape, tensor.dtype) for name, tensor in found.items()} == {
        name: (tensor.shape, tensor.dtype) for name, tensor in wanted.items()
    }
    if not alike or fingerprint_of(folder / MANIFEST) != _kept[0].manifest:
        return None
    for name, tensor in wanted.items():
        # FSDP on one rank shards nothing, but its tensors do not take plain ones
        (tensor.to_local() if isinstance(tensor, DTensor) else tensor).copy_(found[name])
    return read_manifest(folder)
