"""What a state holds of any module: parameters, persistent buffers, and whatever its optimizers keep, by name.

    model.<name>                     a parameter; tied ones are named once
    buffer.<name>                    a persistent buffer, as the first rank has it
    optimizer.<number>.<key>.<name>  a tensor that an optimizer keeps for a parameter, its momentum for example

Numbers that an optimizer keeps beside its tensors, and the settings of its groups, are plain data for the manifest.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from lrpath.errors import ConfigError
from lrpath.records.shards import StoredTensor
from lrpath.training.distributed.process_group import ProcessGroup

Optimizers = Sequence[torch.optim.Optimizer]
_PLAIN = (bool, int, float, str, type(None))


def module_tensors(module: nn.Module, optimizers: Optimizers, *, ranks: ProcessGroup) -> dict[str, Tensor]:
    """Return everything a state holds, by name; all ranks call this.

    Raises:
        ConfigError: If an optimizer keeps what is neither a tensor nor a number, or trains a parameter that the module
            does not have.
    """
    found = {f"model.{name}": parameter.detach() for name, parameter in module.named_parameters()}
    found |= {f"buffer.{name}": _of_rank_zero(value, ranks) for name, value in _buffers(module).items()}
    for number, optimizer in enumerate(optimizers):
        for name, parameter in _trained(module, optimizer).items():
            kept = optimizer.state.get(parameter, {})
            for key, value in kept.items():
                if isinstance(value, Tensor):
                    found[f"optimizer.{number}.{key}.{name}"] = value.detach()
                elif not isinstance(value, _PLAIN):
                    raise ConfigError(
                        f"{type(optimizer).__name__} keeps {key!r} of type {type(value).__name__} for {name}; a state "
                        "holds tensors and numbers only, so use another optimizer",
                        field="optimizer",
                        value=type(optimizer).__name__,
                    )
    return dict(sorted(found.items()))  # an optimizer that was loaded has its keys in another order, and files differ


def module_record(optimizers: Optimizers) -> dict[str, Any]:
    """Return the settings of the optimizers, rates apart, which a state is compared by before it is loaded."""
    return {
        "optimizers": [
            {
                "class": type(optimizer).__name__,
                "groups": [
                    {
                        "parameters": len(group["params"]),
                        **{key: _plain(value) for key, value in sorted(group.items()) if key not in _SET_BY_PLAN},
                    }
                    for group in optimizer.param_groups
                ],
            }
            for optimizer in optimizers
        ]
    }


_SET_BY_PLAN = ("params", "lr", "initial_lr")


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.item() if value.numel() == 1 else value.tolist()
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return value if isinstance(value, _PLAIN) else repr(value)


def numbers_of(module: nn.Module, optimizers: Optimizers) -> dict[str, Any]:
    """Return the numbers that optimizers keep for parameters beside tensors, by `<number>.<key>.<name>`."""
    return {
        f"{number}.{key}.{name}": value
        for number, optimizer in enumerate(optimizers)
        for name, parameter in _trained(module, optimizer).items()
        for key, value in optimizer.state.get(parameter, {}).items()
        if not isinstance(value, Tensor)
    }


def empty_tensors(
    module: nn.Module, optimizers: Optimizers, stored: dict[str, StoredTensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return what a state is loaded into: the module's own tensors, and new ones for those that optimizers will keep.

    A new optimizer keeps nothing yet, so the state says what there is.
    """
    own = {f"model.{name}": parameter.detach() for name, parameter in module.named_parameters()}
    own |= {f"buffer.{name}": value for name, value in _buffers(module).items()}
    kept: dict[str, Tensor] = {}
    for number, optimizer in enumerate(optimizers):
        fused = {id(one): _on_device(group) for group in optimizer.param_groups for one in group["params"]}
        for name, parameter in _trained(module, optimizer).items():
            for full, entry in stored.items():
                prefix = f"optimizer.{number}."
                if not (full.startswith(prefix) and full.endswith(f".{name}")):
                    continue
                key = full.removeprefix(prefix).removesuffix(f".{name}")
                if "." in key:
                    continue  # of a parameter with a longer name
                dtype = getattr(torch, entry.dtype)
                if key != "step" and entry.shape == tuple(parameter.shape):
                    kept[full] = torch.zeros_like(parameter, dtype=dtype, memory_format=torch.preserve_format).detach()
                else:
                    # torch keeps the count of steps on the CPU unless the step itself runs on the device.
                    device = "cpu" if key == "step" and not fused[id(parameter)] else parameter.device
                    kept[full] = torch.zeros(entry.shape, dtype=dtype, device=device)
    return own, kept


def put_into(module: nn.Module, optimizers: Optimizers, kept: dict[str, Tensor], numbers: dict[str, Any]) -> None:
    """Give optimizers what a state holds for their parameters, in the types it was saved in."""
    for number, optimizer in enumerate(optimizers):
        for name, parameter in _trained(module, optimizer).items():
            mine: dict[str, Any] = {}
            for full, value in (*kept.items(), *((f"optimizer.{one}", value) for one, value in numbers.items())):
                prefix = f"optimizer.{number}."
                key = full.removeprefix(prefix).removesuffix(f".{name}")
                if full.startswith(prefix) and full.endswith(f".{name}") and "." not in key:
                    mine[key] = value
            optimizer.state[parameter] = mine


def _on_device(group: dict[str, Any]) -> bool:
    return bool(group.get("capturable") or group.get("fused"))


def _trained(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, nn.Parameter]:
    """Return the parameters of an optimizer by their names in the module."""
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    found = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if id(parameter) not in names:
                raise ConfigError(
                    f"{type(optimizer).__name__} trains a parameter of shape {tuple(parameter.shape)} that is not one "
                    f"of {type(module).__name__}'s; make it one, so that a state can name it",
                    field="optimizer",
                    value=type(optimizer).__name__,
                )
            found[names[id(parameter)]] = parameter
    return found


def _buffers(module: nn.Module) -> dict[str, Tensor]:
    """Return the persistent buffers by name."""
    found = {}
    for prefix, part in module.named_modules():
        for name, value in part.named_buffers(prefix, recurse=False):
            if name.rpartition(".")[2] not in part._non_persistent_buffers_set:
                found[name] = value
    return found


def _of_rank_zero(buffer: Tensor, ranks: ProcessGroup) -> Tensor:
    """Return a buffer as the first rank has it: DDP makes it everybody's at the next forward pass anyway."""
    if ranks.control is None or isinstance(buffer, DTensor):
        return buffer.detach()
    copy = buffer.detach().cpu().clone()
    dist.broadcast(copy, src=0, group=ranks.control)
    return copy
