"""The law of continual pre-training (CPT), and what follows from it.

    L = L0 + A·(S1pt + S1cpt)^(−α) − C1·S2pt − C2·S2cpt + B·(1 − (1 + E·S1cpt)^(−β))                     (Eq. 4)

From the boundary on other data are read. The areas are those of the phases before and after it. The last term is the
shift: B > 0 on the old data, which are forgotten, B < 0 on the new, which are learnt. The law is fitted once for each
validation set. With replay, r the share of old data after the boundary (Eq. 8),

    old:  C2·S2cpt·exp(a1·r),        shift·(1 − exp(−a2·(1 − r)))
    new:  C2·S2cpt·exp(a1·(1 − r)),  shift·(exp(a2·(1 − r)) − 1)

and with models of several sizes n, in millions of parameters (Eq. 7), S2pt·n^γ1, S2cpt·n^γ2, and a term F·n^(−γ3) more.

The text leaves open whether the memory m of S2 crosses the boundary. Here it does by default: annealing that was under
way goes on to count in S2pt, and without shift and with C1 = C2 the law is the annealing law. A re-warming after the
boundary counts with its sign in S2cpt.

References: arXiv 2505.07796v2.

Shapes: K sets of parameters, Q parameters, N observations of all curves one after another.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, nnls

from lrpath.errors import LawError
from lrpath.laws.areas import Array, forward_area, rate_drops
from lrpath.laws.curves import Curve
from lrpath.laws.law import (
    AREA_FALL,
    MOMENTUM,
    AnnealingAreas,
    Law,
    Parameter,
    Scale,
    amplitude,
    at_positions,
)

_MILLION = 1e6
_ENDLESS = 1e12
"""Area [rate × updates] that stands for training without end."""


class Domain(Enum):
    """Which data a validation set is of."""

    OLD = "old"
    NEW = "new"


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseAreas:
    """What the law needs of curves.

    Args:
        log_S1_N: Logarithm of the forward area of both phases.
        after_N: Forward area after the boundary.
        before: S2 of the falls before the boundary.
        since: S2 of the falls after it.
        replay_N: Share of old data.
        log_size_N: Logarithm of the model's size [log millions of parameters]; 0 where the law does not ask.
    """

    log_S1_N: Array
    after_N: Array
    before: AnnealingAreas
    since: AnnealingAreas
    replay_N: Array
    log_size_N: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class ContinualLaw(Law):
    """The CPT law for one validation set; see the formulas above.

    Args:
        domain: Whether the set is of the old or of the new data.
        replay: Whether curves differ in replay: a1, a2 are then parameters.
        sizes: Whether curves differ in the model's size: γ1, γ2, F, γ3 are then parameters.
        carries: Whether annealing that is under way at the boundary goes on to count in S2pt.

    References: arXiv 2505.07796v2, Eqs. 4, 7, 8.
    """

    domain: Domain
    replay: bool = False
    sizes: bool = False
    carries: bool = True
    name: str = "continual"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """L0, A, α, C1, C2, λ, B, E, β; with replay a1, a2; with sizes γ1, γ2, F, γ3."""
        sign = 1 if self.domain is Domain.OLD else -1
        base = (
            *AREA_FALL,
            amplitude("C1", "nats/area", "fall for each unit of S2 before the boundary"),
            amplitude("C2", "nats/area", "fall for each unit of S2 after it"),
            MOMENTUM,
            amplitude("B", "nats", "shift of endless training on the new data", sign=sign),
            Parameter(
                name="E",
                unit="1/area",
                meaning="how soon the shift sets in",
                low=1e-4,
                high=1e7,
                starts=(3.0, 30.0, 1e3),
            ),
            Parameter(
                name="beta", unit="1", meaning="how fast it goes on", low=0.01, high=5.0, starts=(0.15, 0.4, 1.0)
            ),
        )
        return base + (_REPLAY if self.replay else ()) + (_SIZES if self.sizes else ())

    def prepare(self, curves: Sequence[Curve]) -> PhaseAreas:
        """Return the areas of both phases.

        Raises:
            LawError: If the law has sizes and a curve does not say its model's.
        """
        if self.sizes and any(curve.parameters is None for curve in curves):
            raise LawError("the law asks for the size of the model; give `parameters` to every curve")
        areas = [forward_area(curve.rates_U) for curve in curves]
        starts = [curve.rates_U.size if curve.boundary is None else curve.boundary for curve in curves]
        after = [np.maximum(area - area[start], 0.0) for area, start in zip(areas, starts, strict=True)]
        drops = [rate_drops(curve.rates_U) for curve in curves]
        is_after = [np.arange(drop.size) >= start for drop, start in zip(drops, starts, strict=True)]
        positions = [curve.positions_P for curve in curves]
        before = [np.where(late, 0.0, drop) for drop, late in zip(drops, is_after, strict=True)]
        since = [np.where(late, drop, 0.0) for drop, late in zip(drops, is_after, strict=True)]
        held = positions
        if not self.carries:
            held = [np.minimum(position, start) for position, start in zip(positions, starts, strict=True)]
        log_S1_N = np.log(at_positions(areas, curves))
        each = [curve.positions_P.size for curve in curves]
        return PhaseAreas(
            log_S1_N=log_S1_N,
            after_N=at_positions(after, curves),
            before=AnnealingAreas(log_S1_N=log_S1_N, drops=tuple(before), positions=tuple(held)),
            since=AnnealingAreas(log_S1_N=log_S1_N, drops=tuple(since), positions=tuple(positions)),
            replay_N=np.repeat([curve.replay for curve in curves], each),
            log_size_N=np.repeat([math.log((curve.parameters or _MILLION) / _MILLION) for curve in curves], each),
        )

    def losses(self, values_KQ: Array, prepared: PhaseAreas) -> tuple[Array, Array]:
        """Return losses and derivatives."""
        columns = {name: values_KQ[:, number, None] for number, name in enumerate(self.names)}
        floor, size, exponent, C1, C2, B = (columns[name] for name in ("L0", "A", "alpha", "C1", "C2", "B"))  # noqa: N806
        power = np.exp(-exponent * prepared.log_S1_N)
        before, before_slope = prepared.before.S2(values_KQ[:, 5])
        since, since_slope = prepared.since.S2(values_KQ[:, 5])
        grown = 1.0 + columns["E"] * prepared.after_N
        rest = np.exp(-columns["beta"] * np.log(grown))
        shift, by = 1.0 - rest, {"L0": np.ones_like(power), "A": power, "alpha": -size * power * prepared.log_S1_N}
        first, second, scale = np.ones_like(power), np.ones_like(power), np.ones_like(power)
        if self.sizes:
            first = np.exp(columns["gamma1"] * prepared.log_size_N)
            second = np.exp(columns["gamma2"] * prepared.log_size_N)
        if self.replay:
            second, scale = (
                second * np.exp(columns["a1"] * self._share(prepared)),
                self._scale(columns["a2"], prepared)[0],
            )
        by |= {"C1": -before * first, "C2": -since * second, "B": shift * scale}
        by["lambda"] = -C1 * before_slope * first - C2 * since_slope * second
        by["E"] = B * scale * columns["beta"] * prepared.after_N * rest / grown
        by["beta"] = B * scale * np.log(grown) * rest
        losses = floor + size * power + C1 * by["C1"] + C2 * by["C2"] + B * by["B"]
        if self.replay:
            by["a1"] = C2 * by["C2"] * self._share(prepared)
            by["a2"] = B * shift * self._scale(columns["a2"], prepared)[1]
        if self.sizes:
            by["F"] = np.exp(-columns["gamma3"] * prepared.log_size_N)
            losses = losses + columns["F"] * by["F"]
            by["gamma1"] = C1 * by["C1"] * prepared.log_size_N
            by["gamma2"] = C2 * by["C2"] * prepared.log_size_N
            by["gamma3"] = -columns["F"] * by["F"] * prepared.log_size_N
        return losses, np.stack([np.broadcast_to(by[name], losses.shape) for name in self.names], axis=-1)

    def _share(self, phases: PhaseAreas) -> Array:
        """Share of the validation set's own data after the boundary."""
        return phases.replay_N if self.domain is Domain.OLD else 1.0 - phases.replay_N

    def _scale(self, a2: Array, phases: PhaseAreas) -> tuple[Array, Array]:
        """Return what replay leaves of the shift, and its derivative by a2."""
        fresh = 1.0 - phases.replay_N
        sign = -1.0 if self.domain is Domain.OLD else 1.0
        grown = np.exp(sign * a2 * fresh)
        return sign * (grown - 1.0), fresh * grown


_REPLAY = (
    Parameter(
        name="a1", unit="1", meaning="how replay changes annealing", low=-5.0, high=5.0, scale=Scale.LINEAR,
        starts=(0.0, 0.5), coarse=0.5,
    ),
    Parameter(name="a2", unit="1", meaning="how replay holds back the shift", low=1e-3, high=50.0, starts=(0.5, 3.0)),
)  # fmt: skip
_SIZES = (
    Parameter(
        name="gamma1", unit="1", meaning="annealing before the boundary with size", low=-2.0, high=2.0,
        scale=Scale.LINEAR, starts=(0.1,), coarse=0.3,
    ),
    Parameter(
        name="gamma2", unit="1", meaning="annealing after it with size", low=-2.0, high=2.0, scale=Scale.LINEAR,
        starts=(0.1,), coarse=0.3,
    ),
    amplitude("F", "nats·size^γ3", "loss of small models"),
    Parameter(
        name="gamma3", unit="1", meaning="how fast it falls with size", low=0.01, high=3.0, scale=Scale.LINEAR,
        starts=(0.2, 0.5), coarse=0.3,
    ),
)  # fmt: skip


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


def turning_position(*, positions: NDArray[np.int64], losses: Array, boundary: int) -> int | None:
    """Return the first position at which a loss, once risen after the boundary, is back at what it was there.

    For any schedule, from a predicted curve. None if it is not back by the last position; the boundary if it never
    rises.

    Args:
        positions: Positions, ascending, the boundary among them.
        losses: Losses there [nats].
        boundary: Where the new data begin.

    Raises:
        LawError: If the boundary is not among the positions.
    """
    if boundary not in positions:
        raise LawError(f"the boundary {boundary:,} must be among the positions of the curve; predict it there too")
    later = losses[positions >= boundary]
    up = later > later[0]
    if not up.any():
        return boundary
    rises = int(np.argmax(up))
    back = np.flatnonzero(later[rises:] <= later[0])
    return int(positions[positions >= boundary][rises + back[0]]) if back.size else None


def loss_potential(curve: Curve) -> float:
    """Return the last rate of pre-training ÷ its peak: 1 if it was not annealed, 0 if completely."""
    rates = curve.rates_U[: curve.boundary]
    return float(rates[-1] / rates.max())


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """The loss of a third domain as a mixture `l1·L_old + l2·L_new`.

    Args:
        old: l1, at least 0.
        new: l2, at least 0.
        r2: Share of the variance that it explains in the losses it was fitted to.

    References: arXiv 2505.07796v2, section on out-of-domain sets.
    """

    old: float
    new: float
    r2: float

    def losses(self, *, old: Array, new: Array) -> Array:
        """Return the third domain's losses at the positions of the other two."""
        return self.old * old + self.new * new


def fit_mixture(*, old: Array, new: Array, other: Array) -> Mixture:
    """Return the mixture nearest to the observed losses of a third domain, by least squares.

    Args:
        old: Losses of the old domain, observed or predicted.
        new: Losses of the new domain at the same positions.
        other: Observed losses of the third domain there.
    """
    shares, _ = nnls(np.stack((old, new), axis=1), other)
    error = other - shares[0] * old - shares[1] * new
    spread_of = float(((other - other.mean()) ** 2).sum())
    r2 = 1.0 - float((error**2).sum()) / spread_of if spread_of > 0 else math.nan
    return Mixture(old=float(shares[0]), new=float(shares[1]), r2=r2)
