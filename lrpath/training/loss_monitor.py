"""Judges the updates of a run, leaves out those at fault, and takes a path back; the rule is in `lrpath.planning`.

A verdict depends on the rows before an update and on its own figures alone, the same numbers on every rank: a run that
was killed judges as it did before. Under `skip` and `rewind` it is made between the backward pass and the optimizer's
step, for one wait for the device an update; under `stop`, which changes no number, when rows are written. An update
that is left out is computed, has its row, and takes its position; weights, decay and moments stay as they were.
"""

import math
from collections.abc import Callable, Set
from dataclasses import dataclass, replace
from typing import Any

import torch

from lrpath.errors import TrainingError
from lrpath.planning.guard import REPORTED, Fault
from lrpath.planning.paths import StateKey
from lrpath.records.path_folder import PathFolder
from lrpath.records.tables import GuardRow
from lrpath.training.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from lrpath.training.lit_module import LitCausalLM
from lrpath.training.planned_run import PlannedRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """An update at fault.

    Args:
        position: Position that the update leads to.
        fault: What it is.
        loss: Mean loss over all ranks [nats per token].
        norm: Norm of the whole gradient, before clipping.
    """

    position: int
    fault: Fault
    loss: float
    norm: float

    def row(self, *, first: int, action: str) -> GuardRow:
        """Return its row in the path's table; positions from `first` on are reached without a change of weights."""
        return GuardRow(
            position=self.position,
            first=first,
            action=action,
            quantity=self.fault.quantity,
            bound=self.fault.bound,
            loss=self.loss,
            grad_norm=self.norm,
        )


class Rewind(Exception):  # noqa: N818 (no error: the path goes back, and then on)
    """Ends a fit on all ranks; the path goes back for `anomaly`."""

    def __init__(self, anomaly: Anomaly) -> None:
        super().__init__(str(anomaly.fault))
        self.anomaly = anomaly


class LossMonitor:
    """What a run knows of the losses and gradient norms before an update, and the verdict on it.

    Args:
        run: The run.
        folder: Its path's folder, whose tables are cut to where the run begins.
        say: Shows a line to people; called on the first rank.
        ranks: The ranks that judge together.
    """

    def __init__(
        self, run: PlannedRun, *, folder: PathFolder, say: Callable[[str], None], ranks: ProcessGroup = SINGLE_PROCESS
    ) -> None:
        self.guard = run.path.recipe.guard
        self._run = run
        self._folder = folder
        self._say = say
        self.ranks = ranks
        self._position = run.begin
        self._losses: list[float] = []
        self._norms: list[float] = []
        self._last_loss = 0.0
        rows, self._skipped = ranks.on_rank_zero(lambda: (self._rows_before(), folder.skipped()))
        for loss, norm in rows:
            self._note(loss, norm)

    def _rows_before(self) -> list[tuple[float, float]]:
        """Return the last losses and gradient norms before the run, more than enough for a bound."""
        rows = self._folder.metrics.rows()
        figures = [(row.loss, row.grad_norm) for row in rows if row.position <= self._run.begin]
        finite = [at for at, pair in enumerate(figures) if all(map(math.isfinite, pair))]
        return figures[finite[-self.guard.window - 1] :] if len(finite) > self.guard.window else figures

    def _note(self, loss: float, norm: float) -> None:
        self._last_loss = loss
        for values, value in ((self._losses, loss), (self._norms, norm)):
            if math.isfinite(value):
                values.append(value)
                del values[: -self.guard.window - 1]  # one more than a bound needs: the last is judged by the others

    def look(self, *, loss: float, norm: float) -> Anomaly | None:
        """Return what is wrong with the next update, if anything is, by those before it."""
        self._position += 1
        fault = self.guard.fault(loss=loss, norm=norm, losses=self._losses, norms=self._norms)
        self._note(loss, norm)
        return None if fault is None else Anomaly(position=self._position, fault=fault, loss=loss, norm=norm)

    def allows(self, module: LitCausalLM) -> bool:
        """Say whether the optimizer may make the update whose gradient is there.

        Loss and gradient norm of the module become those of all ranks.

        Raises:
            Rewind: If the path goes back.
            TrainingError: If more updates were at fault than the guard's limit.
        """
        mine = torch.stack((module.update_loss, module.grad_norm.to(module.update_loss)))
        if not self.ranks.is_first:
            mine[1] = 0.0  # the norm is of the whole gradient already; the first rank's is taken by all
        figures = self.ranks.total(mine)
        module.update_loss, module.grad_norm = figures[0] / self.ranks.count, figures[1]
        loss, norm = torch.stack((module.update_loss, module.grad_norm)).tolist()
        anomaly = self.look(loss=loss, norm=norm)
        if any(self._position in skipped for skipped in self._skipped):
            return False
        if anomaly is None:
            return True
        self.ranks.on_rank_zero(lambda: self._check_limit(anomaly))
        if self.guard.policy == "rewind":
            raise Rewind(anomaly)
        self._skipped.append(range(anomaly.position, anomaly.position + 1))
        self.ranks.on_rank_zero(lambda: self._leave_out(anomaly))
        return False

    def _check_limit(self, anomaly: Anomaly) -> None:
        if len(self._skipped) >= self.guard.limit:
            raise TrainingError(
                f"{self._run.path.name}: {anomaly.fault} at position {anomaly.position}, and as many updates of this "
                f"path were at fault before as guard.limit={self.guard.limit} allows; saved states are whole. Look at "
                f"{self._folder.guard.file}; a higher guard.limit goes on on the same path"
            )

    def _leave_out(self, anomaly: Anomaly) -> None:
        self._folder.check_owned()
        self._folder.guard.append([anomaly.row(first=anomaly.position, action="skip")])
        self._say(f"{self._run.path.name}: {anomaly.fault} at position {anomaly.position:,}; the update is left out")

    def facts(self, position: int) -> dict[str, Any]:
        """Return the manifest fields of a state at the position of the last update, where there is something to say.

        `skipped` are the first and last position of every stretch without a change of weights, `spike` is why the last
        loss lies in a spike.
        """
        skipped = [[one.start, min(one.stop - 1, position)] for one in self._skipped if one.start <= position]
        spike = self.spike()
        return ({"skipped": skipped} if skipped else {}) | ({} if spike is None else {"spike": str(spike)})

    def spike(self) -> Fault | None:
        """Return why the last loss lies in a spike, by the guard's rule or, if it has none, from 6 deviations on."""
        before = self._losses[:-1] if math.isfinite(self._last_loss) else self._losses
        rule = replace(self.guard, spike=self.guard.spike or REPORTED)
        return rule.fault(loss=self._last_loss, norm=0.0, losses=before, norms=())


def go_back(
    run: PlannedRun,
    anomaly: Anomaly,
    *,
    folder: PathFolder,
    pinned: Callable[[], Set[StateKey]],
    say: Callable[[str], None],
) -> PlannedRun:
    """Take a path back from an update at fault, and return what is to be run now.

    Rolling states inside the stretch that is left out are removed first, and last comes the row that orders it: killed
    in between, the path finds the same update again. States that plans need stay: branches may have left from them.

    Args:
        run: The run that the update ended.
        anomaly: The update.
        folder: The path's folder, which this process owns.
        pinned: Returns the states that the plans of the study need at this moment.
        say: Shows a line to people.
    """
    folder.check_owned()
    path, made = run.path, folder.positions()
    kept = pinned()
    needed = [at for at in made if at < anomaly.position and StateKey(path.id, at) in kept]
    last = max([path.start, anomaly.position - 1 - path.recipe.guard.back, *needed])
    for position in made:
        if last < position < anomaly.position:
            folder.remove_state(position)
    folder.guard.append([anomaly.row(first=last + 1, action="rewind")])
    begin = max((at for at in made if at <= last), default=path.start)
    say(
        f"{path.name}: {anomaly.fault} at position {anomaly.position:,}; back to {begin:,}, "
        f"positions {last + 1:,} to {anomaly.position:,} are left out"
    )
    return replace(run, begin=begin)
