"""Mends the tables of a path that were altered on disk: keeps what can be read, computes again what states can tell.

Nothing is thrown away: the altered table is copied to `damaged/` first. Losses on the held-out sets are computed again
from the states that are on disk. Rows of the metrics cannot be: an update leaves nothing but its row. Those that are
lost stay missing, those that may be wrong are noted in `repairs.csv`, and the path goes on from its states, which are
whole.
"""

from collections.abc import Callable, Collection

from lrpath.records.path_folder import PathFolder
from lrpath.records.row_digests import (
    DAMAGED,
    DOCUMENTS,
    Alteration,
    find_alterations,
    keep_copy,
    leave_out_unreadable,
    note_repair,
    seal,
)
from lrpath.records.rows import EvaluationRow


def mend_tables(
    folder: PathFolder,
    alterations: Collection[Alteration],
    *,
    needed: Collection[int],
    evaluate: Callable[[int], list[EvaluationRow]],
    evaluate_documents: Callable[[int], None],
    publish: Callable[[str], None],
) -> None:
    """Mend the tables of a path, and let the states' digests be those of the tables as they are then.

    Args:
        folder: The path's folder, which this process owns.
        alterations: What is wrong with its tables.
        needed: Positions at which a plan needs a state, and thus its losses.
        evaluate: Returns the losses of the state at a position.
        evaluate_documents: Writes the losses by document of the state at a position.
        publish: Shows a line to the user.
    """
    for alteration in alterations:
        keep_copy(folder, alteration)
        again = ""
        if alteration.table == DOCUMENTS:
            evaluate_documents(alteration.first)
            again = "; it was computed again"
        else:
            leave_out_unreadable(folder, alteration.table)
        if alteration.table == "evaluation":
            again = f"; the losses of {_evaluate_again(folder, needed, evaluate)} states were computed again"
        publish(f"{alteration.problem}. Mended from what can be read{again}; a copy is in {folder.folder / DAMAGED}")
    left = find_alterations(folder)
    for alteration in left:
        if alteration.table != DOCUMENTS:
            row = note_repair(folder, alteration)
            lost = f", of which {row.missing:,} are lost," if row.missing else ""
            publish(
                f"{folder.folder.name}: rows of {row.table} from position {row.first:,} to {row.position:,}{lost} are "
                "in doubt, as repairs.csv notes"
            )
    if left:
        seal(folder, only_missing=False)


def _evaluate_again(folder: PathFolder, needed: Collection[int], evaluate: Callable[[int], list[EvaluationRow]]) -> int:
    """Compute the losses of the states on disk again that were evaluated, or ought to be; return how many those are."""
    evaluated = {row.position for row in folder.evaluation.rows()}
    positions = [position for position in folder.positions() if position in evaluated or position in needed]
    for position in positions:
        folder.evaluation.put(evaluate(position))
    return len(positions)
