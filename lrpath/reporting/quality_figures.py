"""Figures of releases: held-out loss against cost, and over α.

Several settings of one kind of paradigm have its colour and differ in marker. All that one figure shows was evaluated
on the same held-out tokens.
"""

import math
import pathlib
import re
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lrpath.analysis.compare import Outcome
from lrpath.analysis.comparison import ComparableGroup
from lrpath.analysis.seeds import REFERENCE, Summary
from lrpath.planning.units import write_span
from lrpath.reporting.plot_style import (
    LINES,
    MARKERS,
    WIDTH,
    add_legend,
    colour_of,
    name_point,
    named,
    part_points,
    save,
    style,
    whole_numbers,
)

MOST_LETTERS = 120
"""Longer names than this together are not written beside the points of a front."""

Fronts = Sequence[tuple[Summary, ...]]
Markers = dict[str, dict[str, Any]]
"""Marker and filling by setting."""


def plot_quality_against_cost(group: ComparableGroup, file: pathlib.Path, *, fronts: Fronts) -> bool:
    """Draw held-out loss against cost, two panels; False if no release was evaluated.

    The tables' losses of different versions are on different sets and may not share an axis. So the upper panel shows
    v1 … vN, joined by setting, on the same sets throughout: those that every release was evaluated on. The lower panel
    shows the tables' losses of the last version alone, which are on the same sets, over cost relative to training each
    version from scratch; there, settings that lie close together come apart. Lines and full markers are means over
    seeds, small ones the seeds; the dotted steps are Pareto fronts, whose settings are named.
    """
    evaluated = [outcome for outcome in group.outcomes if outcome.headline is not None]
    if not evaluated:
        return False
    common = set.intersection(*({version for version, _ in outcome.scores or {}} for outcome in evaluated))
    sets = [version for version in evaluated[0].series.plan.versions if version in common]
    markers = _markers(evaluated)
    with style():
        figure = Figure(figsize=(WIDTH, 7), layout="constrained")
        above, below = figure.subplots(2, 1)
        _draw_all_versions(above, evaluated, sets, markers)
        _draw_last_version(below, group.last_summaries, markers, fronts=fronts)
        add_legend(figure, above)
        part_points(figure, (above, below))
        save(figure, file)
    return True


def _markers(outcomes: Sequence[Outcome]) -> Markers:
    """Return how each setting's points look; within one kind, that is one colour, they differ."""
    kinds: dict[str, list[str]] = {}
    for outcome in outcomes:
        groups = kinds.setdefault(outcome.series.kind, [])
        if outcome.series.group not in groups:
            groups.append(outcome.series.group)
    return {
        group: {"marker": MARKERS[n % len(MARKERS)], "fillstyle": "none" if n // len(MARKERS) % 2 else "full"}
        for groups in kinds.values()
        for n, group in enumerate(groups)
    }


def _by_group(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.series.group, []).append(outcome)
    return groups


def _draw_all_versions(axes: Axes, evaluated: list[Outcome], sets: list[str], markers: Markers) -> None:
    """Draw a line for each setting; the first line of each kind has its versions named."""
    cheapest = min(evaluated, key=lambda outcome: outcome.relative_cost).series.kind
    named_kinds: set[str] = set()
    for group, found in _by_group(evaluated).items():
        kind = found[0].series.kind
        points = _means(found, sets)
        spent, losses = [updates for updates, _, _ in points], [loss for _, loss, _ in points]
        axes.plot(spent, losses, color=colour_of(kind), markersize=5, label=group, **markers[group])
        for x, y, version in named(points) if kind not in named_kinds else ():
            name_point(axes, (x, y), version, colour_of(kind), offset=(-4, -11) if kind == cheapest else (4, 4))
        named_kinds.add(kind)
    axes.set_ylabel(f"held-out loss on {write_span(sets)}\n[nats per token]")
    axes.set_xlabel("updates spent on this and all earlier versions")
    axes.xaxis.set_major_formatter(whole_numbers())
    axes.set_xlim(left=0)


def _means(found: list[Outcome], sets: list[str]) -> list[tuple[int, float, str]]:
    """Return updates spent, mean loss over the seeds on the sets, and name, version by version."""
    losses: dict[tuple[int, str], list[float]] = {}
    for outcome in found:
        score = outcome.score(versions=sets)
        assert score is not None
        losses.setdefault((outcome.cost.updates, outcome.version), []).append(score.loss)
    return [(updates, math.fsum(some) / len(some), version) for (updates, version), some in losses.items()]


def _draw_last_version(axes: Axes, found: Sequence[Summary], markers: Markers, *, fronts: Fronts) -> None:
    """Draw the losses of the last version over relative cost, and the fronts that lie among them."""
    for one in found:
        colour, marker = colour_of(one.first.series.kind), markers[one.first.series.group]
        for score in one.scores.values():
            axes.plot(one.first.relative_cost, score.loss, color=colour, markersize=3, alpha=0.5, **marker)
        axes.plot(one.first.relative_cost, one.loss.mean, color=colour, markersize=7, **marker)
    for front in fronts:
        if len(front) > 1 and all(any(one is other for other in found) for one in front):
            _draw_front(axes, front)
    versions = found[0].first.series.plan.versions[: found[0].first.number]
    axes.set_xlim(0, 1.08 * max(1.0, *(one.first.relative_cost for one in found)))
    axes.margins(y=0.15)
    axes.set_ylabel(f"held-out loss of {versions[-1]} on {write_span(versions)}\n[nats per token]")
    axes.set_xlabel(f"cost of {write_span(versions)} [× training each from scratch]")


def _draw_front(axes: Axes, front: Sequence[Summary]) -> None:
    places = [(one.first.relative_cost, one.loss.mean) for one in front]
    axes.step(*zip(*places, strict=True), where="post", color="#888888", linewidth=1, linestyle=":", zorder=1)
    if sum(len(one.first.series.group) for one in front) > MOST_LETTERS:
        return  # they would cover the points of other settings; the legend tells them apart
    for one, place in zip(front, places, strict=True):
        towards_the_middle = (-5, -12) if place[0] > places[-1][0] / 2 else (3, -12)
        name_point(axes, place, one.first.series.group, colour_of(one.first.series.kind), offset=towards_the_middle)


def plot_alpha(group: ComparableGroup, file: pathlib.Path) -> bool:
    """Draw held-out loss over α, one curve a version and setting, on the sets of that version and those before it.

    A point is the mean over seeds with its 95 % interval; a dashed line is from scratch, the best of its settings.
    Settings that differ in more than α differ in line. False if nothing was evaluated at two values of α.
    """
    found = [one for one in group.summaries if isinstance(one.first.series.settings.get("alpha"), float)]
    curves: dict[tuple[str, str], list[Summary]] = {}
    for one in found:
        curves.setdefault((_without_alpha(one.first.series.group), one.first.version), []).append(one)
    swept = {key: points for key, points in curves.items() if len({_alpha(one) for one in points}) > 1}
    if not swept:
        return False
    settings = list(dict.fromkeys(setting for setting, _ in swept))
    versions = list(dict.fromkeys(version for _, version in swept))
    with style():
        figure = Figure(figsize=(WIDTH, 4), layout="constrained")
        axes = figure.subplots()
        for (setting, version), points in swept.items():
            points.sort(key=_alpha)
            means, halves = [one.loss.mean for one in points], [one.loss.half or 0.0 for one in points]
            marker, colour = MARKERS[versions.index(version) % len(MARKERS)], colour_of(points[0].first.series.kind)
            line, places = LINES[settings.index(setting) % len(LINES)], [_alpha(one) for one in points]
            label = setting if version == versions[0] else "_nolegend_"
            axes.plot(places, means, color=colour, marker=marker, markersize=5, linestyle=line, label=label)
            axes.errorbar(places, means, halves, color=colour, linestyle="none", elinewidth=0.8, capsize=2, alpha=0.35)
            name_point(axes, (places[-1], means[-1]), version, colour, offset=(5, -3))
            if setting == settings[0] and (scratch := _scratch_loss(points[-1])) is not None:
                axes.axhline(scratch, color=colour_of("from_scratch"), linestyle="--", linewidth=1)
                name_point(axes, (places[0], scratch), f"{version} from scratch", "#000000", offset=(0, 3))
        if len(settings) > 1:
            add_legend(figure, axes)
        axes.set_xlabel("α [branch updates ÷ updates of the version's increment]")
        axes.set_ylabel("held-out loss [nats per token]")
        part_points(figure, (axes,))
        save(figure, file)
    return True


def _without_alpha(group: str) -> str:
    """Return a setting's name without its α.

    >>> _without_alpha("path_switching (peak=0.01, alpha=0.2)"), _without_alpha("infinite (alpha=0.2)")
    ('path_switching (peak=0.01)', 'infinite')
    """
    return re.sub(r"(?<=[( ])alpha=[^,)]+(, )?", "", group).replace(", )", ")").removesuffix(" ()")


def _alpha(summary: Summary) -> float:
    return float(summary.first.series.settings["alpha"])


def _scratch_loss(summary: Summary) -> float | None:
    """Return the mean loss from scratch over the seeds that both have."""
    if summary.gap is None or summary.reference is None or summary.reference.kind != REFERENCE:
        return None
    return summary.loss.mean - summary.gap.mean
