"""Which states are kept: those that a plan of the study needs, and the last one of every unfinished path."""

import contextlib

from lrpath.errors import BusyError
from lrpath.planning.paths import StateKey, Tree
from lrpath.records.study import Study


def pinned_states(study: Study, tree: Tree) -> set[StateKey]:
    """Return the states that this plan or any plan kept in the study needs; retention never removes them."""
    pinned = set(tree.states())
    for record in study.plans().values():
        pinned |= {StateKey(path_id, position) for path_id, position in record["states"]}
    return pinned


def remove_rolling(study: Study, tree: Tree) -> None:
    """Remove rolling states of paths whose needed states are all there, unless another process is running them."""
    pinned = pinned_states(study, tree)
    for path in tree.paths:
        folder = study.find(path.id)
        if folder is None or not study.has_state(StateKey(path.id, tree.end(path.id))):
            continue
        with contextlib.suppress(BusyError), folder.lock():
            for position in folder.positions():
                if StateKey(path.id, position) not in pinned and position < tree.end(path.id):
                    folder.remove_state(position)
