"""Whether a study shows the order of arXiv 2410.04103.

The order: held-out loss of from_scratch ≤ path_switching ≤ continual at the last version, and a gap between
from_scratch and continual that widens with every version. Losses are headlines of one version, so on the same sets.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from lrpath.analysis.compare import Outcome, Seed, Setup
from lrpath.planning.paradigms import Continual, FromScratch, PathSwitching

ORDER = (FromScratch.kind, PathSwitching.kind, Continual.kind)
"""The paper's order, best first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BestSetting:
    """The setting of one kind of paradigm with the lowest loss at the last version.

    Args:
        group: Its label without the seed.
        tried: How many settings were compared to choose it.
        losses: Loss by seed [nats per token], for each version in turn; empty where none was evaluated.
    """

    group: str
    tried: int
    losses: tuple[dict[Seed, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperOrder:
    """The three kinds side by side, on equal model, data, batch, increments and held-out tokens.

    Args:
        versions: Versions up to the last that all three have.
        missing: Planned versions after it.
        seeds: Seeds that all three have at the last version; at least one.
        best: The best setting of each kind, in the paper's order.
    """

    versions: tuple[str, ...]
    missing: tuple[str, ...]
    seeds: tuple[Seed, ...]
    best: dict[str, BestSetting]

    def mean(self, kind: str, *, number: int = -1) -> float | None:
        """Return a kind's loss at a version, averaged over the seeds; None unless every seed has one."""
        losses = self.best[kind].losses[number]
        if not set(self.seeds) <= set(losses):
            return None
        return math.fsum(losses[seed] for seed in self.seeds) / len(self.seeds)

    def gap(self, worse: str, better: str, *, number: int = -1) -> float | None:
        """Return the mean difference of two kinds' losses at a version; positive where `better` is the better one."""
        high, low = self.mean(worse, number=number), self.mean(better, number=number)
        return None if high is None or low is None else high - low

    @property
    def holds(self) -> bool:
        """Whether the paper's order is seen at the last version, in the mean over seeds."""
        means = [self.mean(kind) for kind in ORDER]
        return all(low is not None and high is not None and low <= high for low, high in pairwise(means))

    @property
    def gaps(self) -> tuple[float | None, ...]:
        """Continual less from scratch, version by version [nats per token]."""
        return tuple(self.gap("continual", "from_scratch", number=number) for number in range(len(self.versions)))

    @property
    def widens(self) -> bool | None:
        """Whether the gap grows with every version; None with fewer than two versions to compare.

        A gap of exactly 0 is left out: both release one state, as the first version of equal settings is.
        """
        known = [gap for gap in self.gaps if gap]
        return all(early < late for early, late in pairwise(known)) if len(known) > 1 else None

    @property
    def seeds_in_order(self) -> int:
        """In how many seeds, each taken alone, the paper's order is seen at the last version."""
        last = [self.best[kind].losses[-1] for kind in ORDER]
        return sum(all(low[seed] <= high[seed] for low, high in pairwise(last)) for seed in self.seeds)


def paper_orders(outcomes: Sequence[Outcome]) -> tuple[PaperOrder, ...]:
    """Return the three kinds side by side, once for every model, data, batch and increments that has all of them.

    Where a kind was run with several settings, the one with the lowest loss at the last version stands for it.
    """
    evaluated = [outcome for outcome in outcomes if outcome.series.kind in ORDER and outcome.headline is not None]
    kinds: dict[Setup, set[str]] = {}
    for outcome in evaluated:
        kinds.setdefault(outcome.setup, set()).add(outcome.series.kind)
    complete = [setup for setup, found in kinds.items() if found == set(ORDER)]
    last = [setup for setup in complete if not any(setup.is_continued_by(other) for other in complete)]
    sides = [
        _side_by_side([o for o in evaluated if o.setup == setup or o.setup.is_continued_by(setup)]) for setup in last
    ]
    return tuple(side for side in sides if side is not None)


def _side_by_side(outcomes: list[Outcome]) -> PaperOrder | None:
    latest = max(outcomes, key=lambda outcome: outcome.number)
    versions = latest.series.plan.versions
    best = {kind: _best_setting([o for o in outcomes if o.series.kind == kind], latest.number) for kind in ORDER}
    seeds = set.intersection(*(set(setting.losses[-1]) for setting in best.values()))
    if not seeds:
        return None
    return PaperOrder(
        versions=versions[: latest.number],
        missing=versions[latest.number :],
        seeds=tuple(sorted(seeds)),
        best=best,
    )


def _best_setting(outcomes: list[Outcome], count: int) -> BestSetting:
    groups: dict[str, tuple[dict[Seed, float], ...]] = {}
    for outcome in outcomes:
        losses = groups.setdefault(outcome.series.group, tuple({} for _ in range(count)))
        assert outcome.headline is not None
        losses[outcome.number - 1][outcome.series.seed] = outcome.headline.loss
    finished = {group: losses for group, losses in groups.items() if losses[-1]}
    best = min(finished, key=lambda group: math.fsum(finished[group][-1].values()) / len(finished[group][-1]))
    return BestSetting(group=best, tried=len(finished), losses=finished[best])
