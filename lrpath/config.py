"""The typed schema of conf/: plain values become dataclasses, each checked where it is defined.

Types come from the dataclasses of planning, data and training, so a field exists once. A value of the wrong type, an
unknown field or a missing one is refused with its place and the nearest name there is.
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lrpath.data.sources import HfSource, PythonSource, Source, TextSource, TokensSource
from lrpath.data.tokenizer import TokenizerSettings
from lrpath.errors import ConfigError, LrpathError
from lrpath.planning.paradigms import Continual, FromScratch, Infinite, Merged, Paradigm, PathSwitching, WsdS
from lrpath.planning.paths import Optimizer

T = TypeVar("T")

SOURCES: dict[str, type[Source]] = {
    "python_source": PythonSource,
    "text": TextSource,
    "tokens": TokensSource,
    "hf": HfSource,
}
PARADIGMS: dict[str, type[Paradigm]] = {
    kind.kind: kind for kind in (FromScratch, Continual, PathSwitching, Infinite, WsdS, Merged)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchConfig:
    """Global batch of one update.

    Args:
        sequences_per_update: Windows, over all ranks and micro-batches.
        tokens_per_sequence: Tokens of a window.
    """

    sequences_per_update: int
    tokens_per_sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Where the text comes from.

    Args:
        source: `kind` and that source's fields.
        tokenizer: How ids are made; null for token files without one.
        folder: Where prepared token stores are kept, each under its content id.
        repeat: Whether an increment that is too small may be read again.
    """

    source: dict[str, Any]
    tokenizer: TokenizerSettings | None
    folder: str
    repeat: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyConfig:
    """On what the updates run; no part of a path's id.

    Args:
        name: `single`, one process.
        accelerator: `auto`, `cpu` or `gpu`.
        micro_batch: Sequences of one forward pass; null for a rank's whole share.
        threads: Threads of one CPU operation; null for torch's choice.
    """

    name: Literal["single"]
    accelerator: str
    micro_batch: int | None
    threads: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggerConfig:
    """Where curves go besides the CSV tables.

    Args:
        name: `tensorboard`, or `none`.
    """

    name: Literal["tensorboard", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CadenceConfig:
    """How often things are done that change no number of a path.

    Args:
        log_every: Updates between two writings of metrics.
        evaluate_every: Updates between two evaluations; every needed state is evaluated besides.
        save_every: Updates between two rolling states.
        held_out_windows: Windows of each held-out set; null for all.
    """

    log_every: int
    evaluate_every: int
    save_every: int
    held_out_windows: int | None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None and value < 1:
                raise ConfigError(f"cadence.{field.name}={value} must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """What device-hours and memory are reckoned for.

    Args:
        device: Name in `lrpath.planning.cost.DEVICES`.
        count: Number of devices.
        mfu: Share of the peak FLOP/s that is reached, in `(0, 1]`.
    """

    device: str
    count: int
    mfu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that `train` and `plan` are told; the comments in conf/config.yaml say what each is for."""

    study: str
    outputs: str
    seed: int
    versions: int
    increment: int | str | tuple[int | str, ...]
    precision: str
    batch: BatchConfig
    model: dict[str, Any]
    data: DataConfig
    paradigms: dict[str, dict[str, Any]]
    optimizer: Optimizer
    strategy: StrategyConfig
    logger: LoggerConfig
    cadence: CadenceConfig
    cluster: ClusterConfig
    figure: str | None
    format: Literal["text", "json"]

    def __post_init__(self) -> None:
        if self.study in ("", ".", "..") or "/" in self.study or self.study.startswith((".", "-")):
            raise ConfigError(f"study={self.study!r} must be a plain folder name")
        if self.versions < 1:
            raise ConfigError(f"versions={self.versions} must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportConfig:
    """What `report` is told.

    Args:
        study: Folder name under `outputs`.
        outputs: Folder of studies.
    """

    study: str
    outputs: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """What `export` is told.

    Args:
        study: Folder name under `outputs`.
        outputs: Folder of studies.
        release: Version, for example `v4`.
        paradigm: Label of the paradigm whose release it is.
        folder: Folder to make; null for the study's own place.
    """

    study: str
    outputs: str
    release: str
    paradigm: str
    folder: str | None


SHARED = ("alpha", "peak", "floor", "warmup", "schedule", "branch", "description")
"""Root keys that other fields interpolate; they have no field of their own in `Config`."""


def load(cfg: DictConfig) -> Config:
    """Return the typed configuration of `train` and `plan`; the keys in `SHARED` have done their work by then."""
    return typed_root(Config, cfg, shared=SHARED)


def typed_root(kind: type[T], cfg: DictConfig, *, shared: tuple[str, ...] = ()) -> T:
    """Return a composed configuration as a dataclass.

    Raises:
        ConfigError: If a field is unknown, missing, of the wrong type, or an interpolation leads nowhere.
    """
    try:
        plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        place = getattr(error, "full_key", None) or "a field"
        raise ConfigError(f"{place} cannot be resolved: {str(error).splitlines()[0]}; give it a value") from None
    assert isinstance(plain, dict)
    known = [field.name for field in dataclasses.fields(kind)] + list(shared)  # type: ignore[arg-type]
    for key in plain:
        if key not in known:
            raise ConfigError(_unknown(str(key), known, place=""))
    return typed(kind, {key: value for key, value in plain.items() if key not in shared}, place="")


def source_of(config: DataConfig) -> Source:
    """Return the data source that `data.source` describes."""
    return _by_kind(SOURCES, config.source, place="data.source")


def paradigms_of(config: Config) -> dict[str, Paradigm]:
    """Return the paradigms by label.

    Raises:
        ConfigError: If there is none, or a label is no plain name.
    """
    if not config.paradigms:
        raise ConfigError("paradigms is empty; choose some, paradigm=[path_switching,continual,from_scratch]")
    for label in config.paradigms:
        if not label.replace("_", "").replace("-", "").isalnum():
            raise ConfigError(f"paradigms.{label} must be named with letters, digits, `_` and `-` only")
    return {
        label: _by_kind(PARADIGMS, fields, place=f"paradigms.{label}") for label, fields in config.paradigms.items()
    }


def _by_kind(kinds: Mapping[str, type[T]], fields: Mapping[str, Any], *, place: str) -> T:
    kind = fields.get("kind")
    if kind not in kinds:
        raise ConfigError(f"{place}.kind={kind!r} must be one of {', '.join(kinds)}{_suggest(str(kind), kinds)}")
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
    if not isinstance(value, Mapping):
        raise ConfigError(f"{place}={value!r} must be a mapping with the fields of {kind.__name__}")
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}  # type: ignore[arg-type]
    for name in value:
        if name not in fields:
            raise ConfigError(_unknown(str(name), fields, place=place))
    required = {
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    if missing := sorted(required - set(value)):
        raise ConfigError(f"{_dotted(place, missing[0])} is missing; give it a value")
    hints = get_type_hints(kind)
    given = {name: _convert(hints[name], entry, place=_dotted(place, str(name))) for name, entry in value.items()}
    try:
        return kind(**given)
    except LrpathError as error:
        if place and place not in str(error) and not place.startswith(("data", "optimizer", "cadence")):
            raise type(error)(f"{place}: {error}") from None
        raise


def _convert(hint: Any, value: Any, *, place: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _convert_union(arguments, value, place=place)
    if origin is Literal:
        if value not in arguments:
            raise ConfigError(_expected(place, value, f"one of {', '.join(map(str, arguments))}"))
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(_expected(place, value, "a list"))
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
    if isinstance(value, list | tuple):
        wanted = [hint for hint in wanted if get_origin(hint) is tuple] or wanted
    elif len(wanted) > 1:
        wanted = [hint for hint in wanted if get_origin(hint) is not tuple]
    exact = [hint for hint in wanted if type(value) is hint]
    errors = []
    for hint in exact or wanted:
        try:
            return _convert(hint, value, place=place)
        except ConfigError as error:
            errors.append(error)
    raise errors[-1]


def _convert_scalar(hint: Any, value: Any, *, place: str) -> Any:
    if isinstance(hint, type) and issubclass(hint, Enum):
        choices = [str(member.value) for member in hint]
        if value not in choices:
            text = f"one of {', '.join(choices)}{_suggest(str(value), choices)}"
            raise ConfigError(_expected(place, value, text))
        return hint(value)
    if hint is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)  # YAML reads 3e-4 as text
        except ValueError:
            raise ConfigError(_expected(place, value, "a number")) from None
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    if type(value) is not hint:
        raise ConfigError(_expected(place, value, names.get(hint, str(hint))))
    return value


def _expected(place: str, value: Any, what: str) -> str:
    return f"{place}={value!r} must be {what}"


def _unknown(name: str, known: typing.Iterable[str], *, place: str) -> str:
    names = sorted(known)
    return f"{_dotted(place, name)} is no field{_suggest(name, names)}; known here: {', '.join(names)}"


def _suggest(name: str, known: typing.Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _dotted(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def conf_folder() -> Path:
    """Return the folder of configuration files: inside the installed package, or beside it in a checkout.

    Raises:
        ConfigError: If neither is there.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise ConfigError(f"no conf folder beside {package}; install lrpath again")
