"""The typed schema of what `predict` and `advise` take besides a configuration of `train`."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from omegaconf import DictConfig, OmegaConf

from lrpath.config.places import check_local
from lrpath.config.schema import Config, conf_folder, load
from lrpath.config.typed import typed_root
from lrpath.errors import ConfigError
from lrpath.laws.candidates import Objective
from lrpath.laws.curve_files import CurveFile
from lrpath.laws.settings import FitSettings

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictConfig:
    """What `predict` takes.

    Args:
        predict: Patterns of the paths that are predicted; None for all that are not fitted, empty for none.
        compare: Files whose rates are predicted too, and whose losses, where they have any, are compared.
        mixture: Held-out sets whose loss is predicted as a mixture of those on old and new data; None for none.
        plan: Of which plan: those `kept` in the study, or the one `given` by the configuration.
        folder: Where files go; None for the study's own place.
    """

    predict: str | tuple[str, ...] | None
    compare: tuple[str | CurveFile, ...]
    mixture: str | tuple[str, ...] | None
    plan: Literal["kept", "given"]
    folder: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdviseConfig(Objective):
    """What `advise` takes: the objective, and the place.

    Args:
        label: Label of the paradigm that is advised on; None for `path_switching` or the only one.
        folder: Where files go; None for the study's own place.
    """

    label: str | None
    folder: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneConfig:
    """What `tune` takes.

    Args:
        study: Folder name under `outputs` of a study that swept the peak.
        outputs: Folder of studies.
        format: `text` or `json`.
    """

    study: str
    outputs: str
    format: Literal["text", "json"]


def load_laws(kind: type[T], cfg: DictConfig) -> tuple[Config, FitSettings, T]:
    """Return the typed configuration of `train`, how a law is fitted, and what `predict` or `advise` take besides.

    Raises:
        ConfigError: If a field is refused.
    """
    own = tuple(field.name for field in dataclasses.fields(kind))  # type: ignore[arg-type]
    shared = tuple(field.name for field in dataclasses.fields(FitSettings))
    settings = typed_root(FitSettings, OmegaConf.masked_copy(cfg, list(shared)))
    asked = typed_root(kind, OmegaConf.masked_copy(cfg, list(own)))
    check_local(getattr(asked, "folder", None), field="folder")
    return load(cfg, beside=(*own, *shared)), settings, asked


def fit_settings(**changes: Any) -> FitSettings:
    """Return the settings of `conf/laws.yaml`, some of them changed; for code that does not come from a command line.

    >>> fit_settings(level=0.5).level
    0.5
    """
    return _with_changes(FitSettings, "laws", changes)


def objective_from(**changes: Any) -> Objective:
    """Return the objective of `conf/advise.yaml`, some of its fields changed.

    >>> objective_from(loss=3.2).weight
    0.5
    """
    return _with_changes(Objective, "advise", changes)


def _with_changes(kind: type[T], name: str, changes: Mapping[str, Any]) -> T:
    known = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    cfg = OmegaConf.load(conf_folder() / f"{name}.yaml")
    return dataclasses.replace(typed_root(kind, OmegaConf.masked_copy(cfg, known)), **changes)  # type: ignore[arg-type, type-var]


def label_of(config: Config, label: str | None) -> str:
    """Return the label of the paradigm that is advised on.

    Raises:
        ConfigError: If it is none of the configuration's, or none was named and there are several.
    """
    labels = list(config.paradigms)
    found = label or ("path_switching" if "path_switching" in labels else labels[0] if len(labels) == 1 else None)
    if found not in labels:
        what = "label must be given" if found is None else f"label={found} is not a paradigm of this configuration"
        raise ConfigError(f"{what}; choose one of {', '.join(labels)}", field="label", value=label)
    return found
