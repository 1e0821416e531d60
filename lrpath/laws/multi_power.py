"""The multi-power law, and how its double sum is shortened.

    L(p) = L0 + A·S1(p)^(−α) − B·Σ_{k≤p} (ηₖ₋₁ − ηₖ)·G(ηₖ^(−γ)·Sₖ(p))
    G(x) = 1 − (1 + C·x)^(−β),   Sₖ(p) = Σ_{i=k..p} ηᵢ

Every fall of the rate lowers the loss, the more so the longer the run goes on after it. The sum has one term for every
update whose rate differs from the one before, so a cosine over 72,000 updates observed 546 times costs 20 million terms
for one set of parameters. Here neighbouring falls are put together: the updates are cut at every observed position and
at twice `CUTS` places more, and the falls of a piece count as one, at their mean update. The error is below 1e-4 nats
(tested), a fortieth of what the law itself is wrong by on real curves.

References: arXiv 2503.12811 (law). S1 counts the warm-up's area itself, which the paper adds as S_W. The rises of the
warm-up count as negative falls, as in the authors' code; `counts_warmup=False` leaves them out.

Shapes: U updates of a curve, M terms (observation, piece) of all curves, K sets of parameters, N observations.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lrpath.laws.areas import Array, Ints, forward_area, rate_drops
from lrpath.laws.curves import Curve
from lrpath.laws.law import AREA_FALL, Law, Parameter, Scale, amplitude, at_positions

CUTS = 128
"""Pieces of equal falls, and of equal length, into which the updates are cut besides the observed positions."""
_LEAST_RATE = 1e-30
"""Stands for a rate of 0: training at 0 releases nothing of what a fall has stored."""
_CHUNK = 1 << 21
"""Terms × sets of parameters that are computed at once; bounds the memory."""


def _pieces(drops_U: Array, positions_P: Ints) -> tuple[Ints, Array, Ints]:
    """Return pieces of the updates with a fall: mean update from 0, sum of the falls, and end of each piece."""
    changes = np.flatnonzero(drops_U)
    if changes.size == 0:
        return changes, np.empty(0), changes
    size = np.abs(drops_U[changes])
    passed = np.cumsum(size) / size.sum()
    by_fall = np.searchsorted(passed, np.linspace(0, 1, CUTS, endpoint=False))  # a warm-up changes much in few updates
    by_count = np.linspace(0, changes.size, CUTS, endpoint=False).astype(np.int64)
    starts = np.unique(np.concatenate(([0], np.searchsorted(changes, positions_P), by_fall, by_count)))
    starts = starts[starts < changes.size]
    mean = np.add.reduceat(size * changes, starts) / np.add.reduceat(size, starts)
    ends = np.append(changes[starts[1:] - 1], changes[-1]) + 1
    return mean.round().astype(np.int64), np.add.reduceat(drops_U[changes], starts), ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Falls:
    """What the multi-power law needs of curves.

    Args:
        log_S1_N: Logarithm of the forward area.
        at_M: Observation of each term.
        weights_M: Fall of the rate that each term stands for.
        log_rates_M: Logarithm of ηₖ.
        areas_M: Sₖ(p).
    """

    log_S1_N: Array
    at_M: Ints
    weights_M: Array
    log_rates_M: Array
    areas_M: Array

    @classmethod
    def of(cls, curves: Sequence[Curve], *, counts_warmup: bool) -> "Falls":
        """Work out the terms of some curves; see `MultiPowerLaw` for `counts_warmup`."""
        columns: list[tuple[Ints, Array, Array, Array]] = []
        passed = 0
        for curve in curves:
            update, fall, end = _pieces(
                rate_drops(curve.rates_U, warmup=0 if counts_warmup else None), curve.positions_P
            )
            point, piece = np.nonzero(end <= curve.positions_P[:, None])  # no piece lies on both sides of a position
            area, log_rates = forward_area(curve.rates_U), np.log(np.maximum(curve.rates_U, _LEAST_RATE))
            since = area[curve.positions_P[point]] - area[update[piece]]
            columns.append((point + passed, fall[piece], log_rates[update[piece]], since))
            passed += curve.positions_P.size
        at, weights, log_rates, areas = (np.concatenate(parts) for parts in zip(*columns, strict=True))
        log_S1_N = np.log(at_positions([forward_area(curve.rates_U) for curve in curves], curves))
        return cls(log_S1_N=log_S1_N, at_M=at, weights_M=weights, log_rates_M=log_rates, areas_M=areas)

    def sum(self, terms_KM: Array) -> Array:
        """Return the sum of weighted terms at every observation `(K, N)`."""
        found = np.zeros((terms_KM.shape[0], self.log_S1_N.size))
        if self.at_M.size:
            begins = np.flatnonzero(np.diff(self.at_M, prepend=-1))
            found[:, self.at_M[begins]] = np.add.reduceat(terms_KM * self.weights_M, begins, axis=1)
        return found


@dataclass(frozen=True, slots=True)
class MultiPowerLaw(Law):
    """The multi-power law; see the formula above.

    β and γ show only where curves hold low rates for long after a fall; a fit to few curves may hold them at ½ instead,
    from where the authors' own fits begin (and hardly leave).

    Args:
        counts_warmup: Whether the rises of the warm-up count, as negative falls.

    References: arXiv 2503.12811.
    """

    counts_warmup: bool = True
    name: str = "multi_power"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """L0, A, α, B, C, β, γ."""
        return (
            *AREA_FALL,
            amplitude("B", "nats/rate", "loss that a fall of the rate releases in the end", high=1e9),
            Parameter(
                name="C", unit="rate^γ/area", meaning="how soon it is released", low=1e-6, high=1e6,
                starts=(0.3, 2.0, 10.0),
            ),
            Parameter(
                name="beta", unit="1", meaning="how slowly its tail is released", low=0.02, high=5.0,
                starts=(0.3, 0.6, 1.0),
            ),
            Parameter(
                name="gamma", unit="1", meaning="how much sooner at a low rate", low=0.0, high=2.0, scale=Scale.LINEAR,
                starts=(0.4, 0.7), coarse=0.3,
            ),
        )  # fmt: skip

    def prepare(self, curves: Sequence[Curve]) -> Falls:
        """Return the terms of the sum."""
        return Falls.of(curves, counts_warmup=self.counts_warmup)

    def losses(self, values_KQ: Array, prepared: Falls) -> tuple[Array, Array]:
        """Return losses and derivatives."""
        rows = max(1, _CHUNK // max(prepared.at_M.size, 1))
        parts = [self._losses(values_KQ[at : at + rows], prepared) for at in range(0, len(values_KQ), rows)]
        losses, slopes = zip(*parts, strict=True)
        return np.concatenate(losses), np.concatenate(slopes)

    def _losses(self, values_KQ: Array, falls: Falls) -> tuple[Array, Array]:
        floor, size, exponent, drop, speed, tail, bend = (column[:, None] for column in values_KQ.T)
        power = np.exp(-exponent * falls.log_S1_N)
        x_KM = speed * np.exp(-bend * falls.log_rates_M) * falls.areas_M
        log_KM = np.log1p(x_KM)
        rest_KM = np.exp(-tail * log_KM)
        by_x_KM = tail * rest_KM * (x_KM / (1.0 + x_KM))  # x·dG/dx
        fallen = falls.sum(1.0 - rest_KM)
        by = (
            np.ones_like(power),
            power,
            -size * power * falls.log_S1_N,
            -fallen,
            -drop * falls.sum(by_x_KM) / speed,
            -drop * falls.sum(log_KM * rest_KM),
            drop * falls.sum(by_x_KM * falls.log_rates_M),
        )
        return floor + size * power - drop * fallen, np.stack(by, axis=-1)
