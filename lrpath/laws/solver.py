"""Finds the parameters of a law under which Huber's loss of the log residuals is least, from many starts at once.

    r = log L_observed − log L_law,   Σ ρ(r),   ρ(r) = r²/2 for |r| ≤ δ, else δ·(|r| − δ/2)

First the grid of starting values of the parameters that the law is not linear in: for each point the linear ones are
solved for (least squares with their signs, as in variable projection). Then the best go through Levenberg-Marquardt
steps with weights min(1, δ/|r|), all of them at once, each with its own damping. Derivatives are the law's own, exact.

References: arXiv 2408.11029 and 2503.12811 fit so with δ = 1e-3, by L-BFGS and Adam; Golub and Pereyra 1973 (variable
projection); Huber and Ronchetti 2009, section 7.8 (the weights).

Shapes: K starts, F free parameters on their scale u, Q all parameters, N observations.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from lrpath.laws.law import Law

Array = NDArray[np.float64]

_LEAST_LOSS = 1e-6
"""Laws may fall below 0 far from the data; their logarithm is taken from here up."""
_MOST_STARTS = 256
_TOLERANCE = 1e-9
"""A start has arrived when three steps running gain less than this share of Huber's loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A law, what it needs of the curves, and which parameters are held fixed.

    Args:
        law: The law.
        prepared: What the law prepared of the curves.
        fixed: Values by name of the parameters that are not sought.
        delta: Where Huber's loss turns from square to straight [log loss].
    """

    law: Law
    prepared: Any
    fixed: Mapping[str, float]
    delta: float

    @property
    def free(self) -> list[int]:
        """Numbers of the parameters that are sought."""
        return [number for number, name in enumerate(self.law.names) if name not in self.fixed]

    def bounds(self) -> tuple[Array, Array]:
        """Return the least and greatest u of the free parameters."""
        parameters = [self.law.parameters[number] for number in self.free]
        ends = [(p.scale.to(np.array(p.low)), p.scale.to(np.array(p.high))) for p in parameters]
        low, high = (np.array(column, dtype=np.float64) for column in zip(*ends, strict=True))
        return np.minimum(low, high), np.maximum(low, high)

    def values(self, u_KF: Array) -> tuple[Array, Array]:
        """Return the parameters `(K, Q)` and the derivatives of the free ones by u `(K, F)`."""
        values_KQ = np.array([self.fixed.get(name, 0.0) for name in self.law.names])[None].repeat(len(u_KF), axis=0)
        slopes = np.empty_like(u_KF)
        for column, number in enumerate(self.free):
            values_KQ[:, number], slopes[:, column] = self.law.parameters[number].scale.back(u_KF[:, column])
        return values_KQ, slopes

    def on_scale(self, values_KQ: Array) -> Array:
        """Return u of the free parameters, within their bounds."""
        columns = [self.law.parameters[number].scale.to(values_KQ[:, number]) for number in self.free]
        low, high = self.bounds()
        return np.clip(np.stack(columns, axis=1), low, high)

    def log_losses(self, u_KF: Array) -> tuple[Array, Array]:
        """Return log losses `(K, N)` and their derivatives by u `(K, N, F)`."""
        values_KQ, slopes_KF = self.values(u_KF)
        losses, by_value = self.law.losses(values_KQ, self.prepared)
        losses = np.maximum(losses, _LEAST_LOSS)
        return np.log(losses), by_value[..., self.free] * (slopes_KF[:, None, :] / losses[..., None])

    def cost(self, residuals: Array) -> Array:
        """Return the sum of Huber's loss along the last axis."""
        size = np.abs(residuals)
        quadratic = np.minimum(size, self.delta)
        return np.asarray((quadratic * (size - quadratic / 2)).sum(axis=-1))


def starting_points(problem: Problem, *, targets_N: Array, count: int) -> Array:
    """Return u of the `count` best points of the grid of starts, best first.

    Args:
        problem: The problem.
        targets_N: Observed log losses.
        count: How many.
    """
    law = problem.law
    linear = [number for number in problem.free if law.parameters[number].is_linear]
    values_KQ = _grid(problem)
    losses, slopes = law.losses(values_KQ, problem.prepared)
    observed = np.exp(targets_N)
    signs = np.array([1.0 if law.parameters[number].high > 0 else -1.0 for number in linear])
    basis_KNL = slopes[..., linear] * signs
    # what the fixed linear parameters contribute stays in the losses
    rest_KN = losses - (slopes[..., linear] * values_KQ[:, None, linear]).sum(axis=-1)
    for row, (basis, rest) in enumerate(zip(basis_KNL, rest_KN, strict=True) if linear else ()):
        size, _ = nnls(basis / observed[:, None], 1.0 - rest / observed)
        visible = 1e-3 * observed.mean() / np.maximum(np.abs(basis).max(axis=0), 1e-300)
        values_KQ[row, linear] = signs * np.maximum(size, visible)  # a term left out at first must be able to come back
    u_KF = problem.on_scale(values_KQ)
    costs = problem.cost(targets_N - problem.log_losses(u_KF)[0])
    return u_KF[np.argsort(costs, kind="stable")[:count]]


def _grid(problem: Problem) -> Array:
    axes = []
    for name, parameter in zip(problem.law.names, problem.law.parameters, strict=True):
        one = 1.0 if parameter.high > 0 else -1.0
        axes.append((problem.fixed[name],) if name in problem.fixed else parameter.starts or (one,))
    grid = np.array(list(product(*axes)))
    if len(grid) > _MOST_STARTS:
        grid = np.random.default_rng(0).permutation(grid)[:_MOST_STARTS]
    return grid


def descend(
    problem: Problem,
    u_KF: Array,
    *,
    targets_KN: Array,
    iterations: int,
    held_F: NDArray[np.bool_] | None = None,
) -> tuple[Array, Array]:
    """Return where damped steps lead from each start, and Huber's loss there.

    Args:
        problem: The problem.
        u_KF: Starts.
        targets_KN: Observed log losses of each start; one row serves all.
        iterations: Most steps.
        held_F: Parameters that stay where they are, by start `(K, F)`.
    """
    low, high = problem.bounds()
    u_KF, targets_KN = u_KF.copy(), np.broadcast_to(targets_KN, (len(u_KF), targets_KN.shape[-1]))
    held: NDArray[np.bool_] = np.zeros(u_KF.shape, dtype=np.bool_) if held_F is None else held_F
    best, slopes = problem.log_losses(u_KF)
    residuals = targets_KN - best
    costs, damping, small_gains = problem.cost(residuals), np.full(len(u_KF), 1e-3), np.zeros(len(u_KF), dtype=int)
    for _ in range(iterations):
        on = np.flatnonzero((small_gains < 3) & (damping < 1e12))
        if on.size == 0:
            break
        move = _steps(problem, u_KF[on], residuals[on], slopes[on], damping=damping[on], held=held[on])
        tried = np.clip(u_KF[on] + move, low, high)
        log_losses, new_slopes = problem.log_losses(tried)
        new_residuals = targets_KN[on] - log_losses
        new_costs = problem.cost(new_residuals)
        better = new_costs < costs[on]
        gain = (costs[on] - new_costs) / np.maximum(costs[on], 1e-300)
        small_gains[on] = np.where(better & (gain > _TOLERANCE), 0, small_gains[on] + better)
        damping[on] = np.where(better, np.maximum(damping[on] / 5, 1e-12), damping[on] * 6)
        taken = on[better]
        u_KF[taken], costs[taken] = tried[better], new_costs[better]
        residuals[taken], slopes[taken] = new_residuals[better], new_slopes[better]
    return u_KF, costs


def _steps(
    problem: Problem, u_KF: Array, residuals: Array, slopes: Array, *, damping: Array, held: NDArray[np.bool_]
) -> Array:
    """Return the damped step of every start; parameters that are held, or push against a bound, stay."""
    low, high = problem.bounds()
    weights = np.minimum(1.0, problem.delta / np.maximum(np.abs(residuals), 1e-300))
    weighted = slopes * weights[..., None]
    gradient = np.matmul(weighted.transpose(0, 2, 1), residuals[..., None])[..., 0]  # uphill is −gradient
    stays = held | ((u_KF <= low) & (gradient < 0)) | ((u_KF >= high) & (gradient > 0))
    square = np.matmul(weighted.transpose(0, 2, 1), slopes)
    moves = ~stays
    square = square * (moves[:, :, None] & moves[:, None, :])
    diagonal = np.einsum("kff->kf", square)
    floor = 1e-14 * diagonal.max(axis=1, keepdims=True) + 1e-300
    square[:, np.arange(u_KF.shape[1]), np.arange(u_KF.shape[1])] += damping[:, None] * diagonal + floor + stays
    step = np.linalg.solve(square, (gradient * moves)[..., None])[..., 0]
    return np.clip(step, -2.0, 2.0)
