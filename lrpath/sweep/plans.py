"""Lets the jobs of a sweep know of each other: all their plans are kept in their studies before the first one starts.

Every path then saves the forks of all jobs on its one run, and retention removes none of them: the values of an α
sweep share one main path of which no update runs twice, in whatever order they come.
"""

import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from hydra import compose
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from lrpath import entry
from lrpath.assembly.objective import is_optimizing
from lrpath.assembly.project import Project
from lrpath.assembly.reuse import check_extends
from lrpath.config import schema
from lrpath.errors import ConfigError, MismatchError
from lrpath.sweep.launcher import TorchrunLauncher
from lrpath.sweep.optimizing import check_optimizing
from lrpath.training.distributed.slurm import step_tasks

_RANKED = "hydra/launcher=torchrun hydra.launcher.ranks=2"


class KeepPlans(Callback):
    """Hydra callback of `lrpath.train -m`; conf/hydra/lrpath.yaml names it."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Compose every job, refuse the whole sweep if one is impossible, and keep their plans."""
        try:
            if pathlib.Path(sys.argv[0]).stem == "train":  # Hydra takes lrpath.entry for the name of every job
                _begin(config)
            else:
                _check_one_process(config)
        except Exception as error:  # Hydra would turn it into a warning and start the sweep
            entry.refuse(error)

    def on_job_start(self, config: DictConfig, **_: Any) -> None:  # noqa: ARG002 (Hydra names it)
        """Tell a task of submitit which rank it is, as torchrun would; Hydra calls this in the job's own process."""
        if "SUBMITIT_EXECUTOR" in os.environ:
            from submitit.helpers import TorchDistributedEnvironment

            TorchDistributedEnvironment().export(set_cuda_visible_devices=False)


def _begin(config: DictConfig) -> None:
    _check_alone()
    if is_optimizing(config.hydra.sweeper._target_):
        check_optimizing(config)  # its jobs are not known yet, and each keeps its own plan
    else:
        _keep_plans(config)


def _keep_plans(config: DictConfig) -> None:
    overrides = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
    jobs = [job for batch in BasicSweeper.split_arguments(overrides, None) for job in batch]
    projects = [Project(schema.load(compose(config.hydra.job.config_name, overrides=job))) for job in jobs]
    for project in projects:
        _check_ranks(project.config.strategy.name, config)
        if not project.waits_for_tokens:
            _ = project.plan
    _check_extend([project for project in projects if not project.waits_for_tokens])
    for project in projects:  # all are possible before text is read
        project.prepare()  # ids follow from tokens
    _check_extend(projects)
    for project in projects:
        project.refresh()  # this plan goes on from those of the jobs before it
        project.keep_plan()


def _check_extend(projects: Sequence[Project]) -> None:
    """Check that the sweep goes on from its study: with extend=auto, that one of its jobs does.

    To list seeds or rates is to ask for all of them, of which one may have been run before.
    """
    refusals = []
    for project in projects:
        try:
            check_extends(project)
        except MismatchError as error:
            if project.config.extend is True:
                raise
            refusals.append(error)
    if refusals and len(refusals) == len(projects):
        raise refusals[0]


def _check_alone() -> None:
    ranks = os.environ.get("WORLD_SIZE") or step_tasks()
    if int(ranks) > 1:
        raise ConfigError(
            f"a sweep (-m) was started on {ranks} ranks, each of which would start every job; start it without "
            f"torchrun or srun, and each job gets a torchrun of its own: python -m lrpath.train -m … {_RANKED}"
        )


def _check_ranks(strategy: str, config: DictConfig) -> None:
    """Check that a job gets the processes that its strategy needs."""
    launcher = config.hydra.launcher
    name = launcher._target_.rsplit(".", 1)[-1]
    if strategy != "single" and name in ("BasicLauncher", "JoblibLauncher"):
        raise ConfigError(
            f"strategy={strategy} needs several ranks, and this sweep (-m) runs each job in one process; add "
            f"{_RANKED}, or use strategy=single",
            field="strategy",
            value=strategy,
        )
    if name == TorchrunLauncher.__name__:
        if OmegaConf.is_missing(launcher, "ranks"):
            text = "hydra.launcher.ranks must be given: hydra.launcher.ranks=2"
            raise ConfigError(text, field="hydra.launcher.ranks")
        ranks = TorchrunLauncher(**{key: value for key, value in launcher.items() if key != "_target_"}).ranks
        if strategy == "single" and ranks > 1:
            raise ConfigError(
                f"strategy=single runs on one rank, and hydra.launcher.ranks={ranks}; add strategy=ddp or "
                "strategy=fsdp, or leave hydra/launcher=torchrun out",
                field="strategy",
                value=strategy,
            )


def _check_one_process(config: DictConfig) -> None:
    if config.hydra.launcher._target_.endswith(TorchrunLauncher.__name__):
        text = "hydra/launcher=torchrun starts lrpath.train only; leave it out here"
        raise ConfigError(text, field="hydra/launcher", value="torchrun")
