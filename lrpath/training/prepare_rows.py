"""Cuts the tables of a path to where a run begins, before the run appends its own rows; sorts them after it."""

import sys

from lrpath.errors import StateError
from lrpath.records.path_folder import PathFolder
from lrpath.records.row_digests import MEND, check_digests, lost_positions
from lrpath.training.planned_run import PlannedRun


def prepare_tables(run: PlannedRun, folder: PathFolder) -> range:
    """Cut the rows that a run will write, so that none is there twice, and check that no other row is missing.

    Returns:
        Positions behind the run's beginning whose rows are kept, because the last of them has a state on disk that was
        saved with them.
    """
    last = max(folder.positions(), default=0)
    later = range(run.begin + 1, last + 1) if last > run.end else range(0)
    for table in folder.tables:
        table.cut(run.begin, later=later)
    ordered = run.path.recipe.guard.policy == "rewind"  # its rows say what is left out, also after where it begins
    folder.guard.cut(sys.maxsize if ordered else run.begin, later=later)
    found, lost = folder.metrics.positions(), lost_positions(folder)
    if list(found) != [
        position for position in (*range(run.path.start + 1, run.begin + 1), *later) if position not in lost
    ]:
        raise StateError(
            f"{folder.metrics.file} lacks rows before position {max([run.begin, *later])}, whose state is on disk; "
            f"{MEND}"
        )
    if not run.begins_path and run.begin in folder.positions():
        check_digests(folder, run.begin)
    return later


def sort_tables(folder: PathFolder, *, last: int) -> None:
    """Sort the tables of a path, after a run before rows that were kept has appended its own.

    Args:
        folder: The path's folder.
        last: Position of the last row that was kept.
    """
    for table in folder.tables:
        table.cut(last)  # also sorts
    folder.guard.cut(sys.maxsize)
