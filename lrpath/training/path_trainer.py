"""Trains one stretch of a path: one model, one Lightning fit with its callbacks in order, counted in the ledger."""

import contextlib
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import lightning
import torch

from lrpath.models import CausalLM
from lrpath.planning.paths import Path, Release, StateKey
from lrpath.records.curve_sinks import CurveSink
from lrpath.records.document_losses import write_document_losses
from lrpath.records.held_out import HeldOutSet, SetName
from lrpath.records.ledger import RunningCount
from lrpath.records.path_folder import PathFolder
from lrpath.records.read_segments import ReadSegments
from lrpath.records.row_digests import written_digests
from lrpath.records.rows import EvaluationRow
from lrpath.records.study import Study
from lrpath.training.callbacks.document_recorder import DocumentRecorder
from lrpath.training.callbacks.fork_checkpoint import ForkCheckpoint
from lrpath.training.callbacks.heartbeat import HeartbeatCallback
from lrpath.training.callbacks.metrics_recorder import MetricsRecorder, evaluation_rows
from lrpath.training.callbacks.profile_updates import ProfileUpdates
from lrpath.training.callbacks.restore_state import RestoreState
from lrpath.training.callbacks.run_progress import RunProgress
from lrpath.training.callbacks.seed_random_numbers import SeedRandomNumbers
from lrpath.training.callbacks.set_learning_rate import SetLearningRate
from lrpath.training.callbacks.stop_on_signal import StopOnSignal
from lrpath.training.callbacks.update_callback import UpdateCallback
from lrpath.training.checkpoints.releases import evaluate_merged, load_weights
from lrpath.training.checkpoints.saved_copy import keep
from lrpath.training.checkpoints.saver import StateSaver
from lrpath.training.distributed.hardware import Hardware
from lrpath.training.distributed.process_group import ProcessGroup
from lrpath.training.distributed.signals import SignalRecorder
from lrpath.training.document_losses import DocumentSets, evaluate_documents
from lrpath.training.evaluation import HeldOutSets, evaluate
from lrpath.training.factory import TrainingFactory
from lrpath.training.fit_evaluation import FitEvaluation
from lrpath.training.fit_updates import fit_updates
from lrpath.training.lightning_trainer import quiet_lightning
from lrpath.training.lit_module import LitCausalLM
from lrpath.training.loss_monitor import LossMonitor
from lrpath.training.plan_progress import PlanProgress
from lrpath.training.planned_run import PlannedRun
from lrpath.training.prepare_rows import prepare_tables, sort_tables
from lrpath.training.rewind import rewind
from lrpath.training.settings import Cadence
from lrpath.training.update_result import Anomaly


@dataclass(frozen=True, slots=True, kw_only=True)
class PathTrainer:
    """Makes the updates of planned runs.

    Args:
        study: Where states, metrics and ledger are.
        factory: Makes models and data.
        hardware: Ranks and devices.
        held_out: Windows by (version, domain).
        documents: Windows and their documents, evaluated where the plan needs a state.
        cadence: How often to log, evaluate and save.
        flops_per_token: Cost of a token, for the ledger.
        state_bytes: Size of a state on disk [bytes].
        open_sink: Opens the curves of a path in a logger, given its folder and `until`; None for no logger.
        extra_callbacks: Lightning callbacks of the user, called after lrpath's own and before a state is saved.
        profile: Whether some updates of every run are profiled.
    """

    study: Study
    factory: TrainingFactory
    hardware: Hardware
    held_out: HeldOutSets
    documents: DocumentSets
    cadence: Cadence
    flops_per_token: float
    state_bytes: int
    open_sink: Callable[..., CurveSink] | None = None
    extra_callbacks: tuple[lightning.Callback, ...] = ()
    profile: bool = False

    @property
    def process_group(self) -> ProcessGroup:
        """The processes that train together."""
        return self.hardware.process_group

    @contextlib.contextmanager
    def ready(self) -> Iterator[None]:
        """Set this process up for training while the block runs."""
        self.hardware.prepare_process()
        try:
            with quiet_lightning():
                yield
        finally:
            keep(None)

    def check_data(self) -> None:
        """Raise unless the tokens are those whose digests the states will keep."""
        self.factory.check_data()

    def describe_held_out(self) -> dict[SetName, HeldOutSet]:
        """Return digest and sizes of every held-out set."""
        return self.factory.describe_held_out()

    def evaluate_merged(self, release: Release, *, precision: str) -> None:
        """Evaluate a release that is a mean of states, once.

        Raises:
            BusyError: If another process is doing so.
        """
        evaluate_merged(
            self.study,
            release,
            self.held_out,
            device=self.hardware.device,
            precision=precision,
            own_models=self.factory.own_model,
        )

    def read_segments(self, path: Path) -> ReadSegments:
        """Return the records of what the states of a path have read by the plan, since the path began."""
        return self.factory.batches(path).readings(path.start)

    def environment(self) -> dict[str, Any]:
        """Return on what updates run, as far as it may change their last digits; in every manifest."""
        return {
            "torch": torch.__version__,
            "device": self.hardware.device_name,
            "ranks": self.hardware.ranks,
            "threads": torch.get_num_threads(),
        } | self.hardware.kernels

    def evaluate_state(self, path: Path, folder: PathFolder, position: int) -> list[EvaluationRow]:
        """Return the losses of a state on the held-out sets, computed by this process alone."""
        model, precision = self._load(path, folder, position), path.recipe.precision
        losses = evaluate(model, self.held_out, device=self.hardware.device, precision=precision)
        return evaluation_rows(losses, position)

    def evaluate_documents(self, path: Path, folder: PathFolder, position: int) -> None:
        """Write the losses of a state on every held-out document, computed by this process alone."""
        model, precision = self._load(path, folder, position), path.recipe.precision
        found = evaluate_documents(model, self.documents, device=self.hardware.device, precision=precision)
        write_document_losses(folder.document_losses(position), found)

    def _load(self, path: Path, folder: PathFolder, position: int) -> CausalLM:
        model = self.factory.model(path.recipe).to(self.hardware.device)
        load_weights(model, folder, StateKey(path.id, position))
        return model

    def train(
        self,
        planned_run: PlannedRun,
        folder: PathFolder,
        *,
        parent: Path | None,
        pinned: Callable[[], Set[StateKey]],
        needed: Callable[[], Set[StateKey]],
        progress: PlanProgress,
    ) -> None:
        """Make the updates of a run and save its states; where its guard says so, go back and train again.

        Args:
            planned_run: What to do.
            folder: Its path's folder, which this process group owns.
            parent: The path that its path branches from; None for a root.
            pinned: Returns the states that retention never removes at this moment.
            needed: Returns those of them that the plans of the study need: a path never goes back behind one.
            progress: The plan's progress.

        Raises:
            StateError: If the state it starts from is missing or altered, or rows before it are missing.
            StoppedError: If a rank got a signal to stop; the state it had reached is saved.
            TrainingError: If it cannot go on; saved states are whole.
        """
        signals = SignalRecorder(launched=self.process_group.launched)
        train_until_anomaly = partial(
            self._train, folder=folder, parent=parent, pinned=pinned, progress=progress, signals=signals
        )
        left = planned_run
        with signals.recording():
            while left.begin < left.end:
                part = left.until_growth()
                anomaly = train_until_anomaly(part, shown=planned_run)
                if anomaly is None:
                    left = replace(left, begin=part.end)
                    continue
                go_back = partial(rewind, left, anomaly, folder=folder, pinned=needed, publish=progress.publish)
                planned_run = left = self.process_group.on_rank_zero(go_back)
                progress.add_updates(anomaly.position - left.begin)

    def _train(
        self,
        run: PlannedRun,
        *,
        shown: PlannedRun,
        folder: PathFolder,
        parent: Path | None,
        pinned: Callable[[], Set[StateKey]],
        progress: PlanProgress,
        signals: SignalRecorder,
    ) -> Anomaly | None:
        """Train until the run's end, or until an anomaly for which the path goes back, which is returned.

        The run is the whole one that is `shown`, or a part of it, of one batch.
        """
        group, recipe = self.process_group, run.path.recipe
        assert recipe.optimizer is not None
        self.hardware.forget_memory()
        backbone = self._backbone(run, folder)
        kept_rows = group.on_rank_zero(lambda: prepare_tables(run, folder))
        monitor = LossMonitor(run, folder=folder, publish=progress.publish, process_group=group)
        module = LitCausalLM(
            backbone,
            settings=recipe.optimizer,
            accumulation=self.hardware.accumulation(recipe, position=run.begin),
            observe=monitor.observe,
            parallelize=partial(self.hardware.parallelize, precision=recipe.precision),
        )
        evaluation = FitEvaluation(
            held_out=self.held_out, documents=self.documents, precision=recipe.precision, process_group=group
        )
        saver = StateSaver(background=self.cadence.save_in_background, ranks=group)
        stop = StopOnSignal(run, recorder=signals, failure=lambda: saver.failure, process_group=group)
        with self._ledger_count(run, folder) as count, self._events(run, folder) as events, saver:
            recorder = MetricsRecorder(
                run,
                folder=folder,
                events=events,
                evaluation=evaluation,
                every=self.cadence.log_every,
                count=count,
                monitor=monitor,
            )
            fork = ForkCheckpoint(
                run,
                folder=folder,
                facts=partial(self._manifest_fields, run.path, folder, monitor, module, self.read_segments(run.path)),
                pinned=pinned,
                saver=saver,
                monitor=monitor,
                watchdog=group.watchdog,
            )
            others: list[UpdateCallback] = [
                DocumentRecorder(run, folder=folder, evaluation=evaluation, evaluated=recorder.restart_clock),
                *self._progress_callbacks(run, shown, progress, recorder, monitor),
                *([ProfileUpdates(run, folder=folder)] if self.profile and group.is_rank_zero else []),
            ]
            callbacks = self._in_order(run, folder, parent, stop, recorder, others, fork)
            anomaly = fit_updates(
                run, module, callbacks, batches=self.factory.batches(run.path), hardware=self.hardware
            )
            saver.wait()  # a run is done, or its state saved, when its last state is whole
            if count is not None:
                count.memory_bytes = self.hardware.most_memory
            if anomaly is None:
                stop.check_end()
            elif count is not None:
                count.reach(anomaly.position)  # it was computed
                count.outcome = "rewound"
        if kept_rows and group.is_rank_zero:
            sort_tables(folder, last=kept_rows[-1])
            if self.open_sink is not None:
                with self.open_sink(folder):  # which the rows that were kept are sent to
                    pass
        if anomaly is None:
            stop.raise_if_signalled()
        return anomaly

    def _backbone(self, run: PlannedRun, folder: PathFolder) -> CausalLM:
        """Return the model that the run begins with, and keep in the path's folder what an export of it needs."""
        recipe, begins = run.path.recipe, run.starting_state() is None
        backbone = self.factory.initial_model(recipe) if begins else self.factory.model(recipe)
        self.process_group.on_rank_zero(lambda: self.factory.keep_backbone(folder, model=backbone))
        return backbone

    def _progress_callbacks(
        self,
        run: PlannedRun,
        shown: PlannedRun,
        progress: PlanProgress,
        recorder: MetricsRecorder,
        monitor: LossMonitor,
    ) -> list[UpdateCallback]:
        """Return what shows the run to the user, on rank 0."""
        if not self.process_group.is_rank_zero:
            return []
        return [
            RunProgress(
                run,
                shown=shown,
                plan=progress,
                recorder=recorder,
                monitor=monitor,
                hardware=self.hardware,
                flops_per_token=self.flops_per_token,
            )
        ]

    def _in_order(
        self,
        run: PlannedRun,
        folder: PathFolder,
        parent: Path | None,
        stop: StopOnSignal,
        recorder: MetricsRecorder,
        others: Sequence[UpdateCallback],
        fork: ForkCheckpoint,
    ) -> list[lightning.Callback]:
        """Return the callbacks in the order in which Lightning calls each of their hooks.

        - StopOnSignal first: the others save and record this position because it is the last.
        - SetLearningRate before MetricsRecorder: no row and no state of an update at a wrong rate is written.
        - MetricsRecorder before RunProgress, which shows what it has recorded, and before DocumentRecorder, whose time
          is none of the speed that it writes.
        - ForkCheckpoint after all of these: the rows of an update are on disk before its state is. It is a
          `Checkpoint`, which Lightning moves behind all other callbacks, the user's too.
        - HeartbeatCallback last, a `Checkpoint` for that reason: what follows it is the next batch.
        """
        watched: list[lightning.Callback] = []
        if self.process_group.world_size > 1:
            compiles = self.hardware.compiles
            watched = [HeartbeatCallback(self.process_group.watchdog, begin=run.begin, compiles=compiles)]
        return [
            stop,
            self._restore_state(run, folder, parent),
            SeedRandomNumbers(run),
            SetLearningRate(run),
            recorder,
            *others,
            *self.extra_callbacks,
            fork,
            *watched,
        ]

    def _restore_state(self, run: PlannedRun, folder: PathFolder, parent: Path | None) -> RestoreState:
        key, source = run.starting_state(), parent if run.begins_path else run.path
        assert (key is None) == (source is None)
        consumed = None if key is None or source is None else self.read_segments(source).until(key.position)
        released = parent.recipe.optimizer if run.begins_path and run.path.from_released and parent else None
        return RestoreState(
            run,
            study=self.study,
            folder=folder,
            data_consumed=consumed,
            released=released,
            process_group=self.process_group,
        )

    @contextlib.contextmanager
    def _ledger_count(self, run: PlannedRun, folder: PathFolder) -> Iterator[RunningCount | None]:
        """Count the updates of the block for the ledger, on rank 0."""
        counts: list[RunningCount] = []
        with contextlib.ExitStack() as stack:
            begun = run.begun(
                device=self.hardware.device_name, ranks=self.hardware.ranks, flops_per_token=self.flops_per_token
            )
            count = RunningCount(folder, ledger=self.study.ledger, run=begun)
            self.process_group.on_rank_zero(lambda: counts.append(stack.enter_context(count)))
            yield counts[0] if counts else None

    @contextlib.contextmanager
    def _events(self, run: PlannedRun, folder: PathFolder) -> Iterator[CurveSink | None]:
        """Give a logger the path's rows up to where the run begins, and those of the block as they come; rank 0."""
        opened: list[CurveSink] = []
        if open_sink := self.open_sink:
            self.process_group.on_rank_zero(lambda: opened.append(open_sink(folder, until=run.begin)))
        with contextlib.ExitStack() as stack:
            yield stack.enter_context(opened[0]) if opened else None

    def _manifest_fields(
        self,
        path: Path,
        folder: PathFolder,
        monitor: LossMonitor,
        module: LitCausalLM,
        read: ReadSegments,
        position: int,
    ) -> dict[str, Any]:
        tables = {"tables": written_digests(folder, position)} if self.process_group.is_rank_zero else {}
        return (
            monitor.manifest_fields(position)
            | module.dropout_record
            | tables
            | {
                "name": path.name,
                "identity": path.identity(),
                "read": read.until(position),
            }
            | self.environment()
        )
