"""Figures of a plan and of a study, drawn with matplotlib's object interface: no window, no global state.

One kind of paradigm has one colour in all figures (Okabe and Ito's palette, which colour-blind readers can tell apart);
several settings of one kind differ in marker and line. Sizes suit a column in print and the width of a phone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any, TypeVar

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from lrpath.analysis.compare import Outcome
from lrpath.planning.paths import Path, Tree
from lrpath.planning.plan import Plan
from lrpath.planning.units import write_count
from lrpath.records import Study

COLOURS = {
    "from_scratch": "#000000",
    "path_switching": "#0072B2",
    "continual": "#D55E00",
    "wsd_s": "#CC79A7",
    "infinite": "#009E73",
    "merged": "#E69F00",
}
OTHER_COLOUR = "#777777"
MARKERS = "osD^vP*Xph"
WIDTH = 6.0
"""Width of every figure [inch]."""

_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "savefig.dpi": 200,
    "svg.hashsalt": "lrpath",
    "svg.fonttype": "none",
}
_SAMPLES = 400
_HALO = [withStroke(linewidth=2.5, foreground="white")]
T = TypeVar("T")
Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Positions [updates], ascending, and what is drawn at them."""

MOST_NAMES = 8
"""Of more versions than this in one panel, only some are named, so that names do not run into each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A tree to be drawn, with its name and colour."""

    label: str
    kind: str
    tree: Tree

    @property
    def colour(self) -> str:
        """Colour of its kind of paradigm."""
        return COLOURS.get(self.kind, OTHER_COLOUR)


def panels_of(plan: Plan) -> tuple[Panel, ...]:
    """Return one panel for each paradigm of a plan."""
    return tuple(
        Panel(label=label, kind=str(settings.get("kind", label)), tree=plan.part(label))
        for label, settings in plan.paradigms.items()
    )


def plot_rates(plan: Plan, file: File) -> None:
    """Draw the learning-rate paths of a plan, after figure 1 of arXiv 2410.04103; the suffix chooses SVG, PNG or PDF."""
    draw_rates(panels_of(plan), file)


def draw_rates(panels: Sequence[Panel], file: File) -> None:
    """Draw learning-rate paths, one panel a paradigm on shared axes, so that lengths and rates compare by eye.

    The rate axis is linear: a linear axis shows that a decay is complete and how warm-up begins at 0, which a
    logarithmic one cannot. A path is bold where other paths leave it; a dot is a fork, a ring a release.
    """
    with rc_context(_STYLE):
        figure, all_axes = _stack(panels)
        top = max(_highest(panel.tree) for panel in panels)
        power = math.floor(math.log10(top)) if top > 0 else 0
        for axes, panel in zip(all_axes, panels, strict=True):
            _draw_tree(axes, panel, {path.id: rate_curve(panel.tree, path) for path in panel.tree.paths})
            axes.set_ylim(0, 1.35 * top)
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 10**power:g}"))
            axes.yaxis.set_major_locator(MaxNLocator(4))
        figure.supylabel(f"learning rate [$10^{{{power}}}$]", fontsize=10)
        _save(figure, file)


def _stack(panels: Sequence[Panel]) -> tuple[Figure, list[Axes]]:
    """Return a figure with one panel above the other, all over one axis of positions, with tokens along the top."""
    figure = Figure(figsize=(WIDTH, 1.1 + 1.3 * len(panels)), layout="constrained")
    grid = figure.subplots(len(panels), 1, sharex=True, sharey=True, squeeze=False)
    all_axes = [grid[row, 0] for row in range(len(panels))]
    for axes, panel in zip(all_axes, panels, strict=True):
        axes.text(0.995, 0.95, panel.label, transform=axes.transAxes, ha="right", va="top", **_bold(panel.colour))
    end = max(panel.tree.end(path.id) for panel in panels for path in panel.tree.paths)
    all_axes[0].set_xlim(0, 1.06 * end)
    all_axes[-1].set_xlabel("position [updates]")
    all_axes[-1].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    per_update = panels[0].tree.paths[0].recipe.tokens_per_update
    tokens = all_axes[0].secondary_xaxis("top", functions=(lambda x: x * per_update, lambda x: x / per_update))
    tokens.set_xlabel("position [tokens]")
    tokens.xaxis.set_major_formatter(FuncFormatter(lambda value, _: write_count(value)))
    tokens.spines["top"].set_visible(True)
    return figure, all_axes


def _bold(colour: str) -> dict[str, Any]:
    """Return settings of a name that stays legible on top of lines."""
    return {"color": colour, "fontweight": "bold", "path_effects": _HALO, "zorder": 6}


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
    between = np.linspace(path.start, end - 1, min(_SAMPLES, end - path.start)).astype(int)
    updates = sorted({*map(int, between), *edges, end - 1})
    positions, rates = [update + 1.0 for update in updates], [path.schedule.rate(update) for update in updates]
    if path.parent is not None:
        positions.insert(0, float(path.start))
        rates.insert(0, tree.rate(path.parent.path_id, path.start - 1))
    return np.array(positions), np.array(rates)


def _draw_tree(axes: Axes, panel: Panel, curves: Mapping[str, Curve]) -> None:
    """Draw the curves of a tree's paths by path id; a fork is a dot, a release a ring with the version's name."""
    tree = panel.tree
    for path in tree.paths:
        positions, heights = curves[path.id]
        if not positions.size:
            continue
        children = [child for child in tree.paths if child.parent and child.parent.path_id == path.id]
        is_main = any(child.start < tree.end(path.id) for child in children)
        width, order = (2.8, 3) if is_main else (1.3, 2)
        axes.plot(positions, heights, color=panel.colour, linewidth=width, zorder=order, solid_joinstyle="round")
        if path.parent is not None:
            axes.plot(positions[0], heights[0], "o", color=panel.colour, markersize=6, zorder=4)
    made = [release for release in tree.releases if curves[release.last.path_id][0].size]
    points = [(one.last.position, float(np.interp(one.last.position, *curves[one.last.path_id]))) for one in made]
    for point in points:
        axes.plot(*point, "o", color=panel.colour, markerfacecolor="white", markersize=5, zorder=5, clip_on=False)
    for release, point in named(list(zip(made, points, strict=True))):
        _name_point(axes, point, release.version, panel.colour)


def named(marks: Sequence[T]) -> Sequence[T]:
    """Return the marks that get a name: all if they are few, else evenly spaced ones back from the last."""
    every = -(-len(marks) // MOST_NAMES)
    return marks[::-1][::every]


def _name_point(axes: Axes, point: tuple[float, float], name: str, colour: str) -> None:
    at = {"xytext": (4, 4), "textcoords": "offset points"}
    axes.annotate(name, point, color=colour, fontsize=9, zorder=6, path_effects=_HALO, annotation_clip=False, **at)


def plot_losses(study: Study, panels: Sequence[Panel], file: File) -> bool:
    """Draw the training loss of trees over position, branches joined to the path they leave; False if nothing ran.

    A point is the mean over the last hundredth of the axis, along the line from the root, so a branch begins with its
    parent's losses. Losses before the end of warm-up may lie above the frame, which is cut to show the rest.
    """
    end = max(panel.tree.end(path.id) for panel in panels for path in panel.tree.paths)
    window = max(1, end // 100)
    losses = {path.id: _losses(study, path.id) for panel in panels for path in panel.tree.paths}
    curves = [{path.id: _smooth(panel.tree, path, losses, window) for path in panel.tree.paths} for panel in panels]
    values = np.concatenate([means for drawn in curves for _, means in drawn.values()])
    if not values.size:
        return False
    with rc_context(_STYLE):
        figure, all_axes = _stack(panels)
        for axes, panel, drawn in zip(all_axes, panels, curves, strict=True):
            _draw_tree(axes, panel, drawn)
        low, high = float(values.min()), float(np.quantile(values, 0.9))
        margin = max(high - low, 1e-3)
        all_axes[0].set_ylim(low - 0.1 * margin, high + 0.25 * margin)
        figure.supylabel(f"training loss [nats per token]\nmean of {window:,} updates", fontsize=10, ha="center")
        _save(figure, file)
    return True


def _losses(study: Study, path_id: str) -> dict[int, float]:
    folder = study.find(path_id)
    return {} if folder is None else {int(row["position"]): float(row["loss"]) for row in folder.metrics.rows()}


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
    thinned = np.unique(np.linspace(0, own.sum() - 1, min(2 * _SAMPLES, int(own.sum()))).astype(int))
    return positions[own][thinned], means[own][thinned]


def plot_quality_against_cost(outcomes: Sequence[Outcome], file: File) -> bool:
    """Draw held-out loss against cost, two panels; False if no release was evaluated.

    Headlines of different versions stand on different sets and may not share an axis. So the upper panel shows v1 … vN,
    joined by paradigm, on the same sets throughout: those that every release was evaluated on. The lower panel shows the
    headlines of the last version alone, which are on the same sets, over cost relative to training each version from
    scratch; there, paradigms that lie close together come apart. Every seed has its own point.
    """
    judged = [outcome for outcome in outcomes if outcome.headline is not None]
    common = set.intersection(*({version for version, _ in outcome.scores or {}} for outcome in judged or outcomes))
    if not judged or not common:
        return False
    number = max(outcome.number for outcome in judged)
    sets = [version for version in judged[0].series.plan.versions if version in common]
    markers = {group: MARKERS[n % len(MARKERS)] for n, group in enumerate(_by_group(judged))}
    with rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH, 7), layout="constrained")
        above, below = figure.subplots(2, 1)
        kinds: set[str] = set()
        for group, found in _by_group(judged).items():
            _draw_series(above, group, found, sets, marker=markers[group], is_named=found[0].series.kind not in kinds)
            kinds.add(found[0].series.kind)
        _draw_last(below, [outcome for outcome in judged if outcome.number == number], markers)
        above.set_ylabel(f"held-out loss on {_span(sets)}\n[nats per token]")
        above.set_xlabel("updates spent on this and all earlier versions")
        above.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        above.set_xlim(left=0)
        figure.legend(
            *above.get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False, fontsize=9
        )
        _save(figure, file)
    return True


def _span(versions: Sequence[str]) -> str:
    return versions[0] if len(versions) == 1 else f"{versions[0]}–{versions[-1]}"


def _by_group(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.series.group, []).append(outcome)
    return groups


def _draw_series(axes: Axes, group: str, found: list[Outcome], sets: list[str], *, marker: str, is_named: bool) -> None:
    """Draw one line a seed; the first is in the legend and, of each kind of paradigm, has its versions named."""
    lines: dict[str, list[tuple[float, float, str]]] = {}
    for outcome in found:
        score = outcome.score(versions=sets)
        assert score is not None
        lines.setdefault(outcome.series.label, []).append((outcome.cost.updates, score.loss, outcome.version))
    colour = COLOURS.get(found[0].series.kind, OTHER_COLOUR)
    for number, points in enumerate(lines.values()):
        x, y, _ = zip(*points, strict=True)
        name = "_nolegend_" if number else group
        axes.plot(x, y, color=colour, marker=marker, markersize=5, linewidth=1.2, label=name)
    for x_one, y_one, version in named(next(iter(lines.values()))) if is_named else ():
        _name_point(axes, (x_one, y_one), version, colour)


def _draw_last(axes: Axes, found: list[Outcome], markers: dict[str, str]) -> None:
    """Draw the headlines of one version over relative cost."""
    version, versions = found[0].version, found[0].series.plan.versions[: found[0].number]
    for outcome in found:
        assert outcome.headline is not None
        colour, marker = COLOURS.get(outcome.series.kind, OTHER_COLOUR), markers[outcome.series.group]
        axes.plot(outcome.relative_cost, outcome.headline.loss, color=colour, marker=marker, markersize=7)
    axes.set_xlim(0, 1.08 * max(1.0, *(outcome.relative_cost for outcome in found)))
    axes.margins(y=0.15)
    axes.set_ylabel(f"held-out loss of {version} on {_span(versions)}\n[nats per token]")
    axes.set_xlabel(f"cost of {_span(versions)} [× training each from scratch]")


def _save(figure: Figure, file: File) -> None:
    """Save beside the place and rename, so that a figure is whole or absent; without a date, equal data give equal files."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}{file.suffix}")
    figure.savefig(beside, metadata={"Date": None} if file.suffix == ".svg" else None)
    beside.replace(file)
