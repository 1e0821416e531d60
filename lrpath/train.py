"""`python -m lrpath.train +exp=…`: prepare the data, make every state the plan needs, and report."""

import sys
from dataclasses import replace
from functools import partial

from omegaconf import DictConfig
from rich.console import Console

from lrpath import entry
from lrpath.assembly.execution import execute
from lrpath.assembly.objective import last_loss, sweeper_wants_loss
from lrpath.assembly.project import Project
from lrpath.config import schema
from lrpath.records.commands import Command


def train(cfg: DictConfig) -> float | None:
    """Run a configuration's plan; what is on disk is not run again.

    Returns:
        The held-out loss of the last release [nats per token], if this is a job of a sweep that minimizes it.
    """
    config = schema.load(cfg)
    if entry.runs_beside_others() and config.paths is None:  # with `paths`, it could wait for a job that starts later
        config = replace(config, wait=True)
    if sweeper_wants_loss() and config.extend == "auto":  # every trial trains anew what it has chosen another value for
        config = replace(config, extend=False)
    project = Project(config)
    command = partial(Command.of_this_process, "lrpath.train", description=cfg.description)
    updates = execute(project, Console(), command=command, importing=entry.lasting())
    if updates is None:
        return None
    from lrpath.reporting.report import write_report

    lines = "".join(f"{line}\n" for line in config.logger.lines(project.study.folder))
    sys.stdout.write(f"\n{updates:,} updates were run\n{write_report(project.study)}\n{lines}")
    project.study.upload()
    return last_loss(project) if sweeper_wants_loss() else None


if __name__ == "__main__":
    entry.run(train, config_name="config")
