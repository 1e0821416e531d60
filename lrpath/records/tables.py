"""The tables of a path: rows by position, appended to while the path is run, and parsed once, where they are read.

Rows are named tuples, not dataclasses: they are written and read column by column, and a million of them, a path's
metrics, are made in a quarter of the time.
"""

import os
import pathlib
from collections.abc import Callable, Container, Iterable, Sequence
from functools import partial
from typing import Annotated, Any, Generic, NamedTuple, Protocol, TypeVar

from lrpath.errors import StateError
from lrpath.records.files import complete_lines, write_whole

Size = Annotated[int, "at least 1"]


class MetricsRow(NamedTuple):
    """What is known of one update.

    Args:
        position: Position that the update led to.
        loss: Mean loss of its batch [nats per token]; NaN or infinite only where a guard left the update out.
        lr: Rate that it ran at.
        grad_norm: Norm of its whole gradient, before clipping.
        tokens: Tokens since the root of the path, up to and with this update.
    """

    position: int
    loss: float
    lr: float
    grad_norm: float
    tokens: Size


class EvaluationRow(NamedTuple):
    """What the state at a position scores on one held-out set.

    Args:
        position: The position.
        version: Version that the set belongs to.
        domain: Its domain.
        nll: Negative log-likelihood of the whole set [nats].
        tokens: Tokens that were predicted.
    """

    position: int
    version: str
    domain: str
    nll: float
    tokens: Size

    @property
    def held_out(self) -> tuple[str, str]:
        """The held-out set: version and domain."""
        return self.version, self.domain

    @property
    def loss(self) -> float:
        """Mean loss [nats per token].

        >>> EvaluationRow(position=9, version="v1", domain="code", nll=30.0, tokens=12).loss
        2.5
        """
        return self.nll / self.tokens


class SpeedRow(NamedTuple):
    """How fast the updates ran that were written together.

    Args:
        position: Position that the last of them led to.
        seconds: Wall time of all of them.
        tokens_per_second: Tokens of all of them per second.
    """

    position: int
    seconds: float
    tokens_per_second: float


class GuardRow(NamedTuple):
    """An update that the guard found at fault.

    Args:
        position: Position that the update leads to.
        first: First of the positions, up to `position`, that are reached without a change of weights.
        action: `skip` or `rewind`.
        quantity: What was at fault: `loss` or `gradient norm`.
        bound: What it must not exceed.
        loss: Mean loss [nats per token].
        grad_norm: Norm of the whole gradient, before clipping.
    """

    position: int
    first: int
    action: str
    quantity: str
    bound: float
    loss: float
    grad_norm: float


class _Row(Protocol):
    @property
    def position(self) -> int: ...


Row = TypeVar("Row", bound=_Row)


class Table(Generic[Row]):
    """A CSV file of rows by position.

    Numbers are written with all their digits, so equal floats give equal text. A kill may leave the last line
    incomplete: `rows` leaves such a line out and `cut`, which every run calls before it appends, removes it.

    Args:
        file: The file; it need not exist.
        row: Type of the rows, a named tuple of integers, floats and texts that begins with the position; its fields are
            the columns.
    """

    def __init__(self, file: pathlib.Path, row: type[Row]) -> None:
        self.file = file
        self._row = row
        self.columns: tuple[str, ...] = row._fields  # type: ignore[attr-defined]
        self._parsers = [_PARSERS[row.__annotations__[name]] for name in self.columns]

    def append(self, rows: Iterable[Row]) -> None:
        """Append rows and flush them to the disk."""
        text = "".join(",".join(map(str, row)) + "\n" for row in rows)  # type: ignore[call-overload]
        if not text:
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8", newline="") as handle:
            if handle.tell() == 0:
                handle.write(",".join(self.columns) + "\n")
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())

    def rows(self) -> list[Row]:
        """Return the complete rows by position.

        Raises:
            StateError: If the file holds anything else than rows of these columns; says in which line.
        """
        return sorted(self._parse(self._lines()), key=lambda row: row.position)

    def cut(self, position: int, *, later: Container[int] = ()) -> None:
        """Keep only the rows up to a position, for a run that resumes from it, and those at `later` positions.

        What stays is sorted by position, and is the same bytes: it is not written anew from its numbers.

        Raises:
            StateError: As `rows`; the file is then left as it is.
        """
        if not self.file.exists():
            return
        lines = self._lines()
        kept = [
            (row, line)
            for row, line in zip(self._parse(lines), lines, strict=True)
            if row.position <= position or row.position in later
        ]
        kept.sort(key=lambda pair: pair[0].position)
        write_whole(self.file, "\n".join([",".join(self.columns), *(line for _, line in kept)]) + "\n")

    def _lines(self) -> list[str]:
        """Return the complete lines below the head."""
        head, *lines = complete_lines(self.file) or [",".join(self.columns)]
        if head.split(",") != list(self.columns):
            raise StateError(f"{self.file} has columns {head[:200]}, not {','.join(self.columns)}; {_REMEDY}")
        return lines

    def _parse(self, lines: list[str]) -> list[Row]:
        # Column by column and block by block, so that no Python function is called for each row: a million rows take
        # some two seconds, not five. Which line is wrong is looked up only when one is.
        found: list[Row] = []
        new_row: Callable[[tuple[Any, ...]], Row] = partial(tuple.__new__, self._row)  # type: ignore[type-var]
        for begin in range(0, len(lines), _BLOCK):
            cells = [line.split(",") for line in lines[begin : begin + _BLOCK]]
            try:
                columns = [parse(texts) for parse, texts in zip(self._parsers, zip(*cells, strict=True), strict=True)]
            except ValueError:
                raise StateError(f"{self.file}:{self._problem(cells, begin + 2)}; {_REMEDY}") from None
            found += map(new_row, zip(*columns, strict=True))
        return found

    def _problem(self, cells: list[list[str]], first: int) -> str:
        """Return the number of the line that is no row, and why; `first` is the number of the first line."""
        for number, texts in enumerate(cells, start=first):
            if len(texts) != len(self.columns):
                return f"{number} has {len(texts)} fields, not {len(self.columns)}"
            for column, text, parse in zip(self.columns, texts, self._parsers, strict=True):
                try:
                    parse([text])
                except ValueError:
                    return f"{number} has {text[:40]!r} as {column}, which must be {_KINDS[parse]}"
        raise AssertionError("every line is a row")


def _counts(texts: Sequence[str]) -> list[int]:
    # `int` alone would take signs, blanks, underscores and other alphabets' digits, and be slow at thousands of digits
    if not (all(map(str.isdigit, texts)) and all(map(str.isascii, texts)) and max(map(len, texts)) <= _MAX_DIGITS):
        raise ValueError
    return list(map(int, texts))


def _sizes(texts: Sequence[str]) -> list[int]:
    found = _counts(texts)
    if min(found) < 1:
        raise ValueError
    return found


def _numbers(texts: Sequence[str]) -> list[float]:
    return list(map(float, texts))


def _texts(texts: Sequence[str]) -> Sequence[str]:
    return texts


_PARSERS: dict[Any, Callable[[Sequence[str]], Sequence[Any]]] = {
    int: _counts,
    Size: _sizes,
    float: _numbers,
    str: _texts,
}
_MAX_DIGITS = 18
_KINDS: dict[Any, str] = {
    _counts: f"a count of at most {_MAX_DIGITS} digits",
    _sizes: f"at least 1, of at most {_MAX_DIGITS} digits",
    _numbers: "a number",
}
_REMEDY = "restore the file from a copy"
_BLOCK = 8192
