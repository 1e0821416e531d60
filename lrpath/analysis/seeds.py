"""Summarises releases over seeds: means, intervals, and gaps to training from scratch, seed by seed.

An interval is Student's, at 95 %: mean ± t(0.975, n − 1) · s / √n over the seeds. It speaks of the seeds alone; the
text is the same in all of them. A gap is a mean of differences between runs of one seed, so what a seed does to both
(the initial weights, the order of the text) cancels. It is measured from training from scratch, or where a study has
none from its own best setting.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lrpath.analysis.compare import Outcome, Seed, Series, Setup
from lrpath.analysis.scores import Score
from lrpath.planning.paradigms import FromScratch

REFERENCE = FromScratch.kind
"""Kind of paradigm that gaps are measured from, where there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean over seeds.

    Args:
        mean: The mean.
        half: Half the width of its 95 % interval; None for a single seed.
        count: Number of seeds.
    """

    mean: float
    half: float | None
    count: int


def interval_of(values: Sequence[float]) -> Interval:
    """Return the mean of at least one value, with its interval.

    >>> interval_of([1.0, 2.0, 3.0])
    Interval(mean=2.0, half=2.484..., count=3)
    """
    count = len(values)
    mean = math.fsum(values) / count
    if count == 1:
        return Interval(mean=mean, half=None, count=1)
    from scipy.special import stdtrit  # half a second that a plan, which has no seeds, need not wait

    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    return Interval(mean=mean, half=float(stdtrit(count - 1, 0.975)) * deviation / math.sqrt(count), count=count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One version of one setting of a paradigm, over its seeds.

    Args:
        first: One of its outcomes; version, cost and settings are those of all.
        outcomes: Its outcomes, by seed.
        loss: Its loss [nats per token].
        bits_per_byte: Its loss in bits per byte of text; None where the bytes of the sets are not known.
        perplexity: The loss's exponential, taken seed by seed.
        reference: What gaps are measured from; None for itself, and where no seed is common to both.
        gap: Loss less the reference's, paired by seed [nats per token]; None likewise.
        perplexity_gap: Perplexity less the reference's, paired by seed; None likewise.
    """

    first: Outcome
    outcomes: Mapping[Seed, Outcome]
    loss: Interval
    bits_per_byte: Interval | None
    perplexity: Interval
    reference: Series | None
    gap: Interval | None
    perplexity_gap: Interval | None

    @property
    def scores(self) -> dict[Seed, Score]:
        """Score on the sets of this and all earlier versions, by seed."""
        scores = {seed: outcome.headline for seed, outcome in self.outcomes.items()}
        return {seed: score for seed, score in scores.items() if score is not None}

    @property
    def seeds(self) -> tuple[Seed, ...]:
        """Seeds that were evaluated."""
        return tuple(sorted(self.outcomes))


def summarise(outcomes: Iterable[Outcome]) -> tuple[Summary, ...]:
    """Return the summaries of all evaluated releases, version by version.

    The gaps of a version are measured from scratch, of several such settings from the best at that version in the mean
    over its seeds; with nothing from scratch, from the best of all. Only what was evaluated on the same held-out
    tokens, with equal model, data, batch and increments, is compared.
    """
    cells: dict[_Key, _Cell] = {}
    for outcome in outcomes:
        if (score := outcome.headline) is not None:
            cell = cells.setdefault((outcome.setup, outcome.series.group), {})
            cell[outcome.series.seed] = outcome, score
    by_version = sorted(cells.items(), key=lambda item: len(item[0][0].increments))
    return tuple(_summary(cell, _reference(cells, setup)) for (setup, _), cell in by_version)


def pareto_fronts(found: Iterable[Summary]) -> tuple[tuple[Summary, ...], ...]:
    """Return the Pareto-optimal summaries of each group's last version, by rising cost; one front a group.

    A summary is left out if another of its group costs no more and has no higher mean loss, and is better in one of
    them; the mean over seeds decides, however wide its interval. A group has one setup.
    """
    every = list(found)
    groups: dict[Setup, list[Summary]] = {}
    for one in every:
        if not any(one.first.setup.is_continued_by(other.first.setup) for other in every):
            groups.setdefault(one.first.setup, []).append(one)
    fronts = []
    for group in groups.values():
        front = [one for one in group if not any(_dominates(other, one) for other in group)]
        fronts.append(tuple(sorted(front, key=lambda one: (one.first.relative_cost, one.loss.mean))))
    return tuple(fronts)


def _dominates(one: Summary, other: Summary) -> bool:
    mine, theirs = ((each.first.relative_cost, each.loss.mean) for each in (one, other))
    return mine != theirs and mine[0] <= theirs[0] and mine[1] <= theirs[1]


_Cell = dict[Seed, tuple[Outcome, Score]]
_Key = tuple[Setup, str]
"""Setup and group."""


def _reference(cells: Mapping[_Key, _Cell], setup: Setup) -> _Cell:
    """Return the cell with the lowest mean loss among those of a setup: from scratch, else of all."""
    found = [cell for (other, _), cell in cells.items() if other == setup]
    scratch = [cell for cell in found if next(iter(cell.values()))[0].series.kind == REFERENCE]
    return min(scratch or found, key=lambda cell: math.fsum(score.loss for _, score in cell.values()) / len(cell))


def _summary(cell: _Cell, reference: _Cell) -> Summary:
    first = next(iter(cell.values()))[0]
    others = {} if reference is cell else reference
    pairs = [(cell[seed][1], others[seed][1]) for seed in cell if seed in others]
    series = next(iter(others.values()))[0].series if pairs else None
    scores = {seed: score for seed, (_, score) in cell.items()}
    bits = [score.bits_per_byte for score in scores.values()]
    return Summary(
        first=first,
        outcomes={seed: outcome for seed, (outcome, _) in cell.items()},
        loss=interval_of([score.loss for score in scores.values()]),
        bits_per_byte=None if None in bits else interval_of([bit for bit in bits if bit is not None]),
        perplexity=interval_of([score.perplexity for score in scores.values()]),
        reference=series,
        gap=interval_of([ours.loss - theirs.loss for ours, theirs in pairs]) if pairs else None,
        perplexity_gap=interval_of([ours.perplexity - theirs.perplexity for ours, theirs in pairs]) if pairs else None,
    )
