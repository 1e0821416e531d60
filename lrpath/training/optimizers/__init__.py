"""The optimizers behind one small protocol: built from settings, rate set from the plan, states held by name.

    build_optimizer     settings → torch optimizer; matrices and vectors are groups of their own, for weight decay
    set_learning_rate   rate and weight decay of every group, before every update; nothing that was saved survives
    moments             what the optimizer keeps for a parameter: exactly this is saved in a state, and loaded
    evaluation_weights  puts the weights that are evaluated and released into the parameters, for the time of a block

To add one: its settings in `lrpath.planning.optimizers`, and here its class and what it keeps.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import nn

from lrpath.errors import TrainingError
from lrpath.planning.optimizers import AdamW, AveragedAdamW, Optimizer, ScheduleFree
from lrpath.training.optimizers.averaged import RunningAverageAdamW
from lrpath.training.optimizers.schedule_free import ScheduleFreeAdamW


def build_optimizer(parameters: Iterable[nn.Parameter], *, settings: Optimizer) -> torch.optim.Optimizer:
    """Return an optimizer with two groups, matrices first, at rate 0: the schedule sets it before each update.

    Args:
        parameters: Trainable parameters; those of two or more dimensions are decayed.
        settings: Kind, betas, epsilon and weight decay.
    """
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    matrices = [parameter for parameter in trainable if parameter.ndim >= 2]
    vectors = [parameter for parameter in trainable if parameter.ndim < 2]
    groups = [{"params": matrices, "decayed": True}, {"params": vectors, "decayed": False}]
    filled = [group for group in groups if group["params"]]
    betas, eps = (settings.beta1, settings.beta2), settings.eps
    if isinstance(settings, ScheduleFree):
        return ScheduleFreeAdamW(filled, betas=betas, eps=eps, power=settings.power)
    if isinstance(settings, AveragedAdamW):
        return RunningAverageAdamW(filled, betas=betas, eps=eps, power=settings.power)
    return torch.optim.AdamW(filled, lr=0.0, betas=betas, eps=eps, weight_decay=0.0, fused=True)


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


def moments(optimizer: torch.optim.Optimizer, parameter: nn.Parameter) -> dict[str, torch.Tensor]:
    """Return what the optimizer keeps for a parameter; before the first update it is created."""
    if isinstance(optimizer, ScheduleFreeAdamW | RunningAverageAdamW):
        return optimizer.state_of(parameter)
    state: dict[str, torch.Tensor] = optimizer.state[parameter]
    if not state:
        state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
        state["exp_avg"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        state["exp_avg_sq"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
    return state


def combined(kept: Mapping[str, torch.Tensor], *, settings: Optimizer) -> torch.Tensor:
    """Return a parameter of a release from what a state holds of it, by kind; `model` is the live parameter."""
    (first, *rest) = settings.released.items()
    total = kept[first[0]] if first[1] == 1.0 else kept[first[0]] * first[1]
    for kind, coefficient in rest:
        total = total + kept[kind] * coefficient
    return total


@contextlib.contextmanager
@torch.no_grad()
def evaluation_weights(optimizer: torch.optim.Optimizer, *, settings: Optimizer) -> Iterator[None]:
    """Put the weights that are evaluated and released into the parameters while the block runs.

    The live weights are copied and put back, not computed back: that would round, and updates after an evaluation
    would differ from those without one.
    """
    if type(settings) is AdamW:
        yield
        return
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    live = [one.detach().clone() for one in parameters]
    for one in parameters:
        one.copy_(combined({"model": one.detach()} | moments(optimizer, one), settings=settings))
    try:
        yield
    finally:
        for one, value in zip(parameters, live, strict=True):
            one.copy_(value)
