"""Your own code by its name: `module:Name` in a configuration becomes a class or function, with a digest of its source.

A name is looked up as `python -m` does, the current folder first, or among the entry points of installed packages. Only
a configuration is ever resolved so: what a study has on disk holds everything that reading it needs, and is data.

    parsed name   "mine:Lion" → module `mine`, attribute `Lion`
    settings      the arguments of the class or function, by its signature; converted by its annotations
    digest        SHA-256 of the source of the class, of its bases and of what they use, as far as that is your code too
"""

import importlib
import importlib.machinery
import importlib.util
import inspect
import os
import pathlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from lrpath.errors import ConfigError
from lrpath.planning.field_names import dotted, nearest, unknown_field

OWN = "own"
"""Kind that code of yours has in a record, which is data and names no module to be imported."""

ENTRY_POINTS = "lrpath."
"""How the groups of entry points begin: lrpath.paradigms, .decays, .optimizers, .models, .sources."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCode:
    """A class or function of yours that a configuration names.

    Args:
        name: `module:Name`, where it was found.
        value: The class or function.
    """

    name: str
    value: Callable[..., Any]

    @property
    def digest(self) -> str:
        """Digest of its source; see `lrpath.planning.own_source`.

        Raises:
            ConfigError: If the source cannot be read, or was edited after it was imported.
        """
        from lrpath.planning.own_source import digest_source  # a plan without code of yours needs none of it

        return digest_source(self.value, name=self.name)

    def check_has(self, *methods: str, what: str, field: str) -> None:
        """Check that a class has the methods of a protocol.

        Args:
            methods: Their names.
            what: What the class is meant for, for the message.
            field: Field of the configuration that names it.

        Raises:
            ConfigError: Naming the methods that are missing.
        """
        missing = [name for name in methods if not callable(getattr(self.value, name, None))]
        if missing:
            text = f"{field}={self.name} lacks {' and '.join(f'{name}()' for name in missing)}, which {what} must have"
            raise ConfigError(f"{text}; docs/own_code.md shows one", field=field, value=self.name)


def is_own(name: object, *, group: str) -> bool:
    """Say whether a kind is a name of your own code: `module:Name`, or an entry point of an installed package.

    >>> is_own("mine:Lion", group="optimizers"), is_own("adamw", group="optimizers")
    (True, False)
    """
    return isinstance(name, str) and (":" in name or _entry_point(name, group=group) is not None)


def find_code(name: str, *, group: str, field: str) -> OwnCode:
    """Import the module of a name and return what the name stands for there.

    Args:
        name: `module:Name`, or the name of an entry point of the group `lrpath.<group>`.
        group: `paradigms`, `decays`, `optimizers`, `models` or `sources`.
        field: Field of the configuration, for messages.

    Raises:
        ConfigError: If the module is not found, is found twice, cannot be imported, or lacks the attribute, or the
            attribute is neither a class nor a function.
    """
    full_name = name if ":" in name else _entry_point(name, group=group) or name
    module_name, _, attribute = full_name.partition(":")
    if not module_name or not all(part.isidentifier() for part in (*module_name.split("."), *attribute.split("."))):
        text = f"{field}={name} must be written as module:Name, for example my_module:MyClass"
        raise ConfigError(text, field=field, value=name)
    value: Any = _module(module_name, field=field, given=name)
    for part in attribute.split("."):
        if not hasattr(value, part):
            there = [key for key, entry in vars(value).items() if callable(entry) and not key.startswith("_")]
            text = f"{field}={name}: {_place(value)} has no {part}{nearest(part, there) or '; correct the name'}"
            raise ConfigError(text, field=field, value=name)
        value = getattr(value, part)
    if not callable(value):
        text = f"{field}={name} is a {type(value).__name__}, which must be a class or a function"
        raise ConfigError(text, field=field, value=name)
    return OwnCode(name=full_name, value=value)


def own_settings(
    code: OwnCode, fields: Mapping[str, Any], *, given: tuple[str, ...] = (), field: str
) -> dict[str, Any]:
    """Return the settings of a class or function: what was given, and its own defaults, converted by its annotations.

    Args:
        code: The class or function.
        fields: What a configuration gives, without `kind`.
        given: Parameters that lrpath fills in, which no configuration gives.
        field: Dotted name of the part of the configuration, for messages.

    Raises:
        ConfigError: If a setting is unknown, missing, or not of the annotated type.
    """
    from lrpath.planning.plain import convert, is_convertible  # which itself finds code by its name

    try:
        parameters = inspect.signature(code.value).parameters
        hints = inspect.get_annotations(_annotated(code.value), eval_str=True)
    except (TypeError, ValueError, NameError) as error:
        raise ConfigError(f"{field}: the signature of {code.name} cannot be read: {error}", field=field) from None
    named = {name: one for name, one in parameters.items() if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)}
    known = [name for name in named if name not in given]
    takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    for name, value in fields.items():
        if name not in known and not takes_any:
            raise ConfigError(unknown_field(name, known, place=field), field=dotted(field, name), value=value)
    missing = [name for name in known if named[name].default is inspect.Parameter.empty and name not in fields]
    if missing:
        place = dotted(field, missing[0])
        raise ConfigError(f"{place} is missing; {code.name} needs it: {place}=…", field=place)
    defaults = {name: named[name].default for name in known if name not in fields}
    converted = {}
    for name, value in fields.items():
        hint = hints.get(name, Any)
        converted[name] = convert(hint, value, place=dotted(field, name)) if is_convertible(hint) else value
    return defaults | converted


def takes(code: OwnCode, name: str) -> bool:
    """Say whether a class or function has a parameter of this name."""
    return name in inspect.signature(code.value).parameters


def call(code: OwnCode, *arguments: Any, field: str, **settings: Any) -> Any:
    """Call a class or function with its settings; what it raises about them becomes one line.

    Raises:
        ConfigError: If it raises anything but an error of lrpath.
    """
    try:
        return code.value(*arguments, **settings)
    except (TypeError, ValueError, AttributeError, KeyError, AssertionError) as error:
        text = f"{field}: {code.name} raised {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise ConfigError(f"{text}; correct its settings or its code", field=field, value=code.name) from error


def _annotated(value: Any) -> Any:
    """Return what has the annotations of a call: a class's constructor, or the fields that it is made of."""
    return vars(value).get("__init__", value) if isinstance(value, type) else value


def _module(name: str, *, field: str, given: str) -> ModuleType:
    with _current_folder_first():
        _check_found_once(name, field=field, given=given)
        if name in sys.modules:  # not by import, which would wait for a module that trains while it is imported
            return sys.modules[name]
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
                raise _broken(name, error, field=field, given=given) from error
            raise ConfigError(
                f"{field}={given}: no module named '{error.name}' in the current folder {pathlib.Path.cwd()} or among "
                "the installed packages; run the command where the file is, or add its folder to PYTHONPATH",
                field=field,
                value=given,
            ) from None
        except Exception as error:  # whatever the first line of it that fails raises
            raise _broken(name, error, field=field, given=given) from error


def _broken(name: str, error: Exception, *, field: str, given: str) -> ConfigError:
    cause = " ".join(str(error).split())[:200]
    text = f"{field}={given}: importing {name} raised {type(error).__name__}: {cause}; correct the module"
    return ConfigError(text, field=field, value=given)


@contextmanager
def _current_folder_first() -> Iterator[None]:
    """Look for modules in the current folder first, as `python -m` does, also where a script or worker was started."""
    here = str(pathlib.Path.cwd())
    added = not any(entry in ("", ".", here) for entry in sys.path)
    if added:
        sys.path.insert(0, here)
    try:
        yield
    finally:
        if added:
            sys.path.remove(here)


def _check_found_once(name: str, *, field: str, given: str) -> None:
    """Raise if a module of the current folder has the name of an installed one: which is run would be a guess."""
    first = name.partition(".")[0]
    here = importlib.machinery.PathFinder.find_spec(first, [str(pathlib.Path.cwd())])
    ours = None if here is None or here.origin is None else os.path.realpath(here.origin)
    if ours is None:
        return
    elsewhere = [
        entry for entry in sys.path if entry and os.path.realpath(entry) != os.path.realpath(pathlib.Path.cwd())
    ]
    loaded = getattr(sys.modules.get(first), "__file__", None)
    spec = importlib.machinery.PathFinder.find_spec(first, elsewhere)
    theirs = loaded or (spec.origin if spec is not None else None)
    if first in sys.stdlib_module_names and theirs is None:
        theirs = "the standard library"
    if theirs is not None and os.path.realpath(theirs) != ours:
        raise ConfigError(
            f"{field}={given}: module {first} is both {ours} and {theirs}; rename yours", field=field, value=given
        )


def _place(value: Any) -> str:
    return getattr(value, "__file__", None) or getattr(value, "__qualname__", None) or str(value)


def _entry_point(name: str, *, group: str) -> str | None:
    """Return the `module:Name` of an entry point; None if no installed package has one of this name."""
    from importlib.metadata import entry_points  # slow, and only asked about names that nothing else knows

    found = {entry.value for entry in entry_points(group=ENTRY_POINTS + group, name=name)}
    if len(found) > 1:
        text = f"{name} is an entry point of several packages: {', '.join(sorted(found))}; write one of these instead"
        raise ConfigError(text, value=name)
    return found.pop() if found else None
