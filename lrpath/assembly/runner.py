"""The plan runner of a project, whoever makes the updates; no torch."""

from collections.abc import Callable

from rich.console import Console

from lrpath.assembly.project import Project
from lrpath.training.engine import Engine
from lrpath.training.plan_runner import PlanRunner


def build_runner(
    project: Project,
    engine: Engine,
    console: Console,
    *,
    worker: int = 1,
    workers: int = 1,
    check_workers: Callable[[], None] | None = None,
) -> PlanRunner:
    """Return the plan runner of the project's plan, for one of some workers; see `PlanRunner`."""
    return PlanRunner(
        tree=project.plan.tree,
        order=project.plan.versions,
        path_trainer=engine,
        console=console,
        selected=project.selected,
        wait=project.config.wait,
        mend=project.config.mend,
        workers=workers,
        worker=worker,
        check_workers=check_workers,
    )
