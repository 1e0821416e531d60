"""Tables of rows by position, appended to while a path is run."""

import csv
import math
import os
import pathlib
import re
from collections.abc import Container, Iterable
from typing import Any

from lrpath.errors import StateError
from lrpath.records.files import whole_lines, write_whole

METRIC_COLUMNS = ("position", "loss", "lr", "grad_norm", "tokens")
EVALUATION_COLUMNS = ("position", "version", "domain", "nll", "tokens")
SPEED_COLUMNS = ("position", "seconds", "tokens_per_second")
GUARD_COLUMNS = ("position", "first", "action", "quantity", "bound", "loss", "grad_norm")

_NUMBERS = {*METRIC_COLUMNS, *EVALUATION_COLUMNS, *SPEED_COLUMNS} - {"position", "version", "domain"}
_POSITION = re.compile("[0-9]{1,18}")


def read_number(text: str) -> float:
    """Return the number in a field of a table; NaN where it holds none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


class Table:
    """A CSV file of rows by position, appended to while a path is run.

    Numbers are written with all their digits, so equal floats give equal text. A run cuts its tables before it appends:
    a line torn by a kill is left out by `rows` and removed by `cut`.
    """

    def __init__(self, file: pathlib.Path, *, columns: tuple[str, ...]) -> None:
        """Name the file and its columns; nothing is read or written yet."""
        self.file = file
        self.columns = columns
        self._numbers = [name for name in columns if name in _NUMBERS]

    def append(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Append rows and flush them to the disk."""
        text = "".join(",".join(map(str, row)) + "\n" for row in rows)
        if not text:
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8", newline="") as handle:
            if handle.tell() == 0:
                handle.write(",".join(self.columns) + "\n")
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())

    def rows(self) -> list[dict[str, str]]:
        """Return the whole rows by position, as text by column; a last line torn by a kill is left out."""
        lines = whole_lines(self.file)
        found = list(csv.DictReader(lines))
        if lines and tuple(lines[0].split(",")) != self.columns:
            raise StateError(f"{self.file} has columns {lines[0]}, not {','.join(self.columns)}; restore or remove it")
        if any(None in row or None in row.values() or not _POSITION.fullmatch(row["position"]) for row in found):
            raise StateError(
                f"{self.file} has a row with a wrong number of fields or no position; restore it from a copy"
            )
        for row in found:
            for column in self._numbers:
                _check_number(row[column], column=column, file=self.file)
        return sorted(found, key=lambda row: int(row["position"]))

    def cut(self, position: int, *, later: Container[int] = ()) -> None:
        """Keep only the rows up to a position, for a run that resumes from it, and those at `later` positions."""
        if not self.file.exists():
            return
        kept = [row for row in self.rows() if int(row["position"]) <= position or int(row["position"]) in later]
        lines = [",".join(self.columns), *(",".join(row[column] for column in self.columns) for row in kept)]
        write_whole(self.file, "\n".join(lines) + "\n")


def _check_number(text: str, *, column: str, file: pathlib.Path) -> None:
    try:
        float(text)
    except ValueError:
        raise StateError(f"{file} has {text[:40]!r} as {column}, which is no number; restore it from a copy") from None
