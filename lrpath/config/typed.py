"""Turns plain values into dataclasses, and refuses a wrong one with its place and what would be right."""

import dataclasses
import difflib
import json
import math
import types
import typing
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lrpath.errors import ConfigError, LrpathError

T = TypeVar("T")

_LENGTH = 'a length: whole updates ("300 updates") or tokens ("10.5B tokens")'
_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def typed_root(kind: type[T], cfg: DictConfig, *, shared: tuple[str, ...] = ()) -> T:
    """Return a composed configuration as a dataclass.

    Raises:
        ConfigError: If a field is unknown, missing, of the wrong type, or an interpolation leads nowhere.
    """
    if missing := _missing(OmegaConf.to_container(cfg, resolve=False)):
        raise ConfigError(f"{', '.join(missing)} must be given: {' '.join(f'{key}=…' for key in missing)}")
    try:
        plain = OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(_unresolved(cfg, error)) from None
    assert isinstance(plain, dict)
    known = [entry.name for entry in dataclasses.fields(kind)] + list(shared)  # type: ignore[arg-type]
    for key in plain:
        if key not in known:
            raise ConfigError(unknown_field(str(key), known, place=""))
    return typed(kind, {key: value for key, value in plain.items() if key not in shared}, place="")


def _missing(raw: Any, place: str = "") -> list[str]:
    if isinstance(raw, dict):
        return [name for key, value in raw.items() for name in _missing(value, _dotted(place, str(key)))]
    return [place] if raw == "???" else []


def _unresolved(cfg: DictConfig, error: OmegaConfBaseException) -> str:
    place = str(getattr(error, "full_key", None) or "a field")
    raw: Any = OmegaConf.to_container(cfg, resolve=False)
    for name in place.split("."):
        raw = raw.get(name) if isinstance(raw, dict) else None
    reason = str(error).splitlines()[0].split("raised while resolving interpolation: ")[-1]
    return f"{place}={raw} cannot be resolved ({reason.strip(chr(34))}); give {place} a value"


def by_kind(kinds: Mapping[str, type[T]], fields: Mapping[str, Any], *, place: str) -> T:
    """Return plain fields as the dataclass that their field `kind` names."""
    kind = fields.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise ConfigError(_expected(f"{place}.kind", kind, _one_of(kinds, kind)))
    return typed(kinds[kind], {name: value for name, value in fields.items() if name != "kind"}, place=place)


def typed(kind: type[T], value: Any, *, place: str) -> T:
    """Return `value` as an instance of a dataclass, its fields converted by their type hints.

    Args:
        kind: The dataclass.
        value: A mapping of plain values.
        place: Dotted name of the field, for messages.

    Raises:
        ConfigError: If a field is unknown, missing or of the wrong type, or the dataclass refuses it.
    """
    given = converted(kind, value, place=place)
    required = {
        entry.name
        for entry in dataclasses.fields(kind)  # type: ignore[arg-type]
        if entry.init and entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
    }
    if missing := sorted(required - set(given)):
        raise ConfigError(f"{_dotted(place, missing[0])} is missing; give it a value")
    try:
        return kind(**given)
    except LrpathError as error:
        raise placed(error, place) from None


def converted(kind: type[Any], value: Any, *, place: str) -> dict[str, Any]:
    """Return a mapping's values, converted by the type hints of a dataclass, of which it may leave out any field.

    Raises:
        ConfigError: If a field is unknown or of the wrong type.
    """
    if not isinstance(value, Mapping):
        raise ConfigError(_expected(place, value, f"a mapping with the fields of {kind.__name__}"))
    names = [entry.name for entry in dataclasses.fields(kind) if entry.init]
    for name in value:
        if name not in names:
            raise ConfigError(unknown_field(str(name), names, place=place))
    hints = get_type_hints(kind)
    return {str(name): _convert(hints[name], entry, place=_dotted(place, str(name))) for name, entry in value.items()}


def placed(error: LrpathError, place: str) -> LrpathError:
    """Return an error whose message begins with the place, unless it names it already."""
    if not place or place in str(error):
        return error
    return type(error)(f"{place}: {error}", field=error.field, value=error.value)


def _convert(hint: Any, value: Any, *, place: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _convert_union(arguments, value, place=place)
    if origin is Literal:
        if value not in arguments or isinstance(value, bool):
            raise ConfigError(_expected(place, value, _one_of(map(str, arguments), value)))
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(_expected(place, value, f"a list; write [{_shown(value).strip(chr(39))}]"))
        return tuple(_convert(arguments[0], entry, place=f"{place}[{n}]") for n, entry in enumerate(value))
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise ConfigError(_expected(place, value, "a mapping"))
        return {str(k): _convert(arguments[1], entry, place=_dotted(place, str(k))) for k, entry in value.items()}
    if dataclasses.is_dataclass(hint):
        return typed(typing.cast(type, hint), value, place=place)
    return _convert_scalar(hint, value, place=place)


def _convert_union(arguments: tuple[Any, ...], value: Any, *, place: str) -> Any:
    if value is None and types.NoneType in arguments:
        return None
    wanted = [hint for hint in arguments if hint is not types.NoneType]
    single = [hint for hint in wanted if get_origin(hint) is not tuple]
    if isinstance(value, list | tuple):
        wanted = [hint for hint in wanted if get_origin(hint) is tuple] or wanted
    elif isinstance(value, Mapping):
        wanted = [hint for hint in wanted if dataclasses.is_dataclass(hint)] or wanted
    elif set(single) == {int, str}:
        if type(value) not in single:
            raise ConfigError(_expected(place, value, _LENGTH))
        return value
    errors = []
    for hint in single if len(single) == 1 and not isinstance(value, list | tuple) else wanted:
        try:
            return _convert(hint, value, place=place)
        except ConfigError as error:
            errors.append(error)
    raise errors[-1]


def _convert_scalar(hint: Any, value: Any, *, place: str) -> Any:
    if isinstance(hint, type) and issubclass(hint, Enum):
        choices = [str(member.value) for member in hint]
        if value not in choices:
            raise ConfigError(_expected(place, value, _one_of(choices, value)))
        return hint(value)
    if hint is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        return _number(value, place=place)
    if type(value) is not hint:
        whole = hint is int and isinstance(value, float) and value.is_integer()
        what = f"a whole number; write {int(value)}" if whole else _NAMES.get(hint, str(hint))
        raise ConfigError(_expected(place, value, what))
    return value


def _number(value: float | str, *, place: str) -> float:
    try:
        number = float(value)  # YAML reads 3e-4 as text
    except (ValueError, OverflowError):
        raise ConfigError(_expected(place, value, "a number")) from None
    if not math.isfinite(number):
        raise ConfigError(_expected(place, value, "a finite number"))
    return number


def _expected(place: str, value: Any, what: str) -> str:
    return f"{place}={_shown(value)} must be {what}"


def _shown(value: Any) -> str:
    """Write a value as YAML has it: null, true, 'text'."""
    text = json.dumps(value) if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _one_of(choices: Iterable[str], value: Any) -> str:
    names = list(choices)
    return f"one of {', '.join(names)}{suggestion(str(value), names)}" if len(names) > 1 else names[0]


def unknown_field(name: str, known: Iterable[str], *, place: str) -> str:
    """Return the message about a field that does not exist, with the nearest that does."""
    names = sorted(known)
    return f"{_dotted(place, name)} is no field{suggestion(name, names)}; known here: {', '.join(names)}"


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return a question about the nearest of the known names, or nothing if none is near."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _dotted(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name
