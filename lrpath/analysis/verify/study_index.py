"""The index of a study: the union of its plans, and the folders in which their paths are."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from lrpath.analysis.compare import read_plans
from lrpath.analysis.path_names import path_names
from lrpath.errors import StateError
from lrpath.planning.paths import Path, StateKey, Tree
from lrpath.planning.plan import Plan
from lrpath.planning.shared_paths import unite
from lrpath.records.ledger import Run, unsettled
from lrpath.records.path_folder import PathFolder
from lrpath.records.study import Study


@dataclass(frozen=True, kw_only=True)
class StudyIndex:
    """The plans kept in a study, united.

    Args:
        study: The study.
        plans: Its plans, oldest first.
        tree: All that they need.
    """

    study: Study
    plans: tuple[Plan, ...]
    tree: Tree

    @classmethod
    def of(cls, study: Study) -> "StudyIndex":
        """Read the plans of a study.

        Raises:
            StateError: If it holds no plan, or one was altered.
            PlanError: If a plan cannot be read, or two contradict each other.
        """
        plans = read_plans(study)
        if not plans:
            raise StateError(f"{study.folder} holds no plan; train first, or choose another study")
        index = cls(study=study, plans=plans, tree=unite(plan.tree for plan in plans))
        _ = index._positions
        return index

    def folders(self) -> Iterator[PathFolder]:
        """Yield every path folder, of these plans or of none, be it without a path.json."""
        places = sorted((self.study.folder / "paths").glob("*-*"))
        return (PathFolder(place) for place in places if place.is_dir())

    def folder(self, path: Path) -> PathFolder | None:
        """Return the folder of a path, if it has one."""
        return self._by_id.get(path.id)

    @cached_property
    def _by_id(self) -> dict[str, PathFolder]:
        folders = reversed(list(self.folders()))
        return {folder.path_id: folder for folder in folders}  # of two for one path the first, as `Study.find`

    @cached_property
    def needed(self) -> frozenset[StateKey]:
        """States that the plans need, which are never removed."""
        return frozenset(self.tree.states())

    def knows(self, path_id: str) -> bool:
        """Say whether a plan has the path."""
        return path_id in self._known_ids

    @cached_property
    def _known_ids(self) -> frozenset[str]:
        return frozenset(path.id for path in self.tree.paths)

    @cached_property
    def _names(self) -> dict[str, str]:
        return path_names(self.study, self.plans)

    def label(self, path: Path) -> str:
        """Return what a path is called, with its α where others have its name."""
        return self._names.get(path.id, path.name)

    def name(self, folder: PathFolder) -> str:
        """Return what a path is called: by the plans, or else by its folder."""
        return self._names.get(folder.path_id, folder.folder.name)

    def positions(self, path: Path) -> tuple[int, ...]:
        """Return the positions of a path's whole states when the study was first looked at, ascending.

        Rows and runs are looked at later, so that a study which is being trained has those of all these states.
        """
        return self._positions.get(path.id, ())

    @cached_property
    def _positions(self) -> dict[str, tuple[int, ...]]:
        return {path_id: tuple(folder.positions()) for path_id, folder in self._by_id.items()}

    def begun(self, path: Path) -> bool:
        """Say whether an update of a path was made and is still known."""
        folder = self.folder(path)
        return folder is not None and (folder.metrics.file.exists() or bool(self.positions(path)))

    def read_runs(self) -> tuple[Run, ...]:
        """Return all runs of the ledger, and those that it will count when their path is run next.

        Raises:
            StateError: If a run cannot be read.
        """
        ledger = self.study.ledger
        waiting = [unsettled(folder.folder, ledger=ledger) for folder in self.folders()]
        return (*ledger.runs(), *(run for run in waiting if run is not None))

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """What `read_runs` returns; none if one cannot be read, which `verify_ledger` says."""
        try:
            return self.read_runs()
        except StateError:
            return ()

    def was_made(self, key: StateKey) -> bool:
        """Say whether a state that is not there must have been: a path left from it, or a run ended well at it."""
        left = any(path.parent == key and self.begun(path) for path in self.tree.paths)
        return left or any(StateKey(run.path_id, run.end) == key and run.outcome == "done" for run in self.runs)
