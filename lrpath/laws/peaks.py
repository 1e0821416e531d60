"""Finds the best peak rate of every paradigm from the runs of a study that swept it, and says how sure that is.

Losses against the peak are flat near the best and steep beyond it, about a parabola in the logarithm of the peak. A
parabola through the mean losses of the three peaks around the best gives the peak; the same seed by seed, how sure it
is.

References: derived; the t distribution for the interval over seeds.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.stats import t as student

from lrpath.analysis.compare import Outcome, Seed, read_outcomes
from lrpath.analysis.labels import SEEDS, Settings, differing_fields, labelled
from lrpath.errors import LawError
from lrpath.laws.probes import fit_parabola
from lrpath.records.study import Study

Losses = Mapping[float, Mapping[Any, float]]
"""Loss by peak and seed [nats per token]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakChoice:
    """The best peak of a paradigm.

    Args:
        paradigm: Its label, with the settings besides the peak in which runs of that label differ.
        version: Version whose held-out loss decides.
        tried: Mean loss over the seeds by peak [nats per token].
        seeds: Seeds that every peak was tried with.
        best: The peak with the least mean loss.
        peak: Where a parabola through it and its neighbours is least; `best` itself at an end of what was tried.
        interval: Between which peaks it lies by the seeds, 90 %; None with one seed.
        is_inside: Whether `best` has neighbours on both sides.
        lead: Mean loss of the second best peak less that of the best, and the half-width of its 90 % interval over the
            seeds, paired; None with one seed or one peak.
    """

    paradigm: str
    version: str
    tried: dict[float, float]
    seeds: tuple[Any, ...]
    best: float
    peak: float
    interval: tuple[float, float] | None
    is_inside: bool
    lead: tuple[float, float] | None


def best_peaks(study: Study) -> tuple[PeakChoice, ...]:
    """Return the best peak of every paradigm of a study whose plans differ in the peak.

    Raises:
        LawError: If no paradigm was run to its last version with two peaks or more and a seed common to all.
    """
    found = []
    for (paradigm, version), losses in _losses(read_outcomes(study)).items():
        seeds = set.intersection(*(set(by_seed) for by_seed in losses.values()))
        if len(losses) > 1 and seeds:
            found.append(choose_peak(paradigm, version, losses, seeds=tuple(sorted(seeds))))
    if not found:
        raise LawError(
            f"study {study.name} has no paradigm that was run with several peaks; sweep them first: python -m "
            f"lrpath.train -m +exp=… study={study.name} versions=1 peak=3e-3,1e-2,3e-2 seed=1,2,3",
            field="study",
            value=study.name,
        )
    return tuple(found)


def _losses(outcomes: Iterable[Outcome]) -> dict[tuple[str, str], dict[float, dict[Seed, float]]]:
    """Return the losses of last versions, by paradigm and version; apart where more differs than peak and seed.

    Losses on other text, or of another model, α or optimizer, are no sweep of the peak. A rate that is a share of the
    peak in all of them is none of these differences.
    """
    swept: dict[tuple[str, str], list[Outcome]] = {}
    for one in outcomes:
        is_last = one.version == one.series.plan.versions[-1]
        if one.headline is not None and "peak" in one.series.settings and is_last:
            swept.setdefault((one.series.paradigm, one.version), []).append(one)
    found: dict[tuple[str, str], dict[float, dict[Seed, float]]] = {}
    for (paradigm, version), some in swept.items():
        fields = _differing(some)
        for one in some:
            settings, score = one.series.settings, one.headline
            assert score is not None
            differing = {field: settings[field] for field in fields if field in settings}
            judged = len({other.evaluated_on for other in some}) > 1
            text = f", held-out text {one.evaluated_on[:6]}" if judged else ""
            by_peak = found.setdefault((labelled(paradigm, differing) + text, version), {})
            by_peak.setdefault(float(settings["peak"]), {})[one.series.seed] = score.loss
    return found


def _differing(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the settings besides peak and seed in which outcomes differ, but for rates that are shares of it."""
    every = [one.series.settings for one in outcomes]
    return [
        field
        for field in differing_fields(every)
        if field not in ("peak", *SEEDS) and not _is_share_of_peak([one.get(field) for one in every], every)
    ]


def _is_share_of_peak(values: Sequence[Any], every: Sequence[Settings]) -> bool:
    if not all(type(value) in (int, float) for value in values):
        return False
    shares = [value / float(settings["peak"]) for value, settings in zip(values, every, strict=True)]
    return bool(max(shares) - min(shares) <= 1e-9 * max(map(abs, shares)))


def choose_peak(paradigm: str, version: str, losses: Losses, *, seeds: tuple[Any, ...]) -> PeakChoice:
    """Return the best of some peaks.

    Args:
        paradigm: The label of the paradigm.
        version: The version whose losses they are.
        losses: The losses.
        seeds: Seeds that all peaks have.

    >>> tried = {1e-3: {1: 3.1, 2: 3.1}, 1e-2: {1: 3.0, 2: 3.02}, 1e-1: {1: 3.1, 2: 3.1}}
    >>> found = choose_peak("main", "v1", tried, seeds=(1, 2))
    >>> found.best, round(found.peak, 4), found.is_inside
    (0.01, 0.01, True)
    """
    tried = {peak: statistics.fmean(losses[peak][seed] for seed in seeds) for peak in sorted(losses)}
    peaks = list(tried)
    best = min(tried, key=lambda peak: tried[peak])
    at = peaks.index(best)
    around = peaks[max(at - 1, 0) : at + 2]
    inside = len(around) == 3
    second = min((peak for peak in peaks if peak != best), key=lambda peak: tried[peak], default=None)
    gaps = [losses[second][seed] - losses[best][seed] for seed in seeds] if second is not None else []
    each = [_vertex(around, [losses[peak][seed] for peak in around]) for seed in seeds] if inside else []
    middle, width = _interval([math.log(peak) for peak in each]) if len(each) > 1 else (0.0, 0.0)
    return PeakChoice(
        paradigm=paradigm,
        version=version,
        tried=tried,
        seeds=seeds,
        best=best,
        peak=_vertex(around, [tried[peak] for peak in around]) if inside else best,
        interval=(math.exp(middle - width), math.exp(middle + width)) if len(each) > 1 else None,
        is_inside=inside,
        lead=_interval(gaps) if len(gaps) > 1 else None,
    )


def _vertex(peaks: list[float], losses: list[float]) -> float:
    found = fit_parabola(peaks, losses)
    return min(zip(losses, peaks, strict=True))[1] if found is None else found[0]


def _interval(values: list[float]) -> tuple[float, float]:
    """Return the mean and the half-width of its 90 % interval."""
    width = float(student.ppf(0.95, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return statistics.fmean(values), width
