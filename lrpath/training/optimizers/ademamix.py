"""AdEMAMix (arXiv 2409.03137): AdamW with a second, slow average of the gradient, which remembers thousands of updates.

With gradient g_t and rate η_t, at update t of the path's line since its root:

    m_t, v_t = moments of the gradient as in Adam, with β₁ and β₂
    s_t      = b_t·s_{t−1} + (1 − b_t)·g_t                    the slow average, from 0; it is not corrected
    W_{t+1}  = W_t − η_t·((m̂_t + a_t·s_t) / (√v̂_t + ε) + λ·W_t)      λ: on matrices only
    a_t      = a·p,   p = min(1, t / N)
    b_t      = exp(ln β₁·ln β₃ / ((1 − p)·ln β₃ + p·ln β₁)),  from β₁ to β₃

N, over which factor and memory of the slow average grow, is in updates: a share of a horizon, as in the paper, would
change the past of a path that goes on. A state keeps t and s: a branch goes on in the growth where its fork was, and
where the half-life of `s`, ln ½ / ln β₃ updates, is longer than the branch, it ends along gradients of the main path.
"""

import math
from typing import Any

import torch
from torch import Tensor

from lrpath.training.optimizers.by_group import GroupOptimizer, scale_by_second_moment


class AdEMAMix(GroupOptimizer):
    """The optimizer; it keeps both moments, `slow` and a count for a parameter.

    Args:
        params: Parameter groups.
        betas: `β₁` in (0, 1), `β₂` in [0, 1), and `β₃` in [β₁, 1).
        eps: Added to the root of the second moment; positive.
        slow_factor: `a`, at least 0; 0 is AdamW.
        growing: `N`, after how many updates the slow average has its last factor and memory [updates]; 0: at once.
    """

    def __init__(
        self, params: Any, *, betas: tuple[float, float, float], eps: float, slow_factor: float, growing: int
    ) -> None:
        super().__init__(params, {"lr": 0.0, "weight_decay": 0.0})
        self._betas, self._eps, self._factor, self._growing = betas, eps, slow_factor, growing

    def state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        """Return what is kept for a parameter, made if there was no update yet."""
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            state["updates"] = torch.zeros((), dtype=torch.float64)
            for name in ("exp_avg", "exp_avg_sq", "slow"):
                state[name] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        return state

    def slow(self, update: int) -> tuple[float, float]:
        """Return `a_t` and `b_t`, the factor of the slow average and its decay, at the `update`-th update."""
        progress = min(1.0, update / self._growing) if self._growing else 1.0
        first, last = math.log(self._betas[0]), math.log(self._betas[2])
        return self._factor * progress, math.exp(first * last / ((1.0 - progress) * last + progress * first))

    def _update(self, group: dict[str, Any], live: list[Tensor]) -> None:
        rate, decay = group["lr"], group["weight_decay"]
        states = [self.state_of(one) for one in live]
        update = self._advance(states)
        gradients = [one.grad for one in live if one.grad is not None]
        first, second, slow = ([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq", "slow"))
        beta1, beta2, _ = self._betas
        factor, beta3 = self.slow(update)
        torch._foreach_lerp_(first, gradients, 1 - beta1)
        torch._foreach_lerp_(slow, gradients, 1 - beta3)
        scale = scale_by_second_moment(second, gradients, beta2=beta2, eps=self._eps, update=update)
        change = list(torch._foreach_div(first, 1 - beta1**update))
        torch._foreach_add_(change, slow, alpha=factor)
        if decay:
            torch._foreach_mul_(live, 1 - rate * decay)
        torch._foreach_addcdiv_(live, change, scale, value=-rate)

    def _advance(self, states: list[dict[str, Tensor]]) -> int:
        """Count an update in every state, and return its number."""
        counts = {float(state["updates"]) for state in states}
        assert len(counts) == 1, "parameters of one group have made different numbers of updates"
        update = int(counts.pop()) + 1
        for state in states:
            state["updates"].fill_(update)
        return update
