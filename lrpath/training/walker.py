"""Walks one stretch of a path: one model, one Lightning fit with its callbacks in order, counted in the ledger."""

import contextlib
import gc
import sys
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol
from uuid import uuid4

import lightning

from lrpath.data.datamodule import PathDataModule
from lrpath.data.stream import TokenBatches
from lrpath.errors import StateError
from lrpath.models import CausalLM
from lrpath.planning.paths import Path, Recipe, StateKey
from lrpath.records.events import PathEvents, rewrite_path_events
from lrpath.records.ledger import Run, RunningCount
from lrpath.records.path_folder import PathFolder
from lrpath.records.study import Study
from lrpath.training.callbacks import Metrics, Rate
from lrpath.training.evaluation import HeldOutSets
from lrpath.training.fork import ForkCallback
from lrpath.training.guard import Finding, Judge, Rewind, go_back
from lrpath.training.lit_module import LitCausalLM
from lrpath.training.phases import Phases
from lrpath.training.progress import PlanProgress, Progress
from lrpath.training.ranks import Ranks
from lrpath.training.saver import StateSaver
from lrpath.training.signals import Noted
from lrpath.training.start import Start
from lrpath.training.stop import Stop
from lrpath.training.strategies import Machine
from lrpath.training.walk import Walk


class Workshop(Protocol):
    """Makes what walks need; `lrpath.build` implements it from the configuration."""

    def model(self, recipe: Recipe) -> CausalLM:
        """Return the backbone with its initial weights."""

    def keep_backbone(self, folder: PathFolder, *, model: CausalLM) -> None:
        """Write what an export needs besides the weights into a path's folder."""

    def check_data(self) -> None:
        """Raise unless the tokens are those whose digests the states will keep."""

    def batches(self, path: Path) -> TokenBatches:
        """Return the path's data as a function of position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cadence:
    """How often things are done that do not change the numbers.

    Args:
        log_every: Updates between two writings of metrics.
        evaluate_every: Updates between two evaluations on held-out sets.
        save_every: Updates between two rolling states.
        save_in_background: Whether updates go on while a state is written.
    """

    log_every: int
    evaluate_every: int
    save_every: int
    save_in_background: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Walker:
    """Makes the updates of walks.

    Args:
        study: Where states, metrics and ledger are.
        workshop: Makes models and data.
        machine: Devices, ranks and precision.
        held_out: Windows by (version, domain).
        cadence: How often to log, evaluate and save.
        tensorboard: Whether a path's rows are written as TensorBoard events too.
        flops_per_token: Cost of a token, for the ledger.
        state_bytes: Size of a state on disk [bytes].
    """

    study: Study
    workshop: Workshop
    machine: Machine
    held_out: HeldOutSets
    cadence: Cadence
    tensorboard: bool
    flops_per_token: float
    state_bytes: int

    @property
    def ranks(self) -> Ranks:
        """The processes that walk together."""
        return self.machine.group

    def reading(self, path: Path, position: int) -> dict[str, Any]:
        """Return what the state of a path at a position has read by the plan, since the path began."""
        return self.workshop.batches(path).reading(path.start, position)

    def walk(
        self,
        walk: Walk,
        folder: PathFolder,
        *,
        parent: Path | None,
        pinned: Callable[[], Set[StateKey]],
        progress: PlanProgress,
    ) -> None:
        """Make the updates of a walk and save its states; where its guard says so, go back and on.

        Args:
            walk: The walk.
            folder: Its path's folder, which this process group owns.
            parent: The path that its path leaves from; None for a root.
            pinned: Returns the states that the plans of the study need at this moment, which are never removed.
            progress: The plan's progress.

        Raises:
            StateError: If the state it starts from is missing or altered, or rows before it are missing.
            StoppedError: If a rank was sent a signal to stop; the state it had reached is saved.
            TrainingError: If it cannot go on; saved states are whole.
        """
        noted = Noted(launched=self.ranks.launched)
        step = partial(self._walk, folder=folder, parent=parent, pinned=pinned, progress=progress, noted=noted)
        with noted.heard():
            while finding := step(walk):
                gc.collect()
                back = partial(go_back, walk, finding, folder=folder, pinned=pinned, say=progress.tell)
                walk = self.ranks.decide(back)
                progress.expect(finding.position - walk.begin)
        gc.collect()  # trainer and callbacks hold each other, and with them weights, moments and their copy

    def _walk(
        self,
        walk: Walk,
        *,
        folder: PathFolder,
        parent: Path | None,
        pinned: Callable[[], Set[StateKey]],
        progress: PlanProgress,
        noted: Noted,
    ) -> Finding | None:
        """Walk until the end, or until an update is found for which the path goes back."""
        recipe = walk.path.recipe
        backbone = self.workshop.model(recipe)
        self.ranks.decide(lambda: self.workshop.keep_backbone(folder, model=backbone))
        later = self.ranks.decide(lambda: _prepare_tables(walk, folder))
        judge = Judge(walk, folder=folder, say=progress.tell, ranks=self.ranks)
        module = LitCausalLM(
            backbone,
            settings=recipe.optimizer,
            accumulate=self.machine.accumulate(recipe),
            place=partial(self.machine.place, precision=recipe.precision),
            allows=judge.allows if recipe.guard.acts else None,
        )
        saver = StateSaver(background=self.cadence.save_in_background, ranks=self.ranks)
        stop = Stop(walk, noted=noted, failure=lambda: saver.failure, ranks=self.ranks)
        with self._counted(walk, folder) as count, self._events(walk, folder) as events, saver:
            metrics = Metrics(
                walk,
                folder=folder,
                events=events,
                held_out=self.held_out,
                every=self.cadence.log_every,
                count=count,
                judge=judge,
            )
            shown = [Progress(walk, plan=progress, metrics=metrics, judge=judge)] if self.ranks.is_first else []
            fork = ForkCallback(
                walk,
                folder=folder,
                facts=partial(self._facts, walk.path, judge),
                pinned=pinned,
                saver=saver,
                watch=self.ranks.watch,
            )
            watched = self._phases(walk)
            callbacks = [stop, self._start(walk, parent), Rate(walk), metrics, *shown, fork, *watched]
            finding = self._fit(walk, module, callbacks)
            saver.wait()  # a run is done, or its state saved, when its last state is whole
            if finding is None:
                stop.check_end()
            elif count is not None:
                count.reach(finding.position)  # it was computed
                count.outcome = "rewound"
        if later and self.ranks.is_first:
            for table in folder.tables:
                table.cut(later[-1])  # puts the rows in order again
            folder.guard.cut(sys.maxsize)
            if self.tensorboard:
                rewrite_path_events(folder)
        if finding is None:
            stop.honour()
        return finding

    def _phases(self, walk: Walk) -> list[lightning.Callback]:
        if self.ranks.count == 1:
            return []
        return [Phases(self.ranks.watch, begin=walk.begin, patient_start=self.machine.compile)]

    def _start(self, walk: Walk, parent: Path | None) -> Start:
        key, source = walk.source(), parent if walk.first else walk.path
        assert (key is None) == (source is None)
        reading = None if key is None or source is None else self.reading(source, key.position)
        return Start(walk, study=self.study, reading=reading, ranks=self.ranks)

    @contextlib.contextmanager
    def _counted(self, walk: Walk, folder: PathFolder) -> Iterator[RunningCount | None]:
        """Count the updates of the block for the ledger, on the first rank."""
        counts: list[RunningCount] = []
        with contextlib.ExitStack() as open_count:
            count = RunningCount(folder, ledger=self.study.ledger, run=self._as_run(walk))
            self.ranks.decide(lambda: counts.append(open_count.enter_context(count)))
            yield counts[0] if counts else None

    @contextlib.contextmanager
    def _events(self, walk: Walk, folder: PathFolder) -> Iterator[PathEvents | None]:
        """Write the path's events anew up to where the walk begins, on the first rank, which writes on in the block."""
        made: list[PathEvents] = []
        if self.tensorboard:
            self.ranks.decide(lambda: made.append(PathEvents(folder, until=walk.begin)))
        with contextlib.ExitStack() as opened:
            yield opened.enter_context(made[0]) if made else None

    def _fit(self, walk: Walk, module: LitCausalLM, callbacks: list[lightning.Callback]) -> Finding | None:
        recipe = walk.path.recipe
        data = PathDataModule(
            self.workshop.batches(walk.path),
            start=walk.begin,
            end=walk.end,
            micro_batch=self.machine.micro_batch_of(recipe),
            accumulate=module.accumulate,
        )
        trainer = self.machine.trainer(
            callbacks, precision=recipe.precision, updates=walk.end - walk.begin, accumulate=module.accumulate
        )
        try:
            trainer.fit(module, datamodule=data)
        except Rewind as rewind:
            return rewind.finding
        finally:
            self.ranks.watch.rest()
        return None

    def _facts(self, path: Path, judge: Judge, position: int) -> dict[str, Any]:
        return judge.facts(position) | {
            "name": path.name,
            "identity": path.identity(),
            "read": self.reading(path, position),
            "device": self.machine.device,
            "ranks": self.machine.ranks,
        }

    def _as_run(self, walk: Walk) -> Run:
        return Run(
            id=uuid4().hex,
            path_id=walk.path.id,
            name=walk.path.name,
            begin=walk.begin,
            end=walk.end,
            repeated=0,
            tokens=walk.tokens,
            flops=walk.tokens * self.flops_per_token,
            seconds=None,
            outcome="running",
            device=self.machine.device,
            ranks=self.machine.ranks,
        )


def _prepare_tables(walk: Walk, folder: PathFolder) -> range:
    """Cut the rows that a walk makes anew, so that none is there twice, and make sure that no other is missing.

    Returns:
        Positions after the walk's end whose rows are kept, because the state at the last of them is on disk.
    """
    later = range(walk.end + 1, max(folder.positions(), default=0) + 1)
    for table in folder.tables:
        table.cut(walk.begin, later=later)
    ordered = walk.path.recipe.guard.policy == "rewind"  # its rows say what is left out, also after where it begins
    folder.guard.cut(sys.maxsize if ordered else walk.begin, later=later)
    found = [int(row["position"]) for row in folder.metrics.rows()]
    if found != [*range(walk.path.start + 1, walk.begin + 1), *later]:
        raise StateError(
            f"{folder.metrics.file} lacks rows before position {max([walk.begin, *later])}, whose state is on disk; "
            f"restore the file from a copy, or remove {folder.folder} to run the path again"
        )
    return later
