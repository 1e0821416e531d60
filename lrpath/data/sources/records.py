"""The records of a file, whatever its format: one dictionary for each document.

    .txt            the file is one document
    .jsonl          a line is a document
    .json           JSON lines, as C4 names them, one object, or one array of objects
    .csv            a row is a document; the first row names the columns, which commas separate
    .parquet        a row is a document

A record has `text` (or what `text_field` names) and, as the division asks, `split`, `date`, `version` and `domain`. The
same rules hold for every format: text is UTF-8, a byte order mark before it is no part of it, UTF-16 and NUL are
refused; a value that is null, or an empty cell of a `.csv`, is absent.

What is read is bounded: a document to 256 MiB, and a compressed file to 64 MiB plus a thousand times its size, which no
text reaches but a file made to exhaust memory does.
"""

import contextlib
import csv
import gzip
import io
import json
import pathlib
import shlex
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import zstandard

from lrpath.data.sources.document import checked_text
from lrpath.data.sources.files import format_of
from lrpath.errors import DataError

Records = Iterator[tuple[str, dict[str, Any] | DataError]]
"""Place of each record (file and line or row), and the record or what is wrong with it."""

MAX_DOCUMENT_BYTES = 256 << 20
_MAX_ARRAY_BYTES = 1 << 30
_EXPANSION, _ALLOWANCE = 1000, 64 << 20
_FIELDS = ("split", "date", "version", "domain")
_BLOCK = 1 << 20
_ZSTD_INPUT = 4096  # bytes; a frame made to exhaust memory gives some 30,000 times as much, here 150 MB
_PARQUET_ROWS = 16  # a compressed page may hold one long text many times; so many are in memory at once


def read_records(path: pathlib.Path, *, text_field: str = "text") -> Records:
    """Yield the place of every record of a file, and the record, or the error if it is malformed.

    Raises:
        DataError: If the file as a whole cannot be read: it is torn, another format, UTF-16, or expands without bound.
    """
    found = format_of(path)
    assert found is not None
    kind, _ = found
    for place, record in _READERS[kind](path, text_field):
        if isinstance(record, DataError):
            yield place, record
            continue
        try:
            yield place, _plain_record(record, text_field=text_field, place=place)
        except DataError as error:
            yield place, error


def _plain_record(record: dict[str, Any], *, text_field: str, place: str) -> dict[str, Any]:
    if record.get(text_field) is None:
        there = ", ".join(str(name) for name, value in list(record.items())[:8] if value is not None) or "nothing"
        raise DataError(f"{place}: the record has no `{text_field}` (it has {there}); data.source.text_field names it")
    text = checked_text(record[text_field], place=place)
    fields = {name: record[name] for name in _FIELDS if name in record and record[name] is not None}
    return {**fields, "text": text}


def _read_txt(path: pathlib.Path, text_field: str) -> Records:
    with _opened(path) as handle:
        data = handle.read(MAX_DOCUMENT_BYTES + 1)
    _check_length(data, str(path))
    _check_utf16(data, path)
    try:
        yield str(path), {text_field: data.decode()}
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        yield str(path), _not_utf8(f"{path}:{line}", error)


def _read_jsonl(path: pathlib.Path, _: str) -> Records:
    with _opened(path) as handle:
        yield from _json_lines(handle, path)


def _json_lines(handle: BinaryIO, path: pathlib.Path) -> Records:
    number = 0
    while line := handle.readline(MAX_DOCUMENT_BYTES + 1):
        number += 1
        place = f"{path}:{number}"
        _check_length(line, place)
        if number == 1:
            _check_utf16(line, path)
        if line.strip():
            yield place, _json_record(line.removeprefix(b"\xef\xbb\xbf"), place=place)


def _json_record(line: bytes, *, place: str) -> dict[str, Any] | DataError:
    try:
        record = json.loads(line.decode())
    except UnicodeDecodeError as error:
        return _not_utf8(place, error)
    except (ValueError, RecursionError) as error:
        return DataError(f"{place} is not JSON ({error})")
    return record if isinstance(record, dict) else DataError(f"{place} must be a JSON object")


def _read_json(path: pathlib.Path, _: str) -> Records:
    with _opened(path) as handle:
        buffered = io.BufferedReader(handle, _BLOCK)  # type: ignore[type-var]
        _check_utf16(buffered.peek(4)[:4], path)
        head = buffered.peek(_BLOCK)[:_BLOCK].removeprefix(b"\xef\xbb\xbf").lstrip()
        is_lines = head.startswith(b"{") and isinstance(_json_record(head.split(b"\n", 1)[0], place=""), dict)
        if is_lines or (head.startswith(b"{") and b"\n" not in head):  # one line longer than the block
            yield from _json_lines(buffered, path)
            return
        data = buffered.read(_MAX_ARRAY_BYTES + 1)
    if len(data) > _MAX_ARRAY_BYTES:
        raise DataError(f"{path} is one JSON value of more than {_MAX_ARRAY_BYTES >> 20} MiB; convert it to .jsonl")
    try:
        value = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise _not_utf8(str(path), error) from error
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path} is not JSON ({error}); restore it, or name it .jsonl if it holds a line a document"
        ) from error
    for number, record in enumerate(value if isinstance(value, list) else [value], start=1):
        place = f"{path}: entry {number}"
        yield place, record if isinstance(record, dict) else DataError(f"{place} must be a JSON object")


def _read_csv(path: pathlib.Path, _: str) -> Records:
    csv.field_size_limit(MAX_DOCUMENT_BYTES)  # the module has one limit for all readers; 128 KiB unless it is raised
    with _opened(path) as handle:
        buffered = io.BufferedReader(handle, _BLOCK)  # type: ignore[type-var]
        _check_utf16(buffered.peek(4)[:4], path)
        rows = csv.reader(io.TextIOWrapper(buffered, encoding="utf-8-sig", newline=""), strict=True)
        try:
            names = next(rows, [])
            if len(set(names)) < len(names):
                raise DataError(f"{path}: the first row must name the columns, each once, not {', '.join(names)[:80]}")
            for row in rows:
                place = f"{path}:{rows.line_num}"
                if row and len(row) != len(names):
                    yield (
                        place,
                        DataError(f"{place} has {len(row)} cells, and the first row names {len(names)} columns"),
                    )
                elif row:
                    yield place, {name: cell for name, cell in zip(names, row, strict=True) if cell}
        except UnicodeDecodeError as error:
            raise _not_utf8(f"{path}, after line {rows.line_num}", error) from error
        except csv.Error as error:
            raise DataError(f"{path}:{rows.line_num} is not comma-separated values ({error}); correct it") from error


def _read_parquet(path: pathlib.Path, text_field: str) -> Records:
    try:
        from pyarrow import ArrowException, parquet  # an optional extra
    except ImportError as error:
        raise DataError(f"{path} needs pyarrow to be read: pip install 'lrpath[parquet]'") from error
    row, read, limit = 0, 0, _limit_of(path)
    try:
        with path.open("rb") as handle, parquet.ParquetFile(handle) as file:
            names = [name for name in (text_field, *_FIELDS) if name in file.schema_arrow.names]
            if text_field not in names:
                there = ", ".join(file.schema_arrow.names[:8])
                raise DataError(
                    f"{path} has no column `{text_field}` (it has {there}); data.source.text_field names it"
                )
            for batch in file.iter_batches(batch_size=_PARQUET_ROWS, columns=names):
                read += batch.nbytes
                if read > limit:
                    raise _expands(path, limit)
                for record in batch.to_pylist():
                    row += 1
                    yield f"{path}:row {row}", {name: _plain_value(value) for name, value in record.items()}
    except (ArrowException, OSError, UnicodeDecodeError) as error:  # pyarrow calls a damaged page an OSError
        raise DataError(f"{path} cannot be read as Parquet after row {row} ({error}); restore it") from error


def _plain_value(value: Any) -> Any:
    return value if isinstance(value, str) or not hasattr(value, "isoformat") else value.isoformat()


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[BinaryIO]:
    """Open a file for reading its decompressed bytes; what fails on the way is one line that names the file."""
    found = format_of(path)
    compression = found[1] if found else ""
    try:
        with path.open("rb") as raw:
            if not compression:
                yield raw
                return
            inner: Any = gzip.GzipFile(fileobj=raw) if compression == "gz" else _ZstdFile(raw)
            with io.BufferedReader(_Bounded(inner, path), _BLOCK) as handle:
                yield handle
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        what = f"is not a whole .{compression} file" if compression else "cannot be read"
        raise DataError(f"{path} {what} ({error}); restore it") from error


class _ZstdFile(io.RawIOBase):
    """Decompressed bytes of a file of one or more zstd frames; unlike zstandard's own reader, it refuses a torn one."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._frame: Any = None
        self._rest = b""
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            data = self._rest or self._raw.read(_ZSTD_INPUT)
            if not data:
                if self._frame is not None:
                    raise EOFError("the last frame is cut off")
                return 0
            frame = self._frame or zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
            self._left = memoryview(frame.decompress(data))
            self._frame, self._rest = (None, frame.unused_data) if frame.eof else (frame, b"")
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size


class _Bounded(io.RawIOBase):
    """Passes on what an inner file gives, until it is more than a file of this size can mean well with."""

    def __init__(self, inner: Any, path: pathlib.Path) -> None:
        self._inner, self._path = inner, path
        self._limit = _limit_of(path)
        self._read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size: int = self._inner.readinto(buffer)
        self._read += size
        if self._read > self._limit:
            raise _expands(self._path, self._limit)
        return size


def _limit_of(path: pathlib.Path) -> int:
    return _ALLOWANCE + _EXPANSION * path.stat().st_size


def _expands(path: pathlib.Path, limit: int) -> DataError:
    return DataError(
        f"{path} has {path.stat().st_size:_} bytes and expands to more than {limit:_}, which text does not; remove it, "
        "or write it uncompressed if it is what you want"
    )


def _check_length(data: bytes, place: str) -> None:
    if len(data) > MAX_DOCUMENT_BYTES:
        raise DataError(f"{place} is longer than {MAX_DOCUMENT_BYTES >> 20} MiB; divide it into several documents")


def _check_utf16(data: bytes, path: pathlib.Path) -> None:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "UTF-16"
    elif b"\0" in data[:2]:  # without a mark; no UTF-8 text begins so
        encoding = "UTF-16BE" if data[0] == 0 else "UTF-16LE"
    else:
        return
    name = shlex.quote(str(path))
    raise DataError(f"{path} is {encoding}; convert it: iconv -f {encoding} -t UTF-8 {name} > new && mv new {name}")


def _not_utf8(place: str, error: UnicodeDecodeError) -> DataError:
    return DataError(f"{place} is not UTF-8 ({error.reason} at byte {error.start}); convert the file to UTF-8")


_READERS = {
    "txt": _read_txt,
    "jsonl": _read_jsonl,
    "json": _read_json,
    "csv": _read_csv,
    "parquet": _read_parquet,
}
