"""Runs one stretch of a path: one model, one Lightning fit with its callbacks in order, counted in the ledger."""

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
from lrpath.records.held_out import HeldOutSet, SetName
from lrpath.records.ledger import Run, RunningCount
from lrpath.records.path_folder import PathFolder
from lrpath.records.study import Study
from lrpath.training.callbacks.fork import ForkCheckpoint
from lrpath.training.callbacks.heartbeat import HeartbeatCallback
from lrpath.training.callbacks.progress import PlanProgress, Progress
from lrpath.training.callbacks.restore import RestoreState
from lrpath.training.callbacks.stop import StopOnSignal
from lrpath.training.callbacks.updates import Metrics, Rate
from lrpath.training.checkpoints.saver import StateSaver
from lrpath.training.distributed.hardware import Hardware
from lrpath.training.distributed.process_group import ProcessGroup
from lrpath.training.distributed.signals import SignalRecorder
from lrpath.training.evaluation import HeldOutSets
from lrpath.training.lit_module import LitCausalLM
from lrpath.training.loss_monitor import Anomaly, LossMonitor, Rewind, go_back
from lrpath.training.planned_run import PlannedRun


class TrainingFactory(Protocol):
    """Makes what runs need; `lrpath.assembly` implements it from the configuration."""

    def model(self, recipe: Recipe) -> CausalLM:
        """Return the backbone with its initial weights."""

    def keep_backbone(self, folder: PathFolder, *, model: CausalLM) -> None:
        """Write what an export needs besides the weights into a path's folder."""

    def check_data(self) -> None:
        """Raise unless the tokens are those whose digests the states will keep."""

    def batches(self, path: Path) -> TokenBatches:
        """Return the path's data as a function of position."""

    def describe_held_out(self) -> dict[SetName, HeldOutSet]:
        """Return digest and sizes of every held-out set."""


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
class PathTrainer:
    """Makes the updates of runs.

    Args:
        study: Where states, metrics and ledger are.
        factory: Makes models and data.
        hardware: Devices, ranks and precision.
        held_out: Windows by (version, domain).
        cadence: How often to log, evaluate and save.
        tensorboard: Whether a path's rows are written as TensorBoard events too.
        flops_per_token: Cost of a token, for the ledger.
        state_bytes: Size of a state on disk [bytes].
    """

    study: Study
    factory: TrainingFactory
    hardware: Hardware
    held_out: HeldOutSets
    cadence: Cadence
    tensorboard: bool
    flops_per_token: float
    state_bytes: int

    @property
    def ranks(self) -> ProcessGroup:
        """The processes that run together."""
        return self.hardware.group

    def reading(self, path: Path, position: int) -> dict[str, Any]:
        """Return what the state of a path at a position has read by the plan, since the path began."""
        return self.factory.batches(path).reading(path.start, position)

    def run(
        self,
        run: PlannedRun,
        folder: PathFolder,
        *,
        parent: Path | None,
        pinned: Callable[[], Set[StateKey]],
        progress: PlanProgress,
    ) -> None:
        """Make the updates of a run and save its states; where its guard says so, go back and on.

        Args:
            run: The run.
            folder: Its path's folder, which this process group owns.
            parent: The path that its path leaves from; None for a root.
            pinned: Returns the states that the plans of the study need at this moment, which are never removed.
            progress: The plan's progress.

        Raises:
            StateError: If the state it starts from is missing or altered, or rows before it are missing.
            StoppedError: If a rank was sent a signal to stop; the state it had reached is saved.
            TrainingError: If it cannot go on; saved states are whole.
        """
        recorder = SignalRecorder(launched=self.ranks.launched)
        step = partial(self._run, folder=folder, parent=parent, pinned=pinned, progress=progress, recorder=recorder)
        with recorder.heard():
            while anomaly := step(run):
                gc.collect()
                back = partial(go_back, run, anomaly, folder=folder, pinned=pinned, say=progress.publish)
                run = self.ranks.on_rank_zero(back)
                progress.expect(anomaly.position - run.begin)
        gc.collect()  # trainer and callbacks hold each other, and with them weights, moments and their copy

    def _run(
        self,
        run: PlannedRun,
        *,
        folder: PathFolder,
        parent: Path | None,
        pinned: Callable[[], Set[StateKey]],
        progress: PlanProgress,
        recorder: SignalRecorder,
    ) -> Anomaly | None:
        """Run until the end, or until an update is found for which the path goes back."""
        recipe = run.path.recipe
        backbone = self.factory.model(recipe)
        self.ranks.on_rank_zero(lambda: self.factory.keep_backbone(folder, model=backbone))
        later = self.ranks.on_rank_zero(lambda: _prepare_tables(run, folder))
        monitor = LossMonitor(run, folder=folder, say=progress.publish, ranks=self.ranks)
        module = LitCausalLM(
            backbone,
            settings=recipe.optimizer,
            accumulate=self.hardware.accumulate(recipe),
            place=partial(self.hardware.place, precision=recipe.precision),
            allows=monitor.allows if recipe.guard.acts else None,
        )
        saver = StateSaver(background=self.cadence.save_in_background, ranks=self.ranks)
        stop = StopOnSignal(run, recorder=recorder, failure=lambda: saver.failure, ranks=self.ranks)
        with self._counted(run, folder) as count, self._events(run, folder) as events, saver:
            metrics = Metrics(
                run,
                folder=folder,
                events=events,
                held_out=self.held_out,
                every=self.cadence.log_every,
                count=count,
                monitor=monitor,
            )
            shown = [Progress(run, plan=progress, metrics=metrics, monitor=monitor)] if self.ranks.is_first else []
            fork = ForkCheckpoint(
                run,
                folder=folder,
                facts=partial(self._facts, run.path, monitor),
                pinned=pinned,
                saver=saver,
                watchdog=self.ranks.watchdog,
            )
            watched = self._phases(run)
            callbacks = [stop, self._start(run, parent), Rate(run), metrics, *shown, fork, *watched]
            anomaly = self._fit(run, module, callbacks)
            saver.wait()  # a run is done, or its state saved, when its last state is whole
            if anomaly is None:
                stop.check_end()
            elif count is not None:
                count.reach(anomaly.position)  # it was computed
                count.outcome = "rewound"
        if later and self.ranks.is_first:
            for table in folder.tables:
                table.cut(later[-1])  # puts the rows in order again
            folder.guard.cut(sys.maxsize)
            if self.tensorboard:
                rewrite_path_events(folder)
        if anomaly is None:
            stop.raise_if_signalled()
        return anomaly

    def _phases(self, run: PlannedRun) -> list[lightning.Callback]:
        if self.ranks.count == 1:
            return []
        return [HeartbeatCallback(self.ranks.watchdog, begin=run.begin, patient_start=self.hardware.compile)]

    def _start(self, run: PlannedRun, parent: Path | None) -> RestoreState:
        key, source = run.source(), parent if run.first else run.path
        assert (key is None) == (source is None)
        reading = None if key is None or source is None else self.reading(source, key.position)
        return RestoreState(run, study=self.study, reading=reading, ranks=self.ranks)

    @contextlib.contextmanager
    def _counted(self, run: PlannedRun, folder: PathFolder) -> Iterator[RunningCount | None]:
        """Count the updates of the block for the ledger, on the first rank."""
        counts: list[RunningCount] = []
        with contextlib.ExitStack() as open_count:
            count = RunningCount(folder, ledger=self.study.ledger, run=self._as_run(run))
            self.ranks.on_rank_zero(lambda: counts.append(open_count.enter_context(count)))
            yield counts[0] if counts else None

    @contextlib.contextmanager
    def _events(self, run: PlannedRun, folder: PathFolder) -> Iterator[PathEvents | None]:
        """Write the path's events anew up to where the run begins, on the first rank, which writes on in the block."""
        made: list[PathEvents] = []
        if self.tensorboard:
            self.ranks.on_rank_zero(lambda: made.append(PathEvents(folder, until=run.begin)))
        with contextlib.ExitStack() as opened:
            yield opened.enter_context(made[0]) if made else None

    def _fit(self, run: PlannedRun, module: LitCausalLM, callbacks: list[lightning.Callback]) -> Anomaly | None:
        recipe = run.path.recipe
        data = PathDataModule(
            self.factory.batches(run.path),
            start=run.begin,
            end=run.end,
            micro_batch=self.hardware.micro_batch_of(recipe),
            accumulate=module.accumulate,
        )
        trainer = self.hardware.trainer(
            callbacks, precision=recipe.precision, updates=run.end - run.begin, accumulate=module.accumulate
        )
        try:
            trainer.fit(module, datamodule=data)
        except Rewind as rewind:
            return rewind.anomaly
        finally:
            self.ranks.watchdog.rest()
        return None

    def _facts(self, path: Path, monitor: LossMonitor, position: int) -> dict[str, Any]:
        return monitor.facts(position) | {
            "name": path.name,
            "identity": path.identity(),
            "read": self.reading(path, position),
            "device": self.hardware.device,
            "ranks": self.hardware.ranks,
        }

    def _as_run(self, run: PlannedRun) -> Run:
        return Run(
            id=uuid4().hex,
            path_id=run.path.id,
            name=run.path.name,
            begin=run.begin,
            end=run.end,
            repeated=0,
            tokens=run.tokens,
            flops=run.tokens * self.flops_per_token,
            seconds=None,
            outcome="running",
            device=self.hardware.device,
            ranks=self.hardware.ranks,
        )


def _prepare_tables(run: PlannedRun, folder: PathFolder) -> range:
    """Cut the rows that a run makes anew, so that none is there twice, and make sure that no other is missing.

    Returns:
        Positions after the run's end whose rows are kept, because the state at the last of them is on disk.
    """
    later = range(run.end + 1, max(folder.positions(), default=0) + 1)
    for table in folder.tables:
        table.cut(run.begin, later=later)
    ordered = run.path.recipe.guard.policy == "rewind"  # its rows say what is left out, also after where it begins
    folder.guard.cut(sys.maxsize if ordered else run.begin, later=later)
    found = [row.position for row in folder.metrics.rows()]
    if found != [*range(run.path.start + 1, run.begin + 1), *later]:
        raise StateError(
            f"{folder.metrics.file} lacks rows before position {max([run.begin, *later])}, whose state is on disk; "
            f"restore the file from a copy, or remove {folder.folder} to run the path again"
        )
    return later
