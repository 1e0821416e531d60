"""Which loss of a study is looked at, and how its curves are made ready for a law.

Shapes: U updates since the root, P observed positions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from lrpath.errors import LawError
from lrpath.laws.areas import Ints, warmup_updates
from lrpath.laws.continual import Domain
from lrpath.laws.curve_files import CurveFile, read_curve
from lrpath.laws.curves import Curve
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
from lrpath.laws.saved_fit import SHIFTED
from lrpath.laws.settings import TRAIN, FitSettings, names_in
from lrpath.planning.lineage import content_id
from lrpath.records.held_out import HeldOutSet, SetName
from lrpath.records.study import Study

POINTS = 400
"""Most positions at which a curve is predicted: sums over a million updates at each of a million positions take
hours."""


@dataclass(frozen=True, kw_only=True)  # not slotted, for what is read once
class LossView:
    """Which loss of a study is looked at, and how its curves are made ready for a law.

    Args:
        study: Where losses are recorded.
        name: What tables call the loss.
        held_out: The sets; None for the training loss.
        old: Versions that are the old data; None for a law without shift.
        skip: First updates that are left out [updates]; None for twice the warm-up.
        bins: Most observations of a curve.
    """

    study: Study
    name: str
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
        from_files = settings.fit == ()  # `set` is then but the name of their loss
        return cls(
            study=study,
            name=", ".join(patterns),
            held_out=None if patterns == (TRAIN,) or from_files else EvaluationSets.choose(study, patterns),
            old=frozenset(names_in(settings.old)) if settings.law in SHIFTED else None,
            skip=settings.skip,
            bins=settings.bins,
        )

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
        return tuple(replace(self, held_out=part, name=part.name) for part in parts)

    def planned(self, path: NamedPath, *, besides: Ints | None = None) -> Curve:
        """Return a path's rates, to be predicted at `POINTS` of its updates that are not left out, and some besides."""
        curve = self._ready(plan_path(tree=path.tree, path_id=path.path.id), path)
        return thinned(curve, besides=besides)

    def observed(self, path: NamedPath) -> Curve:
        """Return a path's rates and recorded losses, averaged to the bins.

        Raises:
            LawError: If nothing is recorded, or only what is left out.
        """
        return self.recorded(path).binned(self.bins)

    def recorded(self, path: NamedPath) -> Curve:
        """Return a path's rates and all its recorded losses but those that are left out."""
        curve = read_path(self.study, tree=path.tree, path_id=path.path.id, held_out=self.held_out)
        return self._ready(curve, path)

    def text_of(self, path: NamedPath) -> str | None:
        """Return a digest of the held-out tokens that a path was evaluated on; None if it is not known, or of training.

        A study may have two candidates for a version: the sets of both have its name, and their losses are not of one
        scale.
        """
        if self.held_out is None:
            return None
        known = self._held_out_sets.get(path.path.id, {})
        found = {"/".join(key): known[key].sha256 for key in self.held_out.keys if key in known}
        return content_id(found) if len(found) == len(self.held_out.keys) else None

    @cached_property
    def _held_out_sets(self) -> Mapping[str, Mapping[SetName, HeldOutSet]]:
        return self.study.held_out.read()

    def end_loss(self, path: NamedPath) -> float | None:
        """Return the loss that was recorded at a path's end; None if there is none."""
        if not has_losses(self.study, path.path, self.held_out):
            return None
        curve = read_path(self.study, tree=path.tree, path_id=path.path.id, held_out=self.held_out)
        return float(curve.observed()[-1]) if curve.positions_P[-1] == path.end else None

    def from_file(self, file: CurveFile) -> Curve:
        """Return the curve in a file, made ready as those of paths are."""
        curve = after_warmup(read_curve(file), self.skip)
        return curve if curve.losses_P is None else curve.binned(self.bins)

    def chosen(self, patterns: str | tuple[str, ...] | None) -> tuple[NamedPath, ...]:
        """Return the paths of the study that are to be fitted; by default all that have been run.

        A pattern that matches several paths means those of them that have been run, if any has.

        Raises:
            PlanError: If a pattern matches no path.
            LawError: If none has been run.
        """
        paths = paths_of(self.study)
        if patterns is not None:
            chosen: dict[str, NamedPath] = {}
            for pattern in names_in(patterns):
                meant = choose_paths(paths, (pattern,), field="fit")
                run = [path for path in meant if has_losses(self.study, path.path, self.held_out)]
                chosen |= {path.path.id: path for path in run or meant}
            return tuple(path for path in paths if path.path.id in chosen)
        found = tuple(path for path in paths if has_losses(self.study, path.path, self.held_out))
        if not found:
            raise LawError(f"study {self.study.name} has no path with a loss on {self.name} to fit; train first")
        return found

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
        raise LawError(
            f"curve {curve.name} has no loss after update {first:,}; lower skip, or choose another path",
            field="skip",
            value=skip,
        )
    return curve.between(first + 1)


def thinned(curve: Curve, *, besides: Ints | None = None) -> Curve:
    """Return a curve without losses, asked for at `POINTS` even positions, its last, and some besides."""
    even = np.linspace(0, curve.positions_P.size - 1, min(POINTS, curve.positions_P.size)).round().astype(int)
    asked = curve.positions_P[even]
    if besides is not None:
        asked = np.union1d(asked, besides)
    return replace(curve, positions_P=asked, losses_P=None)
