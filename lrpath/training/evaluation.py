"""Negative log-likelihood of held-out windows: fp32 losses summed in float64, counted exactly."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from lrpath.models import CausalLM

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
    backbone: CausalLM, held_out: HeldOutSets, *, device: torch.device, precision: str
) -> dict[tuple[str, str], tuple[float, int]]:
    """Return the summed loss [nats] and the tokens predicted for every held-out set.

    Args:
        backbone: The model, on `device`; its mode is restored.
        held_out: Windows by (version, domain).
        device: Where the model is.
        precision: `fp32` or `bf16`, the compute it was trained with.
    """
    was_training = backbone.training
    backbone.eval()
    found = {}
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        for name, windows_NL in held_out.items():
            metric = TokenLoss().to(device)
            for first in range(0, len(windows_NL), WINDOWS_PER_BATCH):
                ids_BL = torch.from_numpy(windows_NL[first : first + WINDOWS_PER_BATCH]).to(device)
                metric.update(backbone.nll(ids_BL), ids_BL[:, 1:].numel())
            found[name] = (float(metric.nll), int(metric.tokens))
    backbone.train(was_training)
    return found
