"""The number that a sweeper such as Optuna's minimizes: the held-out loss of a configuration's last release."""

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from lrpath.analysis.compare import outcomes_of, series_of
from lrpath.assembly.project import Project
from lrpath.errors import ConfigError, StateError


def sweeper_wants_loss() -> bool:
    """Say whether this is a job of a sweep whose sweeper chooses the next jobs by what this one returns."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return False
    return is_optimizing(HydraConfig.get().sweeper._target_)


def is_optimizing(sweeper: str) -> bool:
    """Say whether a sweeper, by its class, wants a number; Hydra's own lists jobs and looks at nothing.

    >>> is_optimizing("hydra._internal.core_plugins.basic_sweeper.BasicSweeper")
    False
    """
    return not sweeper.endswith(".BasicSweeper")


def check_one_paradigm(project: Project) -> None:
    """Check that the last release of a configuration is one release.

    Raises:
        ConfigError: If there are several paradigms, or only some paths are run.
    """
    paradigms, paths = project.config.paradigms, project.config.paths
    if len(paradigms) != 1:
        names = ", ".join(paradigms)
        text = f"a sweeper that minimizes a loss needs one paradigm, and there are {len(paradigms)}: {names}"
        raise ConfigError(f"{text}; choose one: paradigm=[{next(iter(paradigms))}]", field="paradigm", value=names)
    if paths is not None:
        text = f"paths={paths}: a sweeper that minimizes a loss needs every release; leave paths out"
        raise ConfigError(text, field="paths", value=paths)


def last_loss(project: Project) -> float:
    """Return the held-out loss of the last release, on the `valid` sets of all versions [nats per token].

    Raises:
        ConfigError: As `check_one_paradigm`.
        StateError: If it was not evaluated.
    """
    check_one_paradigm(project)
    last = outcomes_of(series_of({project.study: [project.plan]}))[-1]
    if (score := last.headline) is None:
        raise StateError(f"release {last.version} of study {project.study.name} has no held-out loss; run it again")
    return score.loss
