"""Cross-entropy of a linear head without the logits of all tokens: chunk after chunk, gradients made on the way.

For a chunk of tokens with logits z = h·Wᵀ and targets y the loss is Σ (logsumexp(z) − z_y). Its gradient by z is
softmax(z) − onehot(y), known as soon as z is, so the forward pass makes the gradients of h and W and drops z; the
backward pass scales them. The matrix products are the three of the plain loss, no more.

Rejected: `torch.nn.functional.linear_cross_entropy` (torch ≥ 2.13 only; chunked by `LinearCrossEntropyOptions`) and
`torch.utils.checkpoint` of chunks (a fourth product). Forward and backward on 2 CPU cores with torch 2.13, the four in
turn, median (fastest) in ms:

    hidden, vocabulary, tokens           plain           this  linear_cross_entropy     checkpoint
    64, 512, 4,096                   19 (11.5)       13 (6.5)              17 (7.7)      23 (10.4)
    256, 8,192, 4,096              1465  (919)     967  (901)           4689 (2682)    1757 (1343)
    512, 32,000, 2,048             1948 (1266)    1194 (1163)           1788 (1676)    1923 (1886)

Shapes: B sequences, T positions, N = B·T tokens, D hidden features, V vocabulary.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lrpath.planning.cost import loss_chunk_tokens

Reduction = Literal["sum", "mean"]


def causal_loss(
    hidden_BTD: Tensor,
    weight_VD: Tensor,
    targets_BT: Tensor,
    *,
    reduction: Reduction = "mean",
    compiled: bool = False,
) -> Tensor:
    """Return the cross-entropy of `softmax(hidden · weightᵀ)` against the targets [nats], a scalar in fp32.

    The products run in the dtype of autocast where it is on, else in that of `hidden_BTD`; softmax and sums run in
    fp32, and the gradient of the weight is summed over chunks in fp32.

    Args:
        hidden_BTD: Final hidden states, `[B, T, D]`.
        weight_VD: Weight of the output head, `[V, D]`.
        targets_BT: Token ids that are to be predicted, `[B, T]`, int64, each in `[0, V)`.
        reduction: `sum` over all tokens, or their `mean`.
        compiled: Whether what is done with a chunk's logits is compiled. It reads and writes them six times otherwise,
            which for a small model with a large vocabulary takes longer on a GPU than the products.

    Raises:
        ValueError: If the shapes do not fit, or `reduction` is unknown.
    """
    _check(hidden_BTD, weight_VD, targets_BT, reduction)
    scale = 1.0 if reduction == "sum" else 1.0 / targets_BT.numel()
    if torch.is_grad_enabled() and (hidden_BTD.requires_grad or weight_VD.requires_grad):
        total: Tensor = _ChunkedLoss.apply(hidden_BTD, weight_VD, targets_BT, compiled)
    else:
        total = token_nll(hidden_BTD, weight_VD, targets_BT).sum()
    return total * scale


@torch.no_grad()
def token_nll(hidden_BTD: Tensor, weight_VD: Tensor, targets_BT: Tensor) -> Tensor:
    """Return the negative log-likelihood of every target [nats], `[B, T]` in fp32, without gradient.

    Args:
        hidden_BTD: Final hidden states, `[B, T, D]`.
        weight_VD: Weight of the output head, `[V, D]`.
        targets_BT: Token ids, `[B, T]`, int64.

    Raises:
        ValueError: If the shapes do not fit.
    """
    _check(hidden_BTD, weight_VD, targets_BT, "sum")
    hidden, weight = _in_compute_dtype(hidden_BTD.flatten(0, -2), weight_VD)
    size = _chunk_tokens(weight)
    chunks = zip(hidden.split(size), targets_BT.flatten().split(size), strict=True)
    with _no_autocast(hidden):
        nll_N = torch.cat([-_log_probs(part, weight).gather(1, targets[:, None]) for part, targets in chunks])
    return nll_N.view_as(targets_BT)


def _check(hidden_BTD: Tensor, weight_VD: Tensor, targets_BT: Tensor, reduction: str) -> None:
    if hidden_BTD.shape[:-1] != targets_BT.shape or hidden_BTD.shape[-1] != weight_VD.shape[-1]:
        raise ValueError(
            f"hidden {tuple(hidden_BTD.shape)}, weight {tuple(weight_VD.shape)} and targets {tuple(targets_BT.shape)} "
            "must have the shapes [B, T, D], [V, D] and [B, T]"
        )
    if reduction not in ("sum", "mean"):
        raise ValueError(f"reduction must be sum or mean, not {reduction!r}")


class _ChunkedLoss(torch.autograd.Function):
    """Sum of the cross-entropies of all tokens, by the formula at the top of this file."""

    @staticmethod
    def forward(ctx: Any, hidden_BTD: Tensor, weight_VD: Tensor, targets_BT: Tensor, compiled: bool) -> Tensor:  # noqa: FBT001
        hidden, weight = _in_compute_dtype(hidden_BTD.flatten(0, -2), weight_VD)
        targets_N = targets_BT.flatten()
        grad_hidden = torch.empty_like(hidden)
        grad_weight_VD = torch.zeros_like(weight_VD, dtype=torch.float32)
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        size, of_chunk = _chunk_tokens(weight), _compiled() if compiled else _nll_and_gradient
        with _no_autocast(hidden):
            for start in range(0, len(targets_N), size):
                rows = slice(start, start + size)
                nll, grad_logits = of_chunk(hidden[rows], weight, targets_N[rows, None])
                total += nll
                torch.mm(grad_logits, weight, out=grad_hidden[rows])
                _add_product(grad_weight_VD, grad_logits.t(), hidden[rows])
        ctx.save_for_backward(grad_hidden.view_as(hidden_BTD).to(hidden_BTD.dtype), grad_weight_VD.to(weight_VD.dtype))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor, Tensor, None, None]:
        grad_hidden_BTD, grad_weight_VD = ctx.saved_tensors
        # Not in place: the same loss may be sent backward twice.
        return (
            grad_hidden_BTD * grad_loss.to(grad_hidden_BTD.dtype),
            grad_weight_VD * grad_loss.to(grad_weight_VD.dtype),
            None,
            None,
        )


def _chunk_tokens(weight_VD: Tensor) -> int:
    return loss_chunk_tokens(weight_VD.shape[0], on_cpu=weight_VD.device.type == "cpu")


def _nll_and_gradient(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return a chunk's loss in fp32, and its gradient by the logits in the dtype of the products."""
    log_probs = _log_probs(hidden, weight)
    nll = log_probs.gather(1, targets).sum().neg()
    grad = log_probs.exp_()
    grad.scatter_(1, targets, grad.gather(1, targets) - 1)  # one target a row: no two writes meet
    return nll, grad.to(hidden.dtype)


@cache
def _compiled() -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return `_nll_and_gradient` compiled, for each shape: a chunk, and the rest of a micro-batch.

    Not a constant of this file: to import torch's compiler takes a second, which nobody pays who does not compile.
    """
    return torch.compile(_nll_and_gradient, dynamic=False)


def _log_probs(hidden: Tensor, weight: Tensor) -> Tensor:
    return torch.log_softmax(hidden @ weight.t(), dim=-1, dtype=torch.float32)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    if left.dtype == total.dtype:
        torch.addmm(total, left, right, out=total)
    else:
        total += left @ right


def _in_compute_dtype(hidden: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return both in autocast's dtype where it is on, else both in the dtype of `hidden`."""
    kind = hidden.device.type
    is_auto = kind != "meta" and torch.is_autocast_enabled(kind)
    dtype = torch.get_autocast_dtype(kind) if is_auto else hidden.dtype
    return hidden.to(dtype), weight.to(dtype)


def _no_autocast(hidden: Tensor) -> AbstractContextManager[Any]:
    kind = hidden.device.type
    return nullcontext() if kind == "meta" else torch.autocast(kind, enabled=False)
