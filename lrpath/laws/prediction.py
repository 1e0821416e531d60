"""Predicts paths from a law fitted to others, with the errors of those that have been run.

    view = LossView.of(study, settings)                             # which loss is looked at, and how
    fitted = fit_paths(view, settings)                          # or read_fitted(file)
    found = predict_paths(fitted, view, asked)                      # a prediction for each path, and their ranking

Shapes: U updates since the root, P observed positions.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from lrpath.errors import LawError
from lrpath.laws.curves import Curve
from lrpath.laws.fit import Prediction, PredictionErrors
from lrpath.laws.path_curves import (
    NamedPath,
    has_losses,
)
from lrpath.laws.path_fit import LossView, PathFit


@dataclass(frozen=True, slots=True, kw_only=True)
class PathPrediction:
    """What is predicted of a path, beside what was observed if it has been run.

    Args:
        path: The path.
        prediction: PredictedPaths losses at its updates.
        observed: Its recorded losses; None if it has not been run.
        errors: PredictedPaths − observed, at the observed positions; None likewise.
        violations: In which respects it lies outside the range of validity of the fit.
        cautions: What about it no fitted curve shows.
    """

    path: NamedPath
    prediction: Prediction
    observed: Curve | None
    errors: PredictionErrors | None
    violations: tuple[str, ...]
    cautions: tuple[str, ...]

    @property
    def final(self) -> tuple[int, float, float | None, float | None]:
        """Position, predicted loss and interval at the last observed position, or at the end if not run."""
        places = self.prediction.curve.positions_P
        position = int(places[-1] if self.observed is None else self.observed.positions_P[-1])
        at = int(np.searchsorted(places, position))
        low, high = self.prediction.low_P, self.prediction.high_P
        ends = (None, None) if low is None or high is None else (float(low[at]), float(high[at]))
        return position, float(self.prediction.losses_P[at]), *ends

    @property
    def observed_final(self) -> float | None:
        """Observed loss at that position."""
        return None if self.observed is None else float(self.observed.observed()[-1])

    @property
    def is_finished(self) -> bool:
        """Whether the last observation is that of the path's end, or the last bin before it."""
        if self.observed is None:
            return False
        places = self.observed.positions_P
        width = int(np.diff(places).max()) if places.size > 1 else 1
        return self.path.end - int(places[-1]) < width or places[-1] == self.path.end


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """How well releases of one version are put in order, over all versions.

    Args:
        right: Pairs of releases of one version that are predicted in the order observed.
        wrong: Pairs in the other order.
    """

    right: int
    wrong: int

    @property
    def tau(self) -> float:
        """Kendall's τ over these pairs, `(right − wrong) ÷ (right + wrong)`; NaN without pairs."""
        pairs = self.right + self.wrong
        return (self.right - self.wrong) / pairs if pairs else math.nan

    @classmethod
    def of(cls, groups: Iterable[Sequence[tuple[float, float]]]) -> "Ranking":
        """Compare (predicted, observed) losses within each group; ties count for neither side.

        >>> Ranking.of([[(1.0, 1.1), (2.0, 2.5), (3.0, 2.4)]])
        Ranking(right=2, wrong=1)
        """
        signs = [(one[0] - other[0]) * (one[1] - other[1]) for group in groups for one, other in combinations(group, 2)]
        return cls(right=sum(sign > 0 for sign in signs), wrong=sum(sign < 0 for sign in signs))


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedPaths:
    """All predictions of one question.

    Args:
        fitted: The fit.
        predictions: One for each path.
        ranking: How the releases among them that have been run are put in order.
    """

    fitted: PathFit
    predictions: tuple[PathPrediction, ...]
    ranking: Ranking


def predict_paths(
    fitted: PathFit, view: LossView, paths: Sequence[NamedPath], *, level: float, extrapolate: bool
) -> PredictedPaths:
    """Predict paths, run or not.

    Args:
        fitted: The fit.
        view: Which loss is compared.
        paths: At least one.
        level: Probability of the intervals.
        extrapolate: Whether paths outside the range of validity, or of another recipe, are predicted.

    Raises:
        LawError: If there is no path, or one would be extrapolated and `extrapolate` is false.
    """
    if not paths:
        raise LawError("no path is left to predict: all were fitted; hold some out with fit=, or name some, predict=")
    predictions = tuple(_predict_path(fitted, view, path, level=level, extrapolate=extrapolate) for path in paths)
    groups: dict[str, list[tuple[float, float]]] = {}
    for one in predictions:
        observed = one.observed_final
        if observed is not None and one.is_finished:
            for version in one.path.releases:
                groups.setdefault(version, []).append((one.final[1], observed))
    return PredictedPaths(fitted=fitted, predictions=predictions, ranking=Ranking.of(groups.values()))


def _predict_path(
    fitted: PathFit, view: LossView, path: NamedPath, *, level: float, extrapolate: bool
) -> PathPrediction:
    planned = view.planned(path)
    broken = fitted.violations(path, planned)
    if broken and not extrapolate:
        raise LawError(
            f"path {path.name} lies outside the range that was fitted: {'; '.join(broken)}. Fit paths that cover it, "
            "choose others with predict=, or add extrapolate=true",
            field="extrapolate",
            value=False,
        )
    observed = view.observed(path) if has_losses(view.study, path.path, view.held_out) else None
    errors = None if observed is None else fitted.fit.errors(observed, extrapolate=True)
    return PathPrediction(
        path=path,
        prediction=fitted.fit.predict(planned, level=level, extrapolate=True),
        observed=observed,
        errors=errors,
        violations=broken,
        cautions=fitted.fit.validity.cautions(planned),
    )
