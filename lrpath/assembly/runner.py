"""The plan runner of a project, whoever makes the updates; no torch."""

from rich.console import Console

from lrpath.assembly.project import Project
from lrpath.training.engine import Engine
from lrpath.training.plan_runner import PlanRunner


def build_runner(project: Project, engine: Engine, console: Console) -> PlanRunner:
    """Return the plan runner of the project's plan."""
    return PlanRunner(
        tree=project.plan.tree,
        order=project.plan.versions,
        path_trainer=engine,
        console=console,
        selected=project.selected,
        wait=project.config.wait,
        mend=project.config.mend,
    )
