"""What a fitted law of continual pre-training says of the change of data: shift, turning length, critical point.

The **turning length** is the fewest updates on the new data after which the old data's loss is back where it was; the
**critical point** the amount of pre-training from which on it never comes back; the **loss potential** the last rate of
pre-training ÷ its peak. All follow from Eq. 4 of arXiv 2505.07796v2, whose formulas are in `continual`.
"""

import math
from collections.abc import Mapping

import numpy as np
from scipy.optimize import brentq

from lrpath.errors import LawError
from lrpath.laws.curves import Curve

_ENDLESS = 1e12
"""Area [rate × updates] that stands for training without end."""


def shift_of(given: Mapping[str, float], *, area: float) -> float:
    """Return the shift after training on the new data [nats].

    Args:
        given: Parameters by name; B, E, β are used.
        area: Forward area since the boundary [rate × updates].

    >>> round(shift_of({"B": 0.366, "E": 28, "beta": 0.189}, area=6.0), 3)  # arXiv 2505.07796: FineWeb → Knowledge-Pile
    0.227
    """
    return float(-given["B"] * math.expm1(-given["beta"] * math.log1p(given["E"] * area)))


def rise_of(given: Mapping[str, float], *, before: float, area: float) -> float:
    """Return how far a loss lies above that at the boundary, at a constant rate through it [nats].

    Args:
        given: Parameters by name; A, α, B, E, β are used.
        before: Forward area at the boundary [rate × updates].
        area: Forward area since then.
    """
    gained = given["A"] * (before ** -given["alpha"] - (before + area) ** -given["alpha"])
    return float(shift_of(given, area=area) - gained)


def turning_area(given: Mapping[str, float], *, before: float) -> float | None:
    """Return the least area of training on the new data after which the old data's loss is back where it began.

    At a constant rate through the boundary. 0 if the loss never rises, None if it never comes back. Divided by the rate
    it is the turning length [updates].

    Args:
        given: Parameters of the old data's law, by name.
        before: Forward area at the boundary [rate × updates].
    """
    if given["B"] * given["beta"] * given["E"] <= given["A"] * given["alpha"] * before ** (-given["alpha"] - 1):
        return 0.0
    areas = before * np.logspace(-9, math.log10(_ENDLESS), 2000)
    rises = np.array([rise_of(given, before=before, area=float(area)) for area in areas])
    back = np.flatnonzero((rises[1:] <= 0) & (rises[:-1] > 0))
    if back.size == 0:
        return None
    first = back[0]
    return float(brentq(lambda area: rise_of(given, before=before, area=area), areas[first], areas[first + 1]))


def critical_area(given: Mapping[str, float]) -> float:
    """Return the critical point: the area before the boundary beyond which the old data's loss never comes back.

    There A·S1pt^(−α), all that further training can gain, equals B, the shift of endless training:
    S1pt = (A ÷ B)^(1/α), unless the loss comes back on the way and rises again, which is looked for.

    Infinite where that is more than training without end.

    Args:
        given: Parameters of the old data's law, by name; B > 0.

    Raises:
        LawError: If B is not positive: such a loss never stays up.
    """
    if given["B"] <= 0:
        raise LawError(f"B={given['B']:g} must be positive, as on the old data; on the new none is lost")
    log_low = math.log(given["A"] / given["B"]) / given["alpha"]
    if log_low > math.log(_ENDLESS):
        return math.inf
    low = math.exp(log_low)
    if turning_area(given, before=low * (1 + 1e-6)) is None:
        return low
    high = low
    while turning_area(given, before=high) is not None:
        high *= 2
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if turning_area(given, before=middle) is not None else (low, middle)
    return low


def loss_potential(curve: Curve) -> float:
    """Return the last rate of pre-training ÷ its peak: 1 if it was not annealed, 0 if completely."""
    rates = curve.rates_U[: curve.boundary]
    return float(rates[-1] / rates.max())
