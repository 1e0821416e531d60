"""AdamW beside whose weights a running average is kept; its horizon is a share of all updates so far."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lrpath.training.optimizers.adamw import adamw_state


class RunningAverageAdamW(torch.optim.AdamW):
    """The updates of fused AdamW, to the bit; after each the average moves towards the new weights.

    The average of update t is `x_t = x_{t−1} + c_t·(θ_t − x_{t−1})`, `c_t = t^r / Σ_{s≤t} s^r`. The sum is kept beside
    AdamW's own moments, so that a state holds everything that the rest of a path depends on.

    Args:
        params: Parameter groups.
        betas: AdamW's.
        eps: AdamW's.
        power: Exponent `r` of the weights; at least 0.
    """

    def __init__(self, params: Any, *, betas: tuple[float, float], eps: float, power: float) -> None:
        super().__init__(params, lr=0.0, betas=betas, eps=eps, weight_decay=0.0, fused=True)
        self._power = power

    def state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        """Return what is kept for a parameter, made if there was no update yet: then the average is the parameter."""
        state = adamw_state(self, parameter)
        if "average" not in state:
            state["average"] = parameter.detach().clone(memory_format=torch.preserve_format)
            state["updates"] = torch.zeros((), dtype=torch.float64)
            state["weight_sum"] = torch.zeros((), dtype=torch.float64)
        return state

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Make one update of the parameters that have a gradient, and of their average."""
        loss = None
        if closure is not None:  # Lightning's makes the gradients: only then is it known which parameters have one
            with torch.enable_grad():
                loss = closure()
        live = [one for group in self.param_groups for one in group["params"] if one.grad is not None]
        states = [self.state_of(one) for one in live]
        super().step()
        if live:
            # One count for all, on the CPU: the step that AdamW counts may be on a GPU, and reading it would wait.
            updates = float(states[0]["updates"]) + 1
            weight = updates**self._power
            weights = float(states[0]["weight_sum"]) + weight
            for state in states:
                state["updates"].fill_(updates)
                state["weight_sum"].fill_(weights)
            torch._foreach_lerp_([state["average"] for state in states], live, weight / weights)
        return loss
