"""Draws a plan's paths as text: where each runs, how its rate goes, which versions it releases and what it reads."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby

from lrpath.analysis.path_names import short_name
from lrpath.planning.paths import Path, Release, StateKey, Tree
from lrpath.planning.plan import Plan
from lrpath.planning.schedule import Piece, Shape
from lrpath.planning.streams import WEIGHT_PARTS, coverage
from lrpath.planning.units import write_span

MOST_LINES = 16
"""A paradigm with more paths than this shows the first and last ones."""
_FIRST, _LAST = 8, 4
LEGEND = (
    "├─ leaves by a fork; ↓ goes on where the path above ends; again: the same model has read it before;\n"
    "a path under another paradigm's name is shared with it"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConsumed:
    """What a path reads of an increment, as shares of it.

    Args:
        first: Read for the first time by the model on this path.
        again: Read by it before, there or on an ancestor.
    """

    first: Fraction
    again: Fraction


def data_consumed(tree: Tree, path: Path) -> dict[str, DataConsumed]:
    """Return what a path, run to its end, reads of each increment, by version."""
    end = tree.end(path.id)
    before = {} if path.parent is None else coverage(tree.reads(path.parent))
    after = coverage(tree.reads(StateKey(path.id, end)))
    total: dict[str, Fraction] = {}
    for segment, begin, stop in path.stream.spans(path.start, end):
        for component in segment.components:
            pool = sum(increment.updates for increment in component.increments)
            share = Fraction((stop - begin) * component.parts, WEIGHT_PARTS * pool)
            for increment in component.increments:
                total[increment.version] = total.get(increment.version, Fraction(0)) + share
    first = {version: after[version] - before.get(version, Fraction(0)) for version in total}
    return {
        version: DataConsumed(first=first[version], again=share - first[version]) for version, share in total.items()
    }


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
    trees = {paradigm: plan.part(paradigm) for paradigm in plan.paradigms}
    rows = {paradigm: _shortened(_rows(tree, plan, paradigm)) for paradigm, tree in trees.items()}
    widths = [max(len(row[column]) for drawn in rows.values() for row in drawn) for column in range(5)]
    lines = [LEGEND]
    for paradigm, drawn in rows.items():
        updates, cost = plan.cost(trees[paradigm]).updates, plan.relative_cost(paradigm)
        lines += ["", f"{paradigm}: {updates:,} updates, {cost:.2f} of the cost of training each version from scratch"]
        lines += [_line(row, widths) for row in drawn]
    return "\n".join(lines)


TreeLine = tuple[str, str, str, str, str, str]
"""Name, positions, rates, curve, releases, data consumed."""


def _line(row: TreeLine, widths: list[int]) -> str:
    cells = [
        cell.rjust(width) if n == 1 else cell.ljust(width)
        for n, (cell, width) in enumerate(zip(row, widths, strict=False))
    ]
    return ("  " + "   ".join([*cells, row[-1]])).rstrip()


def _shortened(rows: list[TreeLine]) -> list[TreeLine]:
    if len(rows) <= MOST_LINES:
        return rows
    left_out = len(rows) - _FIRST - _LAST
    return [*rows[:_FIRST], (f"⋮  {left_out:,} more paths", "", "", "", "", ""), *rows[-_LAST:]]


def _rows(tree: Tree, plan: Plan, paradigm: str) -> list[TreeLine]:
    roots = [path for path in tree.paths if path.parent is None]
    return [row for root in roots for row in _branch_rows(tree, plan, paradigm, root, lead="", mark="")]


def _branch_rows(tree: Tree, plan: Plan, paradigm: str, path: Path, *, lead: str, mark: str) -> list[TreeLine]:
    """Return the row of a path and those of all that leaves it; a lone path from its end is drawn below, not inside."""
    rows = [_row(tree, plan, paradigm, path, drawn=f"{lead}{mark}")]
    inner = lead + {"": "", "↓ ": "", "├─ ": "│  ", "└─ ": "   "}[mark]
    children = [child for child in tree.paths if child.parent and child.parent.path_id == path.id]
    if len(children) == 1 and children[0].start == tree.end(path.id):
        return rows + _branch_rows(tree, plan, paradigm, children[0], lead=inner, mark="↓ ")
    for child in sorted(children, key=lambda child: child.start):
        is_last = child is max(children, key=lambda child: child.start)
        rows += _branch_rows(tree, plan, paradigm, child, lead=inner, mark="└─ " if is_last else "├─ ")
    return rows


def _row(tree: Tree, plan: Plan, paradigm: str, path: Path, *, drawn: str) -> TreeLine:
    end = tree.end(path.id)
    peak, last = peak_rate(path, end=end), path.schedule.rate(end - 1)
    rate = write_rate(peak) if peak == last else f"{write_rate(peak)} → {write_rate(last)}"
    return (
        drawn + short_name(path, paradigm=paradigm),
        f"{path.start:,} → {end:,}",
        rate,
        _curve(path, end=end),
        _released([release for release in tree.releases if release.last.path_id == path.id], plan.versions),
        f"reads {_reads(data_consumed(tree, path), plan.versions)}",
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
