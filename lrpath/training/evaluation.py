"""Negative log-likelihood of held-out windows: fp32 losses summed in float64, counted exactly."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torchmetrics import Metric

from lrpath.models import CausalLM
from lrpath.training.distributed.process_group import SINGLE_PROCESS, ProcessGroup

HeldOutSets = Mapping[tuple[str, str], NDArray[np.int64]]
"""Windows [N, L + 1] by (version, domain)."""

WINDOWS_PER_BATCH = 32


class TokenLoss(Metric):
    """Sum of negative log-likelihoods [nats] and number of tokens; their ratio's exponential is the perplexity.

    torchmetrics' own Perplexity needs the logits of all tokens at once and sums in the input's type.
    """

    higher_is_better = False
    full_state_update = False
    nll: Tensor
    tokens: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("nll", default=torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("tokens", default=torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, nll_B: Tensor, tokens: int) -> None:
        """Add the windows of a batch: their summed losses [nats] and how many tokens they predict together."""
        self.nll += nll_B.double().sum()
        self.tokens += tokens

    def compute(self) -> Tensor:
        """Return the mean loss [nats per token]."""
        return self.nll / self.tokens


@torch.no_grad()
def evaluate(
    backbone: CausalLM,
    held_out: HeldOutSets,
    *,
    device: torch.device,
    precision: str,
    ranks: ProcessGroup = SINGLE_PROCESS,
) -> dict[tuple[str, str], tuple[float, int]]:
    """Return the summed loss [nats] and the tokens predicted for every held-out set, the same on all ranks.

    The batches are those of one process, and so is the order in which their sums are added: what is returned does not
    depend on the number of ranks.

    Args:
        backbone: The model, on `device`; its mode is restored.
        held_out: Windows by (version, domain).
        device: Where the model is.
        precision: `fp32` or `bf16`, the compute it was trained with.
        ranks: Those that hold the model, all of which call this; each takes every n-th batch.
    """
    batches = [
        (name, torch.from_numpy(windows_NL[first : first + WINDOWS_PER_BATCH]))
        for name, windows_NL in held_out.items()
        for first in range(0, len(windows_NL), WINDOWS_PER_BATCH)
    ]
    sums_K = torch.zeros(len(batches), dtype=torch.float64, device=device)
    was_training = backbone.training
    backbone.eval()
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        for number in range(ranks.rank, -(-len(batches) // ranks.count) * ranks.count, ranks.count):
            _, ids_BL = batches[min(number, len(batches) - 1)]  # a sharded model is gathered on all ranks or on none
            nll_B = backbone.nll(ids_BL.to(device))
            if number < len(batches):
                sums_K[number] = nll_B.sum()
            ranks.watchdog.touch()
    backbone.train(was_training)
    if isinstance(backbone, FSDPModule):
        backbone.reshard()  # embedding and head stay gathered until a backward pass that never comes
    metrics = {name: TokenLoss() for name in held_out}
    for (name, ids_BL), nll in zip(batches, ranks.total(sums_K).cpu(), strict=True):  # the other ranks' are zero
        metrics[name].update(nll[None], ids_BL[:, 1:].numel())
    return {name: (float(metric.nll), int(metric.tokens)) for name, metric in metrics.items()}
