"""Laws of the loss: what a law is, and the two simplest.

A law predicts the loss at a position from the rates of all updates before it. It is data (its parameters, with unit,
bounds and sources) and a function (`Law.losses`, with exact derivatives), worked out for many parameter sets at once.
The default, the last-iterate law, is in `last_iterate`; the multi-power law in `multi_power`, that of continual
pre-training in `continual`.

Shapes: K sets of parameters, Q parameters of a law, N observations of all curves one after another.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from lrpath.errors import LawError
from lrpath.laws.areas import Array, Ints, annealing_slope, forward_area, rate_drops
from lrpath.laws.curves import Curve


class Scale(Enum):
    """On which scale u a parameter x is sought, so that equal distances in u mean about as much everywhere."""

    LINEAR = "x = u"
    LOG = "x = exp u"
    NEGATIVE_LOG = "x = −exp u"
    BELOW_ONE = "x = 1 − exp u"

    def to(self, x: Array) -> Array:
        """Return u."""
        if self is Scale.LINEAR:
            return x
        size: Array = {Scale.LOG: x, Scale.NEGATIVE_LOG: -x, Scale.BELOW_ONE: 1.0 - x}[self]
        return np.log(size)

    def back(self, u: Array) -> tuple[Array, Array]:
        """Return x and dx/du."""
        if self is Scale.LINEAR:
            return u, np.ones_like(u)
        size = np.exp(u)
        return {Scale.LOG: (size, size), Scale.NEGATIVE_LOG: (-size, -size), Scale.BELOW_ONE: (1.0 - size, -size)}[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter of a law.

    Args:
        name: Its symbol.
        unit: Its unit, for tables.
        meaning: What it is, in words.
        low: Least value that is allowed.
        high: Greatest value that is allowed.
        scale: Scale on which it is sought.
        starts: Values from which a fit begins; none for a parameter the law is linear in, which is then solved for.
        coarse: Distance in u that should make a fit visibly worse; if it does not, the curves do not identify the
            parameter. Log 2 by default, a doubling or halving.
    """

    name: str
    unit: str
    meaning: str
    low: float
    high: float
    scale: Scale = Scale.LOG
    starts: tuple[float, ...] = ()
    coarse: float = math.log(2.0)

    @property
    def is_linear(self) -> bool:
        """Whether the law is linear in it."""
        return not self.starts


class Law(ABC):
    """A function from parameters and rates to losses."""

    name: str

    @property
    @abstractmethod
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters, in the order in which arrays hold them."""

    @abstractmethod
    def prepare(self, curves: Sequence[Curve]) -> Any:
        """Return what the law needs of some curves, worked out once.

        Raises:
            LawError: If a curve lacks something, for example the size of its model.
        """

    @abstractmethod
    def losses(self, values_KQ: Array, prepared: Any) -> tuple[Array, Array]:
        """Return the losses `(K, N)` and their derivatives `(K, N, Q)` by the parameters.

        Args:
            values_KQ: Sets of parameters.
            prepared: What `prepare` returned.
        """

    @property
    def names(self) -> tuple[str, ...]:
        """Symbols of the parameters."""
        return tuple(parameter.name for parameter in self.parameters)

    def values(self, given: Mapping[str, float]) -> Array:
        """Return parameters by name as an array.

        Raises:
            LawError: If one is missing or unknown.

        >>> AnnealingLaw().values({"L0": 3.0, "A": 0.5, "alpha": 0.5, "C": 0.3, "lambda": 0.999})
        array([3.   , 0.5  , 0.5  , 0.3  , 0.999])
        """
        if set(given) != set(self.names):
            raise LawError(f"{self.name} has parameters {', '.join(self.names)}; given were {', '.join(given)}")
        return np.array([given[name] for name in self.names])

    def predict(self, given: Mapping[str, float], *, curve: Curve) -> Array:
        """Return the losses at the curve's positions under parameters by name, without any check of range."""
        losses, _ = self.losses(self.values(given)[None], self.prepare([curve]))
        return np.asarray(losses[0])


def at_positions(arrays: Sequence[Array], curves: Sequence[Curve]) -> Array:
    """Return what arrays over positions 0 … U hold at the observed positions, for all curves one after another.

    >>> at_positions([np.array([0.0, 0.1, 0.3])], [Curve(name="x", rates_U=[0.1, 0.2], positions_P=[2])])
    array([0.3])
    """
    return np.concatenate([array[curve.positions_P] for array, curve in zip(arrays, curves, strict=True)])


LOSS_FLOOR = Parameter(
    name="L0", unit="nats", meaning="loss of endless training", low=0.0, high=50.0, scale=Scale.LINEAR, coarse=0.3
)
AREA_EXPONENT = Parameter(
    name="alpha", unit="1", meaning="how fast the loss falls with S1", low=0.01, high=3.0, scale=Scale.LINEAR,
    starts=(0.25, 0.5, 0.8), coarse=0.3,
)  # fmt: skip
MOMENTUM = Parameter(
    name="lambda", unit="1", meaning="memory of annealing; 1 ÷ (1 − λ) updates", low=0.5, high=0.99999,
    scale=Scale.BELOW_ONE, starts=(0.95, 0.98, 0.99, 0.995, 0.999, 0.9997),
)  # fmt: skip


def amplitude(name: str, unit: str, meaning: str, *, high: float = 1e6, sign: int = 1) -> Parameter:
    """Return a parameter that the law is linear in and whose sign is known."""
    low, scale = 1e-9, Scale.LOG if sign > 0 else Scale.NEGATIVE_LOG
    low, high = (low, high) if sign > 0 else (-high, -low)
    return Parameter(name=name, unit=unit, meaning=meaning, low=low, high=high, scale=scale)


AREA_FALL = (LOSS_FLOOR, amplitude("A", "nats·area^α", "size of the fall with S1"), AREA_EXPONENT)
"""L0, A and α of `L0 + A·S1^(−α)`, with which every law of areas begins."""


@dataclass(frozen=True, slots=True)
class ChinchillaLaw(Law):
    """The naive baseline: the loss depends on how many updates were made, not on their rates.

    `L(p) = L0 + B·p^(−β)`, with p in updates. (The law's term in the size of the model is part of L0 for one size.)

    References: arXiv 2203.15556.
    """

    name: str = "chinchilla"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """L0, B, β."""
        exponent = Parameter(
            name="beta", unit="1", meaning="how fast the loss falls with updates", low=0.01, high=3.0,
            scale=Scale.LINEAR, starts=(0.1, 0.25, 0.4, 0.6, 0.9), coarse=0.3,
        )  # fmt: skip
        return LOSS_FLOOR, amplitude("B", "nats·updates^β", "size of the fall"), exponent

    def prepare(self, curves: Sequence[Curve]) -> Array:
        """Return log p."""
        positions: Array = np.concatenate([curve.positions_P for curve in curves]).astype(np.float64)
        return np.log(positions)

    def losses(self, values_KQ: Array, prepared: Array) -> tuple[Array, Array]:
        """Return losses and derivatives."""
        floor, size, exponent = (column[:, None] for column in values_KQ.T)
        power = np.exp(-exponent * prepared)
        return floor + size * power, np.stack((np.ones_like(power), power, -size * power * prepared), axis=-1)


@dataclass(frozen=True, slots=True)
class AnnealingAreas:
    """What the annealing law needs of curves: S1, and S2 for any λ.

    Args:
        log_S1_N: Logarithm of the forward area.
        drops: By curve, the fall of the rate at every update.
        positions: By curve, the observed positions.
    """

    log_S1_N: Array
    drops: tuple[Array, ...]
    positions: tuple[Ints, ...]

    @classmethod
    def of(cls, curves: Sequence[Curve]) -> "AnnealingAreas":
        """Compute the forward areas of some curves."""
        log_S1_N = np.log(at_positions([forward_area(curve.rates_U) for curve in curves], curves))
        drops = tuple(rate_drops(curve.rates_U) for curve in curves)
        return cls(log_S1_N=log_S1_N, drops=drops, positions=tuple(curve.positions_P for curve in curves))

    def S2(self, momenta_K: Array) -> tuple[Array, Array]:
        """Return S2 and ∂S2/∂λ at every observation, for several λ: `(K, N)` each."""
        different, which = np.unique(momenta_K, return_inverse=True)
        areas, slopes = zip(*(self._of_one(float(momentum)) for momentum in different), strict=True)
        return np.stack(areas)[which], np.stack(slopes)[which]

    def _of_one(self, momentum: float) -> tuple[Array, Array]:
        both = [
            annealing_slope(drops, momentum=momentum, positions_P=positions)
            for drops, positions in zip(self.drops, self.positions, strict=True)
        ]
        areas, slopes = zip(*both, strict=True)
        return np.concatenate(areas), np.concatenate(slopes)


@dataclass(frozen=True, slots=True)
class AnnealingLaw(Law):
    """The annealing law: the loss falls with the forward area, and once more while the rate falls.

    `L = L0 + A·S1^(−α) − C·S2`, with S1 and S2 of `areas`; λ, the memory in S2, is a parameter that a fit may hold
    fixed (the paper takes .999). λ shows where the rate falls abruptly: constant and cosine curves do not identify it.

    References: arXiv 2408.11029.
    """

    name: str = "annealing"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """L0, A, α, C, λ."""
        return (
            *AREA_FALL,
            amplitude("C", "nats/area", "fall for each unit of S2"),
            MOMENTUM,
        )

    def prepare(self, curves: Sequence[Curve]) -> AnnealingAreas:
        """Return the areas."""
        return AnnealingAreas.of(curves)

    def losses(self, values_KQ: Array, prepared: AnnealingAreas) -> tuple[Array, Array]:
        """Return losses and derivatives."""
        floor, size, exponent, drop = (column[:, None] for column in values_KQ.T[:4])
        S2, slope = prepared.S2(values_KQ[:, 4])
        power = np.exp(-exponent * prepared.log_S1_N)
        by = (np.ones_like(power), power, -size * power * prepared.log_S1_N, -S2, -drop * slope)
        return floor + size * power - drop * S2, np.stack(by, axis=-1)
