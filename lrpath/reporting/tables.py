"""One small table of values, written as aligned text, Markdown, LaTeX, HTML or CSV.

Text and Markdown are for reading: a missing value is `–`. CSV is for programs: full digits, a missing value is empty.
"""

import csv
import html
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

MISSING = "–"


class Align(StrEnum):
    """Side on which the cells of a column end evenly."""

    LEFT = "left"
    RIGHT = "right"


def write_whole_number(value: int) -> str:
    """Write with thousands separators, `58,000`."""
    return f"{value:,}"


def write_fixed(digits: int) -> Callable[[float], str]:
    """Return a writer with a fixed number of decimals."""
    return lambda value: f"{value:,.{digits}f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """How one column is named and written.

    Args:
        key: Name for programs: quantity first, unit last.
        title: Name for people.
        unit: Unit for people; empty for counts and names.
        write: Turns a value that is not None into text for people.
        align: Side on which cells end evenly.
    """

    key: str
    title: str
    unit: str = ""
    write: Callable[[Any], str] = str
    align: Align = Align.RIGHT


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTable:
    """Rows of values under columns.

    Args:
        title: What the table shows.
        columns: At least one.
        rows: As many values in each row as there are columns; None where there is none.
        notes: Sentences that stand below.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    notes: tuple[str, ...] = ()

    def without(self, *keys: str) -> "ReportTable":
        """Return the table without some columns."""
        kept = [number for number, column in enumerate(self.columns) if column.key not in keys]
        rows = tuple(tuple(row[number] for number in kept) for row in self.rows)
        return replace(self, columns=tuple(self.columns[number] for number in kept), rows=rows)

    def records(self) -> list[dict[str, Any]]:
        """Return the rows as plain data by column key."""
        keys = [column.key for column in self.columns]
        return [dict(zip(keys, row, strict=True)) for row in self.rows]

    def cells(self) -> list[list[str]]:
        """Return the rows as text for people; a name with control characters cannot command their terminal."""
        return [
            [
                MISSING if value is None else _printable(column.write(value))
                for column, value in zip(self.columns, row, strict=True)
            ]
            for row in self.rows
        ]

    def text(self) -> str:
        """Return the table aligned for a terminal, without spaces at the ends of lines."""
        heads = [[column.title for column in self.columns]]
        if any(column.unit for column in self.columns):
            heads.append([column.unit and f"[{column.unit}]" for column in self.columns])
        cells = self.cells()
        widths = [max(map(len, column)) for column in zip(*heads, *cells, strict=True)]
        rule = ["─" * width for width in widths]
        lines = [self._line(row, widths) for row in (*heads, rule, *cells)]
        return "\n".join([self.title, *lines, *self.notes])

    def _line(self, row: Sequence[str], widths: Sequence[int]) -> str:
        padded = [
            cell.rjust(width) if column.align is Align.RIGHT else cell.ljust(width)
            for column, cell, width in zip(self.columns, row, widths, strict=True)
        ]
        return "  ".join(padded).rstrip()

    def markdown(self) -> str:
        """Return the table in GitHub's Markdown, with its title above and its notes below."""
        heads = [f"{column.title} [{column.unit}]" if column.unit else column.title for column in self.columns]
        rule = ["---:" if column.align is Align.RIGHT else ":---" for column in self.columns]
        rows = [rule if row is rule else [_markdown(cell) for cell in row] for row in (heads, rule, *self.cells())]
        lines = [f"| {' | '.join(row)} |" for row in rows]
        notes = [line for note in self.notes for line in ("", note)]
        return "\n".join([f"**{_markdown(self.title)}**", "", *lines, *map(_markdown, notes)]) + "\n"

    def latex(self) -> str:
        """Return a `tabular` of LaTeX's booktabs, with its title and notes as comments above."""
        heads = [f"{column.title} [{column.unit}]" if column.unit else column.title for column in self.columns]
        sides = "".join("r" if column.align is Align.RIGHT else "l" for column in self.columns)
        head, *rows = (" & ".join(map(_latex, row)) + r" \\" for row in (heads, *self.cells()))
        comments = [f"% {' '.join(line.split())}" for line in (self.title, *self.notes)]
        begin, end = f"\\begin{{tabular}}{{{sides}}}", r"\end{tabular}"
        return "\n".join([*comments, begin, r"\toprule", head, r"\midrule", *rows, r"\bottomrule", end]) + "\n"

    def html(self, *, captioned: bool = True) -> str:
        """Return the table as HTML, with its title as caption unless that stands above already, without its notes."""
        heads = [
            f"{html.escape(column.title)} <small>{html.escape(column.unit)}</small>"
            if column.unit
            else html.escape(column.title)
            for column in self.columns
        ]
        sides = ["" if column.align is Align.RIGHT else ' class="left"' for column in self.columns]
        lines = [_html_row("th", heads, sides)]
        lines += [_html_row("td", [html.escape(cell) for cell in row], sides) for row in self.cells()]
        head, body = lines[0], "\n".join(lines[1:])
        caption = f"<caption><span>{html.escape(self.title)}</span></caption>" if captioned else ""
        return f"<table>{caption}\n<thead>{head}</thead>\n<tbody>\n{body}\n</tbody></table>\n"

    def html_notes(self) -> str:
        """Return the notes as HTML paragraphs."""
        return "".join(f"<p>{html.escape(note)}</p>\n" for note in self.notes)

    def csv(self) -> str:
        """Return the values with all their digits, under the columns' keys."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([column.key for column in self.columns])
        writer.writerows([["" if value is None else value for value in row] for row in self.rows])
        return out.getvalue()


def said_once(tables: Sequence[ReportTable]) -> list[ReportTable]:
    """Return tables that stand one below the other, of which those with the same columns say a note once: the last.

    >>> one, other = (ReportTable(title=name, columns=(), rows=(), notes=("for both", name)) for name in "ab")
    >>> [table.notes for table in said_once([one, other])]
    [('a',), ('for both', 'b')]
    """
    found: list[ReportTable] = []
    below: set[str] = set()
    after: tuple[str, ...] | None = None
    for table in reversed(tables):
        keys = tuple(column.key for column in table.columns)
        below = below if keys == after else set()
        found.append(replace(table, notes=tuple(note for note in table.notes if note not in below)))
        below, after = below | set(table.notes), keys
    return found[::-1]


_LATEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "–": "--",
    "−": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "α": r"$\alpha$",
    "≥": r"$\geq$",
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def _printable(text: str) -> str:
    return (
        text
        if text.isprintable()
        else "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
    )


def _markdown(text: str) -> str:
    """Return text that is neither markup nor the end of a cell; readers of Markdown render HTML that stands in it."""
    plain = " ".join(text.split()) if text else text
    for sign, written in {"&": "&amp;", "<": "&lt;", "|": "\\|", "`": "\\`", "](": "]\\("}.items():
        plain = plain.replace(sign, written)
    return plain


def _latex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)


def _html_row(tag: str, cells: Sequence[str], sides: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}{side}>{cell}</{tag}>" for cell, side in zip(cells, sides, strict=True)) + "</tr>"


def write_flops(flops: float) -> str:
    """Write floating-point operations with three digits, `4.91e20`.

    >>> write_flops(491_000_000_000_000_000_000), write_flops(0)
    ('4.91e20', '0')
    """
    if not flops:
        return "0"
    power = math.floor(math.log10(flops))
    digits = f"{flops / 10**power:.2f}"
    return f"{digits}e{power}" if digits != "10.00" else f"1.00e{power + 1}"
