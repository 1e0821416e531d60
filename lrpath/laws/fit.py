"""Fits a law to curves: parameters, how sure they are, what they foretell, and when they must not be asked.

    fit = fit_law(Annealing(), curves, draws=200)
    print(fit.describe());  fit.predict(curve).losses_P;  fit.errors(curve).rmse

Intervals come from a bootstrap: residuals of log loss are drawn again in blocks of neighbours, as long as the residuals
hang together, and the law is fitted to each drawing. They say how well the curves tell the parameters if the law is
true; what the law gets wrong shows only as residuals that hang together for long.

Shapes: N observations of all curves one after another, P of one curve, B drawings, Q parameters, F of them free.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lrpath.errors import LawError
from lrpath.laws.curves import Curve
from lrpath.laws.law import Law
from lrpath.laws.solver import Problem, descend, starting_points
from lrpath.laws.validity import Reach

Array = NDArray[np.float64]

DELTA = 1e-3
"""Where Huber's loss turns straight [log loss]; the value of arXiv 2408.11029 and 2503.12811."""
_SCREENED, _POLISHED = 8, 3
"""Starts that are followed on thinned curves, and of those the best that are followed on all observations."""
_THINNED = 48
"""Observations of a curve while starts are followed."""
_VISIBLE = 2e-3
"""Least change of a foretold loss, as a share, that counts; laws, and runs of one schedule, differ as much."""
_TOGETHER = 1 << 20
"""Observations × drawings that are fitted at once; bounds the memory."""
_WORSE = 2.71
"""Twice the log likelihood that a parameter's `coarse` distance must cost: the 90 % point of χ² with one degree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """How far foretold losses are from observed ones.

    Args:
        r2: Share of the variance that is foretold.
        mae: Mean absolute error [nats].
        rmse: Root of the mean square error [nats].
        relative: Mean absolute error ÷ loss.
        worst: Greatest absolute error ÷ loss.
        last: Error at the last position, foretold − observed [nats].
    """

    r2: float
    mae: float
    rmse: float
    relative: float
    worst: float
    last: float

    @classmethod
    def of(cls, *, observed: Array, foretold: Array) -> "Errors":
        """Compare losses at the same positions."""
        error = foretold - observed
        spread = float(((observed - observed.mean()) ** 2).sum())
        return cls(
            r2=1.0 - float((error**2).sum()) / spread if spread > 0 else math.nan,
            mae=float(np.abs(error).mean()),
            rmse=float(np.sqrt((error**2).mean())),
            relative=float((np.abs(error) / observed).mean()),
            worst=float((np.abs(error) / observed).max()),
            last=float(error[-1]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A foretold curve.

    Args:
        curve: The curve that was asked for.
        losses_P: Foretold losses [nats].
        low_P: Lower end of the interval of the law's loss, without the noise of single updates, widened where it must
            be to hold the foretold loss; None without drawings.
        high_P: Upper end.
    """

    curve: Curve
    losses_P: Array
    low_P: Array | None
    high_P: Array | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A law fitted to curves.

    Args:
        law: The law.
        curves: The curves it was fitted to; none when it was read from a file.
        names: Their names.
        values: Parameters by name, fixed ones too.
        fixed: Names of those that were given, not sought.
        draws_BQ: Parameters of every drawing of the bootstrap; no rows without one.
        cost: Huber's loss of the log residuals, summed.
        residuals_N: Observed − foretold log loss.
        memory: Observations over which residuals hang together (integrated autocorrelation); 1 for independent ones.
        condition: Greatest ÷ least singular value of the derivatives by the free parameters, each scaled to length 1.
        untold: Parameters that the curves do not tell, and how that shows.
        reach: What the fit has seen.
    """

    law: Law
    curves: tuple[Curve, ...]
    names: tuple[str, ...]
    values: dict[str, float]
    fixed: tuple[str, ...]
    draws_BQ: Array
    cost: float
    residuals_N: Array
    memory: float
    condition: float
    untold: dict[str, str]
    reach: Reach

    @property
    def warnings(self) -> tuple[str, ...]:
        """What must not be trusted, in sentences; empty if the curves tell every parameter."""
        if not self.untold:
            return ()
        told = "; ".join(f"{name} ({how})" for name, how in self.untold.items())
        return (
            f"WARNING: these curves do not tell {told}. Add curves in which they show, such as an abrupt drop of the "
            "rate, hold them fixed, or do not trust what depends on them",
        )

    def interval(self, name: str, *, level: float = 0.9) -> tuple[float, float]:
        """Return the ends between which a parameter lies with probability `level`.

        Raises:
            LawError: If the fit was made without drawings.
        """
        if len(self.draws_BQ) == 0:
            raise LawError("the fit has no drawings to take intervals from; fit with draws=200")
        low, high = np.quantile(self.draws_BQ[:, self.law.names.index(name)], [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)

    def predict(self, curve: Curve, *, level: float = 0.9, beyond: bool = False) -> Prediction:
        """Foretell the losses at a curve's positions.

        Args:
            curve: Rates of all its updates and the positions that are asked for.
            level: Probability of the interval.
            beyond: Whether a curve that goes beyond what was fitted is answered.

        Raises:
            LawError: If it goes beyond and `beyond` does not say so.
        """
        if not beyond:
            self.reach.check(curve)
        prepared = self.law.prepare([curve])
        losses = self.law.losses(self.law.values(self.values)[None], prepared)[0][0]
        low = high = None
        if len(self.draws_BQ):
            ends = [(1 - level) / 2, (1 + level) / 2]
            low, high = np.quantile(self.law.losses(self.draws_BQ, prepared)[0], ends, axis=0)
            low, high = np.minimum(low, losses), np.maximum(high, losses)  # drawings may all lie on one side of the fit
        return Prediction(curve=curve, losses_P=losses, low_P=low, high_P=high)

    def errors(self, curve: Curve, *, beyond: bool = False) -> Errors:
        """Return how far the foretold losses of an observed curve are from its own; arguments as for `predict`."""
        return Errors.of(observed=curve.observed(), foretold=self.predict(curve, beyond=beyond).losses_P)

    def describe(self) -> str:
        """Return parameters with units and intervals, the quality of the fit, and all warnings, as lines of text."""
        lines = [f"{self.law.name}: {self.residuals_N.size} observations of {len(self.names)} curves"]
        for parameter in self.law.parameters:
            text = f"  {parameter.name:8}{self.values[parameter.name]:>12.6g}  {parameter.unit:14} {parameter.meaning}"
            if parameter.name in self.fixed:
                text += " (given)"
            elif len(self.draws_BQ):
                text += " [{:.4g}, {:.4g}]".format(*self.interval(parameter.name))
            lines.append(text)
        scatter = float(np.sqrt((self.residuals_N**2).mean()))
        lines.append(f"  residuals {scatter:.2e} of the loss, memory {self.memory:.1f}, condition {self.condition:.1e}")
        return "\n".join([*lines, *self.warnings])


def fit_law(
    law: Law,
    curves: Sequence[Curve],
    *,
    fixed: Mapping[str, float] | None = None,
    delta: float = DELTA,
    draws: int = 0,
    seed: int = 0,
) -> Fit:
    """Fit a law to curves.

    Args:
        law: The law.
        curves: Observed curves. Branches of one path should hold only their own losses (`Curve.between`), or the losses
            of the path count several times. Losses of every update are better averaged first (`Curve.binned`): a few
            hundred for each curve tell as much and are fitted in a second.
        fixed: Parameters by name that are given, not sought.
        delta: Where Huber's loss turns straight [log loss].
        draws: Drawings of the bootstrap; 0 for no intervals. 200 are enough for 90 %.
        seed: Seed of the drawings.

    Raises:
        LawError: If there are fewer observations than twice the free parameters, no parameter is free, or `fixed` holds
            a name or value that the law does not have.
    """
    fixed = dict(fixed or {})
    _check_fixed(law, fixed)
    targets = np.concatenate([np.log(curve.observed()) for curve in curves]) if curves else np.empty(0)
    free = len(law.parameters) - len(fixed)
    if free == 0 or targets.size < 2 * free:
        raise LawError(
            f"{law.name} has {free} parameters to be found, and the curves {targets.size} losses; "
            "leave a parameter free, and give at least two losses for each"
        )
    problem = Problem(law=law, prepared=law.prepare(curves), fixed=fixed, delta=delta)
    thinned = [_thin(curve) for curve in curves]
    few = replace(problem, prepared=law.prepare(thinned))
    few_targets = np.concatenate([np.log(curve.observed()) for curve in thinned])
    u_F, cost = _least(problem, few, targets_N=targets, few_targets_N=few_targets)
    log_losses, slopes = problem.log_losses(u_F[None])
    residuals = targets - log_losses[0]
    lengths = [curve.positions_P.size for curve in curves]
    memory = _memory(residuals, lengths)
    return Fit(
        law=law,
        curves=tuple(curves),
        names=tuple(curve.name for curve in curves),
        values=dict(zip(law.names, problem.values(u_F[None])[0][0].tolist(), strict=True)),
        fixed=tuple(fixed),
        draws_BQ=_bootstrap(problem, u_F, residuals, lengths=lengths, memory=memory, draws=draws, seed=seed),
        cost=cost,
        residuals_N=residuals,
        memory=memory,
        condition=_condition(slopes[0]),
        untold=_untold(problem, few, u_F, targets_N=targets, cost=cost, memory=memory),
        reach=Reach.of(curves),
    )


def _least(problem: Problem, few: Problem, *, targets_N: Array, few_targets_N: Array) -> tuple[Array, float]:
    """Return where Huber's loss is least, and how much it is; starts are followed on the thinned curves first."""
    starts = starting_points(few, targets_N=few_targets_N, count=_SCREENED)
    followed, costs = descend(few, starts, targets_KN=few_targets_N[None], iterations=40)
    best = followed[np.argsort(costs, kind="stable")[:_POLISHED]]
    found, costs = descend(problem, best, targets_KN=targets_N[None], iterations=300)
    return found[np.argmin(costs)], float(costs.min())


def _check_fixed(law: Law, fixed: Mapping[str, float]) -> None:
    known = {parameter.name: parameter for parameter in law.parameters}
    for name, value in fixed.items():
        if name not in known:
            raise LawError(f"{law.name} has no parameter {name} to hold fixed; it has {', '.join(known)}")
        if not known[name].low <= value <= known[name].high:
            raise LawError(f"{name}={value:g} must lie in [{known[name].low:g}, {known[name].high:g}]")


def _thin(curve: Curve) -> Curve:
    """Return the curve with at most `_THINNED` of its observations, evenly chosen."""
    kept = np.unique(
        np.linspace(0, curve.positions_P.size - 1, min(_THINNED, curve.positions_P.size)).round().astype(int)
    )
    return replace(curve, positions_P=curve.positions_P[kept], losses_P=curve.observed()[kept])


def _memory(residuals_N: Array, lengths: Sequence[int]) -> float:
    """Return the integrated autocorrelation `1 + 2·Σ ρ` of residuals, up to the first lag of no correlation."""
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
    return min(memory, residuals_N.size / 4)


def _bootstrap(
    problem: Problem,
    u_F: Array,
    residuals_N: Array,
    *,
    lengths: Sequence[int],
    memory: float,
    draws: int,
    seed: int,
) -> Array:
    """Return the parameters `(B, Q)` of laws fitted to foretold losses plus residuals drawn again in blocks."""
    if draws == 0:
        return np.empty((0, len(problem.law.parameters)))
    rng = np.random.default_rng((seed, draws))
    block = 1 + round(3 * (memory - 1))
    # residuals are smaller than the noise by what the parameters have taken up of its N ÷ memory pieces
    pieces = max(residuals_N.size / memory, 2.0 * u_F.size)
    grown = (residuals_N - residuals_N.mean()) * math.sqrt(pieces / (pieces - u_F.size))
    drawn = []
    for part in np.split(grown, np.cumsum(lengths)[:-1]):
        count = -(-part.size // block)
        begins = rng.integers(0, part.size, (draws, count))
        at = (begins[:, :, None] + np.arange(block)) % part.size
        drawn.append(part[at.reshape(draws, -1)[:, : part.size]])
    targets = problem.log_losses(u_F[None])[0] + np.concatenate(drawn, axis=1)
    rows = max(1, _TOGETHER // residuals_N.size)
    found = [
        descend(problem, np.repeat(u_F[None], len(part), axis=0), targets_KN=part, iterations=40)[0]
        for part in np.split(targets, range(rows, draws, rows))
    ]
    return problem.values(np.concatenate(found))[0]


def _condition(slopes_NF: Array) -> float:
    lengths = np.sqrt((slopes_NF**2).sum(axis=0))
    sizes = np.linalg.svd(slopes_NF / np.maximum(lengths, 1e-300), compute_uv=False)
    return float(sizes[0] / max(sizes[-1], 1e-300))


def _untold(
    problem: Problem, few: Problem, u_F: Array, *, targets_N: Array, cost: float, memory: float
) -> dict[str, str]:
    """Return, for each parameter that can be moved by its `coarse` distance without being noticed, how far.

    The others are found again for each move. It is noticed if it changes some foretold loss (of the thinned curves,
    `few`) by more than laws are wrong by, and makes the fit to the observed ones worse by more than chance:
    `2·N/memory·log(cost ÷ least cost)` being χ² of one degree, for errors of unknown scale, N/memory of them.
    """
    free = [problem.law.parameters[number] for number in problem.free]
    low, high = problem.bounds()
    coarse = np.diag([parameter.coarse for parameter in free])
    moved = np.clip(u_F + np.concatenate((-coarse, coarse)), low, high)
    held = np.tile(np.eye(len(free), dtype=bool), (2, 1))
    foretold = few.log_losses(u_F[None])[0]
    found, _ = descend(few, moved, targets_KN=foretold, iterations=40, held_F=held)
    noticed = np.abs(few.log_losses(found)[0] - foretold).max(axis=1) > _VISIBLE
    if noticed.any():
        _, costs = descend(problem, found[noticed], targets_KN=targets_N[None], iterations=40, held_F=held[noticed])
        worse = np.log(np.maximum(costs, 1e-300) / max(cost, 1e-300))
        noticed[noticed] = 2.0 * targets_N.size / memory * worse > _WORSE
    untold = {}
    for number, parameter in enumerate(free):
        value = float(parameter.scale.back(u_F[number])[0])
        unnoticed = [row for row in (number, len(free) + number) if not noticed[row]]
        if not low[number] < u_F[number] < high[number]:
            untold[parameter.name] = f"lies at its bound {value:g}"
        elif unnoticed:
            other = float(parameter.scale.back(moved[unnoticed[0], number])[0])
            untold[parameter.name] = f"{other:.4g} fits about as well as {value:.4g}"
    return untold
