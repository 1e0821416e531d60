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
