"""The optimizers behind one small protocol: built from settings, rate set from the plan, states held by name.

    build_optimizer     settings → torch optimizer; matrices and vectors are groups of their own, for weight decay
    set_learning_rate   rate and weight decay of every group, before every update; nothing that was saved survives
    moments             what the optimizer keeps for a parameter: exactly this is saved in a state, and loaded
    evaluation_weights  puts the weights that are evaluated and released into the parameters, for the time of a block

An optimizer, lrpath's or yours (`optimizer.kind=module:Name`), is a `torch.optim.Optimizer` that

    __init__(params, *, …)      takes groups of parameters and its settings; every group has `lr` and `weight_decay`
    state_of(parameter)         returns what it keeps for a parameter, by name, and makes it if there was no update yet:
                                tensors of the parameter's shape, or scalars; all that the next update depends on
    step(closure=None)          calls the closure, which makes the gradients, and updates what has one; a parameter
                                whose gradient is None, and what is kept for it, stay as they are
    released                    if a release is not made of the live weights: the tensors that it is the sum of, with
                                their coefficients; {"average": 1.0}, or a function of the settings that returns it

Names of moments must not be `model`, which is the parameter itself. Lightning calls `step` with a closure. Under FSDP2
parameters, gradients and moments are DTensors of the rank's rows: what acts on each number alone is right as it is.

To add one here: its settings in `lrpath.planning.optimizers`, and its class in a file beside this one.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from lrpath.errors import ConfigError, TrainingError
from lrpath.planning import optimizers as settings_of
from lrpath.planning.optimizers import AveragedAdamW, Optimizer, OwnOptimizer, ScheduleFree, ScheduleFreePlus
from lrpath.planning.own_code import call, find_code
from lrpath.training.optimizers.adamw import adamw_state
from lrpath.training.optimizers.ademamix import AdEMAMix
from lrpath.training.optimizers.averaged import RunningAverageAdamW
from lrpath.training.optimizers.muon import Muon
from lrpath.training.optimizers.own import keeps_more_than_its_state
from lrpath.training.optimizers.schedule_free import ScheduleFreeAdamW
from lrpath.training.optimizers.schedule_free_plus import ScheduleFreePlusAdamC


def build_optimizer(
    parameters: Iterable[nn.Parameter], *, settings: Optimizer, in_blocks: Iterable[nn.Parameter] = ()
) -> torch.optim.Optimizer:
    """Return an optimizer with a group for matrices, then one for vectors, at rate 0: the schedule sets it.

    Args:
        parameters: Trainable parameters; those of two or more dimensions are decayed.
        settings: Kind, and the kind's own settings.
        in_blocks: Those of them that belong to a block; Muon has a group of its own for matrices among them.

    Raises:
        ConfigError: If an optimizer of yours is not what its settings say, or cannot be made of them.
    """
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    if isinstance(settings, settings_of.Muon):
        blocks = {id(parameter) for parameter in in_blocks if parameter.ndim == 2}
        hidden = [parameter for parameter in trainable if id(parameter) in blocks]
        if not hidden:
            raise ConfigError(
                "optimizer.kind=muon needs matrices in blocks, and the model has none; give your module an attribute "
                "`blocks`, a ModuleList of its layers, or choose optimizer=adamw",
                field="optimizer.kind",
                value="muon",
            )
        groups = [{"params": hidden, "decayed": True, "orthogonalized": True}]
        groups += _groups([parameter for parameter in trainable if id(parameter) not in blocks])
        return Muon(
            groups,
            betas=(settings.beta1, settings.beta2),
            eps=settings.eps,
            momentum=settings.momentum,
            newton_schulz_steps=settings.newton_schulz_steps,
        )
    groups = _groups(trainable)
    if isinstance(settings, OwnOptimizer):
        return _build_own(groups, settings)
    betas, eps = (settings.beta1, settings.beta2), settings.eps
    if isinstance(settings, ScheduleFree):
        return ScheduleFreeAdamW(groups, betas=betas, eps=eps, power=settings.power)
    if isinstance(settings, ScheduleFreePlus):
        return ScheduleFreePlusAdamC(
            groups,
            betas=betas,
            eps=eps,
            power=settings.power,
            shares=(settings.share, settings.last_share),
            growing=settings.share_updates,
            follows=settings.average_after,
        )
    if isinstance(settings, AveragedAdamW):
        return RunningAverageAdamW(groups, betas=betas, eps=eps, power=settings.power)
    if isinstance(settings, settings_of.AdEMAMix):
        return AdEMAMix(
            groups,
            betas=(*betas, settings.beta3),
            eps=eps,
            slow_factor=settings.slow_factor,
            growing=settings.growing_updates,
        )
    return torch.optim.AdamW(groups, lr=0.0, betas=betas, eps=eps, weight_decay=0.0, fused=True)


def _groups(trainable: list[nn.Parameter]) -> list[dict[str, Any]]:
    matrices = [parameter for parameter in trainable if parameter.ndim >= 2]
    vectors = [parameter for parameter in trainable if parameter.ndim < 2]
    groups = [{"params": matrices, "decayed": True}, {"params": vectors, "decayed": False}]
    return [group for group in groups if group["params"]]


def _build_own(groups: list[dict[str, Any]], settings: OwnOptimizer) -> torch.optim.Optimizer:
    if settings.reference is None:
        raise ConfigError(f"optimizer {settings.name} has no module; give optimizer.kind=module:{settings.name}")
    code = find_code(settings.reference, group="optimizers", field="optimizer.kind")
    if code.digest != settings.code:
        raise ConfigError(
            f"optimizer.kind={code.name} is not the class that was planned with (its source has digest {code.digest}, "
            f"the plan {settings.code}); plan again"
        )
    built = call(code, groups, field="optimizer", **settings.settings)
    if not isinstance(built, torch.optim.Optimizer):
        text = f"optimizer.kind={code.name} is no torch.optim.Optimizer, which an optimizer must be; derive it from one"
        raise ConfigError(text, field="optimizer.kind", value=code.name)
    for parameter in (one for group in built.param_groups for one in group["params"]):
        kept = moments(built, parameter)
        odd = {name: value for name, value in kept.items() if not _is_moment(value, parameter)}
        if odd or "model" in kept:
            name = next(iter(odd), "model")
            raise ConfigError(
                f"optimizer.kind={code.name}: state_of() gives {name!r} = {_described(kept[name])}, which must be a "
                "tensor of the parameter's shape or a scalar tensor, under another name than model",
                field="optimizer.kind",
                value=code.name,
            )
        if lacking := set(settings.released) - {"model", *kept}:
            text = f"optimizer.kind={code.name}: released names {min(lacking)!r}, and state_of() gives {sorted(kept)}"
            raise ConfigError(text, field="optimizer.kind", value=code.name)
    if keeps_more_than_its_state(groups, lambda some: call(code, some, field="optimizer", **settings.settings)):
        raise ConfigError(
            f"optimizer.kind={code.name} keeps more than state_of() returns: an update after its state was saved and "
            "loaded is another than without, so that a run that was killed would not go on as it was; return all that "
            "the next update depends on, counts among it as scalar tensors",
            field="optimizer.kind",
            value=code.name,
        )
    return built


def _is_moment(value: object, parameter: nn.Parameter) -> bool:
    return isinstance(value, torch.Tensor) and value.shape in (parameter.shape, torch.Size())


def _described(value: object) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else repr(value)[:40]


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
    state_of: Callable[[nn.Parameter], dict[str, torch.Tensor]] | None = getattr(optimizer, "state_of", None)
    return adamw_state(optimizer, parameter) if state_of is None else state_of(parameter)


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
    if settings.released == {"model": 1.0}:
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
