"""Which states are kept: those that plans need, those where an increment ends, and the newest of a main path."""

import contextlib
from collections.abc import Callable, Set

from lrpath.errors import BusyError
from lrpath.planning.paths import StateKey, Tree
from lrpath.records.manifest import check_state
from lrpath.records.path_folder import PathFolder, oldest_spared
from lrpath.records.study import Study
from lrpath.training.planned_run import PlannedRun


def pinned_now(study: Study, tree: Tree) -> Set[StateKey]:
    """Return the pinned states, also by plans that other machines have kept at the study's URL since it was fetched."""
    study.fetch(plans_only=True)
    return pinned_states(study, tree)


def needed_now(study: Study, tree: Tree) -> Set[StateKey]:
    """Return the needed states, as `pinned_now`."""
    study.fetch(plans_only=True)
    return needed_states(study, tree)


def pinned_states(study: Study, tree: Tree) -> Set[StateKey]:
    """Return the states that retention never removes.

    They are those that this plan or any plan kept in the study needs, and those at the ends of increments, from which
    another increment could follow in place of the next.
    """
    return frozenset(tree.kept_states()).union(*(kept.kept for kept in study.kept_plans()))


def needed_states(study: Study, tree: Tree) -> Set[StateKey]:
    """Return the states that this plan or any plan kept in the study needs: forks and releases."""
    return frozenset(tree.states()).union(*(kept.needed for kept in study.kept_plans()))


def keep_newest(position: int, *, run: PlannedRun, folder: PathFolder, pinned: Callable[[], Set[StateKey]]) -> None:
    """Upload a state that has just been saved, if the study is at a URL, and then remove the rolling ones before it.

    Args:
        position: Position of the state that is whole now.
        run: The run that has saved it.
        folder: Its path's folder.
        pinned: Returns the states that are never removed, at this moment.
    """
    folder.upload()
    never, existing = pinned(), folder.positions()
    oldest = run.oldest_kept(position, existing)
    for earlier in existing:
        if earlier < oldest and StateKey(run.path.id, earlier) not in never:
            folder.remove_state(earlier)


def remove_rolling(study: Study, tree: Tree, *, keep: int) -> None:
    """Remove rolling states of paths whose needed states are all there, unless another process is running them.

    A path whose schedule has an end is finished. One without, a main path, goes on when the next version arrives: its
    newest states stay, so that a damaged last one costs the updates since the one before, not those since the last
    fork.

    Args:
        study: Where the states are.
        tree: The plan.
        keep: Newest states of a main path that stay.
    """
    pinned = pinned_now(study, tree)
    for path in tree.paths:
        folder = study.find(path.id)
        if folder is None or not study.has_state(StateKey(path.id, tree.end(path.id))):
            continue
        if all(StateKey(path.id, position) in pinned for position in folder.positions()):
            continue  # a lease at a URL costs a second
        with contextlib.suppress(BusyError), folder.lock() as lease:
            owned = PathFolder(folder.folder, lease=lease)
            existing, end = owned.positions(), tree.end(path.id)
            spared = oldest_spared(existing, keep=keep) if path.schedule.end is None else end
            for position in existing:
                if StateKey(path.id, position) not in pinned and position < min(end, spared):
                    owned.remove_state(position)


def check_releases(study: Study, tree: Tree) -> None:
    """Compare the states of all releases with their digests, where a plan is finished.

    Nobody else would look at them before they are exported, and a run that has work to do reads what it begins with.

    Raises:
        StateError: Naming the file that was altered.
    """
    for key in dict.fromkeys(key for release in tree.releases for key, _ in release.parts):
        folder = study.find(key.path_id)
        assert folder is not None
        if folder.is_here(key.position):  # of a study at a URL, what no run has loaded is only there
            check_state(folder.state(key.position), key=key)
