"""The tables of a path: rows by position, appended to while the path is run, and parsed once, where they are read.

Its rows are those of `records/rows.py`.
"""

import contextlib
import hashlib
import os
import pathlib
from bisect import bisect_right
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from lrpath.errors import StateError
from lrpath.records.file_memory import Fingerprint, fingerprint_of
from lrpath.records.files import complete_lines, make_folder, write_whole
from lrpath.records.flush_behind import FlushBehind
from lrpath.records.rows import RowDigest, Size


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
        key_columns: Number of first columns by which a row is known: there is one of each.
        check: Called before every write; raises if this process must not write any more.
        expendable: Whether the rows determine nothing, so that lines which cannot be read are left out.
        behind: Whether `append` leaves the flushing to a thread; `flush` waits for it.
    """

    def __init__(
        self,
        file: pathlib.Path,
        row: type[Row],
        *,
        key_columns: int = 1,
        check: Callable[[], None] = lambda: None,
        expendable: bool = False,
        behind: bool = False,
    ) -> None:
        self.file = file
        self._check = check
        self._expendable = expendable
        self._behind = behind
        self._flushing = FlushBehind(file)
        self._key_columns = key_columns
        self._written: tuple[int, Any] | None = None
        self._kept_later: Container[int] = ()
        self._kept_keys: set[tuple[Any, ...]] = set()
        self._row = row
        self.columns: tuple[str, ...] = row._fields  # type: ignore[attr-defined]
        self._parsers = [_PARSERS[row.__annotations__[name]] for name in self.columns]

    def append(self, rows: Iterable[Row]) -> None:
        """Append rows and flush them to the disk, or begin to.

        In a run before states that exist, the rows that `cut` has kept for these are left as they are: the states were
        saved with them, be it on other hardware.
        """
        if self._kept_later:
            rows = [row for row in rows if not self._is_kept(row)]
        lines = [",".join(map(str, row)) + "\n" for row in rows]  # type: ignore[call-overload]
        if not lines:
            return
        self._check()
        make_folder(self.file.parent)
        with self.file.open("a", encoding="utf-8", newline="") as handle:
            is_new = handle.tell() == 0
            written = "".join([",".join(self.columns) + "\n"] * is_new + lines)
            handle.write(written)
            handle.flush()
            self._check_still(handle.fileno(), len(written.encode()))
        self._flushing.begin(is_new=is_new)
        if not self._behind:
            self.flush()
        if self._written is not None:
            count, digest = self._written
            digest.update("".join(lines).encode())
            self._written = count + len(lines), digest
        self._remember_appended([int(line.partition(",")[0]) for line in lines])

    def _check_still(self, file: int, written: int) -> None:
        """Check once more behind an append, and take it back if the table has become another's in between.

        A process that stood still between the check and the write, for as long as its lease lasts, wakes up to append
        to rows that are another's by then. What that one has appended behind them stays.
        """
        try:
            self._check()
        except Exception:
            end = os.lseek(file, 0, os.SEEK_CUR)
            if os.fstat(file).st_size == end:
                os.ftruncate(file, end - written)
            raise

    def flush(self) -> None:
        """Wait until all rows that this process has appended are on the disk.

        Raises:
            OSError: If the disk has not taken them.
        """
        self._flushing.wait()

    def _is_kept(self, row: Row) -> bool:
        whole_position = self._key_columns == 1 and row.position in self._kept_later
        return whole_position or self._key(row) in self._kept_keys

    def _key(self, row: Row) -> tuple[Any, ...]:
        return tuple(row)[: self._key_columns]  # type: ignore[arg-type]

    def rows(self) -> list[Row]:
        """Return the complete rows by position.

        Raises:
            StateError: If the file holds anything else than rows of these columns; says in which line.
        """
        return sorted(self._parse(self._lines()), key=lambda row: row.position)

    def cut(self, position: int, *, later: Container[int] = ()) -> None:
        """Keep only the rows up to a position, for a run that resumes from it, and those at `later` positions.

        Rows at later positions belong to states that exist; until the next cut, no row is written in their place. What
        stays is sorted by position, and is the same bytes: it is not written anew from its numbers.

        Raises:
            StateError: As `rows`; the file is then left as it is.
        """
        self._written, self._kept_later, self._kept_keys = (0, hashlib.sha256()), later, set()
        if not self.file.exists():
            return
        self._check()
        known = self._known()
        if known is not None and not later and known.last <= position:
            self._written = known.count, known.digest.copy()
            return  # this process has read or written every row of it, in order
        lines = self._lines()
        kept = [
            (row, line)
            for row, line in zip(self._parse(lines), lines, strict=True)
            if row.position <= position or row.position in later
        ]
        kept.sort(key=lambda pair: pair[0].position)
        self._replace([line for _, line in kept])
        self._written = _digest([line for row, line in kept if row.position <= position])
        self._kept_keys = {self._key(row) for row, _ in kept if row.position > position}
        if not later:
            self._remember([row.position for row, _ in kept])

    def positions(self) -> Sequence[int]:
        """Return the positions of the rows, ascending.

        Raises:
            StateError: As `rows`.
        """
        known = self._known()
        if known is not None and known.is_dense:
            return range(known.last - known.count + 1, known.last + 1)
        return [row.position for row in self.rows()]

    def _known(self) -> "_Known | None":
        """Return what this process knows of the rows, if the file is as it left it."""
        known = _KNOWN.get(str(self.file))
        is_same = known is not None and self.file.exists() and known.fingerprint == fingerprint_of(self.file)
        return known if is_same else None

    def _remember(self, positions: Sequence[int]) -> None:
        """Remember rows that the last `cut` has kept, which are sorted, and all there are."""
        assert self._written is not None
        count, digest = self._written
        _KNOWN[str(self.file)] = _Known(
            fingerprint=fingerprint_of(self.file),
            count=count,
            last=positions[-1] if positions else 0,
            is_dense=bool(positions) and list(positions) == [*range(positions[0], positions[0] + count)],
            digest=digest.copy(),
        )

    def _remember_appended(self, positions: Sequence[int]) -> None:
        """Remember rows that were appended, if they go on from those that are known."""
        known = _KNOWN.pop(str(self.file), None)
        if known is None or self._written is None or self._written[0] != known.count + len(positions):
            return
        ascend = all(one <= other for one, other in zip((known.last, *positions), positions, strict=False))
        if ascend:
            is_dense = (not known.count or known.is_dense) and list(positions) == [
                *range((known.last if known.count else positions[0] - 1) + 1, positions[-1] + 1)
            ]
            _KNOWN[str(self.file)] = _Known(
                fingerprint=fingerprint_of(self.file),
                count=self._written[0],
                last=positions[-1],
                is_dense=is_dense,
                digest=self._written[1].copy(),
            )

    def written_digest(self, position: int) -> RowDigest:
        """Return the digest of the rows up to the position that a run has reached.

        They are what the last `cut` has kept and what was appended since, so that nothing need be read again.
        """
        if self._written is None or self._kept_later:
            return self.digest(position)
        count, digest = self._written
        return RowDigest(rows=count, sha256=digest.hexdigest())

    def digest(self, position: int) -> RowDigest:
        """Return the digest of the rows up to a position, as the file has them.

        Raises:
            StateError: If a line has no position.
        """
        return self.digests([position])[0]

    def digests(self, positions: Sequence[int]) -> list[RowDigest]:
        """Return the digests of the rows up to each of some positions, ascending, in one reading.

        Raises:
            StateError: If a line has no position.
        """
        places = self.lines()
        found, count, digest = [], 0, hashlib.sha256()
        for position in positions:
            upto = bisect_right(places, position, key=lambda place: place[0])
            digest.update("".join(f"{line}\n" for _, line in places[count:upto]).encode())
            count = upto
            found.append(RowDigest(rows=count, sha256=digest.hexdigest()))
        return found

    def lines(self) -> list[tuple[int, str]]:
        """Return the complete lines with their positions, by position, otherwise unparsed.

        Raises:
            StateError: If a line has no position.
        """
        try:
            places = [(int(line.partition(",")[0]), line) for line in self._lines()]
        except ValueError:
            raise StateError(f"{self.file} has a line without a position; {_REMEDY}") from None
        return sorted(places, key=lambda place: place[0])

    def mend(self) -> None:
        """Leave out every line that is not a row, whatever the file holds, and all but the first row of each key."""
        self._check()
        content = self.file.read_bytes().decode(errors="replace") if self.file.exists() else ""
        lines = [line for line in content.split("\n") if line != ",".join(self.columns)]
        rows = [(found[0], line) for line in lines if (found := self._readable([line]))]
        single: dict[tuple[Any, ...], tuple[Row, str]] = {}
        for row, line in rows:
            single.setdefault(self._key(row), (row, line))
        self._replace([line for _, line in sorted(single.values(), key=lambda pair: pair[0].position)])

    def put(self, rows: Sequence[Row]) -> None:
        """Write rows in place of those of the same keys, and add those that are new."""
        self._check()
        merged = {self._key(row): row for row in (*self.rows(), *rows)}
        ordered = sorted(merged.values(), key=lambda row: row.position)
        self._replace([",".join(map(str, row)) for row in ordered])  # type: ignore[call-overload]

    def _readable(self, lines: list[str]) -> list[Row]:
        """Return the rows among lines."""
        found: list[Row] = []
        for line in lines:
            with contextlib.suppress(StateError):
                found += self._parse([line])
        return found

    def _replace(self, lines: list[str]) -> None:
        write_whole(self.file, "\n".join([",".join(self.columns), *lines]) + "\n")

    def _lines(self) -> list[str]:
        """Return the complete lines below the head."""
        if self._expendable:
            return self._readable_lines()
        head, *lines = complete_lines(self.file) or [",".join(self.columns)]
        if head.split(",") != list(self.columns):
            raise StateError(f"{self.file} has columns {head[:200]}, not {','.join(self.columns)}; {_REMEDY}")
        return lines

    def _readable_lines(self) -> list[str]:
        """Return the lines that are rows, none if the head is another."""
        content = self.file.read_bytes().decode(errors="replace") if self.file.exists() else ""
        head, *lines = content[: content.rfind("\n") + 1].split("\n")[:-1] or [""]
        if head.split(",") != list(self.columns):
            return []
        try:
            self._parse(lines)
        except StateError:
            return [line for line in lines if self._readable([line])]
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What this process knows of a table that it has cut and appended to: a path may be begun hundreds of times.

    Args:
        fingerprint: Of the file as this process left it.
        count: Rows, which are sorted.
        last: Last position.
        is_dense: Whether there is one row for each position from the first to the last.
        digest: SHA-256 of the lines.
    """

    fingerprint: Fingerprint
    count: int
    last: int
    is_dense: bool
    digest: Any


_KNOWN: dict[str, _Known] = {}


def _digest(lines: Sequence[str]) -> tuple[int, Any]:
    return len(lines), hashlib.sha256("".join(f"{line}\n" for line in lines).encode())


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
_REMEDY = "restore the file from a copy, or add mend=true to lrpath.train, which keeps the lines that can be read"
_BLOCK = 8192
