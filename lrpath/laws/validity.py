"""The range of validity of a fit: the rates, areas, replay and sizes that its curves cover."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lrpath.errors import LawError
from lrpath.laws.areas import forward_area
from lrpath.laws.continual import loss_potential
from lrpath.laws.curves import Curve

_FAR = 4.0
"""How many times the greatest fitted area, or size of model, a law may be asked for."""

_NEAR = 0.1
"""How far outside the fitted ones the share of the peak may lie at which the data change."""


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
        potential: Least and greatest rate at a boundary ÷ the peak before it; None if no curve has one.
        replay: Least and greatest share of old data after a boundary; None if no curve has one.
        parameters: Least and greatest size of model; None if no curve says.
    """

    peak: float
    least_area: float
    most_area: float
    idle: int
    decay: int
    low: float
    potential: tuple[float, float] | None
    replay: tuple[float, float] | None
    parameters: tuple[float, float] | None

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
            potential=(min(potentials), max(potentials)) if potentials else None,
            replay=(min(replays), max(replays)) if replays else None,
            parameters=(min(sizes), max(sizes)) if sizes else None,
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
        idle, size = _idle_updates(curve), curve.parameters
        moves = curve.boundary is not None
        low, high = self.replay or (0.0, 1.0)
        least, most = self.potential or (0.0, 1.0)
        rate = loss_potential(curve) if moves else 1.0
        small, large = self.parameters or (0.0, math.inf)
        rules = {
            f"its rate reaches {curve.peak:g}, above {self.peak:g}": curve.peak > self.peak * (1 + 1e-9),
            f"{idle:,} of its updates have rate 0": idle > self.idle + 1,  # a complete decay ends with one
            f"its area {area[-1]:.4g} is over {_FAR:g} times {self.most_area:.4g}": area[-1] > _FAR * self.most_area,
            f"its area begins at {area[0]:.4g}, under half of {self.least_area:.4g}": area[0] < self.least_area / 2,
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


def decay_updates(curve: Curve) -> int:
    """Return how many updates the last observation lies behind the last update at the highest rate before it."""
    rates = curve.rates_U[: curve.positions_P[-1]]
    return int(np.argmax(rates[::-1] >= rates.max() * (1 - 1e-9)))


def _lowest(curve: Curve) -> float:
    """Return the least rate of the updates after the highest, as a share of it."""
    rates = curve.rates_U[: curve.positions_P[-1]]
    return float(rates[rates.size - 1 - decay_updates(curve) :].min() / rates.max())


def _idle_updates(curve: Curve) -> int:
    return int((curve.rates_U[: curve.positions_P[-1]] == 0).sum())
