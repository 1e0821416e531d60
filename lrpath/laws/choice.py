"""The rules by which candidates are chosen: best predicted, cheapest that is good enough, best within a budget.

The default is what the law predicts to be best, whatever it costs (`choose_best`). The cheapest within some thousandths
of a nat spends them on purpose, and more: a law is flat near its best, so that a tolerance in loss is a large one in α,
and what it predicts there is wrong by more than the tolerance. See experiments/08_auto_alpha.
"""

import math
from collections.abc import Callable, Sequence

from lrpath.errors import LawError
from lrpath.laws.candidates import Evaluated, Objective


def choose(rows: Sequence[Evaluated], objective: Objective) -> tuple[Evaluated, ...]:
    """Return one row for each version, alike in what versions of one plan share.

    Args:
        rows: What there is to choose from, for every version.
        objective: The rule.

    Raises:
        LawError: If no row attains the loss, or none fits the budget.
    """
    budget = objective.budget
    assert not isinstance(budget, str)
    within = objective.within or 0.0
    versions = list(dict.fromkeys(row.candidate.version for row in rows))
    bests = {version: min(row.loss for row in rows if row.candidate.version == version) for version in versions}
    bounds = {version: bests[version] + within if objective.loss is None else objective.loss for version in versions}
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


def choose_best(rows: Sequence[Evaluated]) -> tuple[Evaluated, ...]:
    """Return the row of least loss for each version, alike in what versions of one plan share: the least in total."""
    plans: list[list[Evaluated]] = []
    versions = dict.fromkeys(row.candidate.version for row in rows)
    for shared in dict.fromkeys(row.candidate.shared for row in rows):
        some = [row for row in rows if row.candidate.shared == shared]
        if versions.keys() == {row.candidate.version for row in some}:
            plans.append([cheapest_within(0.0, [r for r in some if r.candidate.version == v]) for v in versions])
    if not plans:
        raise LawError("no shape and floor is within the range that was fitted for every version; add shapes or floors")
    return tuple(min(plans, key=lambda plan: sum(row.loss for row in plan)))


def cheapest_within(near: float, rows: Sequence[Evaluated]) -> Evaluated:
    """Return the cheapest of the rows that are so near to their least loss [nats per token]."""
    least = min(row.loss for row in rows)
    return min(
        (row for row in rows if row.loss <= least + near + 1e-12), key=lambda row: (row.candidate.updates, row.loss)
    )


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
        return f"no shape and floor is within={objective.within or 0.0:g} of the best for every version; enlarge within"
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
