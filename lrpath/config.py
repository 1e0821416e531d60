"""The typed schema of conf/: plain values become dataclasses, each checked where it is defined.

Types come from the dataclasses of planning, data and training, so a field exists once. A value of the wrong type, an
unknown field or a missing one is refused with its place and the nearest name there is.
"""

import dataclasses
import difflib
import json
import math
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lrpath.data.manifest import is_name
from lrpath.data.sources import HfSource, PythonSource, Source, TextSource, TokensSource
from lrpath.data.tokenizer import TokenizerSettings
from lrpath.errors import ConfigError, LrpathError
from lrpath.planning.cost import wall_hours
from lrpath.planning.guard import Guard
from lrpath.planning.paradigms import Continual, FromScratch, Infinite, Merged, Paradigm, PathSwitching, WsdS
from lrpath.planning.paths import Optimizer
from lrpath.planning.units import times

T = TypeVar("T")

OmegaConf.register_new_resolver("times", times, replace=True)  # for all that compose conf/, before any does

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

    def __post_init__(self) -> None:
        _check_at_least_one(self, "batch")


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

    def __post_init__(self) -> None:
        if not self.folder:
            raise ConfigError("data.folder is empty; name a folder for token stores, for example outputs/data")


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyConfig:
    """On what the updates run; no part of a path's id.

    Args:
        name: `single`, one process; `ddp`, everything on every rank; `fsdp`, shards of it.
        accelerator: `auto`, `cpu` or `gpu`.
        micro_batch: Sequences of one forward pass; null for a rank's whole share.
        threads: Threads of one CPU operation; null for torch's choice.
        recompute: Whether blocks are computed again in the backward pass.
        compile: Whether blocks are compiled.
        shard_ranks: Ranks that hold one copy of the model under `fsdp`: a number, `node`, or null for all.
        timeout_minutes: How long a rank may show no change in an update; null for no watch.
    """

    name: Literal["single", "ddp", "fsdp"]
    accelerator: Literal["auto", "cpu", "gpu"]
    micro_batch: int | None
    threads: int | None
    recompute: bool
    compile: bool
    shard_ranks: int | Literal["node"] | None = None
    timeout_minutes: float | None = None

    def __post_init__(self) -> None:
        _check_at_least_one(self, "strategy", only=("micro_batch", "threads"))
        if isinstance(self.shard_ranks, int) and self.shard_ranks < 1:
            raise ConfigError(f"strategy.shard_ranks={self.shard_ranks} must be at least 1")
        if self.timeout_minutes is not None and not self.timeout_minutes > 0:
            raise ConfigError(f"strategy.timeout_minutes={self.timeout_minutes} must be more than 0")


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
        save_in_background: Whether updates go on while a state is written from a copy in host memory.
        held_out_windows: Windows of each held-out set; null for all.
    """

    log_every: int
    evaluate_every: int
    save_every: int
    held_out_windows: int | None
    save_in_background: bool = True

    def __post_init__(self) -> None:
        _check_at_least_one(self, "cadence", only=("log_every", "evaluate_every", "save_every", "held_out_windows"))


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

    def __post_init__(self) -> None:
        wall_hours(0, device=self.device, mfu=self.mfu, count=self.count)  # holds the rules


MAX_VERSIONS = 1_000
"""Most versions of a plan; a larger number is a slip of the finger, and its tree would not fit into memory."""


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
    paradigms: dict[str, dict[str, Any]] = field(default_factory=dict)
    optimizer: Optimizer
    strategy: StrategyConfig
    logger: LoggerConfig
    cadence: CadenceConfig
    cluster: ClusterConfig
    guard: Guard = field(default_factory=Guard)
    figure: str | None
    format: Literal["text", "json"]
    paths: str | tuple[str, ...] | None = None
    wait: bool = False

    def __post_init__(self) -> None:
        _check_place(self.outputs, self.study)
        if Path(self.outputs) / self.study == Path(self.data.folder):
            raise ConfigError(f"study={self.study} is where data.folder keeps token stores; choose another name")
        if not 1 <= self.versions <= MAX_VERSIONS:
            raise ConfigError(f"versions={self.versions} must lie in [1, {MAX_VERSIONS:_}]")
        if self.paths == ():
            raise ConfigError("paths is empty, so nothing would be run; name some, paths=main, or leave it out")
        if not self.paradigms:
            raise ConfigError("paradigm is empty; choose some, paradigm=[path_switching,continual,from_scratch]")
        whole, micro_batch = self.batch.sequences_per_update, self.strategy.micro_batch
        if micro_batch is not None and whole % micro_batch:
            fitting = ", ".join(str(n) for n in range(1, min(whole, 1024) + 1) if whole % n == 0)
            raise ConfigError(
                f"strategy.micro_batch={micro_batch} must divide batch.sequences_per_update={whole}; "
                f"use one of {fitting}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportConfig:
    """What `report` is told.

    Args:
        study: Folder name under `outputs`, or several to report on together.
        outputs: Folder of studies.
        folder: Where to; null for the study's own report folder, and must be given for several.
    """

    study: str | tuple[str, ...]
    outputs: str
    folder: str | None = None

    def __post_init__(self) -> None:
        for name in self.studies:
            _check_place(self.outputs, name)
        if not self.studies:
            raise ConfigError("study is empty; name one, or several, study=[july,august]")
        if len(self.studies) > 1 and self.folder is None:
            raise ConfigError("folder must be given for a report on several studies: folder=july_and_august")

    @property
    def studies(self) -> tuple[str, ...]:
        """Names of the studies."""
        return (self.study,) if isinstance(self.study, str) else self.study


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowConfig:
    """What `show` is told.

    Args:
        study: Folder name under `outputs`.
        outputs: Folder of studies.
    """

    study: str
    outputs: str

    def __post_init__(self) -> None:
        _check_place(self.outputs, self.study)


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneConfig:
    """What `prune` is told.

    Args:
        study: Folder name under `outputs`.
        outputs: Folder of studies.
        drop: Plans to keep no longer, by their numbers, 1 for the oldest.
        ask: Whether to ask before anything is removed.
    """

    study: str
    outputs: str
    drop: int | tuple[int, ...] | None
    ask: bool

    def __post_init__(self) -> None:
        _check_place(self.outputs, self.study)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """What `export` is told.

    Args:
        study: Folder name under `outputs`.
        outputs: Folder of studies.
        release: `v4`, or with the label of its paradigm `from_scratch/v4`.
        folder: Folder to make; null for the study's own place.
    """

    study: str
    outputs: str
    release: str
    folder: str | None

    def __post_init__(self) -> None:
        _check_place(self.outputs, self.study)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyConfig:
    """What `verify` is told besides a configuration of `train`.

    Args:
        digests: Whether states are read and their SHA-256 compared.
        null_fork: Updates that are run again after every fork; null for none.
    """

    digests: bool
    null_fork: int | None

    def __post_init__(self) -> None:
        if self.null_fork is not None and self.null_fork < 1:
            raise ConfigError(f"null_fork={self.null_fork} must be at least 1 update, or null")


def _check_place(outputs: str, study: str) -> None:
    if not outputs:
        raise ConfigError("outputs is empty; name the folder of studies, for example outputs=outputs")
    if not is_name(study):
        raise ConfigError(
            f"study={study!r} must be a plain folder name of at most 64 letters, digits, `.`, `_` and `-`; choose one"
        )


def _check_at_least_one(part: Any, place: str, *, only: tuple[str, ...] = ()) -> None:
    for name in only or [entry.name for entry in dataclasses.fields(part)]:
        value = getattr(part, name)
        if value is not None and value < 1:
            raise ConfigError(f"{place}.{name}={value} must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedConfig:
    """Root keys that other fields interpolate; a paradigm that does not use one leaves it to be checked here alone."""

    alpha: float | tuple[float, ...]
    peak: float
    floor: float
    warmup: int | str
    schedule: dict[str, Any]
    branch: dict[str, Any]
    text_bytes: int | tuple[int, ...]
    scale: str | None
    description: str


SHARED = tuple(field.name for field in dataclasses.fields(SharedConfig))


def load(cfg: DictConfig, *, beside: tuple[str, ...] = ()) -> Config:
    """Return the typed configuration of `train` and `plan`; the keys in `SHARED` are only checked, `beside` is not."""
    config = typed_root(Config, cfg, shared=(*SHARED, *beside))
    typed(SharedConfig, OmegaConf.to_container(OmegaConf.masked_copy(cfg, list(SHARED)), resolve=True), place="")
    return config


def load_verify(cfg: DictConfig) -> tuple[Config, VerifyConfig]:
    """Return the typed configuration of `verify`: one of `train`, and what is asked about the study it names."""
    own = tuple(field.name for field in dataclasses.fields(VerifyConfig))
    settings = typed_root(VerifyConfig, OmegaConf.masked_copy(cfg, list(own)))
    return load(cfg, beside=own), settings


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


def source_of(config: DataConfig) -> Source:
    """Return the data source that `data.source` describes."""
    return _by_kind(SOURCES, config.source, place="data.source")


def paradigms_of(config: Config) -> dict[str, Paradigm]:
    """Return the paradigms by label.

    Raises:
        ConfigError: If a label is no plain name, or a field is refused.
    """
    for label in config.paradigms:
        if not label.replace("_", "").replace("-", "").isalnum():
            raise ConfigError(f"paradigms.{label} must be named with letters, digits, `_` and `-` only")
    return {
        label: _by_kind(PARADIGMS, fields, place=f"paradigms.{label}") for label, fields in config.paradigms.items()
    }


def _by_kind(kinds: Mapping[str, type[T]], fields: Mapping[str, Any], *, place: str) -> T:
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
    return type(error)(f"{place}: {error}") if place and place not in str(error) else error


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


_LENGTH = 'a length: whole updates ("300 updates") or tokens ("10.5B tokens")'
_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


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
