"""A loss curve with the whole history of rates behind it; `curve_files` reads one from a file.

The loss at position p is that of update p, or of a held-out set after it; both are set beside the rates of updates
1 … p. A branch's history is the main path up to the fork and the branch from there on, so a curve holds the rate of
every update since the root, and the losses of those positions that are to be fitted or compared.

Shapes: U updates since the root, P observed positions.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lrpath.errors import LawError
from lrpath.laws.areas import Array
from lrpath.planning.schedule import Schedule, Shape


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """Losses at some positions of a path, and the rate of every update since its root.

    Args:
        name: What tables and messages call it.
        rates_U: Rate of every update, finite and at least 0; update p is `rates_U[p − 1]`.
        positions_P: Observed positions, ascending, in `[1, U]`.
        losses_P: Losses there [nats per token], finite and positive; NaN is allowed nowhere. A curve that is only to be
            predicted may leave them out: pass None.
        boundary: Position from which other data are read (continual pre-training); None if there is no such shift.
        replay: Share of the old data among what is read after the boundary, in `[0, 1)`.
        parameters: Size of the model [parameters]; None where a law does not ask for it.

    Raises:
        LawError: If a value breaks these rules.
    """

    name: str
    rates_U: Array
    positions_P: NDArray[np.int64]
    losses_P: Array | None = None
    boundary: int | None = None
    replay: float = 0.0
    parameters: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "rates_U", np.asarray(self.rates_U, dtype=np.float64))
        object.__setattr__(self, "positions_P", np.asarray(self.positions_P, dtype=np.int64))
        updates, positions = self.rates_U.size, self.positions_P
        if not (np.isfinite(self.rates_U).all() and (self.rates_U >= 0).all()):
            raise LawError(f"curve {self.name}: every rate must be finite and at least 0")
        if positions.size == 0 or (np.diff(positions) <= 0).any() or not 1 <= positions[0] <= positions[-1] <= updates:
            raise LawError(f"curve {self.name}: positions must ascend within [1, {updates:,}], its updates with a rate")
        if self.rates_U[: positions[0]].sum() == 0:
            raise LawError(f"curve {self.name}: no update before position {positions[0]:,} has a rate above 0")
        if self.losses_P is not None:
            object.__setattr__(self, "losses_P", np.asarray(self.losses_P, dtype=np.float64))
            if self.losses_P.shape != positions.shape:
                raise LawError(
                    f"curve {self.name} has {self.losses_P.size:,} losses for {positions.size:,} positions; "
                    "give one each"
                )
            if not (np.isfinite(self.losses_P).all() and (self.losses_P > 0).all()):
                raise LawError(f"curve {self.name}: every loss must be finite and above 0")
        if self.boundary is not None and not 0 < self.boundary <= updates:
            raise LawError(f"curve {self.name}: boundary {self.boundary:,} must lie within (0, {updates:,}]")
        if not 0 <= self.replay < 1:
            raise LawError(f"curve {self.name}: replay={self.replay} must lie in [0, 1), the old data's share")
        if self.parameters is not None and not 0 < self.parameters < math.inf:
            raise LawError(f"curve {self.name}: parameters={self.parameters} must be a positive count")

    @property
    def peak(self) -> float:
        """Highest rate."""
        return float(self.rates_U.max())

    def observed(self) -> Array:
        """Return the losses.

        Raises:
            LawError: If the curve has none.
        """
        if self.losses_P is None:
            raise LawError(f"curve {self.name} has rates but no losses; it can be predicted, not fitted or compared")
        return self.losses_P

    def between(self, first: int, last: int | None = None) -> "Curve":
        """Return the curve observed only at positions in `[first, last]`; its rates, the history, stay whole."""
        kept = (self.positions_P >= first) & (self.positions_P <= (self.rates_U.size if last is None else last))
        losses = None if self.losses_P is None else self.losses_P[kept]
        return replace(self, positions_P=self.positions_P[kept], losses_P=losses)

    def binned(self, count: int) -> "Curve":
        """Return the curve with at most `count` observations, each the mean of a run of neighbours.

        Averaging takes noise out of a loss that was written at every update. The mean stands at the middle position.
        """
        groups = np.array_split(np.arange(self.positions_P.size), min(count, self.positions_P.size))
        middles = [self.positions_P[group[group.size // 2]] for group in groups]
        losses = None if self.losses_P is None else [self.losses_P[group].mean() for group in groups]
        return replace(self, positions_P=np.array(middles), losses_P=None if losses is None else np.array(losses))


def rates_of(schedule: Schedule, *, updates: int) -> Array:
    """Return the rates of a path's first updates, those of the schedule.

    Args:
        schedule: The curve.
        updates: How many [updates].
    """
    parts: list[Array] = []
    left = updates
    for piece in schedule.pieces:
        count = left if piece.updates is None else min(piece.updates, left)
        is_constant = piece.shape is Shape.CONSTANT  # a main path is long
        rates = np.full(count, piece.last) if is_constant else np.array([piece.rate(k) for k in range(count)])
        parts.append(rates)
        left -= count
    if left:
        raise LawError(f"the schedule ends at {schedule.end}, {left:,} updates before those that are asked for")
    return np.concatenate(parts)
