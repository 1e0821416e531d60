"""What there is to choose from: the branches, or the continued runs, that could make each version, with their price."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lrpath.errors import ConfigError, LawError, PlanError
from lrpath.laws.curves import Curve
from lrpath.laws.path_curves import NamedPath, plan_path, with_shift
from lrpath.planning.decay import Decay
from lrpath.planning.paradigms import Continual, Infinite, Paradigm, PathSwitching, Setting
from lrpath.planning.paradigms.setting import branch_lengths
from lrpath.planning.schedule import Shape

_COMPOSED = (Shape.POWER, Shape.STAIR, Shape.KNEE)
"""Shapes that need more than a floor."""
_ALPHAS = tuple(round(0.05 * k, 2) for k in range(1, 21))
_SHARES = tuple(round(0.025 * k, 3) for k in range(1, 21))
_UNEVEN = 1.5
"""Greatest ÷ least increment from which on shares are chosen from: α of an increment says little there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What is asked for, and what there is to choose from; `conf/advise.yaml` holds the values and their comments.

    Args:
        releases: Versions that are advised on; None for those that have not been run.
        loss: Loss to be attained at the least price [nats per token].
        budget: Most updates of all paths together (updates or tokens), for the least loss.
        within: Without either: how near to the best predicted loss the cheapest must be [nats per token]; None for the
            best predicted itself.
        alphas: Branch updates ÷ increment updates; None for .05, .1 … 1, or for shares where increments are uneven.
        shares: Branch updates ÷ everything so far, in place of alphas; None for .025, .05 … .5 of uneven increments.
        shapes: Shapes of decay.
        floors: Last rates as shares of the peak.
        replays: Shares of old data, for `continual`.
        peaks: Peaks of versions 2… as shares of the peak, for `continual`; None for the configured one.
        weight: Weight of the new data's loss; the old data's has the rest.
    """

    releases: str | tuple[str, ...] | None
    loss: float | None
    budget: int | str | None
    within: float | None
    alphas: tuple[float, ...] | None
    shares: tuple[float, ...] | None
    shapes: tuple[Shape, ...]
    floors: tuple[float, ...]
    replays: tuple[float, ...]
    peaks: tuple[float, ...] | None
    weight: float

    def __post_init__(self) -> None:
        for one, other in (("loss", "budget"), ("alphas", "shares"), ("loss", "within"), ("budget", "within")):
            value = getattr(self, other)
            if getattr(self, one) is not None and value is not None:
                raise ConfigError(f"{one} and {other} exclude each other; give one of them", field=other, value=value)
        odd = [shape for shape in self.shapes if shape in _COMPOSED]
        rules = {
            "loss": (self.loss is None or self.loss > 0, "must be above 0"),
            "shapes": (
                self.shapes and not odd,
                f"must be at least one that needs no more than a floor, not {', '.join(odd) or 'none'}",
            ),
            "floors": (bool(self.floors), "must be at least one"),
            "replays": (bool(self.replays), "must be at least one"),
            "within": (self.within is None or self.within >= 0, "must be at least 0"),
            "weight": (0 <= self.weight <= 1, "must lie in [0, 1]: the new data's share of the loss"),
            **{name: (_are_positive(getattr(self, name)), "must be positive, at least one") for name in _GRIDS},
        }
        for name, (holds, rule) in rules.items():
            if not holds:
                value = getattr(self, name)
                shown = list(value) if isinstance(value, tuple) else value
                raise ConfigError(f"{name}={shown} {rule}", field=name, value=value)

    @property
    def is_best(self) -> bool:
        """Whether neither a loss, a budget nor a tolerance is given, so that the best predicted is chosen."""
        return self.loss is None and self.budget is None and self.within is None


_GRIDS = ("alphas", "shares", "peaks")


def _are_positive(values: tuple[float, ...] | None) -> bool:
    return values is None or (bool(values) and all(0 < value < math.inf for value in values))


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
    def is_branch(self) -> bool:
        """Whether it is a branch, with an α, or a continued run with a replay."""
        return "alpha" in self.fields

    @property
    def chosen_value(self) -> float:
        """Its α, or the share that it replays."""
        return float(self.fields["alpha" if self.is_branch else "replay"])

    @property
    def share(self) -> float:
        """Its updates ÷ everything so far: what carries over from one horizon to another, as α does not."""
        return self.updates / self.path.end

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
            return f"α={names['alpha']:.4g}, {names['shape']} to {names['floor']:g}"
        peak = "" if names["peak"] is None else f", peak × {names['peak']:g}"
        return f"replay {names['replay']:g}{peak}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """What is predicted of a candidate.

    Args:
        candidate: The candidate.
        loss: Weighted loss at the end [nats per token].
        losses: Loss by set.
        second: Weighted loss by the law of another memory; None if there is none.
        observed: Weighted loss that was recorded at its end; None if it has not been run.
        violations: In which respects it lies outside the range of validity of a law.
    """

    candidate: Candidate
    loss: float
    losses: dict[str, float]
    second: float | None
    observed: float | None
    violations: tuple[str, ...]


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
        for decay, alpha in [(d, a) for d in decays for a in _alphas(setting, objective, number)]:
            fields = {"alpha": alpha, "shape": decay.shape.value, "floor": decay.floor}
            changed = replace(paradigm, alpha=(*given[:number], alpha), decay=decay)
            if (candidate := _branch(changed, setting, number, fields)) is not None:
                found.append(candidate)
        alpha = branch_lengths(setting, paradigm.alpha)[number] / setting.increments[number].updates
        alpha = alpha if isinstance(given[number], str) else float(given[number])
        fields = {"alpha": alpha, "shape": paradigm.decay.shape.value, "floor": paradigm.decay.floor}
        if (candidate := _branch(replace(paradigm, alpha=given[: number + 1]), setting, number, fields)) is not None:
            configured.append(candidate)
    if missing := {setting.increments[n].version for n in numbers} - {candidate.version for candidate in found}:
        raise LawError(f"{', '.join(sorted(missing))} can have no branch of these alphas: all leave before the warm-up")
    return tuple(found), tuple(configured)


def _alphas(setting: Setting, objective: Objective, number: int) -> tuple[float, ...]:
    """Return the α to choose from for a version, from shares of everything so far where these are asked for."""
    sizes = [increment.updates for increment in setting.increments]
    uneven = max(sizes) > _UNEVEN * min(sizes)
    if objective.alphas is not None or (objective.shares is None and not uneven):
        return objective.alphas or _ALPHAS
    lengths = [max(1, round(share * setting.totals[number])) for share in objective.shares or _SHARES]
    return tuple(dict.fromkeys(length / sizes[number] for length in lengths))


def _branch(
    paradigm: PathSwitching | Infinite, setting: Setting, number: int, fields: dict[str, Any]
) -> Candidate | None:
    """Return a candidate; None if its branch would leave too early or have no update."""
    try:
        tree = paradigm.plan(replace(setting, increments=setting.increments[: number + 1]))
    except PlanError:
        return None
    return _candidate(setting, number, fields, tree.releases[-1].last.path_id, tree)


def _candidate(setting: Setting, number: int, fields: dict[str, Any], path_id: str, tree: Any) -> Candidate:
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
                found.append(_candidate(setting, number, fields, tree.releases[-1].last.path_id, tree))
        tree = paradigm.plan(short)
        fields = {"replay": paradigm.replay, "peak": None}
        configured.append(_candidate(setting, number, fields, tree.releases[-1].last.path_id, tree))
    return tuple(found), tuple(configured)
