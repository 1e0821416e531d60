"""Begins a path with the weights that its parent would release, an average, in place of its live ones."""

import pathlib
from typing import Any

import torch
from torch import nn

from lrpath.planning.optimizers import Optimizer
from lrpath.planning.paths import StateKey
from lrpath.records.manifest import check_made_here, check_state
from lrpath.training.checkpoints.loading import load_tensors
from lrpath.training.checkpoints.states import tensors_of
from lrpath.training.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from lrpath.training.optimizers import combined


def load_released(
    folder: pathlib.Path,
    *,
    key: StateKey,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    parent: Optimizer,
    ranks: ProcessGroup = SINGLE_PROCESS,
) -> dict[str, Any]:
    """Load the weights that a state would release, and the moments that the path goes on with; return the manifest.

    Args:
        folder: Place of the state.
        key: Path and position that it must be of.
        module: Backbone, whole or sharded.
        optimizer: The path's own; what it keeps must be in the state, which may hold more.
        parent: Settings of the optimizer that the state is of.
        ranks: Those that hold the module, all of which call this; the first checks the files.

    Raises:
        StateError: If the state is missing, incomplete or altered, or lacks a moment.
    """
    manifest = ranks.on_rank_zero(lambda: check_state(folder, key=key))
    ranks.on_rank_zero(lambda: check_made_here(folder))
    wanted = tensors_of(module, optimizer)
    parameters = [(name, one.detach()) for name, one in module.named_parameters() if one.requires_grad]
    parts = {
        f"{kind}.{name}": torch.zeros_like(one)
        for name, one in parameters
        for kind in parent.released
        if f"{kind}.{name}" not in wanted
    }
    load_tensors(folder, wanted | parts, whole=False, ranks=ranks)
    for name, one in parameters:
        kept = {kind: (wanted | parts)[f"{kind}.{name}"] for kind in parent.released}
        one.copy_(combined(kept, settings=parent))
    return manifest
