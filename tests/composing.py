"""Composes conf/ for the tests: what a choice of options gives is composed once in a process, and fields change a copy.

Hydra takes 50 ms for a configuration, most of it for files and defaults, and hundreds of tests differ in fields alone.
"""

import copy
from functools import cache, lru_cache

from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from lrpath.assembly.project import Project
from lrpath.config.schema import conf_folder, load


def composed(*overrides: str, name: str = "config") -> DictConfig:
    """Return what `hydra.compose` does."""
    fields = _parse(tuple(word for word in overrides if not _is_option(word)))
    cfg = copy.deepcopy(_composed(name, tuple(word for word in overrides if _is_option(word))))
    try:
        # As Hydra itself goes on when it has composed the options.
        ConfigLoaderImpl._apply_overrides_to_config(fields, cfg)
    except Exception:
        return compose_anew(*overrides, name=name)  # which raises it as Hydra does
    return cfg


def compose_anew(*overrides: str, name: str = "config") -> DictConfig:
    """Compose without a memory."""
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_folder())):
        return compose(name, overrides=list(overrides))


def project_of(*overrides: str) -> Project:
    """Return the project of a configuration."""
    return Project(load(composed(*overrides)))


def _is_option(word: str) -> bool:
    """Say whether an override is about a group, as `model=tiny` and `schedule@branch=linear` are."""
    group = word.lstrip("+~").partition("=")[0].partition("@")[0]
    return "/" in group or (conf_folder() / group).is_dir()


@lru_cache
def _composed(name: str, options: tuple[str, ...]) -> DictConfig:
    return compose_anew(*options, name=name)


@cache
def _parse(words: tuple[str, ...]) -> list[Override]:
    return OverridesParser.create().parse_overrides(list(words))
