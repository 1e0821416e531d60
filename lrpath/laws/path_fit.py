"""Fits a law to chosen paths of a study: which loss is looked at, how its curves are made ready, and what came out.

Shapes: U updates since the root, P observed positions.
"""

import pathlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lrpath.errors import ConfigError, LawError
from lrpath.laws.areas import warmup_updates
from lrpath.laws.continual import ContinualLaw, Domain
from lrpath.laws.curves import FROM_FIRST_ROW, Curve, History, read_csv, read_tensorboard
from lrpath.laws.fit import Fit, fit_law
from lrpath.laws.path_curves import (
    EvaluationSets,
    NamedPath,
    choose_paths,
    has_losses,
    paths_of,
    plan_path,
    read_path,
    with_shift,
)
from lrpath.laws.saved_fit import DEFAULT_FIXED, as_record, law_named, read_fits
from lrpath.planning.lineage import differences
from lrpath.planning.paths import Path
from lrpath.records.study import Study

TRAIN = "train"
"""What the training loss is called among the sets."""


def names_in(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the names in a field that has one or a list; none for null."""
    return () if value is None else (value,) if isinstance(value, str) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class FitSettings:
    """How a law is fitted; `conf/laws.yaml` holds the values and their comments.

    Args:
        law: Name of a law, or a file that `lrpath.predict` wrote, ending in `.json`.
        fixed: Parameters by name that are not sought; None for those that the law is usually fitted with.
        set: `train`, or patterns of held-out sets, see `EvaluationSets.choose`.
        fit: Patterns of the paths that are fitted; None for all that have been run.
        files: CSV files and TensorBoard folders whose curves are fitted too.
        files_warmup: Updates of the warm-up that they do not show; None if they begin where the run begins.
        old: For `continual`: versions that are the old data.
        skip: First updates that are not fitted [updates]; None for twice the warm-up.
        bins: Most observations of a curve; more are averaged.
        bootstrap_samples: Bootstrap samples of the bootstrap; 0 for no intervals.
        level: Probability of the intervals.
        extrapolate: Whether the law is asked outside of its range of validity.
    """

    law: str
    fixed: dict[str, float] | None
    set: str | tuple[str, ...]
    fit: str | tuple[str, ...] | None
    files: str | tuple[str, ...]
    files_warmup: int | None
    old: str | tuple[str, ...]
    skip: int | None
    bins: int
    bootstrap_samples: int
    level: float
    extrapolate: bool

    def __post_init__(self) -> None:
        for name, least in (("skip", 0), ("bins", 4), ("bootstrap_samples", 0), ("files_warmup", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name}={value} must be at least {least}", field=name, value=value)
        if not 0 < self.level < 1:
            raise ConfigError(
                f"level={self.level} must lie in (0, 1): it is a probability", field="level", value=self.level
            )
        for name in ("set", "old"):
            if not getattr(self, name):
                raise ConfigError(
                    f"{name} is empty; leave it out for the value in conf/laws.yaml", field=name, value=()
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class LossView:
    """Which loss of a study is looked at, and how its curves are made ready for a law.

    Args:
        study: Where losses are recorded.
        held_out: The sets; None for the training loss.
        old: Versions that are the old data; None for a law without shift.
        skip: First updates that are left out [updates]; None for twice the warm-up.
        bins: Most observations of a curve.
    """

    study: Study
    held_out: EvaluationSets | None
    old: frozenset[str] | None
    skip: int | None
    bins: int

    @classmethod
    def of(cls, study: Study, settings: FitSettings) -> "LossView":
        """Return the view that settings describe.

        Raises:
            LawError: If there is no such set.
        """
        patterns = names_in(settings.set)
        return cls(
            study=study,
            held_out=None if patterns == (TRAIN,) else EvaluationSets.choose(study, patterns),
            old=frozenset(names_in(settings.old)) if settings.law == "continual" else None,
            skip=settings.skip,
            bins=settings.bins,
        )

    @property
    def name(self) -> str:
        """What tables call the loss."""
        return TRAIN if self.held_out is None else self.held_out.name

    @property
    def domain(self) -> Domain | None:
        """Whether the sets are of old or of new data; None if of both, of neither, or without shift."""
        if self.held_out is None or self.old is None:
            return None
        kinds = {Domain.OLD if version in self.old else Domain.NEW for version in self.held_out.versions}
        return kinds.pop() if len(kinds) == 1 else None

    def by_domain(self) -> tuple["LossView", ...]:
        """Return a view for the old and one for the new data, as far as the sets are of them; itself without shift."""
        if self.held_out is None or self.old is None:
            return (self,)
        new = self.held_out.versions - self.old
        parts = [self.held_out.part(versions) for versions in (self.held_out.versions & self.old, new) if versions]
        return tuple(replace(self, held_out=part) for part in parts)

    def planned(self, path: NamedPath) -> Curve:
        """Return a path's rates, to be predicted at all its updates that are not left out."""
        return self._ready(plan_path(tree=path.tree, path_id=path.path.id), path)

    def observed(self, path: NamedPath) -> Curve:
        """Return a path's rates and recorded losses, averaged to the bins.

        Raises:
            LawError: If nothing is recorded, or only what is left out.
        """
        curve = read_path(self.study, tree=path.tree, path_id=path.path.id, held_out=self.held_out)
        return self._ready(curve, path).binned(self.bins)

    def _ready(self, curve: Curve, path: NamedPath) -> Curve:
        curve = after_warmup(replace(curve, name=path.name), self.skip)
        if self.old is None:
            return curve
        return with_shift(curve, tree=path.tree, path_id=path.path.id, old=self.old)


def after_warmup(curve: Curve, skip: int | None) -> Curve:
    """Return a curve without its first observations: `skip` of the updates, or twice those of the warm-up.

    Raises:
        LawError: If none is left.
    """
    first = 2 * warmup_updates(curve.rates_U) if skip is None else skip
    if curve.positions_P[-1] <= first:
        raise LawError(f"curve {curve.name} has no loss after update {first:,}; lower skip, or choose another path")
    return curve.between(first + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class PathFit:
    """A fit, and what it was fitted to.

    Args:
        fit: The fit.
        set: Name of the loss.
        recipe: What all updates of the fitted paths share but for the seed; None if curves came from files alone.
        path_ids: The fitted paths.
    """

    fit: Fit
    set: str
    recipe: dict[str, Any] | None
    path_ids: frozenset[str]

    @property
    def is_of_new_data(self) -> bool:
        """Whether the loss is that on new data, after a change of domain."""
        return isinstance(self.fit.law, ContinualLaw) and self.fit.law.domain is Domain.NEW

    def violations(self, path: NamedPath, curve: Curve) -> tuple[str, ...]:
        """Return in which respects a path lies outside of what was fitted: recipe, rates, areas; none if in none.

        Args:
            path: The path.
            curve: Its rates, asked for at some positions.
        """
        lines = [] if self.recipe is None else differences(self.recipe, recipe_of(path.path))
        more = "" if len(lines) < 4 else f" and {len(lines) - 3} fields more"
        strange = (f"it is of another recipe than the fitted ones ({'; '.join(lines[:3])}{more})",) if lines else ()
        return (*strange, *self.fit.validity.violations(curve))

    def as_record(self) -> dict[str, Any]:
        """Return plain data for `read_fitted`."""
        return as_record(self.fit) | {"recipe": self.recipe, "path_ids": sorted(self.path_ids)}


def recipe_of(path: Path) -> dict[str, Any]:
    """Return what the numbers of a path depend on besides rates, data order and seed, as plain data."""
    return {key: value for key, value in path.recipe.as_record().items() if key not in ("seed", "guard")}


def chosen_paths(view: LossView, patterns: str | tuple[str, ...] | None) -> tuple[NamedPath, ...]:
    """Return the paths of a study that are to be fitted; by default all that have been run.

    Raises:
        PlanError: If a pattern means no path.
        LawError: If none has been run.
    """
    paths = paths_of(view.study)
    if patterns is not None:
        return choose_paths(paths, names_in(patterns), field="fit")
    found = tuple(path for path in paths if has_losses(view.study, path.path, view.held_out))
    if not found:
        raise LawError(f"study {view.study.name} has no path with a loss on {view.name} to fit; train first")
    return found


def fit_paths(view: LossView, settings: FitSettings, *, patterns: str | tuple[str, ...] | None) -> PathFit:
    """Fit a law to paths of a study and to curves from files.

    Args:
        view: Which loss.
        settings: How.
        patterns: The paths; an empty tuple for files alone, None for all that have been run.

    Raises:
        LawError: If there are too few losses, the paths are of several recipes, or the law cannot be for these sets.
    """
    paths = () if patterns == () else chosen_paths(view, patterns)
    curves = [view.observed(path) for path in paths]
    history = FROM_FIRST_ROW if settings.files_warmup is None else History(warmup=settings.files_warmup)
    for name in names_in(settings.files):
        file = pathlib.Path(name)
        curve = (read_csv if file.suffix == ".csv" else read_tensorboard)(file, history=history)
        curves.append(after_warmup(curve, view.skip).binned(view.bins))
    law = law_named(settings.law, domain=view.domain, curves=curves)
    fixed = DEFAULT_FIXED.get(settings.law, {}) if settings.fixed is None else settings.fixed
    try:
        fit = fit_law(law, curves, fixed=fixed, bootstrap_samples=settings.bootstrap_samples)
    except LawError as error:
        if "losses;" not in str(error) or view.held_out is None:
            raise
        raise LawError(
            f"{error} (set={view.name} was evaluated too rarely: train with a shorter cadence.evaluate_every, which "
            "changes no number of a path, or fit the training loss, set=train)"
        ) from None
    recipe = recipe_of(paths[0].path) if paths else None
    for path in paths:
        if (lines := differences(recipe, recipe_of(path.path))) and not settings.extrapolate:
            raise LawError(
                f"paths {paths[0].name} and {path.name} are of two recipes ({'; '.join(lines[:3])}), which one law "
                "cannot tell apart; choose with fit=, or add extrapolate=true"
            )
    return PathFit(fit=fit, set=view.name, recipe=recipe, path_ids=frozenset(path.path.id for path in paths))


def read_fitted(file: pathlib.Path, settings: FitSettings) -> tuple[dict[str, PathFit], FitSettings]:
    """Return the fits in a file that `lrpath.predict` or `lrpath.advise` wrote, by set, and how they were made.

    Args:
        file: The file.
        settings: What is asked now; which law and which loss it is, and how that is looked at, is taken from the file.

    Raises:
        LawError: If it is no such file.
    """
    record, fits = read_fits(file)
    try:
        found = {
            name: PathFit(
                fit=fit,
                set=name,
                recipe=record["fits"][name]["recipe"],
                path_ids=frozenset(record["fits"][name]["path_ids"]),
            )
            for name, fit in fits.items()
        }
        made = record["settings"]
        sets, old = tuple(made["set"]), tuple(made["old"])
        return found, replace(settings, law=made["law"], set=sets, old=old, skip=made["skip"], bins=made["bins"])
    except (KeyError, TypeError) as error:
        raise LawError(f"{file} lacks {error}; fit again") from None


def settings_record(settings: FitSettings) -> Mapping[str, Any]:
    """Return what of the settings says which loss a fit is for, as plain data for `read_fitted`."""
    return {
        "law": settings.law,
        "set": list(names_in(settings.set)),
        "old": list(names_in(settings.old)),
        "skip": settings.skip,
        "bins": settings.bins,
    }
