"""Says whether a study shows the order of arXiv 2410.04103, as data and in plain sentences, also when it does not.

The order: held-out loss of from_scratch ≤ path_switching ≤ continual at the last version, and a gap between
from_scratch and continual that widens with every version. Losses are headlines of one version, so on the same sets.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from lrpath.analysis.compare import Outcome
from lrpath.analysis.seeds import pareto_front, summarise

ORDER = ("from_scratch", "path_switching", "continual")
"""The paper's order, best first."""

Place = tuple[str, tuple[int, ...]]
"""What must be equal for losses to be compared: a digest of model, data and batch, and the increments so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one kind of paradigm stands: the best of its settings at the last version.

    Args:
        group: Its label without the seed.
        tried: How many settings were compared to choose it.
        losses: Loss by seed [nats per token], for each version in turn; empty where none was evaluated.
    """

    group: str
    tried: int
    losses: tuple[dict[int, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordering:
    """The three kinds side by side, on equal model, data, batch and increments.

    Args:
        versions: Versions up to the last that all three have.
        missing: Planned versions after it.
        seeds: Seeds that all three have at the last version; at least one.
        standings: By kind, in the paper's order.
    """

    versions: tuple[str, ...]
    missing: tuple[str, ...]
    seeds: tuple[int, ...]
    standings: dict[str, Standing]

    def mean(self, kind: str, *, number: int = -1) -> float | None:
        """Return a kind's loss at a version, averaged over the seeds; None unless every seed has one."""
        losses = self.standings[kind].losses[number]
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
        """Whether the gap grows with every version; None with fewer than two versions to compare."""
        known = [gap for gap in self.gaps if gap is not None]
        return all(early < late for early, late in pairwise(known)) if len(known) > 1 else None

    @property
    def seeds_in_order(self) -> int:
        """In how many seeds, each taken alone, the paper's order is seen at the last version."""
        last = [self.standings[kind].losses[-1] for kind in ORDER]
        return sum(all(low[seed] <= high[seed] for low, high in pairwise(last)) for seed in self.seeds)


def ordering(outcomes: Sequence[Outcome]) -> tuple[Ordering, ...]:
    """Return the three kinds side by side, once for every model, data, batch and increments that has all of them.

    Where a kind was run with several settings, the one with the lowest loss at the last version stands for it.
    """
    judged = [outcome for outcome in outcomes if outcome.series.kind in ORDER and outcome.headline is not None]
    kinds: dict[Place, set[str]] = {}
    for outcome in judged:
        kinds.setdefault(outcome.place, set()).add(outcome.series.kind)
    complete = [place for place, found in kinds.items() if found == set(ORDER)]
    last = [place for place in complete if not any(_is_earlier(place, other) for other in complete)]
    sides = [_side_by_side([o for o in judged if o.place == place or _is_earlier(o.place, place)]) for place in last]
    return tuple(side for side in sides if side is not None)


def _is_earlier(place: Place, other: Place) -> bool:
    (setup, sizes), (other_setup, other_sizes) = place, other
    return setup == other_setup and len(sizes) < len(other_sizes) and other_sizes[: len(sizes)] == sizes


def _side_by_side(outcomes: list[Outcome]) -> Ordering | None:
    latest = max(outcomes, key=lambda outcome: outcome.number)
    versions = latest.series.plan.versions
    standings = {kind: _standing([o for o in outcomes if o.series.kind == kind], latest.number) for kind in ORDER}
    seeds = set.intersection(*(set(standing.losses[-1]) for standing in standings.values()))
    if not seeds:
        return None
    return Ordering(
        versions=versions[: latest.number],
        missing=versions[latest.number :],
        seeds=tuple(sorted(seeds)),
        standings=standings,
    )


def _standing(outcomes: list[Outcome], count: int) -> Standing:
    groups: dict[str, tuple[dict[int, float], ...]] = {}
    for outcome in outcomes:
        losses = groups.setdefault(outcome.series.group, tuple({} for _ in range(count)))
        assert outcome.headline is not None
        losses[outcome.number - 1][int(outcome.series.settings["seed"])] = outcome.headline.loss
    finished = {group: losses for group, losses in groups.items() if losses[-1]}
    best = min(finished, key=lambda group: math.fsum(finished[group][-1].values()) / len(finished[group][-1]))
    return Standing(group=best, tried=len(finished), losses=finished[best])


def verdict(outcomes: Sequence[Outcome]) -> list[str]:
    """Return what `ordering` found, in sentences that also name contradictions, missing results and lone seeds.

    None where the plans do not hold all three kinds.
    """
    found = ordering(outcomes)
    if found:
        return [sentence for one in found for sentence in _sentences(one)]
    if not {outcome.series.kind for outcome in outcomes} >= set(ORDER):
        return []  # the study asks something else
    there = {outcome.series.kind for outcome in outcomes if outcome.headline is not None}
    missing = [kind for kind in ORDER if kind not in there]
    reason = (
        f"no evaluated release of {', '.join(missing)}" if missing else "no version with equal data and seed in all"
    )
    return [f"The order of the paper ({' ≤ '.join(ORDER)}) cannot be judged here: {reason}."]


def front_sentences(outcomes: Sequence[Outcome]) -> list[str]:
    """Return which settings are worth their price at the last version, in one sentence; none where no choice is."""
    front = pareto_front(summarise(outcomes))
    if len(front) < 2:
        return []
    names = ", ".join(
        f"{one.first.series.group} ({one.first.relative_cost:.2f} × scratch, {one.loss.mean:.4f})" for one in front
    )
    return [f"Quality against cost at {front[0].first.version}; no other is better at its price or less: {names}."]


def _sentences(found: Ordering) -> list[str]:
    last, count = found.versions[-1], len(found.seeds)
    seeds = f"seed {found.seeds[0]}" if count == 1 else f"mean of {count} seeds"
    means = {kind: found.mean(kind) or math.nan for kind in ORDER}
    figures = ", ".join(f"{found.standings[kind].group} {means[kind]:.4f}" for kind in ORDER)
    lines = [f"Held-out loss of {last} on the sets of {_span(found.versions)} [nats per token], {seeds}: {figures}."]
    if found.holds:
        lines.append(f"The paper's order ({' ≤ '.join(ORDER)}) is seen at {last}.")
    else:
        wrong = [f"{high} is below {low} by {means[low] - means[high]:.4f}" for low, high in _inversions(means)]
        lines.append(f"The paper's order ({' ≤ '.join(ORDER)}) is NOT seen at {last}: {'; '.join(wrong)}.")
    if found.missing:
        lines.append(f"Not judged: {_span(found.missing)}, planned but not evaluated in all three.")
    lines += _gap_sentence(found)
    chosen = [f"{one.group} (of {one.tried})" for one in found.standings.values() if one.tried > 1]
    if chosen:
        lines.append(f"Best of several settings, chosen on these same held-out sets: {', '.join(chosen)}.")
    if count == 1:
        lines.append("One seed is one seed: how much of these differences is chance is not known.")
    else:
        lines.append(f"Taken alone, {found.seeds_in_order} of {count} seeds show the order.")
    return lines


def _span(versions: Sequence[str]) -> str:
    return versions[0] if len(versions) == 1 else f"{versions[0]}–{versions[-1]}"


def _inversions(means: dict[str, float]) -> list[tuple[str, str]]:
    """Pairs of kinds whose means stand the other way round than in the paper."""
    pairs = [(low, high) for number, low in enumerate(ORDER) for high in ORDER[number + 1 :]]
    return [(low, high) for low, high in pairs if means[low] > means[high]]


def _gap_sentence(found: Ordering) -> list[str]:
    if found.widens is None:
        return []
    gaps = ", ".join("–" if gap is None else f"{gap:+.4f}" for gap in found.gaps)
    claim = "it widens with every version" if found.widens else "it does NOT widen with every version"
    return [f"Gap continual − from_scratch at {_span(found.versions)}: {gaps}; {claim}."]
