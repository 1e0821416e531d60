"""Turns a composed configuration into a dataclass, and refuses what is missing, unknown or filled from nowhere."""

import dataclasses
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lrpath.errors import ConfigError
from lrpath.planning.field_names import dotted, unknown_field
from lrpath.planning.plain import typed

T = TypeVar("T")


def typed_root(kind: type[T], cfg: DictConfig) -> T:
    """Return a composed configuration as a dataclass.

    Raises:
        ConfigError: If a field is unknown, missing, of the wrong type, or an interpolation leads nowhere.
    """
    return typed(kind, plain_root(cfg, known=field_names(kind)), place="")


def field_names(*kinds: type[Any]) -> tuple[str, ...]:
    """Return the names of all fields of some dataclasses."""
    return tuple(entry.name for kind in kinds for entry in dataclasses.fields(kind))


def plain_root(cfg: DictConfig, *, known: tuple[str, ...]) -> dict[str, Any]:
    """Return a composed configuration as plain values, interpolations resolved.

    Raises:
        ConfigError: If a field of the root is not among those known, a field is missing, or an interpolation leads
            nowhere.
    """
    if missing := _missing(OmegaConf.to_container(cfg, resolve=False)):
        advice = " ".join(f"{key}=…" for key in missing)
        raise ConfigError(f"{', '.join(missing)} must be given: {advice}", field=missing[0])
    try:
        plain: Any = OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException as error:
        raise _unresolved(cfg, error) from None
    for key, value in plain.items():
        if key not in known:
            raise ConfigError(unknown_field(str(key), known, place=""), field=str(key), value=value)
    return dict(plain)


def _missing(raw: Any, place: str = "") -> list[str]:
    if isinstance(raw, dict):
        return [name for key, value in raw.items() for name in _missing(value, dotted(place, str(key)))]
    return [place] if raw == "???" else []


def _unresolved(cfg: DictConfig, error: OmegaConfBaseException) -> ConfigError:
    place = str(getattr(error, "full_key", None) or "a field")
    raw: Any = OmegaConf.to_container(cfg, resolve=False)
    for name in place.split("."):
        raw = raw.get(name) if isinstance(raw, dict) else None
    reason = str(error).splitlines()[0].split("raised while resolving interpolation: ")[-1].strip(chr(34))
    return ConfigError(f"{place}={raw} cannot be resolved ({reason}); give {place} a value", field=place, value=raw)
