"""`python -m lrpath.plan +exp=…`: print the tree of paths, their rates and their cost; runs nothing, needs no torch."""

import sys
from pathlib import Path

from omegaconf import DictConfig

from lrpath import entry
from lrpath.assembly.description import describe
from lrpath.assembly.project import Project
from lrpath.config import schema
from lrpath.reporting.trainer_paths import write_rates


def plan(cfg: DictConfig) -> None:
    """Print the plan of a configuration, as text or JSON; draw its rates into `figure`, write them into `rates`."""
    project = Project(schema.load(cfg))
    settings = project.config
    if settings.rates is not None:
        write_rates(project.plan, Path(settings.rates))
    sys.stdout.write(describe(project) + "\n")
    if settings.figure is not None:
        from lrpath.reporting.figures import plot_rates

        plot_rates(project.plan, Path(settings.figure))
        sys.stderr.write(f"drawn: {settings.figure}\n")
    if settings.rates is not None:
        sys.stderr.write(f"rates of every path: {Path(settings.rates)}\n")


if __name__ == "__main__":
    entry.run(plan, config_name="config")
