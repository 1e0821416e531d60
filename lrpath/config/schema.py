"""The typed schema of conf/: plain values become dataclasses, each checked where it is defined.

Types come from the dataclasses of planning, data and training, so a field exists once. A value of the wrong type, an
unknown field or a missing one is refused with its place and the nearest name there is.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from omegaconf import DictConfig, OmegaConf

from lrpath.config.typed import by_kind, typed, typed_root
from lrpath.data.manifest import is_name
from lrpath.data.sources import HfSource, PythonSource, Source, TextSource, TokensSource
from lrpath.data.tokenizer import TokenizerSettings
from lrpath.errors import ConfigError
from lrpath.planning.cost import wall_hours
from lrpath.planning.guard import Guard
from lrpath.planning.paradigms import PARADIGMS, Paradigm
from lrpath.planning.paths import Optimizer, Seeds
from lrpath.planning.units import times

T = TypeVar("T")

OmegaConf.register_new_resolver("times", times, replace=True)  # for all that compose conf/, before any does

SOURCES: dict[str, type[Source]] = {
    "python_source": PythonSource,
    "text": TextSource,
    "tokens": TokensSource,
    "hf": HfSource,
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
        check_local(self.folder, field="data.folder")
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
    seed: Seeds | int
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
    extend: bool = False

    def __post_init__(self) -> None:
        check_local(self.figure, field="figure")
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
        check_local(self.folder, field="folder")
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
        check_local(self.folder, field="folder")
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


def check_local(place: str | None, *, field: str) -> None:
    """Refuse a place that is not of a file system: `s3://…` would become a folder named `s3:`.

    Raises:
        ConfigError: If there is `://` in the place.
    """
    if place is not None and "://" in place:
        raise ConfigError(
            f"{field}={place} is an address, and lrpath writes to file systems only; mount the storage and give the "
            "path of a folder",
            field=field,
            value=place,
        )


def _check_place(outputs: str, study: str) -> None:
    check_local(outputs, field="outputs")
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


def source_of(config: DataConfig) -> Source:
    """Return the data source that `data.source` describes."""
    return by_kind(SOURCES, config.source, place="data.source")


def paradigms_of(config: Config) -> dict[str, Paradigm]:
    """Return the paradigms by label.

    Raises:
        ConfigError: If a label is no plain name, or a field is refused.
    """
    for label in config.paradigms:
        if not label.replace("_", "").replace("-", "").isalnum():
            raise ConfigError(f"paradigms.{label} must be named with letters, digits, `_` and `-` only")
    return {label: by_kind(PARADIGMS, fields, place=f"paradigms.{label}") for label, fields in config.paradigms.items()}


def conf_folder() -> Path:
    """Return the folder of configuration files: inside the installed package, or beside it in a checkout.

    Raises:
        ConfigError: If neither is there.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise ConfigError(f"no conf folder beside {package}; install lrpath again")
