"""Figures over position: learning rates, training losses, and held-out losses by domain.

Several settings of one kind of paradigm have its colour and differ in line.
"""

import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from lrpath.analysis.scores import Score, total
from lrpath.planning.paths import Path, Tree
from lrpath.planning.plan import Plan
from lrpath.records.path_folder import PathFolder
from lrpath.records.study import Study
from lrpath.reporting.plot_style import (
    LINES,
    WIDTH,
    Panel,
    PlotLine,
    add_legend,
    draw_tree,
    part_names,
    save,
    stack,
    style,
    whole_numbers,
)

Table = TypeVar("Table")
SAMPLES = 400
"""Points a curve is drawn with, besides the ends of its pieces."""


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


def rate_curve(tree: Tree, path: Path) -> PlotLine:
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
    every = _read_each(studies, panels, _losses)
    curves = [
        {path.id: _smooth(panel.tree, path, losses, window) for path in panel.tree.paths}
        for panel, losses in zip(panels, every, strict=True)
    ]
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
        of_each = f"mean of {window:,} updates" if window > 1 else "every update"
        figure.supylabel(f"training loss [nats per token]\n{of_each}", fontsize=10)
        part_names(figure, all_axes)
        save(figure, file)
    return True


def _losses(folder: PathFolder | None) -> dict[int, float]:
    rows = [] if folder is None else folder.metrics.rows()
    return {row.position: row.loss for row in rows if math.isfinite(row.loss)}  # others were left out


def _read_each(
    studies: Sequence[Study], panels: Sequence[Panel], read: Callable[[PathFolder | None], Table]
) -> list[dict[str, Table]]:
    """Return for each panel what is read of its paths' folders, by path id; a folder is read once."""
    known: dict[pathlib.Path | None, Table] = {}

    def read_once(folder: PathFolder | None) -> Table:
        place = None if folder is None else folder.folder
        if place not in known:
            known[place] = read(folder)
        return known[place]

    return [{path.id: read_once(_find(panel, studies, path.id)) for path in panel.tree.paths} for panel in panels]


def _find(panel: Panel, studies: Sequence[Study], path_id: str) -> PathFolder | None:
    """Return the folder of a path of a panel: of its own study, which may have gone on with other text than another.

    Where that has none, of those in several studies the one with most rows of metrics, by their size.
    """
    if panel.study is not None and (own := panel.study.find(path_id)) is not None:
        return own
    found = [folder for study in studies if (folder := study.find(path_id)) is not None]
    sizes = [folder.metrics.file.stat().st_size if folder.metrics.file.exists() else 0 for folder in found]
    return found[sizes.index(max(sizes))] if found else None


def _smooth(tree: Tree, path: Path, losses: dict[str, dict[int, float]], window: int) -> PlotLine:
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


def plot_domains(studies: Sequence[Study], panels: Sequence[Panel], file: pathlib.Path) -> bool:
    """Draw held-out loss over position, a panel for each domain, along all paths; False with fewer than two domains.

    The loss of a domain is that on its sets of all versions together. It shows how a domain is learned, and how an old
    one is lost and comes back. A branch begins with the loss of its parent where that was evaluated at the fork.
    """
    losses = _read_each(studies, panels, _domain_losses)
    domains = sorted({domain for its in losses for found in its.values() for domain in found})
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
                    places, heights = _domain_curve(path, losses[number], domain)
                    label = panel.label if path is panel.tree.paths[0] else "_nolegend_"
                    alone = {"marker": "o", "markersize": 4} if len(places) == 1 else {}  # a line of one point is none
                    axes.plot(places, heights, color=panel.colour, linestyle=line, linewidth=1.3, label=label, **alone)
        grid[-1, 0].set_xlabel("position [updates]")
        grid[-1, 0].xaxis.set_major_formatter(whole_numbers())
        figure.supylabel("held-out loss [nats per token]", fontsize=10)
        add_legend(figure, grid[0, 0])
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


def _domain_losses(folder: PathFolder | None) -> dict[str, dict[int, float]]:
    """Return a path's held-out losses by domain and position."""
    parts: dict[str, dict[int, list[Score]]] = {}
    for row in [] if folder is None else folder.evaluations():
        score = Score(nll=row.nll, tokens=row.tokens)
        parts.setdefault(row.domain, {}).setdefault(row.position, []).append(score)
    return {
        domain: {position: total(scores).loss for position, scores in found.items()} for domain, found in parts.items()
    }
