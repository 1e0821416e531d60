"""Checks a sweep whose sweeper chooses its jobs by earlier losses, such as Optuna's, before the first job."""

from collections.abc import Sequence

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from lrpath.assembly.objective import check_one_paradigm
from lrpath.assembly.project import Project
from lrpath.config import schema
from lrpath.errors import ConfigError
from lrpath.sweep.launcher import TorchrunLauncher

_OTHER_SCALE = (
    "data",
    "versions",
    "text_bytes",
    "scale",
    "rung",
    "exp",
    "cadence.held_out_windows",
    "batch.tokens_per_sequence",
)
"""Fields and groups that change the held-out tokens: losses of two values are not of one scale."""


def check_optimizing(config: DictConfig) -> None:
    """Refuse a sweep whose jobs would return no number, or numbers that must not be compared.

    Raises:
        ConfigError: Naming the field and what to type.
    """
    _check_settings(config)
    params = OmegaConf.select(config, "hydra.sweeper.params") or {}
    given = [*(f"{name}={value}" for name, value in params.items()), *config.hydra.overrides.task]
    overrides = OverridesParser.create().parse_overrides(given)
    swept = [one.key_or_group for one in overrides if one.is_sweep_override()]
    _check_swept(swept)
    fixed = [one.input_line for one in overrides if not one.is_sweep_override()]
    project = Project(schema.load(compose(config.hydra.job.config_name, overrides=[line for line in fixed if line])))
    if "paradigm" not in swept:
        check_one_paradigm(project)


def _check_settings(config: DictConfig) -> None:
    direction = OmegaConf.select(config, "hydra.sweeper.direction")
    if direction is not None and str(getattr(direction, "name", direction)) != "minimize":
        text = f"hydra.sweeper.direction={direction}: what a job returns is a loss, the lower the better; leave it out"
        raise ConfigError(text, field="hydra.sweeper.direction", value=str(direction))
    if config.hydra.launcher._target_.endswith(f".{TorchrunLauncher.__name__}"):
        text = "hydra/launcher=torchrun starts commands, which return no loss to a sweeper; leave one of the two out"
        raise ConfigError(text, field="hydra/launcher", value="torchrun")


def _check_swept(swept: Sequence[str]) -> None:
    if not swept:
        text = "a sweeper has nothing to choose; give a range or choices: 'peak=tag(log,interval(1e-3,1e-1))'"
        raise ConfigError(text, field="hydra/sweeper")
    for name in swept:
        if any(name == field or name.startswith(f"{field}.") for field in _OTHER_SCALE):
            text = f"{name} is swept and changes the text that releases are judged on, so that their losses are of"
            raise ConfigError(f"{text} no one scale; give it one value", field=name)
