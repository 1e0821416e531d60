"""A value stands in conf/ or in Python, never in both, where the two would drift apart without a word.

The one exception is a default of None in Python for a part that most files leave out and some name with a value, such
as the `hold` of a knee: None says there that the part is absent, and no file says so a second time.
"""

import dataclasses
import types
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
import yaml  # type: ignore[import-untyped]

from lrpath.config import commands, schema
from lrpath.config.laws import AdviseConfig, PredictConfig, TuneConfig
from lrpath.laws.path_fit import FitSettings
from lrpath.planning.decay import Decay
from lrpath.planning.paradigms import PARADIGMS

CONF = schema.conf_folder()
ROOTS: dict[str, tuple[type, ...]] = {
    "config": (schema.Config, schema.SharedConfig),
    "laws": (FitSettings,),
    "predict": (PredictConfig,),
    "advise": (AdviseConfig,),
    "tune": (TuneConfig,),
    "report": (commands.ReportConfig,),
    "show": (commands.ShowConfig,),
    "prune": (commands.PruneConfig,),
    "export": (commands.ExportConfig,),
    "verify": (commands.VerifyConfig,),
    "evaluate": (commands.EvaluateConfig,),
}
"""Root files by name, and what their values become."""
GROUPS = {"schedule": Decay, "paradigm": dict} | {
    name: get_type_hints(schema.Config)[name] for name in ("model", "data", "optimizer", "strategy", "engine", "logger")
}
"""Groups by folder, and what the values of their files become."""
CHANGES = {"exp", "recipe", "rung", "scale", "hydra"}
"""Folders whose files change values that stand elsewhere, or are Hydra's own."""


def values_of(file: Path) -> dict[str, Any]:
    content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    return {name: value for name, value in content.items() if name not in ("defaults", "hydra")}


def both(hint: Any, value: Any, place: str) -> Iterator[str]:
    """Yield the fields under a place of a file of conf/ that have a value there and a default in Python."""
    kind = variant(hint, value)
    if get_origin(kind) in (dict, Mapping) and isinstance(value, dict):
        for name, entry in value.items():
            yield from both(get_args(kind)[1], entry, f"{place}.{name}")
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind) and isinstance(value, dict)):
        return
    hints = get_type_hints(kind)
    for entry in dataclasses.fields(kind):
        if entry.name not in value or value[entry.name] == "???":
            continue
        default = entry.default if entry.default_factory is dataclasses.MISSING else entry.default_factory()
        given = value[entry.name]
        if default is not dataclasses.MISSING and not (default is None and given is not None):
            yield f"{place}: {kind.__name__}.{entry.name} is {plain(default)!r} in Python and {given!r} in conf"
        yield from both(hints[entry.name], given, place)


def variant(hint: Any, value: Any) -> Any:
    """Return the one of several types that a value of conf/ is meant for."""
    if get_origin(hint) not in (Union, types.UnionType):
        return hint
    kinds = [part for part in get_args(hint) if dataclasses.is_dataclass(part)]
    tag = value.get("kind", value.get("family")) if isinstance(value, dict) else None
    named = [part for part in kinds if tag in (getattr(part, "kind", None), *literals(part))]
    return (named or kinds[-1:] or [None])[0]


def literals(kind: Any) -> tuple[Any, ...]:
    hint = get_type_hints(kind).get("family")
    return get_args(hint) if kind is schema.FileModel else ()


def plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


def found_twice() -> list[str]:
    found: list[str] = []
    for name, kinds in ROOTS.items():
        values = values_of(CONF / f"{name}.yaml")
        found += [line for kind in kinds for line in both(kind, values, f"{name}.yaml")]
    for folder, hint in GROUPS.items():
        for file in sorted((CONF / folder).glob("*.yaml")):
            values, place = values_of(file), file.relative_to(CONF).as_posix()
            parts = values.values() if folder == "paradigm" else [values]
            hints = [PARADIGMS[part["kind"]] if folder == "paradigm" else hint for part in parts]
            found += [line for kind, part in zip(hints, parts, strict=True) for line in both(kind, part, place)]
    return found


def test_no_value_stands_both_in_conf_and_in_python() -> None:
    assert found_twice() == []


def test_every_file_of_conf_is_looked_at_or_only_changes_values() -> None:
    files = {file.stem for file in CONF.glob("*.yaml")}
    folders = {folder.name for folder in CONF.iterdir() if folder.is_dir()}

    assert files == set(ROOTS)
    assert folders == {*GROUPS, *CHANGES}


@pytest.mark.parametrize(("default", "value", "count"), [(1, 2, 1), (1, 1, 1), (None, None, 1), (None, 2, 0)])
def test_a_default_beside_a_value_is_found(default: object, value: object, count: int) -> None:
    kind = dataclasses.make_dataclass("Kind", [("field", Any, dataclasses.field(default=default))])

    assert len(list(both(kind, {"field": value}, "file"))) == count
