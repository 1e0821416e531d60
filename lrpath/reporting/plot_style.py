"""What all figures share: one colour a paradigm, panels over one axis of positions, names that stay legible, saving.

Matplotlib's object interface is used throughout: no window, no global state. Sizes suit a column in print and the width
of a phone.
"""

import io
import pathlib
import textwrap
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation
from matplotlib.ticker import FuncFormatter
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from lrpath.errors import ConfigError
from lrpath.planning.paradigms import KINDS
from lrpath.planning.paths import Tree
from lrpath.planning.recipe import Recipe
from lrpath.planning.units import write_count
from lrpath.records.files import write_whole
from lrpath.records.study import Study

T = TypeVar("T")
PlotLine = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Positions [updates], ascending, and what is drawn at them."""
Point = tuple[float, float]

WIDTH = 6.0
"""Width of every figure [inch]."""
MOST_NAMES = 8
"""Of more versions than this on one line, only some are named, so that names do not run into each other."""
SUFFIXES = (".png", ".svg", ".pdf")
MARKERS = "osD^vP*Xph"
"""Settings of one kind of paradigm, where points are drawn."""
LINES = ("-", "--", ":", "-.")
"""Settings of one kind of paradigm, where curves have no markers."""

_LETTERS_BESIDE = 34
"""Letters in one line of a name beside a point: two fifths of a figure's width."""
_HALO = [withStroke(linewidth=2.5, foreground="white")]
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so figures are the same everywhere
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "savefig.dpi": 200,
    "svg.hashsalt": "lrpath",  # equal data give equal files
    "svg.fonttype": "none",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A tree to be drawn.

    Args:
        label: Name of the panel.
        kind: Kind of its paradigm, which chooses the colour.
        tree: Paths and releases.
        study: The study whose losses of a path are meant where several have it; None for rates alone.
    """

    label: str
    kind: str
    tree: Tree
    study: Study | None = None

    @property
    def colour(self) -> str:
        """Colour of its kind of paradigm."""
        return colour_of(self.kind)


def colour_of(kind: str) -> str:
    """Return the colour that a kind of paradigm has in every figure."""
    return KINDS[kind].colour


def style() -> AbstractContextManager[None]:
    """Return a context in which figures are made and saved."""
    return rc_context(_STYLE)


def stack(panels: Sequence[Panel]) -> tuple[Figure, list[Axes]]:
    """Return a figure with one panel above the other, all over one axis of positions, with tokens along the top."""
    figure = Figure(figsize=(WIDTH, 1.1 + 1.3 * len(panels)), layout="constrained")
    grid = figure.subplots(len(panels), 1, sharex=True, sharey=True, squeeze=False)
    all_axes = [grid[row, 0] for row in range(len(panels))]
    for axes, panel in zip(all_axes, panels, strict=True):
        name = axes.text(0.995, 0.95, panel.label, transform=axes.transAxes, ha="right", va="top")
        # in the layout, a long name would make the panels narrow; `part_names` makes it fit
        name.set(color=panel.colour, fontweight="bold", path_effects=_HALO, zorder=6, in_layout=False)
    end = max(panel.tree.end(path.id) for panel in panels for path in panel.tree.paths)
    all_axes[0].set_xlim(0, 1.06 * end)
    all_axes[-1].set_xlabel("position [updates]")
    all_axes[-1].xaxis.set_major_formatter(whole_numbers())
    _add_tokens(all_axes[0], panels[0].tree.paths[0].recipe, end=end)
    return figure, all_axes


def _add_tokens(axes: Axes, recipe: Recipe, *, end: int) -> None:
    """Add an axis of tokens; where the batch grows it is as many straight pieces, and goes on as its last update."""
    first = recipe.tokens_between(0, 1)
    functions = (lambda updates: updates * first, lambda tokens: tokens / first)
    if recipe.batch.grows_before(2 * end):
        # Of what lies outside, to the left of 0 above all, matplotlib asks too, and wants an answer that can be undone.
        known = [-end, 0, *(position for position, _ in recipe.growth if position < 2 * end), 2 * end]
        read = [-end * first, *(recipe.tokens_before(position) for position in known[1:])]
        functions = (lambda updates: np.interp(updates, known, read), lambda tokens: np.interp(tokens, read, known))
    tokens = axes.secondary_xaxis("top", functions=functions)
    tokens.set_xlabel("position [tokens]")
    tokens.xaxis.set_major_formatter(FuncFormatter(lambda value, _: write_count(value)))
    tokens.spines["top"].set_visible(True)


def whole_numbers() -> FuncFormatter:
    """Return a formatter with thousands separators."""
    return FuncFormatter(lambda value, _: f"{value:,.0f}")


def draw_tree(axes: Axes, panel: Panel, curves: dict[str, PlotLine], *, offset: Point = (4, 4)) -> None:
    """Draw curves by path id: bold where other paths leave, a dot for a fork, a ring for a release.

    Args:
        axes: Where to draw.
        panel: The tree.
        curves: What to draw of each path; an empty curve is left out.
        offset: Place of a version's name beside its ring [typographic points].
    """
    tree = panel.tree
    left = {
        child.parent.path_id for child in tree.paths if child.parent and child.start < tree.end(child.parent.path_id)
    }
    drawn = [path for path in tree.paths if curves[path.id][0].size]
    # A hundred branches are one line with gaps: matplotlib lays out, clips and draws artists one by one.
    for is_main, width, order in ((False, 1.3, 2), (True, 2.4, 3)):
        parts = [curves[path.id] for path in drawn if (path.id in left) is is_main]
        if parts:  # a line without points has no extent, and the layout takes it for an endless one
            axes.plot(*_joined(parts), color=panel.colour, linewidth=width, zorder=order, solid_joinstyle="round")
    forks = [tuple(line[0] for line in curves[path.id]) for path in drawn if path.parent is not None]
    if forks:
        axes.plot(*_columns(forks), "o", color=panel.colour, markersize=6, zorder=4)
    _draw_releases(axes, panel, curves, offset=offset)


def _joined(lines: Sequence[PlotLine]) -> PlotLine:
    """Return lines as one, with a gap between each and the next."""
    gap = np.array([np.nan])
    both = [np.concatenate([part for line in lines for part in (line[axis], gap)] or [gap]) for axis in (0, 1)]
    return both[0], both[1]


def _columns(points: Sequence[tuple[float, ...]]) -> tuple[list[float], list[float]]:
    return [point[0] for point in points], [point[1] for point in points]


def _draw_releases(axes: Axes, panel: Panel, curves: dict[str, PlotLine], *, offset: Point) -> None:
    points = []
    for release in panel.tree.releases:
        positions, heights = curves[release.last.path_id]
        if positions.size and positions[-1] >= release.last.position:
            height = float(np.interp(release.last.position, positions, heights))
            points.append((release.last.position, height, release.version))
    rings = _columns([(x, y) for x, y, _ in points])
    if points:
        axes.plot(*rings, "o", color=panel.colour, markerfacecolor="white", markersize=5, zorder=5, clip_on=False)
    for x, y, version in named(points):
        name_point(axes, (x, y), version, panel.colour, offset=offset)


def named(points: Sequence[T]) -> Sequence[T]:
    """Return the points that get a name: all if they are few, else evenly spaced ones back from the last.

    >>> named(["v1", "v2", "v3"]), named([f"v{number}" for number in range(1, 25)])[:3]
    (['v3', 'v2', 'v1'], ['v24', 'v21', 'v18'])
    """
    return points[:: -max(1, -(-len(points) // MOST_NAMES))]


def name_point(axes: Axes, point: Point, name: str, colour: str, *, offset: Point) -> None:
    """Write a name beside a point, at an offset [typographic points], with a white rim against lines below it.

    A long name goes on in a second line.
    """
    axes.annotate(
        textwrap.fill(name, _LETTERS_BESIDE),
        point,
        xytext=offset,
        textcoords="offset points",
        ha="right" if offset[0] < 0 else "left",
        color=colour,
        fontsize=9,
        zorder=6,
        path_effects=_HALO,
        annotation_clip=False,
    )


def part_names(figure: Figure, all_axes: Sequence[Axes]) -> None:
    """Lay a figure out, write the names of panels small enough for them, and move versions' names off each other.

    A name that would touch another, or the panel's, goes to the other side of its point, below it, or both; where
    nothing is free it stays. Panels are those of `stack`, whose first text is their name.
    """
    figure.draw_without_rendering()
    for axes in all_axes:
        title = axes.texts[0]
        room = 0.99 * axes.get_window_extent().width
        if (width := title.get_window_extent().width) > room:
            title.set_fontsize(float(title.get_fontsize()) * room / width)
        _part_points(axes, [title.get_window_extent()])
    figure.set_layout_engine("none")  # it is laid out; to save it would lay it out once more


def part_points(figure: Figure, all_axes: Sequence[Axes]) -> None:
    """Lay a figure out and move the names of points off each other; one that has no free place is left out.

    Whose points have names beside them has a legend, too.
    """
    figure.draw_without_rendering()
    for axes in all_axes:
        _part_points(axes, [], leave_out=True)


def _part_points(axes: Axes, taken: list[Bbox], *, leave_out: bool = False) -> None:
    names = [text for text in axes.texts if isinstance(text, Annotation)]
    for name in sorted(names, key=lambda name: -name.xy[0]):  # of two close points the right one has the right side
        place, is_free = _free_place(name, taken)
        name.set_visible(is_free or not leave_out)
        if name.get_visible():
            taken.append(place)


def _free_place(name: Annotation, taken: Sequence[Bbox]) -> tuple[Bbox, bool]:
    """Move a name to the first of four places where it touches none of the taken ones, and return where it is.

    The second value says whether it touches none.
    """
    right, up = name.xyann
    below = -up - float(name.get_fontsize())
    for x, y in ((right, up), (-right, up), (right, below), (-right, below), (right, up)):
        name.xyann = x, y
        name.set_horizontalalignment("right" if x < 0 else "left")
        place = name.get_window_extent()
        if not any(place.overlaps(other) for other in taken):
            return place, True
    return place, False


def add_legend(figure: Figure, axes: Axes) -> None:
    """Put a legend of the axes' lines above a figure, in as many columns as fit, and make the figure taller by it.

    Names that are wider than the figure go on in a second line.
    """
    lines, names = axes.get_legend_handles_labels()
    if not names:
        return
    letters = int(figure.get_figwidth() * 14) - _HANDLE  # of 8 points, 14 go into an inch
    names = [textwrap.fill(name, letters) for name in names]
    widest = max(len(line) for name in names for line in name.splitlines()) + _HANDLE
    columns = max(1, min(len(names), (letters + _HANDLE) // widest))
    each = -(-len(names) // columns)
    heights = [name.count("\n") + 1 for name in names]
    rows = max(sum(heights[begin : begin + each]) for begin in range(0, len(names), each))
    figure.set_figheight(figure.get_figheight() + 0.17 * (rows - 1))
    figure.legend(lines, names, loc="outside upper center", ncols=columns, frameon=False, fontsize=8)


_HANDLE = 8
"""Letters that the line and the gap beside a name of a legend are as wide as."""


def save(figure: Figure, file: pathlib.Path) -> None:
    """Save a figure, whole or not at all.

    Raises:
        ConfigError: If the suffix is not one of `SUFFIXES`.
    """
    if file.suffix not in SUFFIXES:
        raise ConfigError(f"figure={file} must end in one of {', '.join(SUFFIXES)}")
    drawn = io.BytesIO()
    metadata = None if file.suffix == ".png" else {_DATE[file.suffix]: None}
    figure.savefig(drawn, format=file.suffix.removeprefix("."), metadata=metadata)
    write_whole(file, drawn.getvalue())


_DATE = {".svg": "Date", ".pdf": "CreationDate"}
"""What the date is called that a format writes unless told not to."""
