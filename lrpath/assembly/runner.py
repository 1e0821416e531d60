"""The plan runner of a project, whoever makes the updates; no torch."""

from rich.console import Console

from lrpath.assembly.project import Project
from lrpath.assembly.worker_pool import worker_count
from lrpath.training.engine import Engine
from lrpath.training.plan_runner import PlanRunner


def build_runner(project: Project, engine: Engine, console: Console, *, worker: int = 1) -> PlanRunner:
    """Return the plan runner of the project's plan, for the worker of a number."""
    workers = worker_count(project.config)
    return PlanRunner(
        tree=project.plan.tree,
        order=project.plan.versions,
        path_trainer=engine,
        console=console,
        selected=project.selected,
        wait=project.config.wait or workers > 1,
        mend=project.config.mend,
        workers=workers,
        worker=worker,
    )
