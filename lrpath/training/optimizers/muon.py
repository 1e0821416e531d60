"""Muon: the momentum of a matrix is made orthogonal before it is applied; what is no matrix of a block is AdamW's.

For a matrix with R rows, C columns, gradient g_t and rate η_t (Jordan et al. 2024; scaled as in arXiv 2502.16982):

    m_t     = μ·m_{t−1} + (1 − μ)·g_t
    u_t     = μ·m_t + (1 − μ)·g_t                          Nesterov's look-ahead
    O_t     ≈ U·Vᵀ where u_t = U·S·Vᵀ                      by Newton and Schulz's iteration, see `orthogonalized`
    W_{t+1} = W_t − η_t·(.2·√max(R, C)·O_t + λ·W_t)

The factor gives an update the size of AdamW's, whose root mean square is .2 to .4, so that one rate fits both.
Embeddings and the output head are matrices too, but rows of theirs belong to single tokens, and the published runs
leave them to AdamW.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from lrpath.training.optimizers.adamw import adamw_state

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of Jordan's quintic a·s + b·s³ + c·s⁵: it takes singular values in (0, 1] to between about .7 and 1.2."""
_RMS_OF_ADAMW = 0.2


class Muon(torch.optim.Optimizer):
    """Keeps `momentum` for the matrices of groups marked `orthogonalized`, and AdamW's moments for all others.

    The iteration runs in fp32: in bf16 its result, on one rank and on two, would differ by thousands of times more.
    Under FSDP2 a rank holds some rows of a matrix; the whole momentum is gathered, every rank orthogonalizes it and
    keeps its rows.

    Args:
        params: Parameter groups.
        betas: AdamW's.
        eps: AdamW's.
        momentum: `μ` in [0, 1).
        newton_schulz_steps: Iterations; at least 1.
    """

    def __init__(
        self, params: Any, *, betas: tuple[float, float], eps: float, momentum: float, newton_schulz_steps: int
    ) -> None:
        super().__init__(params, {"lr": 0.0, "weight_decay": 0.0, "orthogonalized": False})
        self._momentum = momentum
        self._steps = newton_schulz_steps
        self._others = [group for group in self.param_groups if not group["orthogonalized"]]
        plain = [{"params": group["params"]} for group in self._others]
        self._adamw = torch.optim.AdamW(plain, betas=betas, eps=eps, fused=True) if plain else None
        self._orthogonalized = {
            id(one) for group in self.param_groups if group["orthogonalized"] for one in group["params"]
        }

    def state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        """Return what is kept for a parameter, made if there was no update yet."""
        if id(parameter) not in self._orthogonalized:
            assert self._adamw is not None
            return adamw_state(self._adamw, parameter)
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        return state

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Make one update of the parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self._adamw is not None:
            for group, plain in zip(self._others, self._adamw.param_groups, strict=True):
                plain |= {"lr": group["lr"], "weight_decay": group["weight_decay"]}
            self._adamw.step()
        for group in self.param_groups:
            if group["orthogonalized"]:
                for one in group["params"]:
                    if one.grad is not None:
                        self._update(one, one.grad, rate=group["lr"], decay=group["weight_decay"])
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, *, rate: float, decay: float) -> None:
        momentum = self.state_of(parameter)["momentum"]
        momentum.lerp_(gradient, 1 - self._momentum)
        ahead = gradient.lerp(momentum, self._momentum)
        whole = ahead.full_tensor() if isinstance(ahead, DTensor) else ahead
        change = orthogonalized(whole, steps=self._steps) * (_RMS_OF_ADAMW * max(whole.shape) ** 0.5)
        if isinstance(ahead, DTensor):  # every rank has the whole result, so that none needs to send its rows
            change = distribute_tensor(change, ahead.device_mesh, ahead.placements, src_data_rank=None)
        parameter.mul_(1 - rate * decay).sub_(change, alpha=rate)


def orthogonalized(matrix: Tensor, *, steps: int) -> Tensor:
    """Return about `U·Vᵀ` of a matrix `U·S·Vᵀ`: its singular values are taken to near 1 without being computed.

    Args:
        matrix: Two dimensions; of zeros alone, zeros are returned.
        steps: Iterations.
    """
    a, b, c = _COEFFICIENTS
    wide = matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix
    wide = wide / wide.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = wide @ wide.mT
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    return wide.mT if matrix.shape[0] > matrix.shape[1] else wide
