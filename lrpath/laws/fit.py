"""Fits a law to curves: parameters, how sure they are, what they predict, and when they must not be asked.

    fit = fit_law(AnnealingLaw(), curves, bootstrap_samples=200)
    print(fit.describe());  fit.predict(curve).losses_P;  fit.errors(curve).rmse

Intervals of parameters come from a bootstrap: residuals of log loss are resampled in blocks of neighbours, as long as
the residuals are correlated, and the law is fitted to each bootstrap sample. They say how well the curves identify the
parameters if the law is true; what the law gets wrong shows only as a long correlation of residuals.

Shapes: N observations of all curves one after another, P of one curve, B bootstrap samples, Q
parameters, F of them free.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lrpath.errors import LawError
from lrpath.laws.areas import Array
from lrpath.laws.curves import Curve
from lrpath.laws.identification import Residuals, bootstrap_steps, condition_of, not_identified
from lrpath.laws.law import Law
from lrpath.laws.solver import FitProblem, starting_points
from lrpath.laws.validity import ValidityRange
from lrpath.planning.guard import SCALE

DELTA = 1e-3
"""Where Huber's loss turns straight [log loss]; the value of arXiv 2408.11029 and 2503.12811."""
_SCREENED, _POLISHED = 6, 2
"""Starts that are followed on thinned curves, and of those the best that are followed on all observations."""
_THINNED = 48
"""Observations of a curve while starts are followed."""


class TooFewLossesError(LawError):
    """There are fewer than two losses for each parameter that is sought, or no parameter is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionErrors:
    """How far predicted losses are from observed ones.

    Args:
        r2: Share of the variance that is predicted.
        mae: Mean absolute error [nats].
        rmse: Root of the mean square error [nats].
        relative: Mean absolute error ÷ loss.
        worst: Greatest absolute error ÷ loss.
        last: Error at the last position, predicted − observed [nats].
    """

    r2: float
    mae: float
    rmse: float
    relative: float
    worst: float
    last: float

    @classmethod
    def of(cls, *, observed: Array, predicted: Array) -> "PredictionErrors":
        """Compare losses at the same positions."""
        error = predicted - observed
        spread = float(((observed - observed.mean()) ** 2).sum())
        return cls(
            r2=1.0 - float((error**2).sum()) / spread if spread > 0 else math.nan,
            mae=float(np.abs(error).mean()),
            rmse=float(np.sqrt((error**2).mean())),
            relative=float((np.abs(error) / observed).mean()),
            worst=float((np.abs(error) / observed).max()),
            last=float(error[-1]),
        )


_OUTLIER, _LEAST_OUTLIER = 6.0, 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePrediction:
    """A predicted curve.

    Args:
        curve: The curve that was asked for.
        losses_P: PredictedPaths losses [nats].
        low_P: Lower end of the interval of the law's loss, without the noise of single updates, widened where it must
            be to hold the predicted loss; None without bootstrap samples.
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
        steps_BF: How far each bootstrap sample moves the free parameters on their scales; no rows without a bootstrap.
        cost: Huber's loss of the log residuals, summed.
        residuals_N: Observed − predicted log loss.
        memory: Observations over which residuals are correlated (integrated autocorrelation); 1 for independent ones.
        condition: Greatest ÷ least singular value of the derivatives by the free parameters, each scaled to length 1.
        not_identified: Parameters that the curves do not identify, and how that shows.
        validity: What the fit has seen.
    """

    law: Law
    curves: tuple[Curve, ...]
    names: tuple[str, ...]
    values: dict[str, float]
    fixed: tuple[str, ...]
    steps_BF: Array
    cost: float
    residuals_N: Array
    memory: float
    condition: float
    not_identified: dict[str, str]
    validity: ValidityRange

    @property
    def warnings(self) -> tuple[str, ...]:
        """What must not be trusted, in sentences; empty if the curves identify every parameter and follow the law."""
        which = "; ".join(f"{name} ({how})" for name, how in self.not_identified.items())
        rules = {
            f"WARNING: not identified by these curves: {which}. Add curves in which they show, such as an abrupt drop "
            "of the rate, hold them fixed, or do not trust what depends on them": bool(which),
            f"WARNING: {self.outliers:,} of the {self.residuals_N.size:,} losses that were fitted lie off the law by "
            "more than all others, as in a spike: look at the curves, and leave such a path out with fit=": (
                self.outliers > 0
            ),
        }
        return tuple(text for text, holds in rules.items() if holds)

    @property
    def scatter(self) -> float:
        """How far the fitted losses usually lie off the law, as a share of them: a robust standard deviation."""
        return float(SCALE * np.median(np.abs(self.residuals_N)))

    @property
    def outliers(self) -> int:
        """How many of them lie off it by more than six times that, and a twentieth."""
        return int((np.abs(self.residuals_N) > max(_OUTLIER * self.scatter, _LEAST_OUTLIER)).sum())

    def interval(self, name: str, *, level: float = 0.9) -> tuple[float, float]:
        """Return the ends between which a parameter lies with probability `level`; its value lies between them.

        Raises:
            LawError: If the fit was made without bootstrap samples, or the parameter was given.
        """
        if len(self.steps_BF) == 0 or name in self.fixed:
            raise LawError(f"the fit has no bootstrap samples of {name}; fit with bootstrap_samples=200, {name} free")
        parameter = self.law.parameters[self.law.names.index(name)]
        value = self.values[name]
        moved = parameter.scale.to(np.array(value)) + self.steps_BF[:, self.free_names.index(name)]
        samples = np.clip(parameter.scale.back(moved)[0], parameter.low, parameter.high)
        low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
        return min(float(low), value), max(float(high), value)

    @property
    def free_names(self) -> tuple[str, ...]:
        """Names of the parameters that were sought."""
        return tuple(name for name in self.law.names if name not in self.fixed)

    def losses(self, curves: Sequence[Curve]) -> tuple[Array, Array]:
        """Return the losses at the positions of some curves `(N,)`, and by each bootstrap sample `(B, N)`.

        To first order in the parameters, as the samples themselves: parameters that are hardly identified move
        together, and what they do to a loss cancels, as long as nothing is cut off at a bound.
        """
        law, names = self.law, self.free_names
        losses, by_value = law.losses(law.values(self.values)[None], law.prepare(curves))
        if len(self.steps_BF) == 0:
            return losses[0], np.empty((0, losses.shape[1]))
        numbers = [law.names.index(name) for name in names]
        scales = [law.parameters[number].scale for number in numbers]
        slopes = [float(s.back(s.to(np.array(self.values[name])))[1]) for s, name in zip(scales, names, strict=True)]
        by_u_NF = by_value[0][:, numbers] * np.array(slopes) / losses[0][:, None]
        return losses[0], losses[0] * np.exp(self.steps_BF @ by_u_NF.T)

    def predict(self, curve: Curve, *, level: float = 0.9, extrapolate: bool = False) -> CurvePrediction:
        """Predict the losses at a curve's positions.

        Args:
            curve: Rates of all its updates and the positions that are asked for.
            level: Probability of the interval.
            extrapolate: Whether a curve outside the range of validity is predicted.

        Raises:
            LawError: If it lies outside and `extrapolate` is false.
        """
        if not extrapolate:
            self.validity.check(curve)
        losses, sampled = self.losses([curve])
        low = high = None
        if len(sampled):
            ends = [(1 - level) / 2, (1 + level) / 2]
            low, high = np.quantile(sampled, ends, axis=0)
            low, high = np.minimum(low, losses), np.maximum(high, losses)  # an estimate never lies outside
        return CurvePrediction(curve=curve, losses_P=losses, low_P=low, high_P=high)

    def errors(self, curve: Curve, *, extrapolate: bool = False) -> PredictionErrors:
        """Return how far the predicted losses of an observed curve are from its own; arguments as for `predict`."""
        return PredictionErrors.of(
            observed=curve.observed(), predicted=self.predict(curve, extrapolate=extrapolate).losses_P
        )

    def describe(self) -> str:
        """Return parameters with units and intervals, the quality of the fit, and all warnings, as lines of text."""
        lines = [f"{self.law.name}: {self.residuals_N.size} observations of {len(self.names)} curves"]
        for parameter in self.law.parameters:
            text = f"  {parameter.name:8}{self.values[parameter.name]:>12.6g}  {parameter.unit:14} {parameter.meaning}"
            if parameter.name in self.fixed:
                text += " (given)"
            elif len(self.steps_BF):
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
    bootstrap_samples: int = 0,
    seed: int = 0,
) -> Fit:
    """Fit a law to curves.

    Args:
        law: The law.
        curves: Observed curves. Branches of one path should hold only their own losses (`Curve.between`), or the losses
            of the path count several times. Losses of every update are better averaged first (`Curve.binned`): a few
            hundred for each curve say as much and are fitted in a second.
        fixed: Parameters by name that are given, not sought.
        delta: Where Huber's loss turns straight [log loss].
        bootstrap_samples: Bootstrap samples of the bootstrap; 0 for no intervals. 200 are enough for 90 %.
        seed: Seed of the bootstrap samples.

    Raises:
        LawError: If there are fewer observations than twice the free parameters, no parameter is free, or `fixed` holds
            a name or value that the law does not have.
    """
    fixed = dict(fixed or {})
    _check_fixed(law, fixed)
    targets = np.concatenate([np.log(curve.observed()) for curve in curves]) if curves else np.empty(0)
    free = len(law.parameters) - len(fixed)
    if free == 0 or targets.size < 2 * free:
        raise TooFewLossesError(
            f"{law.name} has {free} parameters to be found, and the curves {targets.size} losses; "
            "leave a parameter free, and give at least two losses for each"
        )
    problem = FitProblem(law=law, prepared=law.prepare(curves), fixed=fixed, delta=delta)
    u_F, cost = _least(problem, targets_N=targets, curves=curves)
    log_losses, slopes = problem.log_losses(u_F[None])
    residuals = Residuals.of(targets - log_losses[0], [curve.positions_P.size for curve in curves])
    steps = bootstrap_steps(problem, u_F, slopes[0], residuals, bootstrap_samples=bootstrap_samples, seed=seed)
    return Fit(
        law=law,
        curves=tuple(curves),
        names=tuple(curve.name for curve in curves),
        values=dict(zip(law.names, problem.values(u_F[None])[0][0].tolist(), strict=True)),
        fixed=tuple(fixed),
        steps_BF=steps,
        cost=cost,
        residuals_N=residuals.values_N,
        memory=residuals.memory,
        condition=condition_of(slopes[0]),
        not_identified=not_identified(problem, u_F, slopes[0], residuals, cost=cost),
        validity=ValidityRange.of(curves),
    )


def _least(problem: FitProblem, *, targets_N: Array, curves: Sequence[Curve]) -> tuple[Array, float]:
    """Return where Huber's loss is least, and how much it is; starts are followed on thinned curves first."""
    thinned = [_thin(curve) for curve in curves]
    few = replace(problem, prepared=problem.law.prepare(thinned))
    few_targets = np.concatenate([np.log(curve.observed()) for curve in thinned])
    starts = starting_points(few, targets_N=few_targets, count=_SCREENED)
    followed = [few.minimize(start, targets_N=few_targets, evaluations=60) for start in starts]
    followed.sort(key=lambda pair: pair[1])
    polished = [problem.minimize(u_F, targets_N=targets_N, evaluations=400) for u_F, _ in followed[:_POLISHED]]
    return min(polished, key=lambda pair: pair[1])


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
