"""The range of validity of a fit: the rates, areas, decays, replay and sizes that its curves cover."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lrpath.errors import LawError
from lrpath.laws.areas import forward_area
from lrpath.laws.curves import Curve
from lrpath.laws.turning import loss_potential

_FAR = 4.0
"""How many times the greatest fitted area, or size of model, a law may be asked for, and what part of the least peak:
a law knows of low rates by decays, behind a high one."""
_LONGER = 5.0
"""How many times the longest fitted decay a law may be asked for; a branch of α = .2 then still says something of α =
1."""
_NEAR = 0.1
"""How far outside the fitted ones the share of the peak may lie at which the data change."""
_HIGH, _LOW, _FAST = 0.95, 0.65, 0.5
"""A drop: the rate goes from 95 % to 65 % of the peak in less than half of the updates so far. A cosine over a whole
run
takes two thirds of them: laws of different memory agree on it and differ on every decay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidityRange:
    """What a law was fitted to; a curve outside of it is extrapolated.

    Args:
        peak: Highest rate.
        least_area: Least forward area of an observation [rate × updates].
        most_area: Greatest forward area [rate × updates].
        idle: Greatest number of updates at rate 0.
        decay: Most updates that an observation lies behind the last one at the highest rate.
        low: Least rate after the highest, as a share of it; 1 if none falls.
        has_drop: Whether some curve was observed after its rate had dropped, see `has_drop`.
        potential: Least and greatest rate at a boundary ÷ the peak before it; None if no curve has one.
        replay: Least and greatest share of old data after a boundary; None if no curve has one.
        parameters: Least and greatest size of model; None if no curve says.
        least_peak: Highest rate of the curve where that is lowest; 0 in files of earlier versions.
    """

    peak: float
    least_area: float
    most_area: float
    idle: int
    decay: int
    low: float
    has_drop: bool
    potential: tuple[float, float] | None
    replay: tuple[float, float] | None
    parameters: tuple[float, float] | None
    least_peak: float = 0.0

    @classmethod
    def of(cls, curves: Sequence[Curve]) -> "ValidityRange":
        """Return the range that some curves cover."""
        areas = [forward_area(curve.rates_U)[curve.positions_P] for curve in curves]
        potentials = [loss_potential(curve) for curve in curves if curve.boundary is not None]
        replays = [curve.replay for curve in curves if curve.boundary is not None]
        sizes = [curve.parameters for curve in curves if curve.parameters is not None]
        return cls(
            peak=max(curve.peak for curve in curves),
            least_area=min(float(area[0]) for area in areas),
            most_area=max(float(area[-1]) for area in areas),
            idle=max(_idle_updates(curve) for curve in curves),
            decay=max(decay_updates(curve) for curve in curves),
            low=min(_lowest(curve) for curve in curves),
            has_drop=any(has_drop(curve) for curve in curves),
            potential=(min(potentials), max(potentials)) if potentials else None,
            replay=(min(replays), max(replays)) if replays else None,
            parameters=(min(sizes), max(sizes)) if sizes else None,
            least_peak=min(curve.peak for curve in curves),
        )

    def check(self, curve: Curve) -> None:
        """Raise unless the curve lies within the range.

        Raises:
            LawError: Saying what about the curve the fit has never seen.
        """
        if broken := self.violations(curve):
            raise LawError(
                f"curve {curve.name} lies outside the range that was fitted: {'; '.join(broken)}. "
                "Fit curves that cover it, or pass extrapolate=True",
                field="extrapolate",
                value=False,
            )

    def covered(self, curve: Curve) -> Curve:
        """Return the curve without its first positions, where the cumulative rate is under half of what was fitted.

        Returns the curve as it is if that would leave nothing: `violations` then says so.
        """
        area = forward_area(curve.rates_U)[curve.positions_P]
        late = np.flatnonzero(area >= self.least_area / 2)
        return curve.between(int(curve.positions_P[late[0]])) if late.size else curve

    def cautions(self, curve: Curve) -> tuple[str, ...]:
        """Return what about a curve within the range no fitted curve shows, so that it rests on the law alone."""
        decay, low = decay_updates(curve), _lowest(curve)
        rules = {
            f"it decays for {decay:,} updates, the fitted ones for {self.decay:,} at most": decay > 1.5 * self.decay,
            f"its rate falls to {low:.3g} of the highest, the fitted ones to {self.low:.3g}": low < 0.9 * self.low,
        }
        return tuple(text for text, holds in rules.items() if holds)

    def violations(self, curve: Curve) -> tuple[str, ...]:
        """Return in which respects a curve lies outside the range; none if it lies within."""
        area = forward_area(curve.rates_U)[curve.positions_P]
        idle, decay, size = _idle_updates(curve), decay_updates(curve), curve.parameters
        moves = curve.boundary is not None
        low, high = self.replay or (0.0, 1.0)
        least, most = self.potential or (0.0, 1.0)
        rate = loss_potential(curve) if moves else 1.0
        small, large = self.parameters or (0.0, math.inf)
        rules = {
            f"its rate rises to {curve.peak:g}, above the fitted {self.peak:g}": curve.peak > self.peak * (1 + 1e-9),
            f"its highest rate is {curve.peak:g}, under {1 / _FAR:g} of the fitted {self.least_peak:g} (are both in "
            "one unit?)": curve.peak * _FAR < self.least_peak,
            f"{idle:,} of its updates have rate 0": idle > self.idle + 1,  # a complete decay ends with one
            f"its cumulative rate ends at {area[-1]:.4g}, over {_FAR:g} times the fitted {self.most_area:.4g}": (
                area[-1] > _FAR * self.most_area
            ),
            f"its cumulative rate is {area[0]:.4g} to {area[-1]:.4g}, the fitted ones begin at {self.least_area:.4g} "
            "(the first updates are left out by skip=, or were not evaluated)": area[0] < self.least_area / 2,
            f"it decays for {decay:,} updates, over {_LONGER:g} times the fitted {self.decay:,}": (
                decay > _LONGER * max(self.decay, 1) and _lowest(curve) < 0.9
            ),
            "it changes its data": moves and self.replay is None,
            f"its rate where the data change is {rate:.2f} of the peak, outside [{least:.2f}, {most:.2f}]": (
                moves and not least - _NEAR <= rate <= most + _NEAR
            ),
            f"its replay {curve.replay:g} lies outside [{low:g}, {high:g}]": moves and not low <= curve.replay <= high,
            f"its model has {size or 0:.4g} parameters, {_FAR:g} times off [{small:.4g}, {large:.4g}]": (
                size is not None and not small / _FAR <= size <= large * _FAR
            ),
        }
        return tuple(text for text, holds in rules.items() if holds)


def has_drop(curve: Curve) -> bool:
    """Say whether a curve was observed after its rate had dropped fast, which is what identifies annealing.

    >>> rates = np.repeat([1.0, 0.3], [80, 20])
    >>> has_drop(Curve(name="x", rates_U=rates, positions_P=np.array([40, 90])))
    True
    >>> has_drop(Curve(name="x", rates_U=rates, positions_P=np.array([40, 80])))
    False
    >>> has_drop(Curve(name="x", rates_U=np.linspace(1.0, 0.1, 100), positions_P=np.array([100])))
    False
    """
    rates = curve.rates_U[: curve.positions_P[-1]]
    low = np.flatnonzero(rates <= _LOW * np.maximum.accumulate(rates))
    low = low[low > np.argmax(rates)]
    if low.size == 0:
        return False
    high = np.flatnonzero(rates[: low[0]] >= _HIGH * rates.max())
    return bool(high.size and low[0] - high[-1] <= _FAST * low[0])


def decay_updates(curve: Curve) -> int:
    """Return how many updates the last observation lies behind the last update at the highest rate before it.

    Within a hundredth: the first update of a cosine that begins at the peak is already below it.
    """
    rates = curve.rates_U[: curve.positions_P[-1]]
    return int(np.argmax(rates[::-1] >= rates.max() * 0.99))


def _lowest(curve: Curve) -> float:
    """Return the least rate of the updates after the highest, as a share of it."""
    rates = curve.rates_U[: curve.positions_P[-1]]
    return float(rates[rates.size - 1 - decay_updates(curve) :].min() / rates.max())


def _idle_updates(curve: Curve) -> int:
    return int((curve.rates_U[: curve.positions_P[-1]] == 0).sum())
