"""Draws a plan's paths as text: where each runs, how its rate goes, which versions it releases and what it reads."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import groupby

from lrpath.analysis.path_names import short_name
from lrpath.planning.paths import Path, Release
from lrpath.planning.plan import Plan
from lrpath.planning.readings import DataConsumed, Readings
from lrpath.planning.schedule import Piece, Shape
from lrpath.planning.units import write_span

MOST_LINES = 16
"""A paradigm with more paths than this shows the first and last ones."""
_FIRST, _LAST = 8, 4
LEGEND = (
    "├─ leaves by a fork; ↓ goes on where the path above ends; again: the same model has read it before;\n"
    "a path under another paradigm's name is shared with it"
)


def peak_rate(path: Path, *, end: int) -> float:
    """Return the highest rate that the path's curve touches before position `end`."""
    return max(*(max(piece.first, piece.last) for piece, _ in pieces_run(path, end=end)), 0.0)


def pieces_run(path: Path, *, end: int) -> Iterator[tuple[Piece, int]]:
    """Yield the pieces of a path's schedule that begin before position `end`, each with where it begins."""
    begin = path.start
    for piece in path.schedule.pieces:
        if begin < end:
            yield piece, begin
        begin = end if piece.updates is None else begin + piece.updates


def write_rate(rate: float) -> str:
    """Write a learning rate, `3.00e-04`."""
    return f"{rate:.2e}" if rate else "0"


def tree_text(plan: Plan) -> str:
    """Return all paradigms' trees, their columns aligned with one another."""
    drawn = {paradigm: _DrawnTree(plan, paradigm) for paradigm in plan.paradigms}
    rows = {paradigm: tree.rows() for paradigm, tree in drawn.items()}
    widths = [max(len(row[column]) for found in rows.values() for row in found) for column in range(5)]
    lines = [LEGEND]
    for paradigm, found in rows.items():
        tree, cost = drawn[paradigm].tree, plan.relative_cost(paradigm)
        updates = sum(tree.updates(path.id) for path in tree.paths)
        lines += ["", f"{paradigm}: {updates:,} updates, {cost:.2f} of the cost of training each version from scratch"]
        lines += [_line(row, widths) for row in found]
    return "\n".join(lines)


TreeLine = tuple[str, str, str, str, str, str]
"""Name, positions, rates, curve, releases, data consumed."""


def _line(row: TreeLine, widths: list[int]) -> str:
    cells = [
        cell.rjust(width) if n == 1 else cell.ljust(width)
        for n, (cell, width) in enumerate(zip(row, widths, strict=False))
    ]
    return ("  " + "   ".join([*cells, row[-1]])).rstrip()


class _DrawnTree:
    """The lines of a paradigm's tree, of which only those that are shown are worked out."""

    def __init__(self, plan: Plan, paradigm: str) -> None:
        self.tree = plan.part(paradigm)
        self._plan, self._paradigm = plan, paradigm
        self._readings = Readings(self.tree)
        self._children: dict[str, list[Path]] = {}
        for path in self.tree.paths:
            if path.parent is not None:
                self._children.setdefault(path.parent.path_id, []).append(path)
        self._released: dict[str, list[Release]] = {}
        for release in self.tree.releases:
            self._released.setdefault(release.last.path_id, []).append(release)

    def rows(self) -> list[TreeLine]:
        """Return a line for each path, or the first and last ones if there are many."""
        drawn = [one for path in self.tree.paths if path.parent is None for one in self._branches(path)]
        if len(drawn) <= MOST_LINES:
            return [self._row(*one) for one in drawn]
        left_out = (f"⋮  {len(drawn) - _FIRST - _LAST:,} more paths", "", "", "", "", "")
        return [*(self._row(*one) for one in drawn[:_FIRST]), left_out, *(self._row(*one) for one in drawn[-_LAST:])]

    def _branches(self, root: Path) -> Iterator[tuple[Path, str]]:
        """Yield a path and all that leaves it, each with what is drawn before its name.

        A lone path from its parent's end is drawn below it, not inside.
        """
        waiting = [(root, "", "")]
        while waiting:
            path, lead, mark = waiting.pop()
            yield path, f"{lead}{mark}"
            inner = lead + {"": "", "↓ ": "", "├─ ": "│  ", "└─ ": "   "}[mark]
            children = sorted(self._children.get(path.id, ()), key=lambda child: child.start)
            if len(children) == 1 and children[0].start == self.tree.end(path.id):
                waiting.append((children[0], inner, "↓ "))
                continue
            for child in reversed(children):
                waiting.append((child, inner, "└─ " if child is children[-1] else "├─ "))

    def _row(self, path: Path, drawn: str) -> TreeLine:
        end = self.tree.end(path.id)
        peak, last = peak_rate(path, end=end), path.schedule.rate(end - 1)
        rate = write_rate(peak) if peak == last else f"{write_rate(peak)} → {write_rate(last)}"
        return (
            drawn + short_name(path, paradigm=self._paradigm),
            f"{path.start:,} → {end:,}",
            rate,
            _curve(path, end=end),
            _released(self._released.get(path.id, []), self._plan.versions),
            f"reads {_reads(self._readings.of_path(path), self._plan.versions)}",
        )


def _curve(path: Path, *, end: int) -> str:
    """Name the pieces of a curve, all but the last with their length [updates]."""
    pieces = list(pieces_run(path, end=end))
    if len(pieces) > 1 and all(piece.shape is Shape.CONSTANT for piece, _ in pieces):
        return f"stair of {len(pieces)}"
    names = ["warm-up" if piece.shape is Shape.LINEAR and not piece.first else piece.shape.value for piece, _ in pieces]
    lengths = [f" {piece.updates:,}" if number < len(pieces) - 1 else "" for number, (piece, _) in enumerate(pieces)]
    return ", ".join(name + length for name, length in zip(names, lengths, strict=True))


def _reads(found: Mapping[str, DataConsumed], versions: tuple[str, ...]) -> str:
    first = _shares({version: reading.first for version, reading in found.items()}, versions, suffix="")
    again = _shares({version: reading.again for version, reading in found.items()}, versions, suffix=" again")
    return ", ".join(first + again)


def _shares(shares: Mapping[str, Fraction], versions: tuple[str, ...], *, suffix: str) -> list[str]:
    """Write shares of increments; neighbours of which the same share is read become one entry."""
    texts = []
    for share, group in groupby(versions, key=lambda version: shares.get(version, Fraction(0))):
        names = list(group)
        whole = write_span(names) + suffix
        each = " each" if len(names) > 1 else ""
        if share:
            texts.append(whole if share == 1 else f"{float(100 * share):.3g} % of {write_span(names)}{each}{suffix}")
    return texts


def _released(releases: list[Release], versions: tuple[str, ...]) -> str:
    if not releases:
        return ""
    names = sorted((release.version for release in releases), key=versions.index)
    sizes = sorted({len(release.parts) for release in releases})
    merged = f", {'each ' if len(names) > 1 else ''}the mean of {sizes[-1]} states" if sizes[-1] > 1 else ""
    return f"{'releases' if len(names) > 1 else 'release'} {write_span(names)}{merged}"
