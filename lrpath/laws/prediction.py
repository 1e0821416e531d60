"""Predicts paths from a law fitted to others, with intervals, and with the errors of those that have been run.

    view = LossView.of(study, settings)                             # which loss is looked at, and how
    fitted = fit_paths(view, settings, patterns=settings.fit)       # or read_fitted(file)
    found = predict_paths(fitted, view, paths, settings)            # a prediction for each path, and their ranking

Shapes: U updates since the root, P observed positions.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from lrpath.errors import LawError
from lrpath.laws.curves import Curve
from lrpath.laws.fit import CurvePrediction, PredictionErrors
from lrpath.laws.intervals import IntervalRule
from lrpath.laws.loss_view import LossView, thinned
from lrpath.laws.path_curves import NamedPath, has_losses
from lrpath.laws.path_fit import PathFit, fit_paths
from lrpath.laws.settings import FitSettings
from lrpath.planning.global_batch import GROWTH


@dataclass(frozen=True, slots=True, kw_only=True)
class PathPrediction:
    """What is predicted of a path or of a file's rates, beside what was observed.

    Args:
        name: The path or the file.
        end: Position up to which it is planned.
        releases: Versions that its end is.
        prediction: Predicted losses at some of its updates.
        observed: Its recorded losses; None if it has not been run.
        errors: Predicted − observed, at the observed positions; None likewise.
        violations: In which respects it lies outside the range of validity of the fit.
        cautions: What about it no fitted curve shows.
    """

    name: str
    end: int
    releases: tuple[str, ...]
    prediction: CurvePrediction
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
        return self.end - int(places[-1]) < width or places[-1] == self.end


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
        rule: How the intervals were made.
        predictions: One for each path.
        ranking: How the releases among them that have been run are put in order.
        note: What else is to be known of the predicted loss, in a sentence; None if nothing.
        left_out: Paths that would have been extrapolated, with the reason.
        grown: Paths that no law predicts, since their batch grows, with the reason.
    """

    fitted: PathFit
    rule: IntervalRule
    predictions: tuple[PathPrediction, ...]
    ranking: Ranking
    note: str | None = None
    left_out: tuple[str, ...] = ()
    grown: tuple[str, ...] = ()


def predict_paths(
    fitted: PathFit,
    view: LossView,
    paths: Sequence[NamedPath],
    settings: FitSettings,
    *,
    curves: Sequence[Curve] = (),
    leave_out: bool = False,
) -> PredictedPaths:
    """Predict paths, run or not, and curves from files.

    Args:
        fitted: The fit.
        view: Which loss is compared.
        paths: Paths.
        settings: Level, margin and kind of the intervals, and whether to extrapolate.
        curves: Curves from files: their rates are predicted, and their losses compared where they have any.
        leave_out: Whether paths that would be extrapolated, or whose batch grows, are left out, unless that leaves
            none; else they are refused.

    Raises:
        LawError: If there is neither path nor curve, one would be extrapolated unasked, or too few paths are finished.
    """
    if not paths and not curves:
        raise LawError(
            "no path is left to predict: all were fitted; hold some out with fit=, or name some, predict=",
            field="predict",
        )
    scores = leave_one_out(view, settings) if settings.interval == "finished" else None
    rule = fitted.rule(settings, scores=scores)
    asker = _Asker(fitted=fitted, rule=rule, extrapolate=settings.extrapolate)
    found: list[PathPrediction] = []
    left_out: list[LawError] = []
    for path in paths:
        try:
            found.append(asker.path(view, path))
        except LawError as error:
            if not leave_out or error.field not in ("extrapolate", GROWTH):
                raise
            left_out.append(error)
    found += [asker.file(curve) for curve in curves]
    if not found:
        raise left_out[0]
    return PredictedPaths(
        fitted=fitted,
        rule=rule,
        predictions=tuple(found),
        ranking=ranking_of(found),
        left_out=tuple(str(error).partition(". Fit")[0] for error in left_out if error.field != GROWTH),
        grown=tuple(str(error).partition("; choose")[0] for error in left_out if error.field == GROWTH),
    )


def ranking_of(found: Sequence[PathPrediction]) -> Ranking:
    """Return how the finished releases of each version are put in order."""
    groups: dict[str, list[tuple[float, float]]] = {}
    for one in found:
        observed = one.observed_final
        if observed is not None and one.is_finished:
            for version in one.releases:
                groups.setdefault(version, []).append((one.final[1], observed))
    return Ranking.of(groups.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asker:
    """Asks one fit for paths and for files."""

    fitted: PathFit
    rule: IntervalRule
    extrapolate: bool

    def path(self, view: LossView, path: NamedPath) -> PathPrediction:
        observed = view.observed(path) if has_losses(view.study, path.path, view.held_out) else None
        planned = view.planned(path, besides=None if observed is None else observed.positions_P)
        planned = self.fitted.fit.validity.covered(planned)
        violations = self.fitted.violations(path, planned)
        text = view.text_of(path)
        if observed is not None and None not in (text, self.fitted.text) and text != self.fitted.text:
            other = (
                f"it was evaluated on other text under the name {view.name}, so that its losses are of another scale"
            )
            violations = (other, *violations)
        return self._prediction(planned, observed, violations, end=path.end, releases=path.releases)

    def file(self, curve: Curve) -> PathPrediction:
        validity = self.fitted.fit.validity
        asked = np.arange(curve.positions_P[0], curve.positions_P[-1] + 1)
        planned = thinned(replace(curve, positions_P=asked, losses_P=None), besides=curve.positions_P)
        planned = validity.covered(planned)
        observed = None if curve.losses_P is None else curve
        violations = validity.violations(planned)
        return self._prediction(planned, observed, violations, end=int(curve.positions_P[-1]), releases=())

    def _prediction(
        self,
        planned: Curve,
        observed: Curve | None,
        violations: tuple[str, ...],
        *,
        end: int,
        releases: tuple[str, ...],
    ) -> PathPrediction:
        fit = self.fitted.fit
        if violations and not self.extrapolate:
            raise LawError(
                f"path {planned.name} lies outside the range that was fitted: {'; '.join(violations)}. Fit paths that "
                "cover it, choose others with predict=, or add extrapolate=true",
                field="extrapolate",
                value=False,
            )
        if observed is not None:
            observed = observed_within(observed, planned)
        losses, low, high = self.rule.around(fit, planned)
        return PathPrediction(
            name=planned.name,
            end=end,
            releases=releases,
            prediction=CurvePrediction(curve=planned, losses_P=losses, low_P=low, high_P=high),
            observed=observed,
            errors=None if observed is None else fit.errors(observed, extrapolate=True),
            violations=violations,
            cautions=fit.validity.cautions(planned),
        )


def observed_within(observed: Curve, planned: Curve) -> Curve | None:
    """Return the observations from where a curve is predicted on; None if there are none."""
    first = int(planned.positions_P[0])
    return None if observed.positions_P[-1] < first else observed.between(first)


def leave_one_out(view: LossView, settings: FitSettings) -> tuple[float, ...]:
    """Return how far each finished branch of a study ends from what a fit to all the other run paths predicts of it.

    Args:
        view: Which loss.
        settings: How the law is fitted.
    """
    every = view.chosen(None)
    scores = []
    for path in every:
        observed = view.end_loss(path)
        rest = tuple(other.path.id for other in every if other.path.id != path.path.id)
        if path.path.parent is None or observed is None or not rest:
            continue
        fitted = fit_paths(view, replace(settings, files=(), bootstrap_samples=0), patterns=rest)
        predicted = fitted.fit.predict(view.planned(path), extrapolate=True).losses_P[-1]
        scores.append(abs(float(predicted) - observed))
    return tuple(scores)
