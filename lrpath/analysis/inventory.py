"""What a study holds on disk: which states, how large, who needs them, and which nobody does."""

import pathlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256

from lrpath.analysis.compare import Series, plans_by_id, series_of
from lrpath.analysis.path_names import path_names, plan_labels
from lrpath.errors import StateError
from lrpath.planning.paths import Path, StateKey, Tree
from lrpath.planning.shared_paths import unite
from lrpath.records.manifest import read_manifest
from lrpath.records.path_folder import PathFolder
from lrpath.records.study import Study


class Use(Enum):
    """What a state on disk is there for."""

    NEEDED = "needed"
    """A plan has a fork or a release in it, or another increment could follow there in place of the next."""
    RESUME = "resume"
    """A state that a plan needs and that is not there would be made from it."""
    NONE = "none"
    """No plan needs it: a rolling state of a finished path, or a path of a plan that was dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateOnDisk:
    """A whole state on disk.

    Args:
        key: Path and position.
        size: Size of its files [bytes]; 0 where its manifest cannot be read.
        digest: SHA-256 of its files' digests, which two equal states share; empty where the manifest cannot be read.
        use: What it is there for.
        users: What leaves from it or is released by it, as text.
    """

    key: StateKey
    size: int
    digest: str
    use: Use
    users: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PathOnDisk:
    """A path's folder.

    Args:
        folder: The folder.
        name: Name of the path.
        path: The path by the plans of the study; None if none of them has it any more.
        end: Position that the plans run it to; None likewise.
        states: Whole states, by position.
        incomplete: What killed writings have left.
    """

    folder: PathFolder
    name: str
    path: Path | None
    end: int | None
    states: tuple[StateOnDisk, ...]
    incomplete: tuple[pathlib.Path, ...]

    @property
    def size(self) -> int:
        """Size of its states [bytes]."""
        return sum(state.size for state in self.states)

    @property
    def removable(self) -> tuple[StateOnDisk, ...]:
        """States that no plan needs."""
        return tuple(state for state in self.states if state.use is Use.NONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Everything that a study holds.

    Args:
        study: The study.
        plans: Paradigms of every kept plan by its id, oldest first.
        paths: Paths on disk; a parent before those that leave it.
        missing: States that the plans need and that are not on disk.
    """

    study: Study
    plans: Mapping[str, tuple[str, ...]]
    paths: tuple[PathOnDisk, ...]
    missing: tuple[StateKey, ...]


def read_inventory(study: Study, *, without: Collection[str] = ()) -> Inventory:
    """Return what a study holds.

    Args:
        study: The study.
        without: Ids of plans that are taken not to be there.

    Raises:
        StateError: If a plan was altered, so that nobody could say what is needed.
    """
    plans = {key: plan for key, plan in plans_by_id(study).items() if key not in without}
    tree = unite(plan.tree for plan in plans.values())
    names = path_names(study, plans.values())
    users = _users(tree, names, series_of({study: plans.values()}))
    paths = [_path_on_disk(folder, tree, users, names) for folder in study.folders()]
    order = {path.id: number for number, path in enumerate(tree.paths)}
    last = len(order)
    return Inventory(
        study=study,
        plans=plan_labels(plans),
        paths=tuple(sorted(paths, key=lambda held: (order.get(held.folder.path_id, last), held.name))),
        missing=tuple(key for key in tree.states() if not study.has_state(key)),
    )


def remove_unneeded(held: PathOnDisk, *, study: Study) -> None:
    """Remove from a path's folder what no plan needs, and what killed writings have left.

    Plans are read once more: what one that was kept meanwhile needs, stays.

    Raises:
        BusyError: If a process is running the path.
    """
    with held.folder.lock() as lease:
        folder = PathFolder(held.folder.folder, lease=lease)
        folder.clear_incomplete()
        study.fetch(plans_only=True)
        now = {path.folder.path_id: path for path in read_inventory(study).paths}.get(held.folder.path_id)
        for state in () if now is None else now.removable:
            if state.key in {known.key for known in held.removable}:
                folder.remove_state(state.key.position)


def _users(tree: Tree, names: Mapping[str, str], found: Iterable[Series]) -> dict[StateKey, list[str]]:
    """Return, by state, the names of the paths that leave it and of the releases that it makes."""
    users: dict[StateKey, list[str]] = {}
    for path in tree.paths:
        if path.parent is not None:
            users.setdefault(path.parent, []).append(f"fork of {names.get(path.id, path.name)}")
        for position in tree.increment_ends(path.id):
            users.setdefault(StateKey(path.id, position), []).append("end of an increment")
    for series in found:
        for release in series.tree.releases:
            for key, _ in release.parts:
                users.setdefault(key, []).append(f"release {series.label}/{release.version}")
    return users


def _path_on_disk(
    folder: PathFolder, tree: Tree, users: Mapping[StateKey, list[str]], names: Mapping[str, str]
) -> PathOnDisk:
    known = {path.id: path for path in tree.paths}.get(folder.path_id)
    made = folder.positions()
    wanted = () if known is None else tree.needed(known.id)
    resumed = {max((at for at in made if at < position), default=-1) for position in wanted if position not in made}
    kept = wanted if known is None else (*wanted, *tree.increment_ends(known.id))
    return PathOnDisk(
        folder=folder,
        name=folder.folder.name.removesuffix(f"-{folder.path_id}")
        if known is None
        else names.get(known.id, known.name),
        path=known,
        end=wanted[-1] if wanted else None,
        states=tuple(
            _state_on_disk(folder, StateKey(folder.path_id, position), kept, resumed, users) for position in made
        ),
        incomplete=tuple(folder.incomplete()),
    )


def _state_on_disk(
    folder: PathFolder,
    key: StateKey,
    wanted: tuple[int, ...],
    resumed: set[int],
    users: Mapping[StateKey, list[str]],
) -> StateOnDisk:
    try:
        files = read_manifest(folder.state(key.position))["files"]
    except StateError:
        files = {}
    use = Use.NEEDED if key.position in wanted else Use.RESUME if key.position in resumed else Use.NONE
    digests = "".join(f"{name} {entry['sha256']}\n" for name, entry in sorted(files.items()))
    return StateOnDisk(
        key=key,
        size=sum(entry["bytes"] for entry in files.values()),
        digest=sha256(digests.encode()).hexdigest() if digests else "",
        use=use,
        users=tuple(users.get(key, ())),
    )
