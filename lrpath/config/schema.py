"""The typed schema of conf/: plain values become dataclasses, each checked where it is defined.

Types come from the dataclasses of planning, data and training, so a field exists once. Values stand in conf/: a field
that has one there has no default here, since the two would drift apart. A value of the wrong type, an unknown field or
a missing one is refused with its place and the nearest name there is.
"""

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from omegaconf import DictConfig, OmegaConf, open_dict

from lrpath.config.places import check_local, check_place
from lrpath.config.typed import field_names, plain_root
from lrpath.config.weights import with_weights
from lrpath.data.sources import HfSource, OwnSource, PythonSource, TextSource, TokensSource
from lrpath.data.tokenizer import TokenizerSettings
from lrpath.errors import ConfigError
from lrpath.planning.cost import wall_hours
from lrpath.planning.decay import Decay
from lrpath.planning.global_batch import GROWTH, GlobalBatch
from lrpath.planning.guard import Guard
from lrpath.planning.optimizers import Optimizer
from lrpath.planning.own_model import OwnModel
from lrpath.planning.paradigms import PARADIGMS, Paradigm
from lrpath.planning.paradigms.setting import Alpha, share_of
from lrpath.planning.plain import given_fields, typed
from lrpath.planning.recipe import Seeds
from lrpath.planning.shape import FileModel, ModelShape
from lrpath.planning.units import times
from lrpath.planning.weights_model import WeightsModel
from lrpath.records.loggers import MlflowLogger, TableLogger, WandbLogger
from lrpath.records.remote.folder import check_address
from lrpath.training.command.settings import CommandEngine, Engine
from lrpath.training.settings import Cadence, HarnessSettings, StrategySettings

T = TypeVar("T")

OmegaConf.register_new_resolver("times", times, replace=True)  # for all that compose conf/, before any does


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchGrowth:
    """A position from which on updates read more sequences.

    Args:
        position: Length from the root (updates or tokens).
        sequences_per_update: Windows of every update from there on.
    """

    position: int | str
    sequences_per_update: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchConfig:
    """Global batch of one update.

    Args:
        sequences_per_update: Windows, over all ranks and micro-batches.
        tokens_per_sequence: Tokens of a window.
        growth: Where it becomes larger, in order.
    """

    sequences_per_update: int
    tokens_per_sequence: int
    growth: tuple[BatchGrowth, ...]

    def __post_init__(self) -> None:
        _check_at_least_one(self, "batch", only=("sequences_per_update", "tokens_per_sequence"))
        _ = self.sizes  # holds the rules

    @property
    def sizes(self) -> GlobalBatch:
        """The sequences of an update by its position.

        Raises:
            ConfigError: If a position is no length, or the batch does not grow from entry to entry.
        """
        batch = GlobalBatch(sequences=self.sequences_per_update)
        for number, one in enumerate(self.growth):
            # A position in tokens is counted with the batches before it.
            position = batch.parse_updates(
                one.position, tokens_per_sequence=self.tokens_per_sequence, field=f"{GROWTH}[{number}].position"
            )
            growth = (*batch.growth, (position, one.sequences_per_update))
            batch = GlobalBatch(sequences=self.sequences_per_update, growth=growth)
        return batch


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Where the text comes from.

    Args:
        source: The source that the field `kind` names.
        tokenizer: How ids are made; null for token files without one.
        folder: Where prepared token stores are kept, each under its content id.
        repeat: Most epochs of its text that one reading of an increment, or of a domain of it, may take; false is one,
            true as many as it takes.
        mixture: Weights of the domains, of every version or of each; null reads a version as it is stored.
        mask: Whether a token attends to its whole window before it, or to its own document alone.
    """

    source: PythonSource | TextSource | TokensSource | HfSource | OwnSource
    tokenizer: TokenizerSettings | None
    folder: str
    repeat: bool | float
    mixture: Mapping[str, float] | tuple[Mapping[str, float] | None, ...] | None
    mask: Literal["none", "document"]

    def __post_init__(self) -> None:
        check_address(self.folder, field="data.folder")
        if not isinstance(self.repeat, bool) and self.repeat < 1:
            text = f"data.repeat={self.repeat:g} must be at least 1 epoch, true or false"
            raise ConfigError(text, field="data.repeat", value=self.repeat)
        if self.mask == "document" and self.tokenizer is None:
            text = "data.mask=document needs the mark that ends a document, and so data.tokenizer; give its file"
            raise ConfigError(text, field="data.mask", value=self.mask)
        if not self.folder:
            text = "data.folder is empty; name a folder for token stores: data.folder=outputs/data"
            raise ConfigError(text, field="data.folder", value=self.folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """What device-hours and memory are estimated for.

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
    """The configuration of `train` and `plan`; the comments in conf/config.yaml explain each field."""

    study: str
    outputs: str
    seed: Seeds | int
    versions: int
    increment: int | str | tuple[int | str, ...]
    precision: str
    batch: BatchConfig
    model: FileModel | WeightsModel | ModelShape | OwnModel
    data: DataConfig
    paradigms: dict[str, Paradigm]
    optimizer: Optimizer
    strategy: StrategySettings
    engine: Engine
    logger: WandbLogger | MlflowLogger | TableLogger
    cadence: Cadence
    cluster: ClusterConfig
    guard: Guard
    figure: str | None
    rates: str | None
    format: Literal["text", "json"]
    paths: str | tuple[str, ...] | None
    wait: bool
    workers: int
    callbacks: tuple[Mapping[str, Any], ...]
    profile: bool
    mend: bool
    extend: Literal["auto"] | bool
    harness: HarnessSettings

    def __post_init__(self) -> None:
        check_local(self.figure, field="figure")
        check_local(self.rates, field="rates")
        check_place(self.outputs, self.study)
        if Path(self.outputs) / self.study == Path(self.data.folder):
            text = f"study={self.study} is where data.folder keeps token stores; choose another name"
            raise ConfigError(text, field="study", value=self.study)
        if not 1 <= self.versions <= MAX_VERSIONS:
            text = f"versions={self.versions} must lie in [1, {MAX_VERSIONS:_}]"
            raise ConfigError(text, field="versions", value=self.versions)
        if self.paths == ():
            text = "paths is empty, so nothing would be run; name some, paths=main, or leave it out"
            raise ConfigError(text, field="paths", value=self.paths)
        _check_at_least_one(self, only=("workers",))
        for label in self.paradigms:
            _check_label(label)
        if not self.paradigms:
            text = "paradigm is empty; choose some: paradigm=[path_switching,continual,from_scratch]"
            raise ConfigError(text, field="paradigm")
        self.strategy.check_batch(self.batch.sizes)
        for number, fields in enumerate(self.callbacks):
            if not isinstance(fields.get("kind"), str):
                text = f'callbacks[{number}] has no kind; write {{kind: "my_module:MyCallback"}}'
                raise ConfigError(text, field=f"callbacks[{number}].kind")
        if isinstance(self.engine, CommandEngine):
            self._check_command()

    def _check_command(self) -> None:
        """Raise if something is asked for that lrpath's own trainer alone does."""
        if self.strategy.name != "single":
            text = f"strategy={self.strategy.name}: with engine=command the command starts its own ranks; leave it out"
            raise ConfigError(text, field="strategy", value=self.strategy.name)
        if self.callbacks:
            text = "callbacks: with engine=command the command makes the updates, and has no Lightning; leave them out"
            raise ConfigError(text, field="callbacks")
        if self.profile:
            text = "profile=true: with engine=command the command makes the updates, and profiles itself; leave it out"
            raise ConfigError(text, field="profile", value=True)
        if self.guard.acts:
            text = f"guard.policy={self.guard.policy}: with engine=command the command guards its updates; leave it out"
            raise ConfigError(text, field="guard.policy", value=self.guard.policy)


def _check_label(label: str) -> None:
    if not label.replace("_", "").replace("-", "").isalnum():
        field = f"paradigms.{label}"
        raise ConfigError(f"{field} must be named with letters, digits, `_` and `-` only; rename it", field=field)


def _check_at_least_one(part: Any, place: str = "", *, only: tuple[str, ...]) -> None:
    for name in only:
        field, value = f"{place}.{name}" if place else name, getattr(part, name)
        if value < 1:
            raise ConfigError(f"{field}={value} must be at least 1", field=field, value=value)


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedConfig:
    """Root keys that other fields interpolate; a paradigm that does not use one leaves it to be checked here alone."""

    alpha: Alpha | tuple[Alpha, ...]
    peak: float
    floor: float
    warmup: int | str
    schedule: Decay
    branch: Decay
    text_bytes: int | tuple[int, ...]
    scale: str | None
    rung: str | None
    description: str

    def __post_init__(self) -> None:
        alphas = self.alpha if isinstance(self.alpha, tuple) else (self.alpha,)
        rules = {
            "alpha": (
                all(map(_is_length, alphas)),
                "positive: branch updates ÷ increment updates, or share:0.2 of all",
            ),
            "peak": (self.peak > 0, "a positive rate"),
            "floor": (0 <= self.floor < 1, "in [0, 1): it is a share of the peak rate"),
        }
        for name, (holds, rule) in rules.items():
            if not holds:
                value = getattr(self, name)
                raise ConfigError(f"{name}={value} must be {rule}", field=name, value=value)


def _is_length(alpha: Alpha) -> bool:
    return share_of(alpha, field="alpha") is not None if isinstance(alpha, str) else alpha > 0


SHARED = field_names(SharedConfig)


def load(cfg: DictConfig, *, beside: tuple[str, ...] = ()) -> Config:
    """Return the typed configuration of `train` and `plan`; the keys of `SharedConfig` and `beside` are left out.

    Raises:
        ConfigError: If a field is refused.
    """
    completed = _with_vocab_size(with_weights(_with_values_of_kinds(cfg)))
    plain = plain_root(completed, known=(*field_names(Config), *SHARED, *beside))
    # First: a paradigm that is filled from `peak` would refuse it under a name that nobody has typed.
    typed(SharedConfig, {name: plain[name] for name in SHARED if name in plain}, place="")
    own = {name: value for name, value in plain.items() if name not in (*SHARED, *beside)}
    return typed(Config, {"paradigms": {}} | own, place="")


def _with_vocab_size(cfg: DictConfig) -> DictConfig:
    """Return a configuration whose `data.tokenizer.vocab_size`, if it is null, is that of the tokenizer's file.

    The model's size refers to it, so that null must become a number before the model is made.
    """
    tokenizer = OmegaConf.select(cfg, "data.tokenizer", throw_on_missing=False)
    file = tokenizer.get("file") if isinstance(tokenizer, DictConfig) and "vocab_size" in tokenizer else None
    if not isinstance(file, str) or tokenizer.get("vocab_size") is not None:
        return cfg
    completed = copy.deepcopy(cfg)
    size = TokenizerSettings(vocab_size=None, file=file, end_mark="null").ids()
    OmegaConf.update(completed, "data.tokenizer.vocab_size", size)
    return completed


def _with_values_of_kinds(cfg: DictConfig) -> DictConfig:
    """Return a configuration in which a paradigm that leaves out fields has those of `conf/paradigm/<kind>.yaml`.

    An experiment can so name a paradigm by its difference from the usual one of its kind, whose values stand once.
    """
    completed = None
    for label in cfg.get("paradigms") or ():
        fields = cfg.paradigms._get_node(label)
        kind = PARADIGMS.get(str(fields.get("kind"))) if isinstance(fields, DictConfig) else None
        if kind is None or not {entry.name for entry in given_fields(kind) if _is_required(entry)} - set(fields):
            continue
        completed = copy.deepcopy(cfg) if completed is None else completed
        usual: Any = OmegaConf.to_container(OmegaConf.load(conf_folder() / "paradigm" / f"{kind.kind}.yaml"))
        with open_dict(completed):
            completed.paradigms[label] = OmegaConf.merge(usual[kind.kind], fields)  # in its place: the order is kept
    return cfg if completed is None else completed


def _is_required(entry: "dataclasses.Field[Any]") -> bool:
    return entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING


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
