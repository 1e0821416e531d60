"""Figures of a plan and of a study: learning rates, training losses, quality against cost.

Several settings of one kind of paradigm have its colour and differ in marker.
"""

import math
import pathlib
import re
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from lrpath.analysis.compare import Outcome, Score
from lrpath.analysis.seeds import REFERENCE, Summary, pareto_front, summarise
from lrpath.planning.paths import Path, Tree
from lrpath.planning.plan import Plan
from lrpath.records.path_folder import PathFolder
from lrpath.records.study import Study
from lrpath.reporting.plot_style import (
    MARKERS,
    WIDTH,
    Curve,
    Panel,
    colour_of,
    draw_tree,
    name_point,
    named,
    part_names,
    save,
    stack,
    style,
    whole_numbers,
)

SAMPLES = 400
"""Points a curve is drawn with, besides the ends of its pieces."""
LINES = ("-", "--", ":", "-.")
"""Settings of one kind of paradigm, where curves have no markers."""
MOST_LETTERS = 48
"""Longer names than this together do not fit into one line of the legend."""


def panels_of(plan: Plan) -> tuple[Panel, ...]:
    """Return one panel for each paradigm of a plan."""
    return tuple(
        Panel(label=label, kind=paradigm.kind, tree=plan.part(label)) for label, paradigm in plan.paradigms.items()
    )


def plot_rates(plan: Plan, file: pathlib.Path) -> None:
    """Draw the learning-rate paths of a plan, after figure 1 of arXiv 2410.04103.

    Args:
        plan: The plan; each of its paradigms has a panel.
        file: Where to; the suffix chooses PNG, SVG or PDF.
    """
    draw_rates(panels_of(plan), file)


def draw_rates(panels: Sequence[Panel], file: pathlib.Path) -> None:
    """Draw learning-rate paths, one panel a paradigm on shared axes, so that lengths and rates compare by eye.

    The rate axis is linear: a linear axis shows that a decay is complete and how warm-up begins at 0, which a
    logarithmic one cannot. A path is bold where other paths leave it; a dot is a fork, a ring a release.
    """
    with style():
        figure, all_axes = stack(panels)
        top = max(_highest(panel.tree) for panel in panels)
        power = math.floor(math.log10(top)) if top > 0 else 0
        for axes, panel in zip(all_axes, panels, strict=True):
            draw_tree(axes, panel, {path.id: rate_curve(panel.tree, path) for path in panel.tree.paths})
            axes.set_ylim(0, 1.35 * top)
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 10**power:g}"))
            axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        figure.supylabel(f"learning rate [$10^{{{power}}}$]", fontsize=10)
        part_names(figure, all_axes)
        save(figure, file)


def _highest(tree: Tree) -> float:
    return max(float(rate_curve(tree, path)[1].max()) for path in tree.paths)


def rate_curve(tree: Tree, path: Path) -> Curve:
    """Return positions [updates] and rates to draw a path with, both ends of every piece among them.

    The rate of update k stands at position k + 1, which it reaches. A branch begins with its parent's last rate.
    """
    end = tree.end(path.id)
    begins = [path.start]
    for piece in path.schedule.pieces[:-1]:
        begins.append(begins[-1] + (piece.updates or 0))
    edges = {update for begin in begins for update in (begin - 1, begin) if path.start <= update < end}
    between = np.linspace(path.start, end - 1, min(SAMPLES, end - path.start)).astype(int)
    updates = sorted({*map(int, between), *edges, end - 1})
    positions, rates = [update + 1.0 for update in updates], [path.schedule.rate(update) for update in updates]
    if path.parent is not None:
        positions.insert(0, float(path.start))
        rates.insert(0, tree.rate(path.parent.path_id, path.start - 1))
    return np.array(positions), np.array(rates)


def plot_losses(studies: Sequence[Study], panels: Sequence[Panel], file: pathlib.Path) -> bool:
    """Draw the training loss of trees over position, branches joined to the path they leave; False if nothing ran.

    A point is the mean over the last hundredth of the axis, along the line from the root, so a branch begins with its
    parent's losses. Losses before the end of warm-up may lie above the frame, which is cut to show the rest.
    """
    end = max(panel.tree.end(path.id) for panel in panels for path in panel.tree.paths)
    window = max(1, end // 100)
    losses = {path.id: _losses(studies, path.id) for panel in panels for path in panel.tree.paths}
    curves = [{path.id: _smooth(panel.tree, path, losses, window) for path in panel.tree.paths} for panel in panels]
    values = np.concatenate([means for drawn in curves for _, means in drawn.values()])
    if not values.size:
        return False
    with style():
        figure, all_axes = stack(panels)
        for axes, panel, drawn in zip(all_axes, panels, curves, strict=True):
            draw_tree(axes, panel, drawn, offset=(3, -12))
        low, high = float(values.min()), float(np.quantile(values, 0.9))
        margin = max(high - low, 1e-3)
        all_axes[0].set_ylim(low - 0.25 * margin, high + 0.25 * margin)
        figure.supylabel(f"training loss [nats per token]\nmean of {window:,} updates", fontsize=10)
        part_names(figure, all_axes)
        save(figure, file)
    return True


def _losses(studies: Sequence[Study], path_id: str) -> dict[int, float]:
    folder = _find(studies, path_id)
    rows = [] if folder is None else folder.metrics.rows()
    losses = {int(row["position"]): float(row["loss"]) for row in rows}
    return {position: loss for position, loss in losses.items() if math.isfinite(loss)}  # others were left out


def _find(studies: Sequence[Study], path_id: str) -> PathFolder | None:
    """Return the folder of a path; of those in several studies the one with most rows of metrics, by their size."""
    found = [folder for study in studies if (folder := study.find(path_id)) is not None]
    sizes = [folder.metrics.file.stat().st_size if folder.metrics.file.exists() else 0 for folder in found]
    return found[sizes.index(max(sizes))] if found else None


def _smooth(tree: Tree, path: Path, losses: dict[str, dict[int, float]], window: int) -> Curve:
    """Return positions on a path and the mean loss over the `window` updates before each, on the line from the root."""
    line = tree.line(path.id)
    stops = [*(child.start for child in line[1:]), tree.end(path.id)]
    points = {
        position: loss
        for ancestor, stop in zip(line, stops, strict=True)
        for position, loss in losses[ancestor.id].items()
        if ancestor.start < position <= stop
    }
    positions = np.array(sorted(points), dtype=np.float64)
    sums = np.cumsum([0.0, *(points[int(position)] for position in positions)])
    first = np.maximum(np.arange(1, len(positions) + 1) - window, 0)
    means = (sums[1:] - sums[first]) / (np.arange(1, len(positions) + 1) - first)
    own = (positions >= max(path.start, 1)) & bool(losses[path.id])
    thinned = np.unique(np.linspace(0, own.sum() - 1, min(2 * SAMPLES, int(own.sum()))).astype(int))
    return positions[own][thinned], means[own][thinned]


def plot_quality_against_cost(outcomes: Sequence[Outcome], file: pathlib.Path) -> bool:
    """Draw held-out loss against cost, two panels; False if no release was evaluated.

    Headlines of different versions stand on different sets and may not share an axis. So the upper panel shows v1 … vN,
    joined by setting, on the same sets throughout: those that every release was evaluated on. The lower panel shows the
    headlines of the last version alone, which are on the same sets, over cost relative to training each version from
    scratch; there, settings that lie close together come apart. Lines and full markers are means over seeds, small
    ones the seeds; the dotted steps are the Pareto front, whose settings are named.
    """
    judged = [outcome for outcome in outcomes if outcome.headline is not None]
    if not judged:
        return False
    common = set.intersection(*({version for version, _ in outcome.scores or {}} for outcome in judged))
    sets = [version for version in judged[0].series.plan.versions if version in common]
    markers = _markers(judged)
    with style():
        many = sum(map(len, markers)) > MOST_LETTERS
        above_all = 0.2 * len(markers) / 2 if many else 0.0
        figure = Figure(figsize=(WIDTH, 7 + above_all), layout="constrained")
        above, below = figure.subplots(2, 1)
        _draw_all_versions(above, judged, sets, markers)
        _draw_last_version(below, judged, markers)
        names = above.get_legend_handles_labels()
        columns = 2 if many else len(markers)
        figure.legend(*names, loc="outside upper center", ncols=columns, frameon=False, fontsize=8 if many else 9)
        save(figure, file)
    return True


def _markers(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """Return a marker for each setting; within one kind, that is one colour, they differ."""
    kinds: dict[str, list[str]] = {}
    for outcome in outcomes:
        groups = kinds.setdefault(outcome.series.kind, [])
        if outcome.series.group not in groups:
            groups.append(outcome.series.group)
    return {group: MARKERS[n % len(MARKERS)] for groups in kinds.values() for n, group in enumerate(groups)}


def _span(versions: Sequence[str]) -> str:
    return versions[0] if len(versions) == 1 else f"{versions[0]}–{versions[-1]}"


def _by_group(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.series.group, []).append(outcome)
    return groups


def _draw_all_versions(axes: Axes, judged: list[Outcome], sets: list[str], markers: dict[str, str]) -> None:
    """Draw a line for each setting; the first line of each kind has its versions named."""
    cheapest = min(judged, key=lambda outcome: outcome.relative_cost).series.kind
    named_kinds: set[str] = set()
    for group, found in _by_group(judged).items():
        kind = found[0].series.kind
        points = _means(found, sets)
        spent, losses = [updates for updates, _, _ in points], [loss for _, loss, _ in points]
        axes.plot(spent, losses, color=colour_of(kind), marker=markers[group], markersize=5, label=group)
        for x, y, version in named(points) if kind not in named_kinds else ():
            name_point(axes, (x, y), version, colour_of(kind), offset=(-4, -11) if kind == cheapest else (4, 4))
        named_kinds.add(kind)
    axes.set_ylabel(f"held-out loss on {_span(sets)}\n[nats per token]")
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


def _draw_last_version(axes: Axes, judged: list[Outcome], markers: dict[str, str]) -> None:
    """Draw the headlines of the last version over relative cost, and the front."""
    number = max(outcome.number for outcome in judged)
    found = [outcome for outcome in judged if outcome.number == number]
    for outcome in found:
        assert outcome.headline is not None
        colour, marker = colour_of(outcome.series.kind), markers[outcome.series.group]
        axes.plot(outcome.relative_cost, outcome.headline.loss, color=colour, marker=marker, markersize=3, alpha=0.5)
    for one in summarise(found):
        colour, marker = colour_of(one.first.series.kind), markers[one.first.series.group]
        axes.plot(one.first.relative_cost, one.loss.mean, color=colour, marker=marker, markersize=7)
    front = pareto_front(summarise(found))
    if len(front) > 1:
        places = [(one.first.relative_cost, one.loss.mean) for one in front]
        axes.step(*zip(*places, strict=True), where="post", color="#888888", linewidth=1, linestyle=":", zorder=1)
        for one, place in zip(front, places, strict=True):
            towards_the_middle = (-5, -12) if place[0] > places[-1][0] / 2 else (3, -12)
            name_point(axes, place, one.first.series.group, colour_of(one.first.series.kind), offset=towards_the_middle)
    versions = found[0].series.plan.versions[:number]
    axes.set_xlim(0, 1.08 * max(1.0, *(outcome.relative_cost for outcome in found)))
    axes.margins(y=0.15)
    axes.set_ylabel(f"held-out loss of {versions[-1]} on {_span(versions)}\n[nats per token]")
    axes.set_xlabel(f"cost of {_span(versions)} [× training each from scratch]")


def plot_alpha(outcomes: Sequence[Outcome], file: pathlib.Path) -> bool:
    """Draw held-out loss over α, one curve a version and setting, on the sets of that version and those before it.

    A point is the mean over seeds with its 95 % interval; a dashed line is from scratch, the best of its settings.
    Settings that differ in more than α differ in line. False if nothing was evaluated at two values of α.
    """
    found = [one for one in summarise(outcomes) if isinstance(one.first.series.settings.get("alpha"), float)]
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
            names = axes.get_legend_handles_labels()
            figure.legend(*names, loc="outside upper center", ncols=2, frameon=False, fontsize=9)
        axes.set_xlabel("α [branch updates ÷ updates of the version's increment]")
        axes.set_ylabel("held-out loss [nats per token]")
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


def plot_domains(studies: Sequence[Study], panels: Sequence[Panel], file: pathlib.Path) -> bool:
    """Draw held-out loss over position, a panel for each domain, along all paths; False with fewer than two domains.

    The loss of a domain is that on its sets of all versions together. It shows how a domain is learned, and how an old
    one is lost and comes back. A branch begins with the loss of its parent where that was evaluated at the fork.
    """
    losses = {path.id: _domain_losses(studies, path.id) for panel in panels for path in panel.tree.paths}
    domains = sorted({domain for found in losses.values() for domain in found})
    if len(domains) < 2:
        return False
    kinds = [panel.kind for panel in panels]
    with style():
        figure = Figure(figsize=(WIDTH, 1.1 + 1.9 * len(domains)), layout="constrained")
        grid = figure.subplots(len(domains), 1, sharex=True, squeeze=False)
        for axes, domain in zip(grid[:, 0], domains, strict=True):
            axes.set_title(domain, fontsize=10, loc="left")
            for number, panel in enumerate(panels):
                line = LINES[kinds[:number].count(panel.kind) % len(LINES)]
                for path in panel.tree.paths:
                    places, heights = _domain_curve(path, losses, domain)
                    label = panel.label if path is panel.tree.paths[0] else "_nolegend_"
                    axes.plot(places, heights, color=panel.colour, linestyle=line, linewidth=1.3, label=label)
        grid[-1, 0].set_xlabel("position [updates]")
        grid[-1, 0].xaxis.set_major_formatter(whole_numbers())
        figure.supylabel("held-out loss [nats per token]", fontsize=10)
        names = grid[0, 0].get_legend_handles_labels()
        figure.legend(*names, loc="outside upper center", ncols=2, frameon=False, fontsize=9)
        save(figure, file)
    return True


def _domain_curve(
    path: Path, losses: Mapping[str, Mapping[str, Mapping[int, float]]], domain: str
) -> tuple[list[int], list[float]]:
    """Return positions and losses of a path, from its fork on if the parent was evaluated there."""
    points = dict(losses[path.id].get(domain, {}))
    before = {} if path.parent is None else losses[path.parent.path_id].get(domain, {})
    if path.start in before:
        points[path.start] = before[path.start]
    places = sorted(points)
    return places, [points[place] for place in places]


def _domain_losses(studies: Sequence[Study], path_id: str) -> dict[str, dict[int, float]]:
    """Return a path's held-out losses by domain and position."""
    sums: dict[str, dict[int, Score]] = {}
    folder = _find(studies, path_id)
    for row in [] if folder is None else folder.evaluation.rows():
        scores, position = sums.setdefault(row["domain"], {}), int(row["position"])
        score = Score(nll=float(row["nll"]), tokens=int(row["tokens"]))
        scores[position] = scores[position] + score if position in scores else score
    return {domain: {position: score.loss for position, score in found.items()} for domain, found in sums.items()}
