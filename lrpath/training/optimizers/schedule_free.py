"""Schedule-free AdamW: an average of the weights takes the place of a decay, so a path can be released anywhere.

Three sequences (arXiv 2405.15682, section 2, with AdamW's preconditioner): gradients are taken at `y`, steps are made
on `z`, and the model that is evaluated and released is the average `x`:

    y_t     = (1 − β₁)·z_t + β₁·x_t                        where the gradient g_t is taken; the live parameters
    v_t     = β₂·v_{t−1} + (1 − β₂)·g_t²                   as in AdamW, with its bias correction
    u_t     = g_t / (√v̂_t + ε) + λ·y_t                     λ: decoupled decay, on matrices only
    z_{t+1} = z_t − η_t·u_t
    x_{t+1} = (1 − c_t)·x_t + c_t·z_{t+1},   c_t = w_t / Σ_{s≤t} w_s,   w_t = t^r · (max_{s≤t} η_s)²

`x` is not kept: it is `(y − (1 − β₁)·z) / β₁`. Eliminating it gives the update of the live parameters,

    y_{t+1} = (1 − c_t)·y_t + c_t·z_t + η_t·(β₁·(1 − c_t) − 1)·u_t.

`r = 0` is the paper's; `r > 0` forgets the beginning faster: with `r` the average spans about the last `1/(r + 1)` of
all updates (arXiv 2605.19095 weights by t^r for long runs).
"""

from typing import Any

import torch
from torch import Tensor

from lrpath.training.optimizers.by_group import GroupOptimizer, scale_by_second_moment


class ScheduleFreeAdamW(GroupOptimizer):
    """The optimizer; parameters hold `y`, and its state `z`, `exp_avg_sq` and three scalars on the CPU.

    The scalars are kept beside each parameter, as AdamW keeps its `step`, so that a state holds everything that the
    rest of a path depends on.

    Args:
        params: Parameter groups.
        betas: `β₁` in (0, 1), the share of the average in the point where gradients are taken, and `β₂` in [0, 1).
        eps: Added to the root of the second moment; positive.
        power: Exponent `r` of the average's weights; at least 0.
    """

    def __init__(self, params: Any, *, betas: tuple[float, float], eps: float, power: float) -> None:
        super().__init__(params, {"lr": 0.0, "betas": betas, "eps": eps, "power": power, "weight_decay": 0.0})

    def state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        """Return what is kept for a parameter, made if there was no update yet: then `z` is the parameter itself."""
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            for name in ("step", "weight_sum", "largest_rate"):
                state[name] = torch.zeros((), dtype=torch.float64)
            state["z"] = parameter.detach().clone(memory_format=torch.preserve_format)
            state["exp_avg_sq"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        return state

    def _update(self, group: dict[str, Any], live: list[Tensor]) -> None:
        states = [self.state_of(one) for one in live]
        (beta1, beta2), rate = group["betas"], group["lr"]
        share, step = _advance(states, rate=rate, power=group["power"])
        gradients = [one.grad for one in live if one.grad is not None]
        second = [state["exp_avg_sq"] for state in states]
        scale = scale_by_second_moment(second, gradients, beta2=beta2, eps=group["eps"], update=step)
        change = torch._foreach_div(gradients, scale)
        if group["weight_decay"]:
            torch._foreach_add_(change, live, alpha=group["weight_decay"])
        base = [state["z"] for state in states]
        torch._foreach_lerp_(live, base, share)
        torch._foreach_add_(live, change, alpha=rate * (beta1 * (1 - share) - 1))
        torch._foreach_add_(base, change, alpha=-rate)


def _advance(states: list[dict[str, Tensor]], *, rate: float, power: float) -> tuple[float, float]:
    """Count an update in every state, and return the share `c_t` of the average and the number of the update."""
    counts = {(float(s["step"]), float(s["weight_sum"]), float(s["largest_rate"])) for s in states}
    assert len(counts) == 1, "parameters of one group have made different numbers of updates"
    step, weights, largest = counts.pop()
    step, largest = step + 1, max(largest, rate)
    weight = step**power * largest**2
    weights += weight
    for state in states:
        state["step"].fill_(step)
        state["weight_sum"].fill_(weights)
        state["largest_rate"].fill_(largest)
    return (weight / weights if weights > 0 else 0.0), step
