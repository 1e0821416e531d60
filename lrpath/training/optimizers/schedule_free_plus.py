"""ScheduleFree+ (arXiv 2605.19095) at the plan's rate: schedule-free AdamW for larger batches and longer runs.

Beside `schedule_free`, it has a momentum inside the step, a share of the average that grows, and a decay that falls
with the square of the rate (AdamC, arXiv 2506.02285):

    m_t, v_t = moments of the gradient g_t, taken at y_{t−1}, as in Adam
    z_t      = z_{t−1} − η_t·(m̂_t / (√v̂_t + ε) + (η_t / max_{s≤t} η_s)·λ·y_{t−1})      λ: on matrices only
    x_t      = (1 − c_t)·x_{t−1} + c_t·z_t,   c_t = 1 for t ≤ W, then w_t / Σ_{W<s≤t} w_s,   w_t = t^r · (max η_s)²
    y_t      = (1 − b_t)·z_t + b_t·x_t,       1 − b_t = (1 − b)^(1 − p)·(1 − B)^p,   p = min(1, t / N)

What is left out is the paper's Polyak step, which makes a rate of the loss: here the plan gives the rate, and a state
would else depend on a loss. At a constant rate AdamC's decay is AdamW's; λ is in AdamW's units.

Since `b_t` changes, `x` cannot be had from `y` and `z` by fixed coefficients, so it is kept: four tensors a parameter.
"""

import math
from typing import Any

import torch
from torch import Tensor

from lrpath.training.optimizers.by_group import GroupOptimizer, scale_by_second_moment


class ScheduleFreePlusAdamC(GroupOptimizer):
    """The optimizer; parameters hold `y`, and its state `average` (`x`), `z`, both moments and three scalars.

    Args:
        params: Parameter groups.
        betas: Decay of the first and of the second moment, in [0, 1).
        eps: Added to the root of the second moment; positive.
        power: Exponent `r` of the average's weights; at least 0.
        shares: `b` and `B`, in [0, 1): the average's share in the point where gradients are taken, at first and last.
        growing: `N`, after how many updates it has its last value [updates]; 0: at once.
        follows: `W`, during how many first updates the average is `z` itself [updates].
    """

    def __init__(
        self,
        params: Any,
        *,
        betas: tuple[float, float],
        eps: float,
        power: float,
        shares: tuple[float, float],
        growing: int,
        follows: int,
    ) -> None:
        super().__init__(params, {"lr": 0.0, "weight_decay": 0.0})
        self._betas, self._eps, self._power = betas, eps, power
        self._shares, self._growing, self._follows = shares, growing, follows

    def state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        """Return what is kept for a parameter, made if there was no update yet: all three points are the parameter."""
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            for name in ("updates", "weight_sum", "largest_rate"):
                state[name] = torch.zeros((), dtype=torch.float64)
            for name in ("z", "average"):
                state[name] = parameter.detach().clone(memory_format=torch.preserve_format)
            for name in ("exp_avg", "exp_avg_sq"):
                state[name] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        return state

    def share(self, update: int) -> float:
        """Return `b_t`, the average's share in the point after `update` updates."""
        progress = min(1.0, update / self._growing) if self._growing else 1.0
        first, last = self._shares
        return 1.0 - math.pow(1.0 - first, 1.0 - progress) * math.pow(1.0 - last, progress)

    def _update(self, group: dict[str, Any], live: list[Tensor]) -> None:
        rate, decay = group["lr"], group["weight_decay"]
        states = [self.state_of(one) for one in live]
        update, taken, corrected = self._advance(states, rate=rate)
        gradients = [one.grad for one in live if one.grad is not None]
        first, second, base, average = (
            [state[name] for state in states] for name in ("exp_avg", "exp_avg_sq", "z", "average")
        )
        beta1, beta2 = self._betas
        torch._foreach_lerp_(first, gradients, 1 - beta1)
        scale = scale_by_second_moment(second, gradients, beta2=beta2, eps=self._eps, update=update)
        if decay:
            torch._foreach_add_(base, live, alpha=-rate * corrected * decay)
        torch._foreach_addcdiv_(base, first, scale, value=-rate / (1 - beta1**update))
        torch._foreach_lerp_(average, base, taken)
        share = self.share(update)
        for one, fast, slow in zip(live, base, average, strict=True):
            one.copy_(fast).lerp_(slow, share)  # not by _foreach_copy_, which DTensor does not know

    def _advance(self, states: list[dict[str, Tensor]], *, rate: float) -> tuple[int, float, float]:
        """Count an update in every state; return its number, `c_t`, and the rate as a share of the largest so far."""
        counts = {(float(s["updates"]), float(s["weight_sum"]), float(s["largest_rate"])) for s in states}
        assert len(counts) == 1, "parameters of one group have made different numbers of updates"
        made, weights, largest = counts.pop()
        update, largest = int(made) + 1, max(largest, rate)
        weight = update**self._power * largest**2 if update > self._follows else 0.0
        weights += weight
        for state in states:
            state["updates"].fill_(update)
            state["weight_sum"].fill_(weights)
            state["largest_rate"].fill_(largest)
        follows = update <= self._follows
        taken = 1.0 if follows else weight / weights if weights > 0 else 0.0
        return update, taken, rate / largest if largest > 0 else 0.0
