"""Turns plain values, as YAML and JSON have them, into dataclasses and back, and refuses a wrong one with its place.

A configuration and a plan on disk are read by the same rules. Of several dataclasses that a field may be, the one is
taken that the value's `kind` names, or the first whose fixed choices (`Literal`) the value agrees with. A class with a
method `of_own_code` stands for what a user has written: it is asked when `kind` is none of the others'.
"""

import dataclasses
import json
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from lrpath.errors import ConfigError, LrpathError
from lrpath.planning.field_names import dotted, nearest, unknown_field

T = TypeVar("T")

_LENGTH = 'a length: whole updates ("300 updates") or tokens ("10.5B tokens")'
_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def as_plain(value: Any) -> Any:
    """Return a dataclass as plain data, which `typed` reads back.

    A field that has its default is left out, and so a plan keeps its id when a later version adds an option.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            entry.name: as_plain(getattr(value, entry.name))
            for entry in given_fields(type(value))
            if not _is_default(entry, getattr(value, entry.name))
        }
        kind = getattr(value, "kind", None)
        return fields if kind is None else {"kind": kind} | fields
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, list | tuple):
        return [as_plain(entry) for entry in value]
    if isinstance(value, Mapping):
        return {key: as_plain(entry) for key, entry in value.items()}
    return value


def _is_default(entry: "dataclasses.Field[Any]", value: Any) -> bool:
    if entry.default is not dataclasses.MISSING:
        return bool(value == entry.default)
    return entry.default_factory is not dataclasses.MISSING and value == entry.default_factory()


def given_fields(kind: Any) -> "list[dataclasses.Field[Any]]":
    """Return the fields of a dataclass that a configuration may give; others have `metadata={"given": False}`."""
    return [entry for entry in dataclasses.fields(kind) if entry.init and entry.metadata.get("given", True)]


def by_kind(kinds: Mapping[str, type[T]], fields: Any, *, place: str) -> T:
    """Return plain fields as the dataclass that their field `kind` names."""
    if not isinstance(fields, Mapping):
        raise expected(place, fields, "a mapping with a field `kind`")
    kind = fields.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        ours = [name for name, one in kinds.items() if not hasattr(one, "of_own_code")]
        own = ", or your own as module:Name" if len(ours) < len(kinds) else ""
        raise expected(dotted(place, "kind"), kind, _one_of(ours, kind, more=own))
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
        for entry in given_fields(kind)
        if entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
    }
    if missing := sorted(required - set(given)):
        name = dotted(place, missing[0])
        raise ConfigError(f"{name} is missing; give it a value: {name}=…", field=name)
    try:
        return kind(**given)
    except LrpathError as error:
        raise placed(error, place, names=[entry.name for entry in given_fields(kind)]) from None


def converted(kind: Any, value: Any, *, place: str) -> dict[str, Any]:
    """Return a mapping's values, converted by the type hints of a dataclass, of which it may leave out any field.

    Raises:
        ConfigError: If a field is unknown or of the wrong type.
    """
    if not isinstance(value, Mapping):
        raise expected(place, value, f"a mapping with the fields {', '.join(e.name for e in given_fields(kind))}")
    names = [entry.name for entry in given_fields(kind)]
    for name, entry in value.items():
        if name not in names:
            raise ConfigError(unknown_field(str(name), names, place=place), field=dotted(place, str(name)), value=entry)
    hints = _hints(kind)
    return {str(name): convert(hints[name], entry, place=dotted(place, str(name))) for name, entry in value.items()}


@cache
def _hints(kind: Callable[..., Any]) -> dict[str, Any]:
    return get_type_hints(kind)  # evaluates annotations, which takes longer than all of the conversion


def placed(error: LrpathError, place: str, *, names: Iterable[str], shown: str | None = None) -> LrpathError:
    """Return an error of a dataclass as one of the configuration that it is a part of.

    Args:
        error: What the dataclass raised, which does not know where it is used.
        place: Dotted name of the part; empty for the root.
        names: Fields of the dataclass. Where the message advises to give one of them, it gets its full name, so that it
            can be typed as advised.
        shown: What the message begins with, unless it has it already; the place by default.
    """
    if not place:
        return error
    text, field, shown = str(error), error.field, shown or place
    text = text if shown in text else f"{shown}: {text}"
    text = re.sub(rf"\b(give|add|set|use|or) (\+?)({'|'.join(names)})=", rf"\1 \2{place}.\3=", text)
    if field is not None and field.partition(".")[0] != place.partition(".")[0]:
        field = dotted(place, field)
    return type(error)(text, field=field, value=error.value)


def convert(hint: Any, value: Any, *, place: str) -> Any:
    """Return a plain value as what a type hint says.

    Raises:
        ConfigError: If it is of another type.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _convert_union(arguments, value, place=place)
    if origin is Literal:
        if value not in arguments or isinstance(value, bool):
            raise expected(place, value, _one_of(map(str, arguments), value))
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise expected(place, value, f"a list; write [{_shown(value).strip(chr(39))}]")
        return tuple(convert(arguments[0], entry, place=f"{place}[{n}]") for n, entry in enumerate(value))
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise expected(place, value, "a mapping")
        return {str(k): convert(arguments[1], entry, place=dotted(place, str(k))) for k, entry in value.items()}
    if dataclasses.is_dataclass(hint):
        return typed(typing.cast(type, hint), value, place=place)
    return _convert_scalar(hint, value, place=place)


def _convert_union(arguments: tuple[Any, ...], value: Any, *, place: str) -> Any:
    if value is None and types.NoneType in arguments:
        return None
    wanted = [hint for hint in arguments if hint is not types.NoneType]
    if len(wanted) > 1 and all(dataclasses.is_dataclass(hint) for hint in wanted):
        return _convert_to_one_of(wanted, value, place=place)
    wanted = _without_own(wanted, value)
    single = [hint for hint in wanted if get_origin(hint) is not tuple]
    if isinstance(value, list | tuple):
        wanted = [hint for hint in wanted if get_origin(hint) is tuple] or wanted
    elif isinstance(value, Mapping):
        mappings = [hint for hint in wanted if get_origin(hint) in (dict, Mapping)]
        wanted = single = [hint for hint in wanted if dataclasses.is_dataclass(hint)] or mappings or wanted
    elif set(single) == {int, str}:
        # Trying one after the other would end with "must be text" for a number that is not whole.
        if type(value) not in single:
            raise expected(place, value, _LENGTH)
        return value
    errors = []
    for hint in single if len(single) == 1 and not isinstance(value, list | tuple) else wanted:
        try:
            return convert(hint, value, place=place)
        except ConfigError as error:
            errors.append(error)
    words = [str(word) for hint in wanted if get_origin(hint) is Literal for word in get_args(hint)]
    if words and float in wanted:
        raise expected(place, value, f"a number, or {_one_of(words, value)}")
    raise errors[-1]


def _without_own(hints: list[Any], value: Any) -> list[Any]:
    """Return the hint of what a user has written, if the value is meant for it, else the others."""
    own = [hint for hint in hints if hasattr(hint, "of_own_code") and not dataclasses.is_dataclass(hint)]
    return own if own and own[0].is_meant(value) else [hint for hint in hints if hint not in own]


def _convert_to_one_of(kinds: list[Any], value: Any, *, place: str) -> Any:
    """Return a value as one of several dataclasses."""
    if own := next((kind for kind in kinds if hasattr(kind, "of_own_code")), None):
        ours = [getattr(kind, "kind", None) for kind in kinds]
        if isinstance(value, Mapping) and value.get("kind") not in ours and own.is_meant(value):
            return own.of_own_code(value, place=place)
    if all(hasattr(kind, "kind") for kind in kinds):
        return by_kind({kind.kind: kind for kind in kinds}, value, place=place)
    kinds = [kind for kind in kinds if not hasattr(kind, "of_own_code")]
    for kind in kinds:
        fixed = {name: get_args(hint) for name, hint in _hints(kind).items() if get_origin(hint) is Literal}
        if isinstance(value, Mapping) and all(value.get(name) in choices for name, choices in fixed.items()):
            return typed(kind, value, place=place)
    return typed(kinds[-1], value, place=place)  # refuses it, and says what its fixed choices are


def is_convertible(hint: Any) -> bool:
    """Say whether `convert` knows what to do with a type hint; it knows those that a configuration can express."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType, tuple):
        return all(is_convertible(one) for one in arguments if one not in (types.NoneType, ...))
    is_class = isinstance(hint, type) and (issubclass(hint, Enum) or dataclasses.is_dataclass(hint))
    return hint is Any or hint in _NAMES or origin is Literal or is_class


def _convert_scalar(hint: Any, value: Any, *, place: str) -> Any:
    if hasattr(hint, "of_own_code"):
        return hint.of_own_code(value, place=place)
    if isinstance(hint, type) and issubclass(hint, Enum):
        choices = [str(member.value) for member in hint]
        if value not in choices:
            raise expected(place, value, _one_of(choices, value))
        return hint(value)
    if hint is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        return _number(value, place=place)
    if type(value) is not hint:
        whole = hint is int and isinstance(value, float) and value.is_integer()
        what = f"a whole number; write {int(value)}" if whole else _NAMES.get(hint, str(hint))
        raise expected(place, value, what)
    return value


def _number(value: float | str, *, place: str) -> float:
    try:
        number = float(value)  # YAML reads 3e-4 as text
    except (ValueError, OverflowError):
        raise expected(place, value, "a number") from None
    if not math.isfinite(number):
        raise expected(place, value, "a finite number")
    return number


def expected(place: str, value: Any, what: str) -> ConfigError:
    """Return the error about a value that is not what its field needs."""
    return ConfigError(f"{place}={_shown(value)} must be {what}", field=place, value=value)


def _shown(value: Any) -> str:
    """Write a value as YAML has it: null, true, 'text'."""
    text = json.dumps(value) if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _one_of(choices: Iterable[str], value: Any, *, more: str = "") -> str:
    names = list(choices)
    if len(names) == 1:
        return names[0]
    return f"one of {', '.join(names)}{more}{nearest(str(value), names)}"


def field_names_at(roots: tuple[Any, ...], value: Any, place: str) -> list[str]:
    """Return the fields that a configuration may have at a place, also those that are not given there.

    Args:
        roots: Dataclasses whose fields together are those of the root.
        value: The plain values of the root, which say of which kind each part is.
        place: Dotted name; empty for the root.
    """
    if not place:
        return [entry.name for root in roots for entry in given_fields(root)]
    hint: Any = next((_hints(root)[name] for root in roots if (name := place.split(".")[0]) in _hints(root)), None)
    for number, name in enumerate(place.split(".")):
        value = value.get(name) if isinstance(value, Mapping) else None
        if number:
            hint = get_args(hint)[1] if get_origin(hint) in (dict, Mapping) else _hints(hint).get(name)
        hint = _variant(hint, value)
        if hint is None:
            return []
    return [entry.name for entry in given_fields(hint)] if dataclasses.is_dataclass(hint) else []


def _variant(hint: Any, value: Any) -> Any:
    """Return the one of several dataclasses that a plain value is meant for; None if it does not say."""
    if get_origin(hint) not in (Union, types.UnionType):
        return hint if dataclasses.is_dataclass(hint) or get_origin(hint) in (dict, Mapping) else None
    kinds: list[Any] = [part for part in get_args(hint) if dataclasses.is_dataclass(part)]
    kind = value.get("kind") if isinstance(value, Mapping) else None
    named = [part for part in kinds if getattr(part, "kind", None) == kind]
    return (named or kinds[-1:] or [None])[0]
