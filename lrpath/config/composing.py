"""Composes conf/ in Python as the entries do on a command line, with values and your own classes among the changes."""

import dataclasses
import inspect
import os
from collections.abc import Mapping
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf, open_dict

from lrpath.config.checked_hydra import check_composed_configurations
from lrpath.config.command_line import as_lrpath_error
from lrpath.config.schema import DataConfig, conf_folder
from lrpath.config.typed import field_names
from lrpath.errors import ConfigError
from lrpath.planning.plain import as_plain

_OWN = "own"
"""The option of a group for what code of yours does."""


def compose_config(*overrides: str, **fields: Any) -> DictConfig:
    """Return the composed configuration of `train` and `plan`.

    Args:
        overrides: As on a command line: `"+exp=quickstart"`, `"strategy.threads=1"`.
        fields: Fields of the root by name. For a group, text chooses one of its options (`model="tiny"`), a class or
            function of yours is named as such, a mapping changes fields, and a dataclass of lrpath replaces them.

    Raises:
        ConfigError: If a field is unknown or refused, or code of yours is not at the top level of its module.
    """
    chosen: list[str] = list(overrides)
    changes: dict[str, Any] = {}
    if "exp" in fields:
        chosen.insert(0, f"+exp={fields.pop('exp')}")
    if "paradigms" in fields and "paradigm" not in fields:
        chosen.append("paradigm=[]")
    for name, value in fields.items():
        option, change = _chosen(name, value)
        chosen += [] if option is None else [option]
        changes |= {} if change is None else {name: change}
    check_composed_configurations()
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(conf_folder())):
            composed = compose("config", overrides=chosen)
        with open_dict(composed):
            for name, change in changes.items():
                OmegaConf.update(composed, name, change, merge=isinstance(change, dict), force_add=True)
    except ConfigError:
        raise
    except Exception as error:  # Hydra raises many kinds, and what is a fault of ours is raised as it is
        known = as_lrpath_error(error)
        raise known from error
    return composed


def _chosen(name: str, value: Any) -> tuple[str | None, Any]:
    """Return the option of a group that a value chooses, and what is changed besides."""
    group = {"branch": "schedule", "paradigms": ""}.get(name, name)
    if not group or not (conf_folder() / group).is_dir():
        return None, plain(value)
    place = f"{group}@{name}" if group != name else name
    if isinstance(value, str):
        return f"{place}={value}", None
    if isinstance(value, list | tuple):
        return f"{place}=[{','.join(map(str, value))}]", None
    if callable(value) and not dataclasses.is_dataclass(value):
        return f"{place}={_OWN}", _of_code(group, {"kind": value})
    change = plain(value)
    known = change.get("kind") if isinstance(change, dict) else None
    if group == "data" and isinstance(change, dict) and "kind" in change:
        return f"{place}={_OWN}", _of_code(group, change)
    if group == "model" and isinstance(change, dict) and "weights" in change:
        return f"{place}=weights", change
    if known is None:
        return None, change
    return f"{place}={_OWN if ':' in known else known}", change


def _of_code(group: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a group's option for code of yours, as the group has them."""
    known = plain(dict(fields))
    if group == "schedule":
        return {"shape": known.pop("kind")} | ({"settings": known} if known else {})
    if group == "data":
        ours = {name: known.pop(name) for name in field_names(DataConfig) if name in known and name != "source"}
        return ours | {"source": known}
    return dict(known)


def plain(value: Any) -> Any:
    """Return a value as plain data; classes and functions as the names by which they are found again.

    >>> plain({"paths": ("a", "b"), "kind": dataclasses.replace})
    {'paths': ['a', 'b'], 'kind': 'dataclasses:replace'}
    """
    if inspect.isclass(value) or inspect.isroutine(value):
        return name_of(value)
    if dataclasses.is_dataclass(value):
        return plain(as_plain(value))
    if isinstance(value, Mapping):
        return {str(name): plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def name_of(value: Any) -> str:
    """Return `module:Name` of a class or function.

    Raises:
        ConfigError: If it cannot be found again by its name.
    """
    if "<" in value.__qualname__:
        raise ConfigError(
            f"{value.__qualname__} is defined inside a function, where it cannot be found again; move it to the top "
            "level of its module or notebook",
            value=value.__qualname__,
        )
    return f"{value.__module__}:{value.__qualname__}"
