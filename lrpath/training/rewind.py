"""Takes a path back from an anomaly under `guard.policy=rewind`."""

from collections.abc import Callable, Set
from dataclasses import replace

from lrpath.planning.paths import StateKey
from lrpath.records.path_folder import PathFolder
from lrpath.training.planned_run import PlannedRun
from lrpath.training.update_result import Anomaly


class RewindError(Exception):
    """Ends a fit on all ranks, so that its path goes back.

    An exception, because Lightning has no other way out of the middle of a step.

    Attributes:
        anomaly: Why it goes back.
    """

    def __init__(self, anomaly: Anomaly) -> None:
        super().__init__(str(anomaly.fault))
        self.anomaly = anomaly


def rewind(
    run: PlannedRun,
    anomaly: Anomaly,
    *,
    folder: PathFolder,
    pinned: Callable[[], Set[StateKey]],
    publish: Callable[[str], None],
) -> PlannedRun:
    """Take a path back from an anomaly, and return what is to be run now.

    Rolling states inside the stretch that is left out are removed first, and the row that orders it is written last:
    killed in between, the path finds the same anomaly again. States that plans need stay: branches may have left there.

    Args:
        run: The run that the anomaly ended.
        anomaly: The anomaly.
        folder: The path's folder, which this process owns.
        pinned: Returns the states that the plans of the study need at this moment.
        publish: Shows a line to the user.
    """
    folder.check_owned()
    path, existing, needed = run.path, folder.positions(), pinned()
    kept = [at for at in existing if at < anomaly.position and StateKey(path.id, at) in needed]
    last = max([path.start, anomaly.position - 1 - path.recipe.guard.back, *kept])
    for position in existing:
        if last < position < anomaly.position:
            folder.remove_state(position)
    folder.guard.append([anomaly.row(first=last + 1, action="rewind")])
    begin = max((at for at in existing if at <= last), default=path.start)
    publish(
        f"{path.name}: {anomaly.fault} at position {anomaly.position:,}; going back to {begin:,} and skipping updates "
        f"to positions {last + 1:,} to {anomaly.position:,}"
    )
    return replace(run, begin=begin)
