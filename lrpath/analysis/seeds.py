"""Summarises releases over seeds: means, intervals, and gaps to training from scratch, seed by seed.

An interval is Student's, at 95 %: mean ± t(0.975, n − 1) · s / √n over the seeds. It speaks of the seeds alone; the
text is the same in all of them. A gap is a mean of differences between runs of one seed, so what a seed does to both
(the initial weights, the order of the text) cancels. It is measured from training from scratch, or where a study has
none from its own best setting.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lrpath.analysis.compare import Outcome, Score, Series

REFERENCE = "from_scratch"
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
        seeds: Seeds that were evaluated.
        loss: Held-out loss on the sets of this and all earlier versions [nats per token].
        perplexity: Its exponential, taken seed by seed.
        reference: What gaps are measured from; None for itself, and where no seed is common to both.
        gap: Loss less the reference's, paired by seed [nats per token]; None likewise.
        perplexity_gap: Perplexity less the reference's, paired by seed; None likewise.
    """

    first: Outcome
    seeds: tuple[int, ...]
    loss: Interval
    perplexity: Interval
    reference: Series | None
    gap: Interval | None
    perplexity_gap: Interval | None


def summarise(outcomes: Iterable[Outcome]) -> tuple[Summary, ...]:
    """Return the summaries of all evaluated releases, version by version.

    The gaps of a version are measured from scratch, of several such settings from the best at that version in the mean
    over its seeds; with nothing from scratch, from the best of all.
    """
    cells: dict[tuple[object, int, str], dict[int, tuple[Outcome, Score]]] = {}
    for outcome in outcomes:
        if (score := outcome.headline) is not None:
            cell = cells.setdefault((outcome.place, outcome.number, outcome.series.group), {})
            cell[int(outcome.series.settings["seed"])] = outcome, score
    return tuple(
        _summary(cell, _reference(cells, place=place, number=number))
        for (place, number, _), cell in sorted(cells.items(), key=lambda item: item[0][1])
    )


def pareto_front(found: Iterable[Summary]) -> tuple[Summary, ...]:
    """Return the summaries of the last version that nothing is better than at their cost or less, by rising cost.

    Only what was trained on equal model, data, batch and increments is set beside each other: of several such groups,
    that of the most summaries. The mean over seeds decides, however wide its interval.
    """
    every = list(found)
    last = max((one.first.number for one in every), default=0)
    groups: dict[object, list[Summary]] = {}
    for one in every:
        if one.first.number == last:
            groups.setdefault(one.first.place, []).append(one)
    most = max(groups.values(), key=len, default=[])
    front: list[Summary] = []
    for one in sorted(most, key=lambda one: (one.first.relative_cost, one.loss.mean)):
        if not front or one.loss.mean < front[-1].loss.mean:
            front.append(one)
    return tuple(front)


Cell = dict[int, tuple[Outcome, Score]]


def _reference(cells: dict[tuple[object, int, str], Cell], *, place: object, number: int) -> Cell:
    """Return the cell with the lowest mean loss at a place and version: from scratch, else of all."""
    found = [cell for (other, version, _), cell in cells.items() if (other, version) == (place, number)]
    scratch = [cell for cell in found if next(iter(cell.values()))[0].series.kind == REFERENCE]
    return min(scratch or found, key=lambda cell: math.fsum(score.loss for _, score in cell.values()) / len(cell))


def _summary(cell: Cell, reference: Cell) -> Summary:
    first = next(iter(cell.values()))[0]
    others = {} if reference is cell else reference
    pairs = [(cell[seed][1], others[seed][1]) for seed in cell if seed in others]
    series = next(iter(others.values()))[0].series if pairs else None
    return Summary(
        first=first,
        seeds=tuple(sorted(cell)),
        loss=interval_of([score.loss for _, score in cell.values()]),
        perplexity=interval_of([score.perplexity for _, score in cell.values()]),
        reference=series,
        gap=interval_of([ours.loss - theirs.loss for ours, theirs in pairs]) if pairs else None,
        perplexity_gap=interval_of([ours.perplexity - theirs.perplexity for ours, theirs in pairs]) if pairs else None,
    )
