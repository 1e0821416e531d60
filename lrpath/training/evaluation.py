"""Negative log-likelihood of held-out windows: fp32 losses summed in float64, counted exactly."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from lrpath.models import CausalLM
from lrpath.training.distributed.process_group import SINGLE_PROCESS, ProcessGroup

HeldOutSet = tuple[str, str]
"""Version and domain of a held-out set."""
HeldOutSets = Mapping[HeldOutSet, NDArray[np.int64]]
"""Windows [N, L + 1] of every held-out set."""

WINDOWS_PER_BATCH = 32


class HeldOutLoss(Metric):
    """Summed negative log-likelihood [nats] and number of tokens of every held-out set.

    torchmetrics' own Perplexity needs the logits of all tokens at once, and sums in the input's type. Here every batch
    has a sum of its own. torchmetrics adds these over the ranks, which is exact since a batch is zero on all ranks but
    one, and `compute` adds them in the order of one process: the result does not depend on the number of ranks.

    >>> metric = HeldOutLoss([("v1", "code"), ("v1", "code"), ("v2", "code")])
    >>> for batch, nll in enumerate([2.0, 3.0, 8.0]):
    ...     metric.update(batch, torch.tensor([nll]), tokens=4)
    >>> metric.compute()
    {('v1', 'code'): (5.0, 8), ('v2', 'code'): (8.0, 4)}

    Args:
        set_of_batch: The held-out set that each batch belongs to.
        process_group: The ranks, each of which updates some of the batches.
    """

    higher_is_better = False
    full_state_update = False
    nll_K: Tensor
    tokens_K: Tensor

    def __init__(self, set_of_batch: Sequence[HeldOutSet], *, process_group: ProcessGroup = SINGLE_PROCESS) -> None:
        # torchmetrics would ask torch.distributed, in which one rank may evaluate by itself, without the others.
        super().__init__(
            dist_sync_fn=process_group.all_gather, distributed_available_fn=lambda: process_group.world_size > 1
        )
        self.set_of_batch = list(set_of_batch)
        batches = len(self.set_of_batch)
        self.add_state("nll_K", default=torch.zeros(batches, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("tokens_K", default=torch.zeros(batches, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, batch: int, nll_B: Tensor, *, tokens: int) -> None:
        """Add windows to a batch: their losses [nats], and how many tokens they predict together."""
        self.nll_K[batch] += nll_B.sum()
        self.tokens_K[batch] += tokens

    def compute(self) -> dict[HeldOutSet, tuple[float, int]]:
        """Return the summed loss [nats] and the number of tokens of every held-out set."""
        sums: dict[HeldOutSet, tuple[float, int]] = {}
        for name, nll, tokens in zip(self.set_of_batch, self.nll_K.tolist(), self.tokens_K.tolist(), strict=True):
            nll_before, tokens_before = sums.get(name, (0.0, 0))
            sums[name] = nll_before + nll, tokens_before + tokens
        return sums


@torch.no_grad()
def evaluate(
    backbone: CausalLM,
    held_out: HeldOutSets,
    *,
    device: torch.device,
    precision: str,
    process_group: ProcessGroup = SINGLE_PROCESS,
) -> dict[HeldOutSet, tuple[float, int]]:
    """Return the summed loss [nats] and the number of tokens of every held-out set, the same on all ranks.

    Args:
        backbone: The model, on `device`; it is put back into the mode that it is in.
        held_out: Windows by (version, domain).
        device: Where the model is.
        precision: `fp32` or `bf16`, the precision it was trained with.
        process_group: The ranks that hold the model, all of which call this; each takes every n-th batch.
    """
    batches = [
        (name, torch.from_numpy(windows_NL[first : first + WINDOWS_PER_BATCH]))
        for name, windows_NL in held_out.items()
        for first in range(0, len(windows_NL), WINDOWS_PER_BATCH)
    ]
    if not batches:
        return {}
    metric = HeldOutLoss([name for name, _ in batches], process_group=process_group).to(device)
    rank, ranks = process_group.rank, process_group.world_size
    was_training = backbone.training
    backbone.eval()
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        # All ranks make equally many forward passes, since a sharded model is gathered on all ranks or on none; where
        # no batch is left, a rank repeats the last one and counts nothing of it.
        for batch in range(rank, -(-len(batches) // ranks) * ranks, ranks):
            real = batch < len(batches)
            batch = min(batch, len(batches) - 1)
            _, ids_BL = batches[batch]
            nll_B = backbone.nll(ids_BL.to(device))
            metric.update(batch, nll_B if real else nll_B[:0], tokens=ids_BL[:, 1:].numel() if real else 0)
            process_group.watchdog.note_progress()
    backbone.train(was_training)
    losses: dict[HeldOutSet, tuple[float, int]] = metric.compute()
    return losses
