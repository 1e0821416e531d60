"""Chooses α, shape and floor of branches, or replay and peak of a continued run, by what fitted laws predict.

    candidates = candidates_of(paradigm, setting, objective, numbers)      # everything there is to choose from
    advice = advise(candidates, fits, objective)                      # what is predicted of each, and the choice

The loss of an candidate is the weighted mean over its fits, one for each validation loss: one for a single domain, two
(old data, new data) where domains shift. Its price is the updates of its own path; the main path is run anyway.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lrpath.errors import LawError
from lrpath.laws.areas import Array, forward_area
from lrpath.laws.candidates import Candidate, Objective
from lrpath.laws.continual import ContinualLaw, Domain, critical_area, loss_potential, turning_area
from lrpath.laws.curves import Curve
from lrpath.laws.path_fit import PathFit

_TOGETHER = 64
"""Candidates that are predicted at once; bounds the memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedFit:
    """A fitted law with the weight of its loss.

    Args:
        fitted: The fit.
        weight: Share of the loss, in `[0, 1]`.
    """

    fitted: PathFit
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """What is predicted of an candidate.

    Args:
        candidate: The candidate.
        loss: Weighted loss at the end [nats per token].
        losses: Loss by set.
        violations: In which respects it lies outside the range of validity of a law.
    """

    candidate: Candidate
    loss: float
    losses: dict[str, float]
    violations: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The candidate chosen for a version.

    Args:
        evaluated: What is predicted of it.
        low: Lower end of the interval of its loss; None without bootstrap samples.
        high: Upper end.
        marginal: What the last updates of the branch gain [nats per update], from the next shorter one; None for the
            shortest, and where the price is fixed.
        interval: Interval of the best α, or share replayed, over the bootstrap samples; None without them, and for a
            wanted loss or budget.
        is_identified: Whether that is less than half of what there was to choose from.
        cautions: What about it no fitted curve shows.
    """

    evaluated: Evaluated
    low: float | None
    high: float | None
    marginal: float | None
    interval: tuple[float, float] | None
    is_identified: bool
    cautions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """What the fitted laws of continual pre-training say of the change of data.

    Args:
        potential: Rate at the boundary ÷ the peak before it (loss potential): 1 if not annealed.
        before: Updates before the boundary.
        turning: Fewest updates at the constant rate after which the old data's loss is back (turning length); 0 if it
            never rises, None if it never comes back.
        critical: Updates of pre-training at the peak from which on it never comes back (critical point); None if it
            always does.
    """

    potential: float
    before: int
    turning: float | None
    critical: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """The choice, and what it was chosen from.

    Args:
        choices: One for each version.
        configured: What is predicted of the configuration as it stands.
        evaluated: Everything that was to choose from.
        fits: The laws.
        excluded: Reasons for which candidates were not considered, with their number.
        shift: What is known of the change of data; None without one.
    """

    choices: tuple[Choice, ...]
    configured: tuple[Evaluated, ...]
    evaluated: tuple[Evaluated, ...]
    fits: tuple[WeightedFit, ...]
    excluded: dict[str, int]
    shift: Shift | None

    def frontier(self, version: str) -> tuple[Evaluated, ...]:
        """Return the candidates of a version than which none is both cheaper and better, by price."""
        kept: list[Evaluated] = []
        rows = [
            row for row in self.evaluated if row.candidate.version == version and not (row.violations and self.excluded)
        ]
        for row in sorted(rows, key=lambda row: (row.candidate.updates, row.loss)):
            if not kept or row.loss < kept[-1].loss:
                kept.append(row)
        return tuple(kept)


def advise(
    candidates: Sequence[Candidate],
    configured: Sequence[Candidate],
    fits: Sequence[WeightedFit],
    objective: Objective,
    *,
    old: frozenset[str] | None,
    level: float,
    extrapolate: bool,
) -> Advice:
    """WeightedFit all candidates and choose.

    Args:
        candidates: What there is to choose from.
        configured: What stands in the configuration.
        fits: Laws with weights.
        objective: The rule: a loss, a budget (in updates here), or `within`.
        old: Versions that are the old data; None without shift.
        level: Probability of intervals.
        extrapolate: Whether candidates outside the range of validity of a law are considered.

    Raises:
        LawError: If no candidate lies within the range of validity, or none attains the loss or fits the budget.
    """
    evaluated = _evaluate(candidates, fits, old=old)
    kept = [row for row in evaluated if extrapolate or not row.violations]
    reasons = [reason for row in evaluated for reason in row.violations] if not extrapolate else []
    lacking = {row.candidate.version for row in evaluated} - {row.candidate.version for row in kept}
    if lacking:
        raise LawError(
            f"every candidate for {', '.join(sorted(lacking))} lies outside the range that was fitted, for example: "
            f"{reasons[0]}. Fit paths that cover it, or add extrapolate=true",
            field="extrapolate",
            value=False,
        )
    chosen = _choose(kept, objective)
    return Advice(
        choices=tuple(_detail(row, kept, fits, objective, old=old, level=level) for row in chosen),
        configured=_evaluate(configured, fits, old=old),
        evaluated=evaluated,
        fits=tuple(fits),
        excluded={reason: reasons.count(reason) for reason in dict.fromkeys(reasons)},
        shift=_shift(chosen, fits, old=old),
    )


def _evaluate(
    candidates: Sequence[Candidate], fits: Sequence[WeightedFit], *, old: frozenset[str] | None
) -> tuple[Evaluated, ...]:
    found: list[Evaluated] = []
    for first in range(0, len(candidates), _TOGETHER):
        some = candidates[first : first + _TOGETHER]
        curves = [candidate.curve(old) for candidate in some]
        by_set = {weighted.fitted.set: _losses(weighted.fitted, curves)[0] for weighted in fits}
        for number, (candidate, curve) in enumerate(zip(some, curves, strict=True)):
            losses = {name: float(values[number]) for name, values in by_set.items()}
            broken = dict.fromkeys(
                text for weighted in fits for text in weighted.fitted.violations(candidate.path, curve)
            )
            loss = sum(weighted.weight * losses[weighted.fitted.set] for weighted in fits)
            found.append(Evaluated(candidate=candidate, loss=loss, losses=losses, violations=tuple(broken)))
    return tuple(found)


def _losses(fitted: PathFit, curves: Sequence[Curve], *, from_samples: bool = False) -> Array:
    """Return the losses `(1 or B, curves)` at the ends of curves, by the parameters or by each bootstrap sample."""
    fit = fitted.fit
    values = fit.samples_BQ if from_samples else fit.law.values(fit.values)[None]
    return fit.law.losses(values, fit.law.prepare(curves))[0]


def _choose(rows: Sequence[Evaluated], objective: Objective) -> tuple[Evaluated, ...]:
    """Return one row for each version, alike in what versions of one plan share."""
    budget = objective.budget
    assert not isinstance(budget, str)
    versions = list(dict.fromkeys(row.candidate.version for row in rows))
    bests = {version: min(row.loss for row in rows if row.candidate.version == version) for version in versions}
    bounds = {
        version: bests[version] + objective.within if objective.loss is None else objective.loss for version in versions
    }
    plans: list[tuple[Evaluated, ...]] = []
    for shared in dict.fromkeys(row.candidate.shared for row in rows):
        groups = [
            [row for row in rows if (row.candidate.shared, row.candidate.version) == (shared, version)]
            for version in versions
        ]
        plan = _within_budget(groups, budget) if budget is not None else _cheapest(groups, list(bounds.values()))
        if plan is not None:
            plans.append(plan)
    if not plans:
        raise LawError(_unattainable(rows, objective, bests))
    dear: Callable[[tuple[Evaluated, ...]], tuple[float, float]] = lambda plan: (  # noqa: E731
        sum(row.candidate.updates for row in plan),
        sum(row.loss for row in plan),
    )
    return min(plans, key=dear if budget is None else lambda plan: dear(plan)[::-1])


def _cheapest(groups: Sequence[Sequence[Evaluated]], bounds: Sequence[float]) -> tuple[Evaluated, ...] | None:
    """Return the cheapest row of each version whose loss is at most its bound; None if one has none."""
    plan = []
    for group, bound in zip(groups, bounds, strict=True):
        good = [row for row in group if row.loss <= bound + 1e-12]
        if not good:
            return None
        plan.append(min(good, key=lambda row: (row.candidate.updates, row.loss)))
    return tuple(plan)


def _within_budget(groups: Sequence[Sequence[Evaluated]], budget: int) -> tuple[Evaluated, ...] | None:
    """Return the rows of least total loss whose prices add up to at most the budget: an exact knapsack by prices."""
    best: dict[int, tuple[float, tuple[Evaluated, ...]]] = {0: (0.0, ())}
    for group in groups:
        grown: dict[int, tuple[float, tuple[Evaluated, ...]]] = {}
        for spent, (loss, rows) in best.items():
            for row in group:
                price, total = spent + row.candidate.updates, loss + row.loss
                if price <= budget and (price not in grown or total < grown[price][0]):
                    grown[price] = total, (*rows, row)
        best = _undominated(grown)
    return min(best.values(), key=lambda pair: pair[0])[1] if best else None


def _undominated(
    by_price: dict[int, tuple[float, tuple[Evaluated, ...]]],
) -> dict[int, tuple[float, tuple[Evaluated, ...]]]:
    kept: dict[int, tuple[float, tuple[Evaluated, ...]]] = {}
    least = math.inf
    for price in sorted(by_price):
        if by_price[price][0] < least:
            kept[price], least = by_price[price], by_price[price][0]
    return kept


def _unattainable(rows: Sequence[Evaluated], objective: Objective, bests: dict[str, float]) -> str:
    if objective.budget is not None:
        least = sum(
            min(row.candidate.updates for row in rows if row.candidate.version == version)
            for version in dict.fromkeys(row.candidate.version for row in rows)
        )
        return (
            f"budget={objective.budget:,} updates is too small: the shortest take {least:,}; enlarge it, or add alphas"
        )
    if objective.loss is None:
        return f"no shape and floor is within={objective.within:g} of the best for every version; enlarge within"
    hardest = max(bests, key=lambda version: bests[version])
    best = min((row for row in rows if row.candidate.version == hardest), key=lambda row: row.loss)
    if bests[hardest] > objective.loss:
        return (
            f"loss={objective.loss:g} cannot be attained by {hardest}: the least predicted loss is {best.loss:.4f}, "
            f"with {best.candidate.text()}; give a higher loss, or choose other versions with releases="
        )
    return (
        f"loss={objective.loss:g} is not attained by one shape and floor for all versions; choose fewer with releases="
    )


def _detail(
    row: Evaluated,
    rows: Sequence[Evaluated],
    fits: Sequence[WeightedFit],
    objective: Objective,
    *,
    old: frozenset[str] | None,
    level: float,
) -> Choice:
    candidate = row.candidate
    line = sorted(
        (one for one in rows if one.candidate.version == candidate.version and one.candidate.is_beside(candidate)),
        key=lambda one: one.candidate.updates,
    )
    curves = [one.candidate.curve(old) for one in line]
    at = line.index(row)
    marginal = None
    if at and line[at - 1].candidate.updates < candidate.updates:
        marginal = (line[at - 1].loss - row.loss) / (candidate.updates - line[at - 1].candidate.updates)
    low = high = interval = None
    name = "alpha" if "alpha" in candidate.fields else "replay"
    choices = np.array([one.candidate.fields[name] for one in line])
    if all(len(weighted.fitted.fit.samples_BQ) for weighted in fits):
        losses = _sampled_losses(fits, curves)
        ends = [(1 - level) / 2, (1 + level) / 2]
        low, high = (float(end) for end in np.quantile(losses[:, at], ends))
        low, high = min(low, row.loss), max(high, row.loss)
        if objective.loss is None and objective.budget is None:
            room = objective.within if name == "alpha" else 0.0  # a price that is fixed makes nothing cheaper
            first = np.argmax(losses <= losses.min(axis=1, keepdims=True) + room, axis=1)
            least, most = np.quantile(choices[first], ends, method="nearest")
            interval = float(least), float(most)
    cautions = dict.fromkeys(text for weighted in fits for text in weighted.fitted.fit.validity.cautions(curves[at]))
    return Choice(
        evaluated=row,
        low=low,
        high=high,
        marginal=marginal,
        interval=interval,
        is_identified=interval is None or len(line) == 1 or interval[1] - interval[0] < 0.5 * float(np.ptp(choices)),
        cautions=(*row.violations, *cautions),
    )


def _sampled_losses(fits: Sequence[WeightedFit], curves: Sequence[Curve]) -> Array:
    """Return the weighted losses `(B, curves)` by each bootstrap sample."""
    count = min(len(weighted.fitted.fit.samples_BQ) for weighted in fits)
    parts = [weighted.weight * _losses(weighted.fitted, curves, from_samples=True)[:count] for weighted in fits]
    return np.asarray(np.sum(parts, axis=0))


def _shift(chosen: Sequence[Evaluated], fits: Sequence[WeightedFit], *, old: frozenset[str] | None) -> Shift | None:
    laws = [one.fitted.fit for one in fits]
    of_old = [fit for fit in laws if isinstance(fit.law, ContinualLaw) and fit.law.domain is Domain.OLD]
    if old is None or not of_old:
        return None
    curve = chosen[-1].candidate.curve(old)
    if curve.boundary is None:
        return None
    values = of_old[0].values
    area = float(forward_area(curve.rates_U)[curve.boundary])
    rate = float(curve.rates_U[curve.boundary])
    turning, critical = turning_area(values, before=area), critical_area(values)
    return Shift(
        potential=loss_potential(curve),
        before=curve.boundary,
        turning=None if turning is None else turning / max(rate, 1e-300),
        critical=critical / float(curve.rates_U[: curve.boundary].max()) if math.isfinite(critical) else None,
    )
