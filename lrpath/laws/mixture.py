"""The loss on a third domain as a mixture of those on the old and the new data (Eq. 6 of arXiv 2505.07796v2)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lrpath.errors import LawError
from lrpath.laws.areas import Array
from lrpath.laws.fit import CurvePrediction, PredictionErrors
from lrpath.laws.loss_view import LossView
from lrpath.laws.path_curves import NamedPath, has_losses
from lrpath.laws.prediction import PredictedPaths, observed_within, ranking_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """The loss of a third domain as a mixture `l1·L_old + l2·L_new`.

    The shares need not be positive, nor add up to 1: five of the paper's eight domains have a negative one.

    Args:
        old: l1.
        new: l2.
        r2: Share of the variance that it explains in the losses it was fitted to.

    References: arXiv 2505.07796v2, Eq. 6.
    """

    old: float
    new: float
    r2: float

    def losses(self, *, old: Array, new: Array) -> Array:
        """Return the third domain's losses at the positions of the other two."""
        return self.old * old + self.new * new


def fit_mixture(*, old: Array, new: Array, other: Array) -> Mixture:
    """Return the mixture nearest to the observed losses of a third domain, by ordinary least squares.

    Args:
        old: Losses of the old domain, observed or predicted.
        new: Losses of the new domain at the same positions.
        other: Observed losses of the third domain there.

    >>> old, new = np.array([3.0, 3.1, 3.3]), np.array([3.0, 2.7, 2.2])
    >>> found = fit_mixture(old=old, new=new, other=-0.546 * old + 1.853 * new)
    >>> round(found.old, 3), round(found.new, 3)
    (-0.546, 1.853)
    """
    shares, *_ = np.linalg.lstsq(np.stack((old, new), axis=1), other, rcond=None)
    error = other - shares[0] * old - shares[1] * new
    variance = float(((other - other.mean()) ** 2).sum())
    r2 = 1.0 - float((error**2).sum()) / variance if variance > 0 else math.nan
    return Mixture(old=float(shares[0]), new=float(shares[1]), r2=r2)


def predict_mixture(
    old: PredictedPaths, new: PredictedPaths, views: tuple[LossView, LossView, LossView], paths: Sequence[NamedPath]
) -> PredictedPaths:
    """Predict the loss on a third domain as a mixture of those on old and new data (Eq. 6 of arXiv 2505.07796v2).

    Its shares are fitted to the losses that the fitted paths have on all three.

    Args:
        old: Predictions of the loss on old data.
        new: Of the same paths, on new data.
        views: The losses on old and new data, and the third one.
        paths: The paths.

    Raises:
        LawError: If the fitted paths have fewer than three positions with all three losses.
    """
    mixed = [path for path in views[2].chosen(None) if path.path.id in old.fitted.path_ids]
    columns: list[list[float]] = []
    for path in mixed:
        series = [dict(zip(*_recorded(view, path), strict=True)) for view in views]
        shared = sorted(set.intersection(*map(set, series)))
        columns += [[one[position] for one in series] for position in shared]
    if len(columns) < 3:
        raise LawError(
            f"the fitted paths have {len(columns)} positions with losses on all of {', '.join(v.name for v in views)}; "
            "evaluate more often",
            field="mixture",
        )
    losses = np.array(columns).T
    mixture = fit_mixture(old=losses[0], new=losses[1], other=losses[2])
    found = []
    for path, first, second in zip(paths, old.predictions, new.predictions, strict=True):
        one, other = first.prediction, second.prediction
        predicted = mixture.losses(old=one.losses_P, new=other.losses_P)
        low = high = None
        if one.high_P is not None and one.low_P is not None and other.high_P is not None and other.low_P is not None:
            width = abs(mixture.old) * (one.high_P - one.low_P) + abs(mixture.new) * (other.high_P - other.low_P)
            low, high = predicted - width / 2, predicted + width / 2
        curve = CurvePrediction(curve=one.curve, losses_P=predicted, low_P=low, high_P=high)
        observed = views[2].observed(path) if has_losses(views[2].study, path.path, views[2].held_out) else None
        errors = None
        if observed is not None and (observed := observed_within(observed, one.curve)) is not None:
            there = np.interp(observed.positions_P, one.curve.positions_P, predicted)
            errors = PredictionErrors.of(observed=observed.observed(), predicted=there)
        found.append(replace(first, prediction=curve, observed=observed, errors=errors))
    note = (
        f"Mixture (Eq. 6): {mixture.old:.3f} × the loss on {views[0].name} + {mixture.new:.3f} × that on "
        f"{views[1].name}; R² {mixture.r2:.3f} over {len(columns)} positions of the fitted paths."
    )
    fitted = replace(old.fitted, set=views[2].name)
    return PredictedPaths(fitted=fitted, rule=old.rule, predictions=tuple(found), ranking=ranking_of(found), note=note)


def _recorded(view: LossView, path: NamedPath) -> tuple[list[int], list[float]]:
    curve = view.recorded(path)
    return curve.positions_P.tolist(), curve.observed().tolist()
