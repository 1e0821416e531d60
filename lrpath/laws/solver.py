"""Finds the parameters of a law under which Huber's loss of the log residuals is least, from several starts.

    r = log L_law − log L_observed,   Σ ρ(r),   ρ(r) = r²/2 for |r| ≤ δ, else δ·(|r| − δ/2)

First the grid of starting values of the parameters that the law is not linear in: for each point the linear ones are
solved for (least squares with their signs, as in variable projection). The best go through SciPy's `least_squares`
(trust region reflective, which keeps to the bounds). Derivatives are the law's own, exact.

References: arXiv 2408.11029 and 2503.12811 fit so with δ = 1e-3, by L-BFGS and Adam; Golub and Pereyra 1973 (variable
projection).

Shapes: K starts, F free parameters on their scale u, Q all parameters, N observations.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from scipy.optimize import least_squares, nnls

from lrpath.laws.areas import Array
from lrpath.laws.law import Law

_LEAST_LOSS = 1e-6
"""Laws may fall below 0 far from the data; their logarithm is taken from here up."""
_MOST_STARTS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class FitProblem:
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

    def minimize(self, u_F: Array, *, targets_N: Array, evaluations: int) -> tuple[Array, float]:
        """Return where Huber's loss is least near a start, and how much it is there.

        Args:
            u_F: Start.
            targets_N: Observed log losses.
            evaluations: Most evaluations of the law.
        """
        last: list[tuple[bytes, Array, Array]] = []  # scipy asks for residuals and derivatives one after the other

        def at(u: Array) -> tuple[Array, Array]:
            if not last or last[0][0] != u.tobytes():
                log_losses, slopes = self.log_losses(u[None])
                last[:] = [(u.tobytes(), log_losses[0] - targets_N, slopes[0])]
            return last[0][1:]

        found = least_squares(
            lambda u: at(u)[0], u_F, jac=lambda u: at(u)[1], bounds=self.bounds(), loss="huber", f_scale=self.delta,
            x_scale="jac", xtol=1e-10, ftol=1e-10, gtol=1e-14, max_nfev=evaluations,
        )  # fmt: skip
        return found.x, float(found.cost)


def starting_points(problem: FitProblem, *, targets_N: Array, count: int) -> Array:
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


def _grid(problem: FitProblem) -> Array:
    axes = []
    for name, parameter in zip(problem.law.names, problem.law.parameters, strict=True):
        one = 1.0 if parameter.high > 0 else -1.0
        axes.append((problem.fixed[name],) if name in problem.fixed else parameter.starts or (one,))
    grid = np.array(list(product(*axes)))
    if len(grid) > _MOST_STARTS:
        grid = np.random.default_rng(0).permutation(grid)[:_MOST_STARTS]
    return grid
