"""Laws of continual pre-training (CPT): from a boundary on, other data are read.

    L = L0 + A·(S1pt + S1cpt)^(−α) − C1·S2pt − C2·S2cpt + shift,   shift = B·(1 − (1 + E·S1cpt)^(−β))       (Eq. 4)

The areas are those of the phases before and after the boundary. The shift: B > 0 on the old data, which are forgotten,
B < 0 on the new, which are learnt. The law is fitted once for each validation set. With replay, r the share of old data
after the boundary (Eq. 8),

    old:  C2·S2cpt·exp(a1·r),        shift·(1 − exp(−a2·(1 − r)))
    new:  C2·S2cpt·exp(a1·(1 − r)),  shift·(exp(a2·(1 − r)) − 1)

and with models of several sizes n, in millions of parameters (Eq. 7), S2pt·n^γ1, S2cpt·n^γ2, and a term F·n^(−γ3) more.

The text leaves open whether the memory m of S2 crosses the boundary. Here it does by default: annealing that was under
way goes on to count in S2pt, and without shift and with C1 = C2 the law is the annealing law. A re-warming after the
boundary counts with its sign in S2cpt.

`ShiftedLastIterateLaw` has the same shift on top of the last-iterate law, in place of the two annealing terms.

References: arXiv 2505.07796v2; for the last-iterate law, its module.

Shapes: K sets of parameters, Q parameters, N observations of all curves one after another.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from lrpath.errors import LawError
from lrpath.laws.areas import Array, forward_area, rate_drops
from lrpath.laws.curves import Curve
from lrpath.laws.last_iterate import NOISE, LastIterateLaw, NoiseAreas
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

Columns = dict[str, Array]
"""Parameters by name, each a column `(K, 1)`; or derivatives `(K, N)`."""


class Domain(Enum):
    """Which data a validation set is of."""

    OLD = "old"
    NEW = "new"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """The term B·(1 − (1 + E·S1cpt)^(−β)), scaled by replay, for one validation set.

    Args:
        after_N: Forward area after the boundary.
        replay_N: Share of old data after it.
        domain: Whether the set is of old or of new data.
        replay: Whether a2 scales the shift.
    """

    after_N: Array
    replay_N: Array
    domain: Domain
    replay: bool

    @classmethod
    def of(cls, curves: Sequence[Curve], *, domain: Domain, replay: bool) -> "Shift":
        """Compute what the term needs of some curves."""
        areas = [forward_area(curve.rates_U) for curve in curves]
        starts = [curve.rates_U.size if curve.boundary is None else curve.boundary for curve in curves]
        after = [np.maximum(area - area[start], 0.0) for area, start in zip(areas, starts, strict=True)]
        each = [curve.positions_P.size for curve in curves]
        return cls(
            after_N=at_positions(after, curves),
            replay_N=np.repeat([curve.replay for curve in curves], each),
            domain=domain,
            replay=replay,
        )

    @staticmethod
    def parameters(domain: Domain, *, replay: bool) -> tuple[Parameter, ...]:
        """Return B, E, β, and with replay a2."""
        sign = 1 if domain is Domain.OLD else -1
        return (
            amplitude("B", "nats", "shift of endless training on the new data", sign=sign),
            Parameter(name="E", unit="1/area", meaning="how soon the shift sets in", low=1e-4, high=1e7,
                      starts=(3.0, 30.0, 1e3)),
            Parameter(name="beta", unit="1", meaning="how fast it goes on", low=0.01, high=5.0,
                      starts=(0.15, 0.4, 1.0)),
            *((_A2,) if replay else ()),
        )  # fmt: skip

    @property
    def own_share_N(self) -> Array:
        """Share of the validation set's own data after the boundary."""
        return self.replay_N if self.domain is Domain.OLD else 1.0 - self.replay_N

    def losses(self, columns: Columns) -> tuple[Array, Columns]:
        """Return the term and its derivatives by B, E, β and a2."""
        B, E, beta = columns["B"], columns["E"], columns["beta"]  # noqa: N806
        grown = 1.0 + E * self.after_N
        rest = np.exp(-beta * np.log(grown))
        scale: Array = np.ones_like(rest)
        by: Columns = {}
        if self.replay:
            fresh = 1.0 - self.replay_N
            sign = -1.0 if self.domain is Domain.OLD else 1.0
            power = np.exp(sign * columns["a2"] * fresh)
            scale = sign * (power - 1.0)
            by["a2"] = B * (1.0 - rest) * fresh * power
        by["B"] = (1.0 - rest) * scale
        by["E"] = B * scale * beta * self.after_N * rest / grown
        by["beta"] = B * scale * np.log(grown) * rest
        return B * by["B"], by


_A1 = Parameter(
    name="a1", unit="1", meaning="how replay changes annealing", low=-5.0, high=5.0, scale=Scale.LINEAR,
    starts=(0.0, 0.5), coarse=0.5,
)  # fmt: skip
_A2 = Parameter(name="a2", unit="1", meaning="how replay holds back the shift", low=1e-3, high=50.0, starts=(0.5, 3.0))
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


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseAreas:
    """What the law needs of curves.

    Args:
        log_S1_N: Logarithm of the forward area of both phases.
        before: S2 of the falls before the boundary.
        since: S2 of the falls after it.
        shift: The term of the change of data.
        log_size_N: Logarithm of the model's size [log millions of parameters]; 0 where the law does not ask.
    """

    log_S1_N: Array
    before: AnnealingAreas
    since: AnnealingAreas
    shift: Shift
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
        """L0, A, α, C1, C2, λ, B, E, β; with replay a2, a1; with sizes γ1, γ2, F, γ3."""
        return (
            *AREA_FALL,
            amplitude("C1", "nats/area", "fall for each unit of S2 before the boundary"),
            amplitude("C2", "nats/area", "fall for each unit of S2 after it"),
            MOMENTUM,
            *Shift.parameters(self.domain, replay=self.replay),
            *((_A1,) if self.replay else ()),
            *(_SIZES if self.sizes else ()),
        )

    def prepare(self, curves: Sequence[Curve]) -> PhaseAreas:
        """Return the areas of both phases.

        Raises:
            LawError: If the law has sizes and a curve does not say its model's.
        """
        if self.sizes and (unknown := [curve.name for curve in curves if curve.parameters is None]):
            text = f"the law needs the size of the model of {unknown[0]}; give it, files=[{{path: …, parameters: 1e8}}]"
            raise LawError(text, field="files")
        starts = [curve.rates_U.size if curve.boundary is None else curve.boundary for curve in curves]
        drops = [rate_drops(curve.rates_U) for curve in curves]
        is_after = [np.arange(drop.size) >= start for drop, start in zip(drops, starts, strict=True)]
        positions = [curve.positions_P for curve in curves]
        before = [np.where(late, 0.0, drop) for drop, late in zip(drops, is_after, strict=True)]
        since = [np.where(late, drop, 0.0) for drop, late in zip(drops, is_after, strict=True)]
        held = positions
        if not self.carries:
            held = [np.minimum(position, start) for position, start in zip(positions, starts, strict=True)]
        log_S1_N = np.log(at_positions([forward_area(curve.rates_U) for curve in curves], curves))
        sizes = [math.log((curve.parameters or _MILLION) / _MILLION) for curve in curves]
        return PhaseAreas(
            log_S1_N=log_S1_N,
            before=AnnealingAreas(log_S1_N=log_S1_N, drops=tuple(before), positions=tuple(held)),
            since=AnnealingAreas(log_S1_N=log_S1_N, drops=tuple(since), positions=tuple(positions)),
            shift=Shift.of(curves, domain=self.domain, replay=self.replay),
            log_size_N=np.repeat(sizes, [position.size for position in positions]),
        )

    def losses(self, values_KQ: Array, prepared: PhaseAreas) -> tuple[Array, Array]:
        """Return losses and derivatives."""
        columns: Columns = {name: values_KQ[:, number, None] for number, name in enumerate(self.names)}
        power = np.exp(-columns["alpha"] * prepared.log_S1_N)
        before, before_slope = prepared.before.S2(values_KQ[:, 5])
        since, since_slope = prepared.since.S2(values_KQ[:, 5])
        shift, by = prepared.shift.losses(columns)
        first, second = np.ones_like(power), np.ones_like(power)
        if self.sizes:
            first = np.exp(columns["gamma1"] * prepared.log_size_N)
            second = np.exp(columns["gamma2"] * prepared.log_size_N)
        if self.replay:
            second = second * np.exp(columns["a1"] * prepared.shift.own_share_N)
        by |= {"L0": np.ones_like(power), "A": power, "alpha": -columns["A"] * power * prepared.log_S1_N}
        by |= {"C1": -before * first, "C2": -since * second}
        by["lambda"] = -columns["C1"] * before_slope * first - columns["C2"] * since_slope * second
        losses = sum((columns[name] * by[name] for name in ("L0", "A", "C1", "C2")), shift)
        if self.replay:
            by["a1"] = columns["C2"] * by["C2"] * prepared.shift.own_share_N
        if self.sizes:
            by["F"] = np.exp(-columns["gamma3"] * prepared.log_size_N)
            losses = losses + columns["F"] * by["F"]
            by["gamma1"] = columns["C1"] * by["C1"] * prepared.log_size_N
            by["gamma2"] = columns["C2"] * by["C2"] * prepared.log_size_N
            by["gamma3"] = -columns["F"] * by["F"] * prepared.log_size_N
        return losses, np.stack([np.broadcast_to(by[name], losses.shape) for name in self.names], axis=-1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftedNoise:
    """What the shifted last-iterate law needs of curves.

    Args:
        noise: S and Γ.
        shift: The term of the change of data.
    """

    noise: NoiseAreas
    shift: Shift


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftedLastIterateLaw(Law):
    """`L = L0 + A·S^(−α) + N·Γ^ρ·S^(−ζ) + shift`: the last-iterate law with the shift of Eq. 4.

    Its derivation does not know of a change of data; that the two terms add up is assumed here.

    Args:
        domain: Whether the set is of the old or of the new data.
        replay: Whether curves differ in replay: a2 is then a parameter.
    """

    domain: Domain
    replay: bool = False
    name: str = "shifted_last_iterate"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """L0, A, α, N, ρ, ζ, B, E, β; with replay a2."""
        size, *powers = NOISE
        noise = amplitude("N", size.unit, size.meaning, high=size.high)  # B is the shift's, as in the paper
        return (*AREA_FALL, noise, *powers, *Shift.parameters(self.domain, replay=self.replay))

    def prepare(self, curves: Sequence[Curve]) -> ShiftedNoise:
        """Return S, Γ and the areas after the boundary."""
        return ShiftedNoise(noise=NoiseAreas.of(curves), shift=Shift.of(curves, domain=self.domain, replay=self.replay))

    def losses(self, values_KQ: Array, prepared: ShiftedNoise) -> tuple[Array, Array]:
        """Return losses and derivatives."""
        columns: Columns = {name: values_KQ[:, number, None] for number, name in enumerate(self.names)}
        base, slopes = LastIterateLaw().losses(values_KQ[:, :6], prepared.noise)
        shift, by = prepared.shift.losses(columns)
        rest = [np.broadcast_to(by[name], base.shape) for name in self.names[6:]]
        return base + shift, np.concatenate((slopes, np.stack(rest, axis=-1)), axis=-1)
