"""How every entry begins: Hydra composes the configuration, and an error of ours is one message and an exit code."""

import sys
from collections.abc import Callable

import hydra
from omegaconf import DictConfig

from lrpath.config import conf_folder
from lrpath.errors import ConfigError, LrpathError


def run(task: Callable[[DictConfig], None], *, config_name: str) -> None:
    """Compose `config_name` with the command line's overrides and run the task with it.

    An `LrpathError` is printed to standard error without a traceback; the process then exits with its code.
    """

    def guarded(cfg: DictConfig) -> None:
        try:
            task(cfg)
        except LrpathError as error:
            sys.stdout.flush()
            print(f"error: {error}", file=sys.stderr, flush=True)  # noqa: T201
            sys.exit(error.exit_code)

    try:
        folder = str(conf_folder())
    except ConfigError as error:
        sys.exit(f"error: {error}")
    guarded.__module__ = task.__module__
    hydra.main(version_base="1.3", config_path=folder, config_name=config_name)(guarded)()
