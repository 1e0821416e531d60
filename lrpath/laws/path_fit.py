"""Fits a law, and one of another memory to set it against, to paths of a study and curves from files."""

import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lrpath.errors import ConfigError, LawError
from lrpath.laws.continual import ContinualLaw, Domain, ShiftedLastIterateLaw
from lrpath.laws.curves import Curve
from lrpath.laws.fit import Fit, TooFewLossesError, fit_law
from lrpath.laws.intervals import IntervalRule
from lrpath.laws.loss_view import LossView
from lrpath.laws.path_curves import NamedPath
from lrpath.laws.saved_fit import SECOND, USUAL_FIXED, as_record, from_record, law_named, read_fits
from lrpath.laws.settings import FitSettings
from lrpath.planning.lineage import differences
from lrpath.planning.paths import Path

_NAMED = 3
"""Paths that a suggestion names: the others of its recipe are then predicted."""
_MOST_SCATTER = 0.1
"""Distance of the losses from the law, as a share of them, over which advice is refused: the noise of small batches is
a tenth of that once losses are averaged."""
_MOST_OUTLIERS = 0.1
_LEAST_FOR_ADVICE = 30
"""Observations under which advice is refused: four parameters then follow the noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathFit:
    """A fit, and what it was fitted to.

    Args:
        fit: The fit.
        second: A fit of a law with another memory to the same curves; None where that fit is impossible.
        set: Name of the loss.
        recipe: What all updates of the fitted paths share but for the seed; None if curves came from files alone.
        path_ids: The fitted paths.
        text: Digest of the held-out tokens that they were evaluated on; None if it is not known.
    """

    fit: Fit
    second: Fit | None
    set: str
    recipe: dict[str, Any] | None
    path_ids: frozenset[str]
    text: str | None = None

    @property
    def is_of_new_data(self) -> bool:
        """Whether the loss is that on new data, after a change of domain."""
        law = self.fit.law
        return isinstance(law, ContinualLaw | ShiftedLastIterateLaw) and law.domain is Domain.NEW

    @property
    def reasons_against_advice(self) -> tuple[str, ...]:
        """Why what is chosen by this fit must not be trusted, in sentences; empty if it may."""
        fit = self.fit
        # with L0 at 0 the fall is a power law without a floor, as short runs have; a choice of a decay does not hang
        # on it
        at_bound = {name: how for name, how in fit.not_identified.items() if how.startswith("lies at") and name != "L0"}
        bounds = [f"{name} {how}" for name, how in at_bound.items()]
        rules = {
            "no fitted curve was observed after a fast fall of the rate, so nothing is known of annealing: fit a "
            "branch too, fit=[main,v2]": not fit.validity.has_drop,
            f"{fit.residuals_N.size} losses were fitted, fewer than {_LEAST_FOR_ADVICE}: evaluate more often "
            "(cadence.evaluate_every=20 changes no number of a path), or fit the training loss": (
                fit.residuals_N.size < _LEAST_FOR_ADVICE
            ),
            f"the law misses the losses that were fitted by {fit.scatter:.1%}, and {fit.outliers:,} of "
            f"{fit.residuals_N.size:,} by far more, so that it does not describe these curves: look at them, a path "
            "may have diverged; leave it out with fit=": (
                fit.scatter > _MOST_SCATTER or fit.outliers > _MOST_OUTLIERS * fit.residuals_N.size
            ),
            f"the fit ends at a bound ({', '.join(bounds)}), so the law does not describe these curves": bool(bounds),
        }
        return tuple(text for text, holds in rules.items() if holds)

    def rule(self, settings: FitSettings, *, scores: tuple[float, ...] | None = None) -> IntervalRule:
        """Return how intervals of what it predicts are made."""
        return IntervalRule(
            second=self.second,
            margin=settings.margin,
            gain_margin=settings.gain_margin,
            level=settings.level,
            scores=scores,
        )

    def violations(self, path: NamedPath, curve: Curve) -> tuple[str, ...]:
        """Return in which respects a path lies outside of what was fitted: recipe, rates, areas; none if in none.

        Args:
            path: The path.
            curve: Its rates, asked for at some positions.
        """
        lines = [] if self.recipe is None else differences(self.recipe, recipe_of(path.path))
        more = "" if len(lines) < 4 else f" and {len(lines) - 3} fields more"
        other = (f"its recipe differs from that of the fitted ones ({'; '.join(lines[:3])}{more})",) if lines else ()
        return (*other, *self.fit.validity.violations(curve))

    def as_record(self) -> dict[str, Any]:
        """Return plain data for `read_fitted`."""
        second = None if self.second is None else as_record(self.second)
        return as_record(self.fit) | {
            "second": second,
            "recipe": self.recipe,
            "path_ids": sorted(self.path_ids),
            "text": self.text,
        }


def recipe_of(path: Path) -> dict[str, Any]:
    """Return what the numbers of a path depend on besides rates, data order and seed, as plain data.

    A growth of the batch is left out: a path on which the batch has grown has no curve, and is refused.
    """
    return {key: value for key, value in path.recipe.as_record(until=0).items() if key not in ("seed", "guard")}


def fit_paths(view: LossView, settings: FitSettings, *, patterns: str | tuple[str, ...] | None) -> PathFit:
    """Fit a law to paths of a study and to curves from files.

    Args:
        view: Which loss.
        settings: How.
        patterns: The paths; an empty tuple for files alone, None for all that have been run.

    Raises:
        LawError: If there are too few losses, the paths are of several recipes, or the law cannot be for these sets.
    """
    paths = () if patterns == () else view.chosen(patterns)
    curves = [view.observed(path) for path in paths]
    curves += [view.from_file(file) for file in settings.curve_files(settings.files)]
    recipe = recipe_of(paths[0].path) if paths else None
    for path in paths:
        if (lines := differences(recipe, recipe_of(path.path))) and not settings.extrapolate:
            alike = [other.name for other in paths if not differences(recipe, recipe_of(other.path))]
            raise LawError(
                f"paths {paths[0].name} and {path.name} are of two recipes ({'; '.join(lines[:3])}), which one law "
                f"cannot tell apart; choose paths of one, for example 'fit=[{','.join(alike[:_NAMED])}]', or add "
                "extrapolate=true",
                field="fit",
            )
    texts = {text: path.name for path in paths if (text := view.text_of(path)) is not None}
    if len(texts) > 1:
        names = " and ".join(list(texts.values())[:2])
        raise LawError(
            f"paths {names} were evaluated on other text under the name {view.name}, so that their losses are not of "
            "one scale; choose with fit=, or another set=",
            field="set",
            value=view.name,
        )
    fitted = fit_curves(curves, settings, view)
    return replace(
        fitted, recipe=recipe, path_ids=frozenset(path.path.id for path in paths), text=next(iter(texts), None)
    )


def fit_curves(curves: Sequence[Curve], settings: FitSettings, view: LossView) -> PathFit:
    """Fit a law to curves, and if it can be done the one it is set against."""
    domain = view.domain or _domain_of_files(settings)
    law = law_named(settings.law, domain=domain, curves=curves)
    fixed = USUAL_FIXED.get(settings.law, {}) if settings.fixed is None else settings.fixed
    try:
        fit = fit_law(law, curves, fixed=fixed, bootstrap_samples=settings.bootstrap_samples)
    except TooFewLossesError as error:
        if view.held_out is None:
            raise
        raise LawError(
            f"{error} (set={view.name} was evaluated too rarely: train with a shorter cadence.evaluate_every, which "
            "changes no number of a path, or fit the training loss, set=train)",
            field="set",
            value=view.name,
        ) from None
    name = SECOND[law.name]
    try:
        second = fit_law(law_named(name, domain=domain, curves=curves), curves, fixed=USUAL_FIXED[name])
    except TooFewLossesError:
        second = None
    return PathFit(fit=fit, second=second, set=view.name, recipe=None, path_ids=frozenset())


def _domain_of_files(settings: FitSettings) -> Domain | None:
    """Return which data the losses of files alone are of: `set=old` or `set=new`."""
    return next((domain for domain in Domain if settings.set == domain.value), None)


def read_fitted(file: pathlib.Path, settings: FitSettings) -> tuple[dict[str, PathFit], FitSettings]:
    """Return the fits in a file that `lrpath.predict` or `lrpath.advise` wrote, by set, and how they were made.

    Args:
        file: The file.
        settings: What is asked now; which law and which loss it is, and how that is looked at, is taken from the file.

    Raises:
        LawError: If it is not such a file.
    """
    record, fits = read_fits(file)
    try:
        found = {
            name: PathFit(
                fit=fit,
                second=_second(record["fits"][name], place=str(file)),
                set=name,
                recipe=record["fits"][name]["recipe"],
                path_ids=frozenset(record["fits"][name]["path_ids"]),
                text=record["fits"][name].get("text"),  # files of earlier versions do not say it
            )
            for name, fit in fits.items()
        }
        made = record["settings"]
        sets, old = tuple(made["set"]), tuple(made["old"])
        return found, replace(settings, law=made["law"], set=sets, old=old, skip=made["skip"], bins=made["bins"])
    except (KeyError, TypeError, ConfigError) as error:
        raise LawError(f"{file} lacks {error}; fit again", field="law", value=str(file)) from None


def _second(record: Mapping[str, Any], *, place: str) -> Fit | None:
    return None if record["second"] is None else from_record(record["second"], place=place)
