"""Whether the disk can hold what a run is about to write: asked before the first update, not found out at the last."""

import errno
import pathlib
import shutil
from collections.abc import Iterable

from lrpath.errors import TrainingError
from lrpath.planning.units import write_bytes
from lrpath.training.planned_run import PlannedRun


def count_states(runs: Iterable[PlannedRun]) -> tuple[int, int]:
    """Return how many states runs add for good, and how many more there are on disk at one time.

    While a state is written, the newest `keep` before it are still there, and those that a rewind may go back to. A run
    ends with a state that is kept, which at that time is not there yet.
    """
    runs = list(runs)
    kept = sum(
        sum(1 for position in {*run.pinned, *run.increment_ends, run.end} if run.begin < position <= run.end)
        for run in runs
    )
    # The newest states of a main path stay when it has reached its last fork, while the branches are run.
    spared = {run.path.id: min(_most_rolling(run), run.keep - 1) for run in runs if run.path.schedule.end is None}
    others = [sum(count for path_id, count in spared.items() if path_id != run.path.id) for run in runs]
    return kept, max((_most_rolling(run) + more for run, more in zip(runs, others, strict=True)), default=0)


def _most_rolling(run: PlannedRun) -> int:
    """Return how many states a run has on disk at most besides those that it keeps and has not made yet."""
    due = [position for position in _due(run) if position not in run.pinned | run.increment_ends]
    guard = run.path.recipe.guard
    behind = -(-guard.back // run.rolling_every) if guard.policy == "rewind" else 0
    return min(len(due), max(run.keep, 1 + behind))


def _due(run: PlannedRun) -> range:
    first = (run.begin // run.rolling_every + 1) * run.rolling_every
    return range(first, run.end, run.rolling_every)


def check_disk(folder: pathlib.Path, runs: Iterable[PlannedRun], *, state_bytes: int) -> None:
    """Raise unless the states of some runs fit on the disk.

    Metrics and curves are left out: about 100 bytes an update. So is what other processes will write.

    Args:
        folder: Where the states go; it or a folder above it exists.
        runs: What is to be made.
        state_bytes: Size of one state [bytes].

    Raises:
        TrainingError: If they do not; says what is needed, what is free, and what to do.
    """
    kept, rolling = count_states(runs)
    needed = (kept + rolling) * state_bytes
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(there).free
    if needed <= free:
        return
    restart = f" and {rolling} to restart from" if rolling else ""
    sparing = "set cadence.save_every past every path's end, so that there is none to restart from, " if rolling else ""
    raise TrainingError(
        f"{folder} needs {write_bytes(needed)}: {kept} states that the plan keeps{restart}, {write_bytes(state_bytes)} "
        f"each. {write_bytes(free)} are free: free {write_bytes(needed - free)} more, {sparing}plan fewer paradigms or "
        "versions, or give another folder as outputs",
        field="outputs",
        value=str(folder),
    )


def explain_disk_error(error: OSError, folder: pathlib.Path) -> str:
    """Return what to do about a file or state that could not be written."""
    free = shutil.disk_usage(folder.parent if folder.parent.exists() else pathlib.Path("/")).free
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"the disk is full: {folder} was not written ({free / 1e9:.2f} GB free). Earlier states are whole: free "
            "some space and run the same command again"
        )
    return f"{folder} was not written ({error}). Earlier states are whole: correct this and run the same command again"
