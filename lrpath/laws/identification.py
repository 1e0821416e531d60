"""How well curves identify the parameters of a law: correlated residuals, a bootstrap to first order, moves unnoticed.

Shapes: N observations of all curves one after another, B bootstrap samples, F free parameters on their scales u.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lrpath.laws.areas import Array
from lrpath.laws.solver import FitProblem

_VISIBLE = 2e-3
"""Least change of a predicted loss, as a share, that counts; laws, and runs of one schedule, differ as much."""
_WORSE = 2.71
"""Twice the log likelihood that a parameter's `coarse` distance must cost: the 90 % point of χ² with one degree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Residuals:
    """Observed − predicted log losses, and how they are correlated.

    Args:
        values_N: The residuals of all curves one after another.
        lengths: Observations of each curve.
        memory: Integrated autocorrelation `1 + 2·Σ ρ`, up to the first lag without correlation; 1 if independent.
    """

    values_N: Array
    lengths: tuple[int, ...]
    memory: float

    @classmethod
    def of(cls, residuals_N: Array, lengths: Sequence[int]) -> "Residuals":
        """Measure the correlation of residuals."""
        parts = np.split(residuals_N - residuals_N.mean(), np.cumsum(lengths)[:-1])
        variance = sum(float(part @ part) for part in parts)
        memory = 1.0
        for lag in range(1, max(lengths)):
            pairs = sum(max(part.size - lag, 0) for part in parts)
            products = sum(float(part[lag:] @ part[:-lag]) for part in parts if part.size > lag)
            correlation = products / max(pairs, 1) * residuals_N.size / max(variance, 1e-300)
            if correlation < 2.0 / math.sqrt(residuals_N.size):  # no more than chance makes of independent residuals
                break
            memory += 2.0 * correlation
        return cls(values_N=residuals_N, lengths=tuple(lengths), memory=min(memory, residuals_N.size / 4))

    def weights(self, delta: float) -> Array:
        """Return Huber's weights, 1 up to `delta` and falling beyond."""
        return np.minimum(1.0, delta / np.maximum(np.abs(self.values_N), 1e-300))


def bootstrap_steps(
    problem: FitProblem, u_F: Array, slopes_NF: Array, residuals: Residuals, *, bootstrap_samples: int, seed: int
) -> Array:
    """Return how far parameters move `(B, F)` when residuals are resampled in blocks, to first order.

    One Newton step of Huber's loss from the fit stands for each new fit: milliseconds for 200 of them. A parameter at a
    bound stays there.
    """
    if bootstrap_samples == 0:
        return np.empty((0, u_F.size))
    rng = np.random.default_rng((seed, bootstrap_samples))
    residuals_N = residuals.values_N
    block = 1 + round(3 * (residuals.memory - 1))
    # residuals are smaller than the noise by what the parameters have taken up of its N ÷ memory pieces
    pieces = max(residuals_N.size / residuals.memory, 2.0 * u_F.size)
    grown = (residuals_N - residuals_N.mean()) * math.sqrt(pieces / (pieces - u_F.size))
    resampled = []
    for part in np.split(grown, np.cumsum(residuals.lengths)[:-1]):
        count = -(-part.size // block)
        begins = rng.integers(0, part.size, (bootstrap_samples, count))
        at = (begins[:, :, None] + np.arange(block)) % part.size
        resampled.append(part[at.reshape(bootstrap_samples, -1)[:, : part.size]])
    pulls = np.clip(np.concatenate(resampled, axis=1), -problem.delta, problem.delta)
    moves = slopes_NF * (1.0 - _at_bound(problem, u_F))
    # the curvature of Huber's loss is 1 within δ and 0 beyond; its mean stands for each. The weights of reweighted
    # least squares, min(1, δ/|r|), are larger: intervals from them held a third less often than they say
    curvature = max(float((np.abs(residuals_N) < problem.delta).mean()), 1.0 / math.sqrt(residuals_N.size))
    found: Array = pulls @ moves @ np.linalg.pinv(curvature * moves.T @ moves, rcond=1e-12, hermitian=True)
    return found


def _at_bound(problem: FitProblem, u_F: Array) -> Array:
    """Return 1 for each free parameter that lies at a bound, else 0; `least_squares` ends just inside of it."""
    low, high = problem.bounds()
    width = 1e-6 * (high - low)
    return np.asarray((u_F <= low + width) | (u_F >= high - width), dtype=np.float64)


def condition_of(slopes_NF: Array) -> float:
    """Return the greatest ÷ least singular value of derivatives by parameters, each scaled to length 1."""
    lengths = np.sqrt((slopes_NF**2).sum(axis=0))
    sizes = np.linalg.svd(slopes_NF / np.maximum(lengths, 1e-300), compute_uv=False)
    return float(sizes[0] / max(sizes[-1], 1e-300))


def not_identified(
    problem: FitProblem, u_F: Array, slopes_NF: Array, residuals: Residuals, *, cost: float
) -> dict[str, str]:
    """Return, for each parameter that can be moved by its `coarse` distance without being noticed, how far.

    The others are adjusted for the move, to first order. It is noticed if it changes some predicted loss by more than
    laws are wrong by, and makes the fit to the observed ones worse by more than chance: `2·N/memory·log(cost ÷ least
    cost)` being χ² of one degree, for errors of unknown scale, N/memory of them.
    """
    free = [problem.law.parameters[number] for number in problem.free]
    low, high = problem.bounds()
    at_bound = _at_bound(problem, u_F)
    root_N = np.sqrt(residuals.weights(problem.delta))
    count = residuals.values_N.size / residuals.memory
    found = {}
    for number, parameter in enumerate(free):
        others = np.delete(slopes_NF, number, axis=1)
        adjusted, *_ = np.linalg.lstsq(others * root_N[:, None], slopes_NF[:, number] * root_N, rcond=1e-12)
        change_N = parameter.coarse * (slopes_NF[:, number] - others @ adjusted)
        worse = math.log1p(float(((root_N * change_N) ** 2).sum()) / 2 / max(cost, 1e-300))
        noticed = np.abs(change_N).max() > _VISIBLE and 2.0 * count * worse > _WORSE
        value = float(parameter.scale.back(u_F[number])[0])
        if at_bound[number]:
            found[parameter.name] = f"lies at its bound {value:.3g}"
        elif not noticed:
            move = parameter.coarse if u_F[number] + parameter.coarse < high[number] else -parameter.coarse
            other = float(parameter.scale.back(np.maximum(u_F[number] + move, low[number]))[0])
            found[parameter.name] = f"{other:.4g} fits about as well as {value:.4g}"
    return found
