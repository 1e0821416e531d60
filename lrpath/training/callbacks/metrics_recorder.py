"""Writes the rows of a run: metrics of every update, losses on held-out sets, speed, and their TensorBoard events."""

import math
import time
from collections.abc import Mapping, Sequence

import lightning

from lrpath.records.curve_sinks import CurveSink
from lrpath.records.ledger import RunningCount
from lrpath.records.path_folder import PathFolder
from lrpath.records.rows import EvaluationRow, MetricsRow, SpeedRow
from lrpath.training.callbacks.update_callback import UpdateCallback
from lrpath.training.fit_evaluation import FitEvaluation
from lrpath.training.lit_module import LitCausalLM
from lrpath.training.loss_monitor import LossMonitor
from lrpath.training.planned_run import PlannedRun
from lrpath.training.update_result import UpdateResult


class MetricsRecorder(UpdateCallback):
    """Takes the results of updates from the loss monitor and writes them every `every` updates.

    They are also written before every state that is saved, so that rows and states agree after a kill.

    Args:
        run: The run.
        folder: Where the tables are.
        events: Gets every row that the tables get; None for no logger.
        evaluation: Evaluates the model on the held-out sets.
        every: Updates between two writes.
        count: Counts the updates for the ledger; None on ranks other than rank 0, which write nothing.
        monitor: Makes the results, with the ranks that train together.

    Attributes:
        tokens_per_second: Speed between the last two writes.
    """

    def __init__(
        self,
        run: PlannedRun,
        *,
        folder: PathFolder,
        events: CurveSink | None,
        evaluation: FitEvaluation,
        every: int,
        count: RunningCount | None,
        monitor: LossMonitor,
    ) -> None:
        super().__init__(run)
        self._folder = folder
        self._events = events
        self._evaluation = evaluation
        self._every = every
        self._count = count
        self._monitor = monitor
        self._process_group = monitor.process_group
        self._written_at = 0.0
        self.tokens_per_second = math.nan

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the clock of the first row of speeds; evaluate given weights, of which no update has a loss."""
        if self._begins_with_weights and not self._process_group.on_rank_zero(self._is_evaluated):
            assert isinstance(pl_module, LitCausalLM)
            with self._process_group.watchdog.phase("evaluation"):
                self._evaluate(trainer, pl_module, self.run.begin)
        self._written_at = time.monotonic()

    @property
    def _begins_with_weights(self) -> bool:
        return self.run.starting_state() is None and self.run.path.recipe.weights is not None

    def _is_evaluated(self) -> bool:
        """Say whether the rows of the beginning are there: a run that was killed before its first state has them."""
        return any(row.position == self.run.begin for row in self._folder.evaluation.rows())

    def on_update(self, trainer: lightning.Trainer, module: LitCausalLM, position: int) -> None:
        """Count the update; write and evaluate where it is due."""
        if self._count is not None:
            self._count.reach(position)
        evaluates = self.run.evaluates(position)
        if position % self._every == 0 or evaluates or self.saves(trainer, position):
            results = self._monitor.take_results()
            self._process_group.on_rank_zero(lambda: self._write(results))
        if evaluates:
            with self._process_group.watchdog.phase("evaluation"):
                self._evaluate(trainer, module, position)
            self._written_at = time.monotonic()

    def restart_clock(self) -> None:
        """Leave out of the speed what has passed since the last row: it was no training."""
        self._written_at = time.monotonic()

    def _write(self, results: Sequence[UpdateResult]) -> None:
        self._folder.check_owned()
        recipe = self.run.path.recipe
        rows: list[MetricsRow] = []
        error = None
        for one in results:
            error = self._monitor.stop_error(one)
            if error is not None:
                break
            rows.append(
                MetricsRow(
                    position=one.position,
                    loss=one.loss,
                    lr=one.learning_rate,
                    grad_norm=one.grad_norm,
                    tokens=recipe.tokens_before(one.position),
                )
            )
        self._folder.metrics.append(rows)
        if error is not None:
            raise error
        now = time.monotonic()
        seconds, self._written_at = now - self._written_at, now
        tokens = len(rows) * recipe.tokens_between(self.run.begin, self.run.begin + 1)  # a run has one batch
        self.tokens_per_second = tokens / max(seconds, 1e-9)
        rounded = round(self.tokens_per_second, 1)
        speed = [SpeedRow(position=rows[-1].position, seconds=round(seconds, 4), tokens_per_second=rounded)]
        self._folder.speed.append(speed)
        if self._events is not None:
            self._events.append(metrics=rows, speed=speed)

    def _evaluate(self, trainer: lightning.Trainer, module: LitCausalLM, position: int) -> None:
        losses = self._evaluation.losses(trainer, module)
        if not all(math.isfinite(nll) for nll, _ in losses.values()):
            self._monitor.refuse_not_finite("held-out loss", position)
        self._process_group.on_rank_zero(lambda: self._write_evaluation(losses, position))

    def _write_evaluation(self, losses: Mapping[tuple[str, str], tuple[float, int]], position: int) -> None:
        rows = evaluation_rows(losses, position)
        self._folder.evaluation.append(rows)
        if self._events is not None:
            self._events.append(evaluation=rows)


def evaluation_rows(losses: Mapping[tuple[str, str], tuple[float, int]], position: int) -> list[EvaluationRow]:
    """Return the rows of the losses that a state has on the held-out sets."""
    return [
        EvaluationRow(position=position, version=version, domain=domain, nll=nll, tokens=tokens)
        for (version, domain), (nll, tokens) in losses.items()
    ]
