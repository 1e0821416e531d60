"""AdamW with decoupled decay on matrices only; rate and decay are set from the plan before every update."""

from collections.abc import Iterable

import torch
from torch import nn

from lrpath.errors import TrainingError
from lrpath.planning.paths import Optimizer


def build_optimizer(parameters: Iterable[nn.Parameter], *, settings: Optimizer) -> torch.optim.AdamW:
    """Return a fused AdamW with two groups, matrices first, at rate 0: the schedule sets it before each update.

    Args:
        parameters: Trainable parameters; those of two or more dimensions are decayed.
        settings: Betas, epsilon and weight decay.
    """
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    matrices = [parameter for parameter in trainable if parameter.ndim >= 2]
    vectors = [parameter for parameter in trainable if parameter.ndim < 2]
    groups = [{"params": matrices, "decayed": True}, {"params": vectors, "decayed": False}]
    betas = (settings.beta1, settings.beta2)
    filled = [group for group in groups if group["params"]]
    return torch.optim.AdamW(filled, lr=0.0, betas=betas, eps=settings.eps, weight_decay=0.0, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, *, rate: float, settings: Optimizer) -> None:
    """Set rate and weight decay of every group, whatever they were before."""
    for group in optimizer.param_groups:
        group["lr"] = rate
        group["weight_decay"] = settings.weight_decay if group["decayed"] else 0.0


def learning_rate_of(optimizer: torch.optim.Optimizer) -> float:
    """Return the rate that the optimizer is set to.

    Raises:
        TrainingError: If its groups have different rates.
    """
    rates = {float(group["lr"]) for group in optimizer.param_groups}
    if len(rates) != 1:
        raise TrainingError(
            f"the optimizer's parameter groups have different rates {sorted(rates)}, the plan has one; another "
            "callback changes the optimizer: remove it"
        )
    return rates.pop()


def moments(optimizer: torch.optim.AdamW, parameter: nn.Parameter) -> dict[str, torch.Tensor]:
    """Return AdamW's state of a parameter; before the first update it is created, as zeros."""
    state: dict[str, torch.Tensor] = optimizer.state[parameter]
    if not state:
        state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
        state["exp_avg"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        state["exp_avg_sq"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
    return state
