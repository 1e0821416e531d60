"""Whether the disk can hold what a run is about to write: asked before the first update, not found out at the last."""

import shutil
from collections.abc import Iterable
from pathlib import Path as File

from lrpath.errors import TrainingError
from lrpath.planning.units import write_bytes
from lrpath.training.walk import Walk


def count_states(walks: Iterable[Walk]) -> tuple[int, int]:
    """Return how many states walks add for good, and how many more there are on disk at one time.

    While a rolling state is written, the one before it is still there. But a walk ends with a state that is kept, which
    at that time is not there yet, and with it the rolling ones go: so beside all that are kept there is at most one,
    and those that a rewind may go back to.
    """
    walks = list(walks)
    kept = sum(sum(1 for position in {*walk.pinned, walk.end} if walk.begin < position <= walk.end) for walk in walks)
    return kept, max((1 + _behind(walk) for walk in walks if _rolls(walk)), default=0)


def _rolls(walk: Walk) -> bool:
    first = (walk.begin // walk.rolling_every + 1) * walk.rolling_every
    due = range(first, walk.end, walk.rolling_every)
    return len(due) > sum(1 for position in walk.pinned if position in due)


def _behind(walk: Walk) -> int:
    """Return how many older rolling states are kept for a rewind."""
    guard = walk.path.recipe.guard
    return -(-guard.back // walk.rolling_every) if guard.policy == "rewind" else 0


def check_disk(folder: File, walks: Iterable[Walk], *, state_bytes: int) -> None:
    """Raise unless the states of some walks fit on the disk.

    Metrics and curves are left out: about 100 bytes an update. So is what other processes will write.

    Args:
        folder: Where the states go; it or a folder above it exists.
        walks: What is to be made.
        state_bytes: Size of one state [bytes].

    Raises:
        TrainingError: If they do not; says what is needed, what is free, and what to do.
    """
    kept, rolling = count_states(walks)
    needed = (kept + rolling) * state_bytes
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(there).free
    if needed <= free:
        return
    restart = f", and {rolling} to restart from," if rolling else ""
    sparing = "raise cadence.save_every past every path's end, which spares that one, " if rolling else ""
    raise TrainingError(
        f"{folder} needs {write_bytes(needed)} for {kept} states that the plan keeps{restart} of "
        f"{write_bytes(state_bytes)} each, but {write_bytes(free)} are free: free {write_bytes(needed - free)}, "
        f"{sparing}plan fewer paradigms or versions, or give another folder as outputs"
    )
