"""One path of a plan, as one `Trainer.fit` runs it: from the newest whole state on disk to the path's end."""

import pathlib
from dataclasses import dataclass

from lrpath.errors import ConfigError, MismatchError, StateError
from lrpath.planning.global_batch import GROWTH
from lrpath.planning.later_readings import LaterReadings
from lrpath.planning.paths import Path
from lrpath.planning.plan import Plan
from lrpath.records.manifest import read_manifest
from lrpath.records.path_folder import PathFolder
from lrpath.records.study import Study
from lrpath.training.planned_run import PlannedRun

READING = "later_reading"
"""What the manifest of a state calls the digest of what it has read that its path's id does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathRun:
    """What a fit is to do. Make it with `PathRun.open`, on every rank alike.

    Args:
        study: Where states and ledger are.
        plan: The plan, which the study keeps: it never removes a state that it needs.
        planned: Path, begin and end, and where states are saved.
    """

    study: Study
    plan: Plan
    planned: PlannedRun

    @classmethod
    def open(
        cls, plan: Plan, path: str, *, folder: str | pathlib.Path, save_every: int | None = None, keep: int = 2
    ) -> "PathRun":
        """Return what is left to run of a path.

        Args:
            plan: The plan, from `plan_module`.
            path: Name of the path in it, `switching.main`, or a part of it that fits one path alone: `main`.
            folder: Folder of the study: states, plans and ledger of all paths.
            save_every: Interval of further states to restart from [updates]; None for none.
            keep: Newest of these that are kept.

        Raises:
            ConfigError: If an interval or count is less than 1, or the plan is one of a batch that grows.
            MismatchError: If the state that it goes on from read other data than the plan says.
            PlanError: If no path has the name.
            StateError: If the path leaves a state that does not exist yet, or several paths fit the name.
        """
        for name, value in (("save_every", save_every), ("keep", keep)):
            if value is not None and value < 1:
                raise ConfigError(f"{name}={value} must be at least 1", field=name, value=value)
        found = _named(plan, path)
        if found.recipe.growth:
            raise ConfigError(
                f"{found.name} is planned with {GROWTH}, and the loader of a module of your own makes batches of one "
                f"size, which lrpath does not see; plan without {GROWTH}",
                field=GROWTH,
                value=found.recipe.growth,
            )
        study = Study(pathlib.Path(folder))
        if found.parent is not None and not study.has_state(found.parent):
            parent = plan.tree.path(found.parent.path_id).name
            raise StateError(
                f"{found.name} leaves {parent} at {found.start:,}, and {study.folder} has no such state yet; run "
                f"{parent} first",
                field="path",
                value=path,
            )
        place, needed, end = study.find(found.id), plan.tree.needed(found.id), plan.tree.end(found.id)
        positions = [at for at in (place.positions() if place else []) if at <= end]
        planned = PlannedRun(
            path=found,
            begin=max(positions, default=found.start),
            end=end,
            pinned=frozenset(needed),
            increment_ends=frozenset(plan.tree.increment_ends(found.id)),
            rolling_every=save_every or end + 1,
            evaluate_every=end + 1,
            keep=keep,
        )
        run = cls(study=study, plan=plan, planned=planned)
        run._check_reading()
        return run

    def _check_reading(self) -> None:
        """Raise if the state to go on from was made by a plan of which the path read other data behind its beginning.

        The id of a path holds the data that it begins with. A state of an earlier version of lrpath does not say.
        """
        key = self.planned.starting_state()
        place = None if key is None else self.study.find(key.path_id)
        if key is None or place is None:
            return
        read = read_manifest(place.state(key.position)).get(READING)
        if read is not None and read != LaterReadings(self.plan.tree).digest(key):
            name = self.plan.tree.path(key.path_id).name
            raise MismatchError(
                f"the state of {name} at {key.position:,} in {self.study.folder} was made by a plan in which it had "
                "read other increments by then, or other shares of them: increments can be appended to a path, and not "
                "changed. Give the plan that made it, or another folder",
                field="increments",
                value=name,
            )

    @property
    def path(self) -> Path:
        """The path."""
        return self.planned.path

    @property
    def begin(self) -> int:
        """Position that the fit starts from, and at which its data loader must start [updates]."""
        return self.planned.begin

    @property
    def end(self) -> int:
        """Position at which the path ends [updates]."""
        return self.planned.end

    @property
    def updates(self) -> int:
        """Updates that are left; 0 for a path that is finished. Give them to the Trainer as `max_steps`."""
        return self.end - self.begin

    def open_folder(self) -> PathFolder:
        """Return the path's folder, made if need be, after keeping the plan in the study.

        Raises:
            MismatchError: If the folder was made for another path.
        """
        self.study.save_plan(self.plan.as_record())
        return self.study.open(self.path)


def _named(plan: Plan, name: str) -> Path:
    exact = [path for path in plan.tree.paths if path.name == name]
    if exact:
        return exact[0]
    ids = plan.tree.named((name,))
    if len(ids) > 1:
        names = ", ".join(path.name for path in plan.tree.paths if path.id in ids)
        raise StateError(f"path={name} fits several paths: {names}; give one whole name", field="path", value=name)
    return plan.tree.path(*ids)
