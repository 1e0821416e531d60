"""Lets the jobs of a sweep know of each other: all their plans are kept in their studies before the first one starts.

Every path then saves the forks of all jobs on its one walk, and retention removes none of them: the values of an α
sweep share one main path of which no update runs twice, in whatever order they come.
"""

import os
import sys
from pathlib import Path as File
from typing import Any

from hydra import compose
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from lrpath import config as schema
from lrpath import entry
from lrpath.build.project import Project
from lrpath.errors import ConfigError
from lrpath.planning.paths import unite
from lrpath.training.slurm import step_tasks


class KeepPlans(Callback):
    """Hydra callback of `lrpath.train -m`; conf/hydra/lrpath.yaml names it."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Compose every job, refuse the whole sweep if one is impossible, and keep their plans."""
        if File(sys.argv[0]).stem != "train":  # Hydra takes lrpath.entry for the name of every job
            return
        overrides = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
        jobs = [job for batch in BasicSweeper.split_arguments(overrides, None) for job in batch]
        try:
            _check_alone()
            projects = [Project(schema.load(compose(config.hydra.job.config_name, overrides=job))) for job in jobs]
            unite(project.plan.tree for project in projects)  # all are possible, and agree, before one is kept
            for project in projects:
                project.keep_plan()
        except Exception as error:  # Hydra would turn it into a warning and start the sweep
            entry.refuse(error)


def _check_alone() -> None:
    ranks = os.environ.get("WORLD_SIZE") or step_tasks()
    if int(ranks) > 1:
        raise ConfigError(
            f"a sweep (-m) was started on {ranks} ranks, each of which would start every job; give each job a torchrun "
            "of its own, one after another: torchrun … -m lrpath.train … alpha=0.2; jobs of one study share their paths"
        )
