"""Chooses α, shape and floor of branches, or replay and peak of a continued run, by what fitted laws foretell.

    options = options_of(paradigm, setting, wish, numbers)      # everything there is to choose from
    advice = advise(options, judges, wish)                      # what is foretold of each, and the choice

The loss of an option is the weighted mean over its judges, one for each validation loss: one for a single domain, two
(old data, new data) where domains shift. Its price is the updates of its own path; the main path is run anyway.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrpath.errors import LawError
from lrpath.laws.areas import forward_area
from lrpath.laws.candidates import Option, Wish
from lrpath.laws.continual import Continual as ContinualLaw
from lrpath.laws.continual import Domain, critical_area, loss_potential, turning_area
from lrpath.laws.curves import Curve
from lrpath.laws.path_fit import Fitted

Array = NDArray[np.float64]

_TOGETHER = 64
"""Options that are foretold at once; bounds the memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """A fitted law with the weight of its loss.

    Args:
        fitted: The fit.
        weight: Share of the loss, in `[0, 1]`.
    """

    fitted: Fitted
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What is foretold of an option.

    Args:
        option: The option.
        loss: Weighted loss at the end [nats per token].
        losses: Loss by set.
        beyond: In which respects it goes beyond what a law was fitted on.
    """

    option: Option
    loss: float
    losses: dict[str, float]
    beyond: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The option chosen for a version.

    Args:
        judged: What is foretold of it.
        low: Lower end of the interval of its loss; None without drawings.
        high: Upper end.
        marginal: What the last updates of the branch gain [nats per update], from the next shorter one; None for the
            shortest, and where the price is fixed.
        drawn: Between which α, or shares replayed, the choice lies in the drawings, by the level of the intervals; None
            without drawings, and for a wanted loss or budget.
        is_told: Whether that is less than half of what there was to choose from.
        cautions: What about it no fitted curve shows.
    """

    judged: Judged
    low: float | None
    high: float | None
    marginal: float | None
    drawn: tuple[float, float] | None
    is_told: bool
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
        configured: What is foretold of the configuration as it stands.
        judged: Everything that was to choose from.
        judges: The laws.
        excluded: Reasons for which options were not considered, with their number.
        shift: What is known of the change of data; None without one.
    """

    choices: tuple[Choice, ...]
    configured: tuple[Judged, ...]
    judged: tuple[Judged, ...]
    judges: tuple[Judge, ...]
    excluded: dict[str, int]
    shift: Shift | None

    def frontier(self, version: str) -> tuple[Judged, ...]:
        """Return the options of a version than which none is both cheaper and better, by price."""
        kept: list[Judged] = []
        rows = [row for row in self.judged if row.option.version == version and not (row.beyond and self.excluded)]
        for row in sorted(rows, key=lambda row: (row.option.updates, row.loss)):
            if not kept or row.loss < kept[-1].loss:
                kept.append(row)
        return tuple(kept)


def advise(
    options: Sequence[Option],
    configured: Sequence[Option],
    judges: Sequence[Judge],
    wish: Wish,
    *,
    old: frozenset[str] | None,
    level: float,
    beyond: bool,
) -> Advice:
    """Judge all options and choose.

    Args:
        options: What there is to choose from.
        configured: What stands in the configuration.
        judges: Laws with weights.
        wish: The rule: a loss, a budget (in updates here), or `within`.
        old: Versions that are the old data; None without shift.
        level: Probability of intervals.
        beyond: Whether options beyond the reach of a law are considered.

    Raises:
        LawError: If no option lies within reach, or none reaches the loss or fits the budget.
    """
    judged = _judge(options, judges, old=old)
    kept = [row for row in judged if beyond or not row.beyond]
    reasons = [reason for row in judged for reason in row.beyond] if not beyond else []
    lacking = {row.option.version for row in judged} - {row.option.version for row in kept}
    if lacking:
        raise LawError(
            f"every option for {', '.join(sorted(lacking))} goes beyond what the law was fitted on, for example: "
            f"{reasons[0]}. Fit on paths that reach there, or add beyond=true"
        )
    chosen = _choose(kept, wish)
    return Advice(
        choices=tuple(_detail(row, kept, judges, wish, old=old, level=level) for row in chosen),
        configured=_judge(configured, judges, old=old),
        judged=judged,
        judges=tuple(judges),
        excluded={reason: reasons.count(reason) for reason in dict.fromkeys(reasons)},
        shift=_shift(chosen, judges, old=old),
    )


def _judge(options: Sequence[Option], judges: Sequence[Judge], *, old: frozenset[str] | None) -> tuple[Judged, ...]:
    found: list[Judged] = []
    for first in range(0, len(options), _TOGETHER):
        some = options[first : first + _TOGETHER]
        curves = [option.curve(old) for option in some]
        by_set = {judge.fitted.set: _losses(judge.fitted, curves)[0] for judge in judges}
        for number, (option, curve) in enumerate(zip(some, curves, strict=True)):
            losses = {name: float(values[number]) for name, values in by_set.items()}
            broken = dict.fromkeys(text for judge in judges for text in judge.fitted.beyond(option.path, curve))
            loss = sum(judge.weight * losses[judge.fitted.set] for judge in judges)
            found.append(Judged(option=option, loss=loss, losses=losses, beyond=tuple(broken)))
    return tuple(found)


def _losses(fitted: Fitted, curves: Sequence[Curve], *, drawn: bool = False) -> Array:
    """Return the losses `(1 or B, curves)` at the ends of curves, by the parameters or by each drawing."""
    fit = fitted.fit
    values = fit.draws_BQ if drawn else fit.law.values(fit.values)[None]
    return fit.law.losses(values, fit.law.prepare(curves))[0]


def _choose(rows: Sequence[Judged], wish: Wish) -> tuple[Judged, ...]:
    """Return one row for each version, alike in what versions of one plan share."""
    budget = wish.budget
    assert not isinstance(budget, str)
    versions = list(dict.fromkeys(row.option.version for row in rows))
    bests = {version: min(row.loss for row in rows if row.option.version == version) for version in versions}
    bounds = {version: bests[version] + wish.within if wish.loss is None else wish.loss for version in versions}
    plans: list[tuple[Judged, ...]] = []
    for shared in dict.fromkeys(row.option.shared for row in rows):
        groups = [
            [row for row in rows if (row.option.shared, row.option.version) == (shared, version)]
            for version in versions
        ]
        plan = _within_budget(groups, budget) if budget is not None else _cheapest(groups, list(bounds.values()))
        if plan is not None:
            plans.append(plan)
    if not plans:
        raise LawError(_out_of_reach(rows, wish, bests))
    dear: Callable[[tuple[Judged, ...]], tuple[float, float]] = lambda plan: (  # noqa: E731
        sum(row.option.updates for row in plan),
        sum(row.loss for row in plan),
    )
    return min(plans, key=dear if budget is None else lambda plan: dear(plan)[::-1])


def _cheapest(groups: Sequence[Sequence[Judged]], bounds: Sequence[float]) -> tuple[Judged, ...] | None:
    """Return the cheapest row of each version whose loss is at most its bound; None if one has none."""
    plan = []
    for group, bound in zip(groups, bounds, strict=True):
        good = [row for row in group if row.loss <= bound + 1e-12]
        if not good:
            return None
        plan.append(min(good, key=lambda row: (row.option.updates, row.loss)))
    return tuple(plan)


def _within_budget(groups: Sequence[Sequence[Judged]], budget: int) -> tuple[Judged, ...] | None:
    """Return the rows of least total loss whose prices add up to at most the budget: an exact knapsack by prices."""
    best: dict[int, tuple[float, tuple[Judged, ...]]] = {0: (0.0, ())}
    for group in groups:
        grown: dict[int, tuple[float, tuple[Judged, ...]]] = {}
        for spent, (loss, rows) in best.items():
            for row in group:
                price, total = spent + row.option.updates, loss + row.loss
                if price <= budget and (price not in grown or total < grown[price][0]):
                    grown[price] = total, (*rows, row)
        best = _undominated(grown)
    return min(best.values(), key=lambda pair: pair[0])[1] if best else None


def _undominated(
    by_price: dict[int, tuple[float, tuple[Judged, ...]]],
) -> dict[int, tuple[float, tuple[Judged, ...]]]:
    kept: dict[int, tuple[float, tuple[Judged, ...]]] = {}
    least = math.inf
    for price in sorted(by_price):
        if by_price[price][0] < least:
            kept[price], least = by_price[price], by_price[price][0]
    return kept


def _out_of_reach(rows: Sequence[Judged], wish: Wish, bests: dict[str, float]) -> str:
    if wish.budget is not None:
        least = sum(
            min(row.option.updates for row in rows if row.option.version == version)
            for version in dict.fromkeys(row.option.version for row in rows)
        )
        return f"budget={wish.budget:,} updates is too small: the shortest take {least:,}; enlarge it, or add alphas"
    if wish.loss is None:
        return f"no shape and floor is within={wish.within:g} of the best for every version; enlarge within"
    hardest = max(bests, key=lambda version: bests[version])
    best = min((row for row in rows if row.option.version == hardest), key=lambda row: row.loss)
    if bests[hardest] > wish.loss:
        return (
            f"loss={wish.loss:g} is out of reach for {hardest}: the least foretold is {best.loss:.4f}, "
            f"with {best.option.text()}; wish for less, or choose the versions with releases="
        )
    return f"loss={wish.loss:g} is reached by no one shape and floor for all versions; choose fewer with releases="


def _detail(
    row: Judged,
    rows: Sequence[Judged],
    judges: Sequence[Judge],
    wish: Wish,
    *,
    old: frozenset[str] | None,
    level: float,
) -> Choice:
    option = row.option
    line = sorted(
        (one for one in rows if one.option.version == option.version and one.option.is_beside(option)),
        key=lambda one: one.option.updates,
    )
    curves = [one.option.curve(old) for one in line]
    at = line.index(row)
    marginal = None
    if at and line[at - 1].option.updates < option.updates:
        marginal = (line[at - 1].loss - row.loss) / (option.updates - line[at - 1].option.updates)
    low = high = drawn = None
    name = "alpha" if "alpha" in option.fields else "replay"
    choices = np.array([one.option.fields[name] for one in line])
    if all(len(judge.fitted.fit.draws_BQ) for judge in judges):
        losses = _drawn_losses(judges, curves)
        ends = [(1 - level) / 2, (1 + level) / 2]
        low, high = (float(end) for end in np.quantile(losses[:, at], ends))
        low, high = min(low, row.loss), max(high, row.loss)
        if wish.loss is None and wish.budget is None:
            room = wish.within if name == "alpha" else 0.0  # a price that is fixed makes nothing cheaper
            first = np.argmax(losses <= losses.min(axis=1, keepdims=True) + room, axis=1)
            least, most = np.quantile(choices[first], ends, method="nearest")
            drawn = float(least), float(most)
    cautions = dict.fromkeys(text for judge in judges for text in judge.fitted.fit.reach.cautions(curves[at]))
    return Choice(
        judged=row,
        low=low,
        high=high,
        marginal=marginal,
        drawn=drawn,
        is_told=drawn is None or len(line) == 1 or drawn[1] - drawn[0] < 0.5 * float(np.ptp(choices)),
        cautions=(*row.beyond, *cautions),
    )


def _drawn_losses(judges: Sequence[Judge], curves: Sequence[Curve]) -> Array:
    """Return the weighted losses `(B, curves)` by each drawing."""
    count = min(len(judge.fitted.fit.draws_BQ) for judge in judges)
    parts = [judge.weight * _losses(judge.fitted, curves, drawn=True)[:count] for judge in judges]
    return np.asarray(np.sum(parts, axis=0))


def _shift(chosen: Sequence[Judged], judges: Sequence[Judge], *, old: frozenset[str] | None) -> Shift | None:
    laws = [judge.fitted.fit for judge in judges if isinstance(judge.fitted.fit.law, ContinualLaw)]
    fits = [fit for fit in laws if isinstance(fit.law, ContinualLaw) and fit.law.domain is Domain.OLD]
    if old is None or not fits:
        return None
    curve = chosen[-1].option.curve(old)
    if curve.boundary is None:
        return None
    values = fits[0].values
    area = float(forward_area(curve.rates_U)[curve.boundary])
    rate = float(curve.rates_U[curve.boundary])
    turning, critical = turning_area(values, before=area), critical_area(values)
    return Shift(
        potential=loss_potential(curve),
        before=curve.boundary,
        turning=None if turning is None else turning / max(rate, 1e-300),
        critical=critical / float(curve.rates_U[: curve.boundary].max()) if math.isfinite(critical) else None,
    )
