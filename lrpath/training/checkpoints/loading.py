"""Loads states: checked against the digests of their manifest while they are read, into any number of ranks.

No pickle is read.
"""

import contextlib
import pathlib
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
from torch.distributed.checkpoint.state_dict_loader import load

from lrpath.errors import LrpathError, StateError
from lrpath.planning.paths import StateKey
from lrpath.records.files import digest_file
from lrpath.records.manifest import check_made_here, check_state
from lrpath.records.shards import StoredTensor, shown, stored_tensors
from lrpath.training.checkpoints.states import tensors_of
from lrpath.training.distributed.process_group import SINGLE_PROCESS, ProcessGroup

_HASHING_THREADS = 4  # of a state that several ranks have saved, each of which has a file of its own


def load_state(
    folder: pathlib.Path,
    *,
    key: StateKey,
    module: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    ranks: ProcessGroup = SINGLE_PROCESS,
) -> dict[str, Any]:
    """Load a state into a module and its optimizer after checking it, and return its manifest.

    Args:
        folder: Place of the state; it may have been saved by any number of ranks.
        key: Path and position that it must be of.
        module: Backbone, whole or sharded.
        optimizer: Its optimizer; None for the weights alone.
        ranks: Those that hold the module, all of which call this; the first checks the files.

    Raises:
        StateError: If the state is missing, incomplete or altered, or was made for another model.
    """
    with checked(folder, key=key, ranks=ranks) as manifest:
        load_tensors(folder, tensors_of(module, optimizer), whole=optimizer is not None, ranks=ranks)
    return manifest


@contextlib.contextmanager
def checked(folder: pathlib.Path, *, key: StateKey, ranks: ProcessGroup = SINGLE_PROCESS) -> Iterator[dict[str, Any]]:
    """Check a state while a block reads it; if it was altered, this is raised at the end of the block.

    Threads of the first rank take the digests meanwhile, so that the files come from the disk once, and loading takes
    as long as the slower of the two. What the block has read counts only behind it.

    Args:
        folder: Place of the state.
        key: Path and position that it must be of.
        ranks: Those that read it, all of which call this.

    Yields:
        The manifest.

    Raises:
        StateError: If the state is missing, incomplete or altered, or was made by another trainer.
    """
    manifest = ranks.on_rank_zero(lambda: check_state(folder, key=key, digest=None))
    with ThreadPoolExecutor(_HASHING_THREADS, thread_name_prefix="digest") as pool:
        files = sorted(manifest["files"]) if ranks.is_rank_zero else []
        digests = {name: pool.submit(digest_file, folder / name) for name in files}

        def compare() -> None:
            ranks.on_rank_zero(lambda: check_state(folder, key=key, digest=lambda file: digests[file.name].result()))

        try:
            ranks.on_rank_zero(lambda: check_made_here(folder))
            yield manifest
        except Exception as error:
            # Of a file that was altered this is to be said, and not what came of it. All ranks raise an LrpathError.
            if ranks.world_size == 1 or isinstance(error, LrpathError):
                compare()
            raise
        compare()


def load_tensors(
    folder: pathlib.Path, wanted: dict[str, torch.Tensor], *, whole: bool, ranks: ProcessGroup = SINGLE_PROCESS
) -> None:
    """Load tensors of a state that was checked into those given.

    Args:
        folder: Place of the state.
        wanted: Tensors by name, whole or sharded; they get the state's numbers.
        whole: Whether the state must hold nothing else.
        ranks: Those that hold the tensors, all of which call this.

    Raises:
        StateError: If the state lacks a tensor, has another type or shape, or cannot be read.
    """
    _check_fits(ranks.on_rank_zero(lambda: stored_tensors(folder)), wanted, folder=folder, whole=whole)
    reader = HuggingFaceStorageReader(str(folder))
    try:
        with _single_process_warnings_off():
            load(wanted, storage_reader=reader, process_group=ranks.control, no_dist=ranks.control is None)
    except CheckpointException as error:
        raise StateError(
            f"{folder} cannot be read ({_cause(error)}); correct this, or restore the state from a copy"
        ) from error


def read_tensors(folder: pathlib.Path, *, prefix: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the whole tensors of a state by name, one in memory at a time, put together from the shards of all ranks.

    Args:
        folder: Place of the state.
        prefix: Beginning of the names that are wanted.

    Raises:
        StateError: If a file is not a shard.
    """
    for name, stored in sorted(stored_tensors(folder).items()):
        if not name.startswith(prefix):
            continue
        tensor = torch.empty(stored.shape, dtype=getattr(torch, stored.dtype))
        with _single_process_warnings_off():
            load({name: tensor}, storage_reader=HuggingFaceStorageReader(str(folder)), no_dist=True)
        yield name, tensor


def _check_fits(
    stored: dict[str, StoredTensor], wanted: dict[str, torch.Tensor], *, folder: pathlib.Path, whole: bool
) -> None:
    """Raise unless a state holds what a model wants; if it is to be loaded whole, nothing else."""
    has = {name: f"{tensor.dtype} {tensor.shape}" for name, tensor in stored.items()}
    asked = {name: f"{tensor.dtype} {tuple(tensor.shape)}".removeprefix("torch.") for name, tensor in wanted.items()}
    missing = sorted(asked.keys() - has.keys())
    unknown = sorted(shown(name) for name in has.keys() - asked.keys()) if whole else []
    wrong = [f"{name}: {has[name]} → {asked[name]}" for name in asked if name in has and has[name] != asked[name]]
    if missing or unknown or wrong:
        raise StateError(
            f"{folder} was made for another model: tensors missing in it {missing[:3]}, unknown to this model "
            f"{unknown[:3]}, of another type or shape {wrong[:3]}; restore the state, or choose the study that it "
            "belongs to"
        )


@contextlib.contextmanager
def _single_process_warnings_off() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield


def _cause(error: CheckpointException) -> BaseException:
    """Return what the first rank that failed has raised."""
    cause: BaseException = next(iter(error.failures.values()))[0]
    return cause
