"""Runs a plan like a build tool: only the updates that lead to states which are missing.

For every release, version by version, the plan runner finds the nearest earlier state on its path (or, before the
path's first state, the parent's state at the fork) and trains from it in one Lightning fit. A plan that is finished
runs zero updates; a plan that was killed goes on from its last whole state.
"""

import contextlib
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

from rich.console import Console

from lrpath.errors import BusyError, MismatchError, StateError, TrainingError
from lrpath.planning.paths import StateKey, Tree
from lrpath.records.lease import Lease
from lrpath.records.ledger import settle
from lrpath.records.manifest import read_manifest
from lrpath.records.path_folder import PathFolder
from lrpath.records.row_digests import MEND, find_alterations, seal
from lrpath.records.study import Study
from lrpath.training.checkpoints.disk import check_disk, explain_disk_error
from lrpath.training.checkpoints.mending import mend_tables
from lrpath.training.checkpoints.retention import (
    check_releases,
    needed_now,
    needed_states,
    pinned_now,
    pinned_states,
    remove_rolling,
)
from lrpath.training.data_consumed import check_data_consumed
from lrpath.training.engine import Engine, Processes
from lrpath.training.plan_progress import PlanProgress
from lrpath.training.planned_run import PlannedRun, longest_chain_first
from lrpath.training.wait_for_others import MadeByOthers, WaitForOthers

_Positions = Mapping[str, frozenset[int]]
"""Positions of states by path."""


def _by_path(keys: Set[StateKey]) -> _Positions:
    found: dict[str, set[int]] = {}
    for key in keys:
        found.setdefault(key.path_id, set()).add(key.position)
    return {path_id: frozenset(positions) for path_id, positions in found.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRunner:
    """Makes the states of a plan.

    Args:
        tree: The plan.
        order: Versions in order of arrival.
        path_trainer: Makes the updates, in its study: by lrpath itself, or by a command.
        console: Where progress is shown.
        selected: Up to which position paths are run, by id; None for all that the tree needs.
        mend: Whether to keep what can be read of a table that was altered, and go on; else it is an error.
        wait: Whether to wait for states that other processes make, and to run meanwhile what can be run.
        workers: Processes of this machine that run the plan together: if several, each takes the run first that the
            longest chain of others waits for.
        worker: Number of this process among them, from 1; only the first shows how far a run is.
        check_workers: Raises what one of the others was refused; asked before every run, and while it waits.
    """

    tree: Tree
    order: Sequence[str]
    path_trainer: Engine
    console: Console
    selected: Mapping[str, int] | None = None
    wait: bool = False
    mend: bool = False
    workers: int = 1
    worker: int = 1
    check_workers: Callable[[], None] | None = None

    def run(self) -> int:
        """Make every selected state that is missing and return how many updates that took.

        Raises:
            BusyError: If another process is running a path, or has yet to make a fork, and this one does not wait.
        """
        with self.path_trainer.ready(), _disk_errors_explained(self.study.folder):
            runs = self.process_group.on_rank_zero(self._begin)
            planned_updates, updates = sum(run.end - run.begin for run in runs), 0
            others = MadeByOthers(self.study, runs) if self._waits else None
            progress = PlanProgress(
                self.console, runs=len(runs), updates=planned_updates, by_others=others, pace=self.worker == 1
            )
            with progress:
                self.process_group.on_rank_zero(lambda: self._say_what_changed(runs, progress))
                while runs:
                    updates += self._run_one(runs, progress, others)
            self.process_group.on_rank_zero(self._finish)
        return updates

    @property
    def _waits(self) -> bool:
        return self.wait or self.workers > 1

    @property
    def study(self) -> Study:
        """Where states, metrics and ledger are."""
        return self.path_trainer.study

    @property
    def process_group(self) -> Processes:
        """The processes that run the plan together; rank 0 decides, and owns the paths for all."""
        return self.path_trainer.process_group

    def _begin(self) -> list[PlannedRun]:
        """Count what killed runs have done, check the states that exist, and return the runs that are missing."""
        shared = self._waits or self.selected is not None
        self.study.clear_leftovers()
        for path in self.tree.paths:
            self.study.check_single(path.id)
        for folder in self._folders():
            if not (folder.folder / "running.json").exists() and not folder.is_ahead():
                continue
            with contextlib.suppress(BusyError) if shared else contextlib.nullcontext(), folder.lock():
                settle(folder.folder, ledger=self.study.ledger)
        self._check_existing()
        self._check_tables()
        self._check_held_out()
        described = self.path_trainer.describe_held_out()
        self.study.held_out.add(
            (path.id for path in self.tree.paths), described, exchanged=self.study.exchanged_versions()
        )
        runs = list(self.missing()) if self.workers == 1 else longest_chain_first(self.missing())
        if not self.wait and self.workers > 1:
            self._check_forks(runs)
        check_disk(self.study.folder, runs, state_bytes=self.path_trainer.state_bytes)
        if runs:
            self.path_trainer.check_data()
        elif self.selected is None:
            check_releases(self.study, self.tree)
        return runs

    def _check_forks(self, runs: Sequence[PlannedRun]) -> None:
        """Raise if a run waits for a state that none of the runs makes: its wait would have no end."""
        made = {(run.path.id, at) for run in runs for at in (*run.pinned, run.end) if run.begin < at <= run.end}
        for run in runs:
            start = self._missing_start(run)
            if start is not None and (start.path_id, start.position) not in made:
                raise self._lacks_fork(run, start)

    def _lacks_fork(self, planned: PlannedRun, start: StateKey) -> BusyError:
        parent = self.tree.path(start.path_id).name
        return BusyError(
            f"{planned.path.name} branches from {parent} at {start.position:,}, and that state does not exist yet; "
            f"run paths={parent} first, or add wait=true",
            field="wait",
            value=self.wait,
        )

    def _finish(self) -> None:
        """Evaluate the releases that are means of states, and remove the rolling states."""
        for release in self.tree.releases:
            if all(self.study.has_state(key) for key, _ in release.parts):
                recipe = self.tree.path(release.last.path_id).recipe
                with contextlib.suppress(BusyError):  # another process evaluates it at this moment
                    self.path_trainer.evaluate_merged(release, precision=recipe.precision)
        remove_rolling(self.study, self.tree, keep=self.path_trainer.cadence.keep)

    def missing(self) -> Iterator[PlannedRun]:
        """Yield the runs that lead to the missing states that are selected, each after those it depends on."""
        planned: dict[str, set[int]] = {}
        rank = {version: number for number, version in enumerate(self.order)}
        kept, needed = (_by_path(states(self.study, self.tree)) for states in (pinned_states, needed_states))
        releases = sorted(self.tree.releases, key=lambda release: rank[release.version])
        for release in releases:
            # The last part first: the others lie on the way to it, and are saved in the same fit.
            for key, _ in reversed(release.parts):
                yield from self._runs_to(key, planned, kept=kept, needed=needed)

    def _runs_to(
        self, key: StateKey, planned: dict[str, set[int]], *, kept: _Positions, needed: _Positions
    ) -> Iterator[PlannedRun]:
        path = self.tree.path(key.path_id)
        ours = planned.setdefault(path.id, set())
        if key.position in ours or self.study.has_state(key):
            return
        if path.parent is not None:
            yield from self._runs_to(path.parent, planned, kept=kept, needed=needed)
        if self.selected is not None:
            key = StateKey(path.id, min(key.position, self.selected.get(path.id, 0)))
            if key.position <= path.start or key.position in ours or self.study.has_state(key):
                return
        folder = self.study.find(path.id)
        existing = ours | set(folder.positions() if folder else ())
        begin = max((position for position in existing if position < key.position), default=path.start)
        ours |= {position for position in kept[path.id] if begin < position <= key.position}
        cadence = self.path_trainer.cadence
        yield PlannedRun(
            path=path,
            begin=begin,
            end=key.position,
            pinned=needed[path.id],
            increment_ends=kept[path.id] - needed[path.id],
            rolling_every=cadence.save_every,
            evaluate_every=cadence.evaluate_every,
            keep=cadence.keep,
        )

    def _check_existing(self) -> None:
        """Raise if a state has read other data than the plan says: path ids hold the first segment only."""
        for path in self.tree.paths:
            folder, read = self.study.find(path.id), None
            made = [] if folder is None else [at for at in self.tree.needed(path.id) if folder.has_state(at)]
            for position in made:
                assert folder is not None
                read = read or self.path_trainer.read_segments(path)
                check_data_consumed(folder.state(position), expected=read.until(position))

    def _check_tables(self) -> None:
        """Raise if a table is not the one that states were saved with, or mend it; seal states of earlier versions.

        A path that another process runs at this moment is left to that process.

        Raises:
            StateError: Naming the table, the rows, and what to do.
        """
        for folder in self._folders():
            with contextlib.suppress(BusyError):
                if find_alterations(folder) or any(self._unsealed(folder)):
                    with folder.lock() as lease:
                        self._mend(PathFolder(folder.folder, lease=lease))

    def _unsealed(self, folder: PathFolder) -> Iterator[int]:
        for position in folder.positions():
            with contextlib.suppress(StateError):
                if "tables" not in read_manifest(folder.state(position)):
                    yield position

    def _mend(self, folder: PathFolder) -> None:
        alterations = find_alterations(folder)
        if alterations and not self.mend:
            raise StateError(f"{alterations[0].problem}; {MEND}", field="mend", value=False)
        if alterations:
            path = self.tree.path(folder.path_id)
            mend_tables(
                folder,
                alterations,
                needed=self.tree.needed(path.id),
                evaluate=partial(self.path_trainer.evaluate_state, path, folder),
                evaluate_documents=partial(self.path_trainer.evaluate_documents, path, folder),
                publish=self.console.print,
            )
        seal(folder, only_missing=True)

    def _say_what_changed(self, runs: Sequence[PlannedRun], progress: PlanProgress) -> None:
        """Say once that states were made by another torch, or on other hardware, than they go on with."""
        here = self.path_trainer.environment()
        for key in (run.starting_state() for run in runs):
            if key is None or not self.study.has_state(key):
                continue
            folder = self.study.find(key.path_id)
            assert folder is not None
            made = read_manifest(folder.state(key.position))
            changed = [
                f"{name} {made[name]} → {here[name]}" for name in here if made.get(name, here[name]) != here[name]
            ]
            if changed:
                progress.publish(
                    f"{self.tree.path(key.path_id).name} goes on from {key.position:,} under {', '.join(changed)}: its "
                    "numbers may differ in their last digits from those of an undisturbed run"
                )
                return

    def _check_held_out(self) -> None:
        """Raise if the study was evaluated on held-out sets of other sizes: its table would compare unequal things."""
        recipe = self.tree.paths[0].recipe
        exchanged = self.study.exchanged_versions()
        for folder in self.study.folders():
            known = folder.recipe()
            if (known.get("data"), known.get("tokens_per_sequence")) != (recipe.data, recipe.tokens_per_sequence):
                continue
            for row in folder.evaluation.rows():
                if row.version in exchanged:
                    continue
                windows_NL = self.path_trainer.held_out.get(row.held_out)
                if windows_NL is not None and windows_NL[:, 1:].size != row.tokens:
                    raise MismatchError(
                        f"{folder.evaluation.file} has the loss on {row.tokens} tokens of {row.version}, "
                        f"{row.domain}; cadence.held_out_windows now gives {windows_NL[:, 1:].size}: keep the value "
                        "that the study began with, or use another study",
                        field="cadence.held_out_windows",
                        value=self.path_trainer.cadence.held_out_windows,
                    )

    def _folders(self) -> list[PathFolder]:
        return [folder for path in self.tree.paths if (folder := self.study.find(path.id)) is not None]

    def _run_one(self, runs: list[PlannedRun], progress: PlanProgress, others: MadeByOthers | None) -> int:
        """Make one of the runs, remove it from the list, and return its updates."""
        with contextlib.ExitStack() as owned:
            leases: list[Lease] = []
            number, run, folder = self.process_group.on_rank_zero(
                lambda: self._choose(runs, progress, lambda lease: leases.append(owned.enter_context(lease)))
            )
            planned = runs.pop(number)
            if others is not None:
                others.take(planned, left=run)
            if run is None:
                return 0
            fork, held = run.path.parent, PathFolder(folder, lease=leases[0] if leases else None)
            try:
                self.path_trainer.train(
                    run,
                    held,
                    parent=None if fork is None else self.tree.path(fork.path_id),
                    pinned=partial(pinned_now, self.study, self.tree),
                    needed=partial(needed_now, self.study, self.tree),
                    progress=progress,
                )
            except OSError:
                held.check_owned()  # who took the path over has removed the file that was being written: no disk error
                raise
        return run.end - run.begin

    def _choose(
        self, runs: Sequence[PlannedRun], progress: PlanProgress, own: Callable[[AbstractContextManager[Lease]], None]
    ) -> tuple[int, PlannedRun | None, pathlib.Path]:
        """Own the path of the first run that can be made; return its index, what is left of it, and its folder."""
        waiting = WaitForOthers(study=self.study, progress=progress, fetches=self.wait)
        while True:
            if self.check_workers is not None:
                self.check_workers()
            blocked: dict[str, tuple[StateKey, BusyError]] = {}
            for number, planned in enumerate(runs):
                if planned.path.id in blocked:
                    continue
                try:
                    remaining, folder = self._own(planned, own)
                except BusyError as error:
                    if not self._waits:
                        raise
                    awaited = self._missing_start(planned) or StateKey(planned.path.id, planned.end)
                    blocked[planned.path.id] = awaited, error
                else:
                    progress.begin_run(remaining, planned=planned)
                    return number, remaining, folder
            key, reason = next(iter(blocked.values()))
            short = str(reason).split(";")[0]  # what follows is advice for those who do not wait
            waiting.wait_once(self.tree.path(key.path_id), position=key.position, reason=short)

    def _own(
        self, planned: PlannedRun, own: Callable[[AbstractContextManager[Lease]], None]
    ) -> tuple[PlannedRun | None, pathlib.Path]:
        """Own the path of a run, and return what is left to run and the path's folder."""
        if (start := self._missing_start(planned)) is not None:
            raise self._lacks_fork(planned, start)
        folder = self.study.open(planned.path)
        own(folder.lock())
        folder.clear_incomplete()
        # another process may have been here since the plan was compared
        return planned.remaining(folder.positions()), folder.folder

    def _missing_start(self, planned: PlannedRun) -> StateKey | None:
        """Return the state of the parent that a run needs and that does not exist."""
        start = planned.starting_state() if planned.begins_path else None
        return None if start is None or self.study.has_state(start) else start


@contextlib.contextmanager
def _disk_errors_explained(folder: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TrainingError(explain_disk_error(error, folder)) from error
