"""The Lightning callbacks of a run: rate, metrics and progress. Each acts once an update, by position.

The order in which they run matters and is fixed by `lrpath.training.path_trainer`: rates, metrics, progress, then
the fork callback of `lrpath.training.callbacks.fork`, which Lightning runs last because it is a `Checkpoint`.
"""

import math
import time
from collections.abc import Mapping
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.types import STEP_OUTPUT

from lrpath.errors import TrainingError
from lrpath.records.events import PathEvents
from lrpath.records.ledger import RunningCount
from lrpath.records.path_folder import PathFolder
from lrpath.records.tables import EvaluationRow, MetricsRow, SpeedRow
from lrpath.training.evaluation import HeldOutSets, evaluate
from lrpath.training.lit_module import LitCausalLM
from lrpath.training.loss_monitor import Anomaly, LossMonitor
from lrpath.training.optim import set_rate
from lrpath.training.planned_run import PlannedRun


class UpdateCallback(lightning.Callback):
    """Calls `on_update` after each optimizer step with the position that it reached."""

    def __init__(self, run: PlannedRun) -> None:
        """Take the run whose positions are counted."""
        self.run = run
        self._reached = run.begin

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: STEP_OUTPUT,  # noqa: ARG002 (Lightning's signature)
        batch: Any,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Pass on micro-batches that completed an update; swallow the others."""
        position = self.run.begin + trainer.global_step
        if position > self._reached:
            self._reached = position
            assert isinstance(pl_module, LitCausalLM)
            self.on_update(trainer, pl_module, position)

    def on_update(self, trainer: lightning.Trainer, module: LitCausalLM, position: int) -> None:
        """Act on the update that led to `position`."""


class Rate(UpdateCallback):
    """Sets rate, weight decay and random numbers of every update from its position alone."""

    def on_train_batch_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        batch: Any,  # noqa: ARG002 (Lightning's signature)
        batch_idx: int,
    ) -> None:
        """Seed the update's random numbers at its first micro-batch."""
        assert isinstance(pl_module, LitCausalLM)
        if batch_idx % pl_module.accumulate == 0:
            _seed(self.run.random_seed(self.run.begin + trainer.global_step), device=pl_module.device)

    def on_before_optimizer_step(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """Set the rate of the update that is about to be made."""
        assert isinstance(pl_module, LitCausalLM)
        rate = self.run.path.schedule.rate(self.run.begin + trainer.global_step)
        set_rate(optimizer, rate=rate, settings=pl_module.settings)

    def on_update(self, trainer: lightning.Trainer, module: LitCausalLM, position: int) -> None:  # noqa: ARG002
        """Raise if the update, the first after a fork above all, did not run at the plan's rate."""
        expected = self.run.path.schedule.rate(position - 1)
        used = rate_of(trainer)
        if used != expected:
            raise TrainingError(
                f"{self.run.path.name}: update {position - 1} ran at rate {used}, the plan says {expected}; "
                "another callback changes the optimizer: remove it"
            )


def _seed(seed: int, *, device: torch.device) -> None:
    """Seed the generators that an update may draw from; `torch.manual_seed` takes .6 ms without a GPU, this .01 ms."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)


def rate_of(trainer: lightning.Trainer) -> float:
    """Return the rate that the optimizer last used, the same for all its groups."""
    rates = {float(group["lr"]) for group in trainer.optimizers[0].param_groups}
    if len(rates) != 1:
        raise TrainingError(f"parameter groups ran at different rates {sorted(rates)}; the plan has one rate")
    return rates.pop()


class Metrics(UpdateCallback):
    """Writes a row for every update, and the held-out sets' losses, to the path's tables and its TensorBoard events.

    Losses stay on the device until `every` updates are written at once, and always before a state is saved, so that
    rows and states agree after a kill.

    Args:
        run: The run.
        folder: Where the tables are.
        events: Take every row that the tables take; None where there are to be none.
        held_out: Windows by (version, domain).
        every: Updates between two writings.
        count: Counts the updates for the ledger; None on ranks other than the first, which write nothing.
        monitor: Judges the losses, here unless the module asks it before each update; its ranks' mean loss is written.
    """

    def __init__(
        self,
        run: PlannedRun,
        *,
        folder: PathFolder,
        events: PathEvents | None,
        held_out: HeldOutSets,
        every: int,
        count: RunningCount | None,
        monitor: LossMonitor,
    ) -> None:
        super().__init__(run)
        self._folder = folder
        self._judge = monitor
        self._events = events
        self._held_out = held_out
        self._every = every
        self._count = count
        self._ranks = monitor.ranks
        self._pending: list[tuple[int, torch.Tensor, float, torch.Tensor]] = []
        self._since = 0.0
        self.last_loss = math.nan
        self.tokens_per_second = math.nan

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """Start the clock of the first row of speeds."""
        self._since = time.monotonic()

    def on_update(self, trainer: lightning.Trainer, module: LitCausalLM, position: int) -> None:
        """Take the update's figures; write them and evaluate where it is time."""
        if self._count is not None:
            self._count.reach(position)
        self._pending.append((position, module.update_loss, rate_of(trainer), module.grad_norm))
        if position % self._every == 0 or self.run.saves(position) or self.run.evaluates(position):
            self._write()
        if self.run.evaluates(position):
            with self._ranks.watchdog.phase("evaluation"):
                self._evaluate(module, position)
            self._since = time.monotonic()

    def _write(self) -> None:
        losses = torch.stack([loss for _, loss, _, _ in self._pending])
        if not self._judge.guard.acts:  # else they are of all ranks already
            losses = self._ranks.total(losses) / self._ranks.count
        norms = torch.stack([norm.to(losses) for _, _, _, norm in self._pending])  # of the whole gradient already
        figures = torch.stack((losses, norms), dim=1).tolist()
        self._ranks.on_rank_zero(lambda: self._record(figures))
        self._pending = []

    def _record(self, figures: list[list[float]]) -> None:
        self._folder.check_owned()
        per_update = self.run.path.recipe.tokens_per_update
        rows: list[MetricsRow] = []
        for (position, _, rate, _), (loss, norm) in zip(self._pending, figures, strict=True):
            anomaly = None if self._judge.guard.acts else self._judge.look(loss=loss, norm=norm)
            if anomaly is not None:
                self._folder.metrics.append(rows)
                raise self._at_fault(anomaly)
            tokens = position * per_update
            rows.append(MetricsRow(position=position, loss=loss, lr=rate, grad_norm=norm, tokens=tokens))
        self._folder.metrics.append(rows)
        now = time.monotonic()
        seconds, self._since = now - self._since, now
        self.last_loss, self.tokens_per_second = rows[-1].loss, len(rows) * per_update / max(seconds, 1e-9)
        rounded = round(self.tokens_per_second, 1)
        speed = SpeedRow(position=rows[-1].position, seconds=round(seconds, 4), tokens_per_second=rounded)
        self._folder.speed.append([speed])
        if self._events is not None:
            self._events.append(metrics=rows, speed=[speed])

    def _evaluate(self, module: LitCausalLM, position: int) -> None:
        precision = self.run.path.recipe.precision
        found = evaluate(module.backbone, self._held_out, device=module.device, precision=precision, ranks=self._ranks)
        self._ranks.on_rank_zero(lambda: self._record_evaluation(found, position))

    def _record_evaluation(self, found: Mapping[tuple[str, str], tuple[float, int]], position: int) -> None:
        rows = [
            EvaluationRow(position=position, version=version, domain=domain, nll=nll, tokens=tokens)
            for (version, domain), (nll, tokens) in found.items()
        ]
        if not all(math.isfinite(nll) for nll, _ in found.values()):
            raise self._not_finite("a held-out loss", position)
        self._folder.evaluation.append(rows)
        if self._events is not None:
            self._events.append(evaluation=rows)

    def _at_fault(self, anomaly: Anomaly) -> TrainingError:
        if not (math.isfinite(anomaly.loss) and math.isfinite(anomaly.norm)):
            return self._not_finite(f"loss {anomaly.loss}, gradient norm {anomaly.norm}", anomaly.position)
        return TrainingError(
            f"{self.run.path.name}: {anomaly.fault} at position {anomaly.position}; no state from there on was saved, "
            "earlier ones are whole. Raise guard.spike to go on from the last of them, or begin a path with "
            "guard.policy=skip or rewind"
        )

    def _not_finite(self, what: str, position: int) -> TrainingError:
        rate = self.run.path.schedule.rate(position - 1)
        return TrainingError(
            f"{self.run.path.name}: {what} at position {position} is not finite; no state from there on was saved, "
            f"earlier ones are whole. Lower the peak rate (the rate was {rate:g}) or lengthen the warm-up"
        )
