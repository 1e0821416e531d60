"""Keeps configuration files from being code: Hydra would call what some of its own fields name.

An experiment file may be somebody else's. Hydra instantiates whatever `hydra.callbacks` names, and Python's logging
calls what `()` and `class` name in `hydra.hydra_logging` and `hydra.job_logging`. Of launchers and sweepers Hydra takes
only classes of its plugins, but it calls whatever `_target_` names within their settings. So what is named is compared
with what lrpath itself uses, before anything of it is called.
"""

import re
from collections.abc import Iterator
from typing import Any

import hydra._internal.hydra as hydra_internal
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from omegaconf import DictConfig, OmegaConf

from lrpath.config.weights import with_model_group
from lrpath.errors import ConfigError

CALLBACKS = ("lrpath.sweep.KeepPlans",)
"""The callbacks that lrpath has."""
LOGGING = ("logging.StreamHandler", "logging.FileHandler", "logging.NullHandler", "colorlog.ColoredFormatter")
"""What Hydra's own logging configurations name."""
SAMPLER = re.compile(r"optuna\.samplers\.[A-Za-z]+Sampler")
"""What the settings of Optuna's sweeper may name."""


class CheckedConfigLoader(ConfigLoaderImpl):
    """Composes configurations as Hydra does, and refuses one that would have foreign code called."""

    def load_configuration(
        self, config_name: str | None, overrides: list[str], *args: Any, **kwargs: Any
    ) -> DictConfig:
        """Return the composed configuration.

        Raises:
            ConfigError: Naming the field, and what it would have called.
        """
        cfg = super().load_configuration(config_name, with_model_group(overrides), *args, **kwargs)
        for field, called in _calls(cfg):
            if called not in CALLBACKS and called not in LOGGING and not _is_sampler(field, called):
                raise ConfigError(
                    f"{field}={called} would call code that is not lrpath's, and configuration files are data; remove "
                    "that entry",
                    field=field,
                    value=called,
                )
        return cfg


def check_composed_configurations() -> None:
    """Have every configuration that Hydra composes in this process checked.

    Hydra has no hook between composing and calling, so its loader is replaced where it is made.
    """
    hydra_internal.ConfigLoaderImpl = CheckedConfigLoader  # type: ignore[attr-defined]


def _is_sampler(field: str, called: str) -> bool:
    return field == "hydra.sweeper.sampler._target_" and SAMPLER.fullmatch(called) is not None


def _calls(cfg: DictConfig) -> Iterator[tuple[str, str]]:
    """Yield `(field, what it names)` for everything in Hydra's own part that would be called."""
    logs = ("()", "class")
    for part in ("launcher", "sweeper"):
        node = OmegaConf.select(cfg, f"hydra.{part}", throw_on_missing=False)
        if isinstance(node, DictConfig):
            settings = OmegaConf.to_container(node, resolve=False)
            assert isinstance(settings, dict)
            inner = {key: value for key, value in settings.items() if key != "_target_"}
            yield from _named(inner, ("_target_", "custom_search_space"), at=f"hydra.{part}")
    for part, keys in {"callbacks": ("_target_",), "hydra_logging": logs, "job_logging": logs}.items():
        node = OmegaConf.select(cfg, f"hydra.{part}", throw_on_missing=False)
        if node is not None:
            yield from _named(OmegaConf.to_container(node, resolve=False), keys, at=f"hydra.{part}")


def _named(value: Any, keys: tuple[str, ...], *, at: str) -> Iterator[tuple[str, str]]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        if (key in keys and entry is not None) or (
            isinstance(entry, str) and entry.startswith("ext://") and not entry.startswith("ext://sys.")
        ):
            yield f"{at}.{key}", str(entry)  # `ext://` imports what it names
        yield from _named(entry, keys, at=f"{at}.{key}")
