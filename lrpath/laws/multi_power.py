"""The multi-power law, and how its double sum is worked out fast.

    L(p) = L0 + A·S1(p)^(−α) − B·Σ_{k≤p} (ηₖ₋₁ − ηₖ)·G(ηₖ^(−γ)·Sₖ(p))
    G(x) = 1 − (1 + C·x)^(−β),   Sₖ(p) = Σ_{i=k..p} ηᵢ

Every fall of the rate lowers the loss, the more so the longer the run goes on after it. The sum has one term for every
update whose rate differs from the one before, so a cosine over 72,000 updates observed 546 times costs 20 million terms
for one set of parameters. Far from p the terms change smoothly with k. So the updates are cut into dyadic blocks, and a
block that lies at least its own width (in area) before p is summed through `NODES` of its updates, with weights
that make the sum exact wherever G is a polynomial of degree below `NODES`; nearer blocks are halved, and small
ones are summed term by term. Terms grow with log U instead of U; the error stays under 1e-6 nats (tested).

References: arXiv 2503.12811 (law). S1 counts the warm-up's area itself, which the paper adds as S_W. The rises of the
warm-up count as negative falls, as in the authors' code; `counts_warmup=False` leaves them out. The blocks are those of
a one-dimensional fast multipole method (derived).

Shapes: U updates of a curve, M terms (observation, update) of all curves, K sets of parameters, N observations.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrpath.laws.areas import forward_area, rate_drops
from lrpath.laws.curves import Curve
from lrpath.laws.law import AREA_FALL, Law, Parameter, Scale, amplitude, spread

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

NODES = 5
"""Updates that stand for a block."""
_SMOOTH = 3e-4
"""Greatest error of a block's log rate when read off its nodes, for the block to count as smooth."""
_LEAST_RATE = 1e-30
"""Stands for a rate of 0: training at 0 releases nothing of what a fall has stored."""
_CHUNK = 1 << 21
"""Terms × sets of parameters that are worked out at once; bounds the memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Level:
    """Blocks of one size: which updates stand for each and with what weights.

    Args:
        nodes: Updates, from 0, `(blocks, NODES)`.
        weights: Weights `(blocks, NODES)`; 0 where a node is not needed.
        exact: Whether the nodes hold every change of the rate in the block.
        smooth: Whether the rate goes smoothly through the block.
    """

    nodes: Ints
    weights: Array
    exact: NDArray[np.bool_]
    smooth: NDArray[np.bool_]


def _levels(rates_U: Array, drops_U: Array) -> list[_Level]:
    """Return the blocks of `NODES·2^level` updates, smallest first, up to one block for all."""
    levels: list[_Level] = []
    size = NODES
    count = -(-rates_U.size // NODES)
    while True:
        padded = np.zeros(count * size)
        padded[: drops_U.size] = drops_U[: padded.size]
        log_rates = np.full(padded.size, np.log(max(rates_U[-1], _LEAST_RATE)))
        log_rates[: rates_U.size] = np.log(np.maximum(rates_U, _LEAST_RATE))
        levels.append(_level(padded.reshape(count, size), log_rates.reshape(count, size)))
        if count == 1:
            return levels
        count, size = -(-count // 2), size * 2


def _level(drops: Array, log_rates: Array) -> _Level:
    count, size = drops.shape
    offsets = size * np.arange(count)[:, None]
    places = np.round((size - 1) / 2 * (1 - np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES))).astype(int)
    if size == NODES:
        places = np.arange(NODES)
    basis = _lagrange(places, np.arange(size))  # (NODES, size)
    changes = np.count_nonzero(drops, axis=1)
    few = np.argsort(drops == 0, axis=1, kind="stable")[:, :NODES]  # the changes themselves, first
    exact = changes <= NODES
    at = np.where(exact[:, None], few, places)
    weights = np.where(exact[:, None], np.take_along_axis(drops, few, axis=1), drops @ basis.T)
    error = np.abs(log_rates[:, places] @ basis - log_rates).max(axis=1)
    return _Level(nodes=at + offsets, weights=weights, exact=exact, smooth=error < _SMOOTH)


def _lagrange(places: Ints, at: Ints) -> Array:
    """Return the polynomials that are 1 at one of `places` and 0 at the others, at `at`: `(places, at)`."""
    found = np.ones((places.size, at.size))
    for number, place in enumerate(places):
        for other in np.delete(places, number):
            found[number] *= (at - other) / (place - other)
    return found


def _terms(rates_U: Array, drops_U: Array, positions_P: Ints) -> tuple[Ints, Ints, Array]:
    """Return the terms of the sum at each position: number of the observation, update from 0, and weight."""
    if not drops_U.any():
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0)
    area = forward_area(rates_U)
    levels = _levels(rates_U, drops_U)
    point: Ints = np.arange(positions_P.size)
    block: Ints = np.zeros(positions_P.size, dtype=np.int64)
    found: list[tuple[Ints, Ints, Array]] = []
    for number, level in reversed(list(enumerate(levels))):
        size = NODES << number
        begin, end = block * size, np.minimum((block + 1) * size, rates_U.size)
        past = end <= positions_P[point]
        width = area[end] - area[np.minimum(begin, rates_U.size)]
        apart = area[positions_P[point]] - area[end] >= width
        taken = past & (level.exact[block] | (level.smooth[block] & apart)) if number else np.ones(point.size, bool)
        found.append(_taken(level, point[taken], block[taken]))
        halves = 2 * block[~taken, None] + np.arange(2)
        point, block = np.repeat(point[~taken], 2), halves.ravel()
        started = block * (size // 2) < positions_P[point]
        point, block = point[started], block[started]
    points = np.concatenate([part[0] for part in found])
    updates = np.concatenate([part[1] for part in found])
    weights = np.concatenate([part[2] for part in found])
    kept = (weights != 0) & (updates < positions_P[points])  # the leaf a position lies in is cut at the position
    order = np.argsort(points[kept], kind="stable")
    return points[kept][order], updates[kept][order], weights[kept][order]


def _taken(level: _Level, point: Ints, block: Ints) -> tuple[Ints, Ints, Array]:
    return np.repeat(point, NODES), level.nodes[block].ravel(), level.weights[block].ravel()


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
        """Work out the terms of some curves; see `MultiPower` for `counts_warmup`."""
        columns: list[tuple[Ints, Array, Array, Array]] = []
        passed = 0
        for curve in curves:
            drops_U = rate_drops(curve.rates_U, warmup=0 if counts_warmup else None)
            point, update, weight = _terms(curve.rates_U, drops_U, curve.positions_P)
            area = forward_area(curve.rates_U)
            rates = np.log(np.maximum(curve.rates_U[update], _LEAST_RATE))
            columns.append((point + passed, weight, rates, area[curve.positions_P[point]] - area[update]))
            passed += curve.positions_P.size
        at, weights, log_rates, areas = (np.concatenate(parts) for parts in zip(*columns, strict=True))
        log_S1_N = np.log(spread([forward_area(curve.rates_U) for curve in curves], curves))
        return cls(log_S1_N=log_S1_N, at_M=at, weights_M=weights, log_rates_M=log_rates, areas_M=areas)

    def sum(self, terms_KM: Array) -> Array:
        """Return the sum of weighted terms at every observation `(K, N)`."""
        found = np.zeros((terms_KM.shape[0], self.log_S1_N.size))
        if self.at_M.size:
            begins = np.flatnonzero(np.diff(self.at_M, prepend=-1))
            found[:, self.at_M[begins]] = np.add.reduceat(terms_KM * self.weights_M, begins, axis=1)
        return found


@dataclass(frozen=True, slots=True)
class MultiPower(Law):
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
