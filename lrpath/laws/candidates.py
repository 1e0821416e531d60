"""What there is to choose from: the branches, or the continued runs, that could make each version, with their price."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lrpath.errors import ConfigError, LawError, PlanError
from lrpath.laws.curves import Curve
from lrpath.laws.path_curves import NamedPath, plan_path, with_shift
from lrpath.planning.paradigms import Continual, Infinite, Paradigm, PathSwitching, Setting
from lrpath.planning.schedule import Decay, Shape

_COMPOSED = (Shape.POWER, Shape.STAIR, Shape.KNEE)
"""Shapes that need more than a floor."""
_ALPHAS = tuple(round(0.05 * k, 2) for k in range(1, 21))


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What is asked for, and what there is to choose from; `conf/advise.yaml` holds the values and their comments.

    Args:
        releases: Versions that are advised on; None for those that have not been run.
        loss: Loss to be attained at the least price [nats per token].
        budget: Most updates of all paths together (updates or tokens), for the least loss.
        within: Without either: how near to the best predicted loss the cheapest must be [nats per token].
        alphas: Branch updates ÷ increment updates; None for .05, .1 … 1.
        shapes: Shapes of decay.
        floors: Last rates as shares of the peak.
        replays: Shares of old data, for `continual`.
        peaks: Peaks of versions 2… as shares of the peak, for `continual`; None for the configured one.
        weight: Weight of the new data's loss; the old data's has the rest.
    """

    releases: str | tuple[str, ...] | None
    loss: float | None
    budget: int | str | None
    within: float
    alphas: tuple[float, ...] | None
    shapes: tuple[Shape, ...]
    floors: tuple[float, ...]
    replays: tuple[float, ...]
    peaks: tuple[float, ...] | None
    weight: float

    def __post_init__(self) -> None:
        if self.loss is not None and self.budget is not None:
            raise ConfigError("loss and budget exclude each other; give one of them", field="budget", value=self.budget)
        if self.loss is not None and not self.loss > 0:
            raise ConfigError(f"loss={self.loss} must be above 0", field="loss", value=self.loss)
        for name in ("shapes", "floors", "replays"):
            if not getattr(self, name):
                raise ConfigError(f"{name} is empty; give at least one to choose from", field=name, value=())
        if odd := [shape for shape in self.shapes if shape in _COMPOSED]:
            raise ConfigError(
                f"shapes: {odd[0]} needs more than a floor and cannot be advised on; remove it",
                field="shapes",
                value=self.shapes,
            )
        if not self.within >= 0:
            raise ConfigError(f"within={self.within} must be at least 0", field="within", value=self.within)
        if not 0 <= self.weight <= 1:
            raise ConfigError(
                f"weight={self.weight} must lie in [0, 1]: the new data's share of the loss",
                field="weight",
                value=self.weight,
            )
        for name, values in (("alphas", self.alphas), ("peaks", self.peaks)):
            if values is not None and not (values and all(0 < value < math.inf for value in values)):
                raise ConfigError(
                    f"{name}={list(values)} must be positive shares, at least one", field=name, value=values
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way to make one version.

    Args:
        version: The version.
        fields: What is chosen, by name: alpha, shape and floor, or replay and peak.
        path: The path that would make it.
        updates: Its own updates, the price.
    """

    version: str
    fields: dict[str, Any]
    path: NamedPath
    updates: int

    @property
    def shared(self) -> tuple[Any, ...]:
        """What all versions of one plan must have alike."""
        return tuple(value for name, value in self.fields.items() if name != "alpha")

    def is_beside(self, other: "Candidate") -> bool:
        """Say whether the two differ in α, or in the share replayed, at most."""
        names = self.fields.keys() - {"alpha", "replay"}
        return all(self.fields[name] == other.fields[name] for name in names)

    def curve(self, old: frozenset[str] | None) -> Curve:
        """Return the path's rates, asked for at its end."""
        tree, path_id = self.path.tree, self.path.path.id
        curve = plan_path(tree=tree, path_id=path_id, positions=np.array([self.path.end]))
        curve = replace(curve, name=f"{self.version} ({self.text()})")
        return curve if old is None else with_shift(curve, tree=tree, path_id=path_id, old=old)

    def text(self) -> str:
        """Return the choice in words, `α=0.4, linear to 0`."""
        names = self.fields
        if "alpha" in names:
            return f"α={names['alpha']:g}, {names['shape']} to {names['floor']:g}"
        peak = "" if names["peak"] is None else f", peak × {names['peak']:g}"
        return f"replay {names['replay']:g}{peak}"


def candidates_of(
    paradigm: Paradigm, setting: Setting, objective: Objective, numbers: Sequence[int]
) -> tuple[tuple[Candidate, ...], tuple[Candidate, ...]]:
    """Return what there is to choose from, and what is configured.

    Args:
        paradigm: Branches (`path_switching`, `infinite`) or `continual`; what is not chosen stays as it is there.
        setting: What the paradigm is given.
        objective: What to choose from.
        numbers: Versions, from 0.

    Raises:
        LawError: If the paradigm is of another kind, or no candidate can be planned.
    """
    if isinstance(paradigm, PathSwitching | Infinite):
        return _branches(paradigm, setting, objective, numbers)
    if isinstance(paradigm, Continual):
        return _continued(paradigm, setting, objective, numbers)
    raise LawError(
        f"{setting.label} is of kind {paradigm.kind}, which has no branch and no replay to choose; advise on "
        "path_switching, infinite or continual with label="
    )


def _branches(
    paradigm: PathSwitching | Infinite, setting: Setting, objective: Objective, numbers: Sequence[int]
) -> tuple[tuple[Candidate, ...], tuple[Candidate, ...]]:
    count = len(setting.increments)
    given = paradigm.alpha if isinstance(paradigm.alpha, tuple) else (paradigm.alpha,) * count
    decays = [
        Decay(shape=shape, floor=floor)
        for shape in objective.shapes
        for floor in objective.floors
        if floor > 0 or not shape.needs_floor
    ]
    found, configured = [], []
    for number in numbers:
        for decay, alpha in [(d, a) for d in decays for a in objective.alphas or _ALPHAS]:
            fields = {"alpha": alpha, "shape": decay.shape.value, "floor": decay.floor}
            changed = replace(paradigm, alpha=(*given[:number], alpha), decay=decay)
            if (candidate := _branch(changed, setting, number, fields)) is not None:
                found.append(candidate)
        fields = {"alpha": given[number], "shape": paradigm.decay.shape.value, "floor": paradigm.decay.floor}
        if (candidate := _branch(replace(paradigm, alpha=given[: number + 1]), setting, number, fields)) is not None:
            configured.append(candidate)
    if missing := {setting.increments[n].version for n in numbers} - {candidate.version for candidate in found}:
        raise LawError(f"{', '.join(sorted(missing))} can have no branch of these alphas: all leave before the warm-up")
    return tuple(found), tuple(configured)


def _branch(
    paradigm: PathSwitching | Infinite, setting: Setting, number: int, fields: dict[str, Any]
) -> Candidate | None:
    """Return a candidate; None if its branch would leave too early or have no update."""
    try:
        tree = paradigm.plan(replace(setting, increments=setting.increments[: number + 1]))
    except PlanError:
        return None
    return _option(setting, number, fields, tree.releases[-1].last.path_id, tree)


def _option(setting: Setting, number: int, fields: dict[str, Any], path_id: str, tree: Any) -> Candidate:
    path = tree.path(path_id)
    return Candidate(
        version=setting.increments[number].version,
        fields=fields,
        path=NamedPath(name=path.name, tree=tree, path=path),
        updates=tree.updates(path_id),
    )


def _continued(
    paradigm: Continual, setting: Setting, objective: Objective, numbers: Sequence[int]
) -> tuple[tuple[Candidate, ...], tuple[Candidate, ...]]:
    """Return candidates of replay and peak; the decay stays, for it is version 1's as well."""
    if any(number == 0 for number in numbers):
        raise LawError(f"{setting.label}: version 1 continues nothing, so there is nothing to choose; give releases=v2")
    found, configured = [], []
    for number in numbers:
        short = replace(setting, increments=setting.increments[: number + 1])
        for replay in objective.replays:
            for peak in objective.peaks or (None,):
                changed = replace(paradigm, replay=replay)
                if peak is not None:
                    changed = replace(changed, rewarm_peak=peak * paradigm.peak)
                tree = changed.plan(short)
                fields = {"replay": replay, "peak": peak}
                found.append(_option(setting, number, fields, tree.releases[-1].last.path_id, tree))
        tree = paradigm.plan(short)
        fields = {"replay": paradigm.replay, "peak": None}
        configured.append(_option(setting, number, fields, tree.releases[-1].last.path_id, tree))
    return tuple(found), tuple(configured)
