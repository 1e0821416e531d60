"""Keeps configuration files from being code: Hydra would call what some of its own fields name.

An experiment file may be somebody else's. Hydra instantiates whatever `hydra.callbacks` names, and Python's logging
calls what `()` and `class` name in `hydra.hydra_logging` and `hydra.job_logging`. Launchers and sweepers are safe:
Hydra takes only classes of its plugins for them. So what is named is compared with what lrpath itself uses, before
anything of it is called.
"""

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
            if called not in CALLBACKS and called not in LOGGING:
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


def _calls(cfg: DictConfig) -> Iterator[tuple[str, str]]:
    """Yield `(field, what it names)` for everything in Hydra's own part that would be called."""
    logs = ("()", "class")
    for part, keys in {"callbacks": ("_target_",), "hydra_logging": logs, "job_logging": logs}.items():
        node = OmegaConf.select(cfg, f"hydra.{part}", throw_on_missing=False)
        if node is not None:
            yield from _named(OmegaConf.to_container(node, resolve=False), keys, at=f"hydra.{part}")


def _named(value: Any, keys: tuple[str, ...], *, at: str) -> Iterator[tuple[str, str]]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        if key in keys or (
            isinstance(entry, str) and entry.startswith("ext://") and not entry.startswith("ext://sys.")
        ):
            yield f"{at}.{key}", str(entry)  # `ext://` imports what it names
        yield from _named(entry, keys, at=f"{at}.{key}")
