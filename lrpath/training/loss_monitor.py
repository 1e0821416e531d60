"""Makes the result of every update, judges it by the guard, and decides whether the optimizer may apply it.

The rule is in `lrpath.planning.guard`. It depends on the rows before an update and on the update's own loss and
gradient norm, the same numbers on every rank: a run that was killed judges as it did before.

Under `skip` and `rewind` an update is judged between its backward pass and the optimizer's step, which costs one wait
for the device an update. Under `stop`, which changes no number, losses stay on the device until rows are written, and
are judged then. An update that is left out is computed, has its row, and takes its position; weights, decay and moments
stay as they were.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NoReturn

import torch
from torch import Tensor

from lrpath.errors import TrainingError
from lrpath.planning.guard import REPORTED, Fault
from lrpath.records.path_folder import PathFolder
from lrpath.training.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from lrpath.training.planned_run import PlannedRun
from lrpath.training.rewind import RewindError
from lrpath.training.update_result import Anomaly, UpdateResult


class LossMonitor:
    """The losses and gradient norms of a run, and those before it on its path.

    Args:
        run: The run.
        folder: Its path's folder, whose tables are cut to where the run begins.
        publish: Shows a line to the user; called on rank 0.
        process_group: The ranks that train together.

    Attributes:
        process_group: The ranks that train together.
        last: The last result that was made.
    """

    def __init__(
        self,
        run: PlannedRun,
        *,
        folder: PathFolder,
        publish: Callable[[str], None],
        process_group: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        self._guard = run.path.recipe.guard
        self._run = run
        self._folder = folder
        self._publish = publish
        self.process_group = process_group
        self._position = run.begin
        self._losses: list[float] = []
        self._grad_norms: list[float] = []
        self._on_device: list[tuple[Tensor, Tensor, float]] = []
        self._results: list[UpdateResult] = []
        self.last: UpdateResult | None = None
        self._last_loss = 0.0
        earlier, self._skipped = process_group.on_rank_zero(lambda: (self._read_earlier(), folder.skipped()))
        for loss, grad_norm in earlier:
            self._remember(loss, grad_norm)

    def _read_earlier(self) -> list[tuple[float, float]]:
        """Return the last losses and gradient norms before the run, more than enough for a bound."""
        rows = self._folder.metrics.rows()
        values = [(row.loss, row.grad_norm) for row in rows if row.position <= self._run.begin]
        finite = [index for index, pair in enumerate(values) if all(map(math.isfinite, pair))]
        return values[finite[-self._guard.window - 1] :] if len(finite) > self._guard.window else values

    def _remember(self, loss: float, grad_norm: float) -> None:
        self._last_loss = loss
        for values, value in ((self._losses, loss), (self._grad_norms, grad_norm)):
            if math.isfinite(value):
                values.append(value)
                del values[: -self._guard.window - 1]  # one more than a bound needs: the last is judged by the others

    def observe(self, *, loss: Tensor, grad_norm: Tensor, learning_rate: float) -> bool:
        """Take the next update, whose gradient is there, and say whether the optimizer may apply it.

        Args:
            loss: This rank's mean loss [nats per token]; a scalar on the device.
            grad_norm: Norm of the whole gradient, before clipping; a scalar on the device.
            learning_rate: The rate that the optimizer is set to.

        Raises:
            RewindError: If the path goes back.
            TrainingError: If more updates had an anomaly than the guard's limit.
        """
        self._on_device.append((loss, grad_norm, learning_rate))
        if self._guard.policy == "stop":
            return True
        self._make_results()
        anomaly = self._results[-1].anomaly
        if any(self._position in skipped for skipped in self._skipped):
            return False
        if anomaly is None:
            return True
        self.process_group.on_rank_zero(lambda: self._check_limit(anomaly))
        if self._guard.policy == "rewind":
            raise RewindError(anomaly)
        self._skipped.append(range(anomaly.position, anomaly.position + 1))
        self.process_group.on_rank_zero(lambda: self._record_skip(anomaly))
        return False

    def take_results(self) -> list[UpdateResult]:
        """Return the results of all updates since the last call, by position; all ranks call this."""
        self._make_results()
        results, self._results = self._results, []
        return results

    def _make_results(self) -> None:
        """Sum what lies on the devices over the ranks, fetch it at once, and judge it."""
        if not self._on_device:
            return
        losses_U = torch.stack([loss for loss, _, _ in self._on_device])
        grad_norms_U = torch.stack([grad_norm.to(losses_U) for _, grad_norm, _ in self._on_device])
        if not self.process_group.is_rank_zero:
            grad_norms_U.zero_()  # already of the whole gradient; all ranks take that of rank 0
        sums = self.process_group.all_reduce_sum(torch.stack((losses_U, grad_norms_U)))
        sums[0] /= self.process_group.world_size
        for loss, grad_norm, (_, _, learning_rate) in zip(*sums.tolist(), self._on_device, strict=True):
            self._results.append(self.judge(loss=loss, grad_norm=grad_norm, learning_rate=learning_rate))
        self._on_device = []

    def judge(self, *, loss: float, grad_norm: float, learning_rate: float) -> UpdateResult:
        """Return the result of the next update, judged by those before it."""
        self._position += 1
        fault = self._guard.fault(loss=loss, norm=grad_norm, losses=self._losses, norms=self._grad_norms)
        self._remember(loss, grad_norm)
        anomaly = None
        if fault is not None:
            anomaly = Anomaly(position=self._position, fault=fault, loss=loss, grad_norm=grad_norm)
        self.last = UpdateResult(
            position=self._position, loss=loss, grad_norm=grad_norm, learning_rate=learning_rate, anomaly=anomaly
        )
        return self.last

    def stop_error(self, result: UpdateResult) -> TrainingError | None:
        """Return the error with which the guard ends the run at an update; None under `skip` and `rewind`."""
        anomaly = result.anomaly
        if anomaly is None or self._guard.policy != "stop":
            return None
        if not (math.isfinite(anomaly.loss) and math.isfinite(anomaly.grad_norm)):
            return self.not_finite_error(f"loss {anomaly.loss}, gradient norm {anomaly.grad_norm}", anomaly.position)
        return TrainingError(
            f"{self._run.path.name}: {anomaly.fault} at position {anomaly.position}; no state from there on was saved, "
            "earlier ones are whole. Raise guard.spike to go on from the last of them, or begin a path with "
            "guard.policy=skip or rewind",
            field="guard.spike",
            value=self._guard.spike,
        )

    def refuse_not_finite(self, quantity: str, position: int) -> NoReturn:
        """End the run, or take its path back, for a quantity that is not finite at the last position; on all ranks.

        Args:
            quantity: What it is, found after the update was applied: it cannot be skipped any more.
            position: The position.

        Raises:
            RewindError: If the guard's policy is to rewind.
            TrainingError: If it is not, or more updates had an anomaly than the guard's limit.
        """
        if self._guard.policy == "rewind":
            loss, grad_norm = (math.nan, math.nan) if self.last is None else (self.last.loss, self.last.grad_norm)
            fault = Fault(quantity=quantity, value=math.nan, bound=math.inf)
            anomaly = Anomaly(position=position, fault=fault, loss=loss, grad_norm=grad_norm)
            self.process_group.on_rank_zero(lambda: self._check_limit(anomaly))
            raise RewindError(anomaly)

        def stop() -> NoReturn:
            raise self.not_finite_error(f"a {quantity}", position)

        self.process_group.on_rank_zero(stop)
        raise AssertionError("rank 0 has raised on all ranks")

    def not_finite_error(self, quantity: str, position: int) -> TrainingError:
        """Return the error for a quantity that is not finite at a position."""
        rate = self._run.path.schedule.rate(position - 1)
        return TrainingError(
            f"{self._run.path.name}: {quantity} at position {position} is not finite; no state from there on was "
            f"saved, earlier ones are whole. Lower the peak rate (the rate was {rate:g}) or lengthen the warm-up"
        )

    def _check_limit(self, anomaly: Anomaly) -> None:
        if len(self._skipped) >= self._guard.limit:
            raise TrainingError(
                f"{self._run.path.name}: {anomaly.fault} at position {anomaly.position}, and this path has had "
                f"guard.limit={self._guard.limit} anomalies already; saved states are whole. Look at "
                f"{self._folder.guard.file}; with a higher guard.limit the same path goes on",
                field="guard.limit",
                value=self._guard.limit,
            )

    def _record_skip(self, anomaly: Anomaly) -> None:
        self._folder.check_owned()
        self._folder.guard.append([anomaly.row(first=anomaly.position, action="skip")])
        self._publish(f"{self._run.path.name}: {anomaly.fault} at position {anomaly.position:,}; the update is skipped")

    def manifest_fields(self, position: int) -> dict[str, Any]:
        """Return the manifest fields of a state at the position of the last update, if there are any.

        `skipped` are the first and last position of every stretch without a change of weights, `spike` says why the
        last loss lies in a spike.
        """
        skipped = [[one.start, min(one.stop - 1, position)] for one in self._skipped if one.start <= position]
        spike = self.spike()
        return ({"skipped": skipped} if skipped else {}) | ({} if spike is None else {"spike": str(spike)})

    def spike(self) -> Fault | None:
        """Return why the last loss lies in a spike, by the guard's rule or, if it has none, from 6 deviations on."""
        before = self._losses[:-1] if math.isfinite(self._last_loss) else self._losses
        rule = replace(self._guard, spike=self._guard.spike or REPORTED)
        return rule.fault(loss=self._last_loss, norm=0.0, losses=before, norms=())
