"""Gives the releases of a plan the tasks of `harness.tasks` once they are made.

Tasks change no path, so training ends well without them: what keeps a release from its tasks is said, with the command
that gives them later. Only a name that the harness does not know is refused, before the first update.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from lrpath.assembly.project import Project
from lrpath.config.command_line import as_lrpath_error
from lrpath.errors import LrpathError
from lrpath.training.command.settings import CommandEngine

if TYPE_CHECKING:
    from lrpath.training.task_harness import Harness


def open_harness(project: Project, *, show: Callable[[str], None]) -> "Harness | None":
    """Return the harness with the tasks of a configuration; None if it has none, or they cannot be given here.

    Args:
        project: The project.
        show: Told why they cannot be given.

    Raises:
        ConfigError: If the harness knows no task of a name, or a folder of tasks is not there.
    """
    settings = project.config.harness
    if not settings.tasks:
        return None
    if isinstance(project.config.engine, CommandEngine):
        show("harness.tasks is left out: with engine=command lrpath has no weights of the releases")
        return None
    try:
        from lrpath.training.task_harness import Harness
    except ModuleNotFoundError as error:
        show(f"releases will not be given {_names(project)}: {as_lrpath_error(error)}, and then {_later(project)}")
        return None
    harness = Harness(settings)
    harness.check_known(settings.tasks)
    return harness


def give_tasks(project: Project, harness: "Harness", *, show: Callable[[str], None]) -> None:
    """Give the releases of a plan that are on disk the tasks that they have no scores on.

    Args:
        project: The project.
        harness: Has its tasks.
        show: Told what is done, and what could not be done.
    """
    from lrpath.training.distributed.hardware import Hardware
    from lrpath.training.task_evaluation import evaluate_on_tasks, states_to_evaluate

    hardware = Hardware(strategy=project.config.strategy)
    if hardware.ranks > 1:  # the harness would take these ranks for its own, and wait for those that have ended
        show(f"releases are given {_names(project)} by one process: {_later(project)}")
        return
    states, _ = states_to_evaluate(project.study, every_state=False, only=project.plan.tree.releases)
    try:
        evaluate_on_tasks(
            project.study,
            states,
            project.config.harness.tasks,
            harness=harness,
            device=hardware.device,
            show=show,
            leave_busy=True,
        )
    except LrpathError as error:
        show(f"releases were not given {_names(project)}: {error}; then {_later(project)}")


def _names(project: Project) -> str:
    return f"harness.tasks=[{','.join(project.config.harness.tasks)}]"


def _later(project: Project) -> str:
    names = ",".join(project.config.harness.tasks)
    outputs = "" if project.config.outputs == "outputs" else f"outputs={project.config.outputs} "
    return f"python -m lrpath.evaluate {outputs}study={project.config.study} 'tasks=[{names}]'"
