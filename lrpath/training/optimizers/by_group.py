"""What optimizers of lrpath share that update a group of parameters at once."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class GroupOptimizer(torch.optim.Optimizer):
    """An optimizer whose update is that of all parameters of a group together."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Make one update of the parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            live = [one for one in group["params"] if one.grad is not None]
            if live:
                self._update(group, live)
        return loss

    @abstractmethod
    def _update(self, group: dict[str, Any], live: list[Tensor]) -> None:
        """Update the parameters of a group that have a gradient."""


def scale_by_second_moment(
    second: list[Tensor], gradients: list[Tensor], *, beta2: float, eps: float, update: float
) -> list[Tensor]:
    """Take gradients into their second moments, and return `√v̂ + ε`, which Adam divides a change by.

    Args:
        second: Second moments `v`; changed in place.
        gradients: Of the same shapes.
        beta2: Decay of the second moments, in `[0, 1)`.
        eps: Added to the root.
        update: Number of this update, from 1, for the correction of the beginning at 0.
    """
    torch._foreach_mul_(second, beta2)
    torch._foreach_addcmul_(second, gradients, gradients, value=1 - beta2)
    scale = list(torch._foreach_div(second, 1 - beta2**update))
    torch._foreach_sqrt_(scale)
    torch._foreach_add_(scale, eps)
    return scale
