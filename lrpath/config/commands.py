"""The configurations of the commands beside `train` and `plan`, typed as in `schema.py`."""

from dataclasses import dataclass
from typing import Literal

from omegaconf import DictConfig, OmegaConf

from lrpath.config.places import check_local, check_place
from lrpath.config.schema import Config, load
from lrpath.config.typed import field_names, typed_root
from lrpath.errors import ConfigError
from lrpath.records.remote.folder import check_address


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportConfig:
    """The configuration of `report`.

    Args:
        study: Folder name under `outputs`, or several to report on together.
        outputs: Folder of studies.
        folder: Where to; null for the study's own report folder, and must be given for several.
    """

    study: str | tuple[str, ...]
    outputs: str
    folder: str | None

    def __post_init__(self) -> None:
        check_local(self.folder, field="folder")
        for name in self.studies:
            check_place(self.outputs, name)
        if not self.studies:
            text = "study is empty; name one, or several, study=[july,august]"
            raise ConfigError(text, field="study", value=self.study)
        if twice := next((name for name in self.studies if self.studies.count(name) > 1), None):
            text = f"study names {twice} twice; name every study once"
            raise ConfigError(text, field="study", value=self.study)
        if len(self.studies) > 1 and self.folder is None:
            text = "folder must be given for a report on several studies: folder=july_and_august"
            raise ConfigError(text, field="folder", value=None)

    @property
    def studies(self) -> tuple[str, ...]:
        """Names of the studies."""
        return (self.study,) if isinstance(self.study, str) else self.study


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowConfig:
    """The configuration of `show`.

    Args:
        study: Folder name under `outputs`.
        outputs: Folder of studies.
        update: Path and position of the one update whose text is shown, `path_switching.main/120`; null for the study.
        stores: Folder of prepared token stores, from which that text is read.
    """

    study: str
    outputs: str
    update: str | None
    stores: str

    def __post_init__(self) -> None:
        check_place(self.outputs, self.study)


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneConfig:
    """The configuration of `prune`.

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
        check_place(self.outputs, self.study)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """The configuration of `export`.

    Args:
        study: Folder name under `outputs`.
        outputs: Folder of studies.
        release: `v4`, or with the label of its paradigm `from_scratch/v4`; or a kept state of a path,
            `path_switching.main/120`, without the position its newest.
        folder: Folder to make; null for the study's own place.
        dtype: Type of the weights.
        shard_gb: Most gigabytes of a weight file.
        check: `load` loads and runs what was written and compares it with the states, in the memory that the model
            takes; `tokenizer` compares its ids alone.
    """

    study: str
    outputs: str
    release: str
    folder: str | None
    dtype: Literal["fp32", "bf16"]
    shard_gb: float
    check: Literal["load", "tokenizer"]

    def __post_init__(self) -> None:
        check_address(self.folder, field="folder")
        check_place(self.outputs, self.study)
        if not self.shard_gb > 0:
            raise ConfigError(f"shard_gb={self.shard_gb} must be more than 0", field="shard_gb", value=self.shard_gb)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyConfig:
    """What `verify` takes besides a configuration of `train`.

    Args:
        digests: Whether states are read and their SHA-256 compared.
        null_fork: Updates that are run again after every fork; null for none.
    """

    digests: bool
    null_fork: int | None

    def __post_init__(self) -> None:
        if self.null_fork is not None and self.null_fork < 1:
            text = f"null_fork={self.null_fork} must be at least 1 update, or null"
            raise ConfigError(text, field="null_fork", value=self.null_fork)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig:
    """What `evaluate` is told besides a configuration of `train`.

    Args:
        states: Which kept states: those that `releases` are made of, or `all`.
        tasks: Names of tasks that they are given by EleutherAI's harness, in place of held-out text.
        release: One release as `export` names it, or several, to be given the tasks; null for every one.
    """

    states: Literal["releases", "all"]
    tasks: tuple[str, ...]
    release: str | tuple[str, ...] | None

    def __post_init__(self) -> None:
        if self.release is not None and not self.tasks:
            text = f"release={self.release} chooses who is given tasks; add tasks=[NAME], or leave release out"
            raise ConfigError(text, field="release", value=self.release)
        if self.release is not None and self.states == "all":
            text = "states=all: release names some releases already; leave one of the two out"
            raise ConfigError(text, field="states", value=self.states)

    @property
    def chosen(self) -> tuple[str, ...]:
        """Names of the releases that are given the tasks; empty for every one."""
        return () if self.release is None else (self.release,) if isinstance(self.release, str) else self.release


def load_verify(cfg: DictConfig) -> tuple[Config, VerifyConfig]:
    """Return the typed configuration of `verify`: one of `train`, and what is asked about the study it names."""
    own = field_names(VerifyConfig)
    settings = typed_root(VerifyConfig, OmegaConf.masked_copy(cfg, list(own)))
    return load(cfg, beside=own), settings


def load_evaluate(cfg: DictConfig) -> tuple[Config, EvaluateConfig]:
    """Return the typed configuration of `evaluate`: one of `train`, and which states are evaluated."""
    own = field_names(EvaluateConfig)
    settings = typed_root(EvaluateConfig, OmegaConf.masked_copy(cfg, list(own)))
    return load(cfg, beside=own), settings
