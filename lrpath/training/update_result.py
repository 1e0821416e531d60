"""What is known of one update once its gradient is there. `LossMonitor` makes these; all others only read them."""

from dataclasses import dataclass

from lrpath.planning.guard import Fault
from lrpath.records.rows import GuardRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """A loss or gradient norm that the guard does not accept.

    Args:
        position: Position that the update leads to.
        fault: The quantity and the bound that it exceeds.
        loss: Mean loss over all ranks [nats per token].
        grad_norm: Norm of the whole gradient, before clipping.
    """

    position: int
    fault: Fault
    loss: float
    grad_norm: float

    def row(self, *, first: int, action: str) -> GuardRow:
        """Return its row of `guard.csv`; positions from `first` on are reached without a change of weights."""
        return GuardRow(
            position=self.position,
            first=first,
            action=action,
            quantity=self.fault.quantity,
            bound=self.fault.bound,
            loss=self.loss,
            grad_norm=self.grad_norm,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateResult:
    """One update, the same on all ranks.

    Args:
        position: Position that the update leads to.
        loss: Mean loss over all ranks [nats per token].
        grad_norm: Norm of the whole gradient, before clipping.
        learning_rate: The rate that the optimizer was set to.
        anomaly: What the guard does not accept about it; None for an ordinary update.
    """

    position: int
    loss: float
    grad_norm: float
    learning_rate: float
    anomaly: Anomaly | None = None
