"""The typed schema of what `predict` and `advise` are told besides a configuration of `train`."""

import dataclasses
from dataclasses import dataclass
from typing import Literal, TypeVar

from omegaconf import DictConfig, OmegaConf

from lrpath.config.schema import Config, load
from lrpath.config.typed import typed_root
from lrpath.errors import ConfigError
from lrpath.laws.candidates import Wish
from lrpath.laws.path_fit import FitSettings

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictConfig:
    """What `predict` is told.

    Args:
        predict: Patterns of the paths that are foretold; None for all that are not fitted.
        plan: Of which plan: those `kept` in the study, or the one `given` by the configuration.
        folder: Where files go; None for the study's own place.
    """

    predict: str | tuple[str, ...] | None = None
    plan: Literal["kept", "given"] = "kept"
    folder: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdviseConfig(Wish):
    """What `advise` is told: what is wished for, and where.

    Args:
        label: Label of the paradigm that is advised on; None for `path_switching` or the only one.
        folder: Where files go; None for the study's own place.
    """

    label: str | None = None
    folder: str | None = None


def load_laws(kind: type[T], cfg: DictConfig) -> tuple[Config, FitSettings, T]:
    """Return the typed configuration of `train`, how a law is fitted, and what `predict` or `advise` are told besides.

    Raises:
        ConfigError: If a field is refused.
    """
    own = tuple(field.name for field in dataclasses.fields(kind))  # type: ignore[arg-type]
    shared = tuple(field.name for field in dataclasses.fields(FitSettings))
    settings = typed_root(FitSettings, OmegaConf.masked_copy(cfg, list(shared)))
    asked = typed_root(kind, OmegaConf.masked_copy(cfg, list(own)))
    return load(cfg, beside=(*own, *shared)), settings, asked


def label_of(config: Config, label: str | None) -> str:
    """Return the label of the paradigm that is advised on.

    Raises:
        ConfigError: If it is none of the configuration's, or none was named and there are several.
    """
    labels = list(config.paradigms)
    found = label or ("path_switching" if "path_switching" in labels else labels[0] if len(labels) == 1 else None)
    if found not in labels:
        what = " must be given" if found is None else f"={found} is none"
        raise ConfigError(f"label{what}; choose the paradigm that is advised on from {', '.join(labels)}")
    return found
