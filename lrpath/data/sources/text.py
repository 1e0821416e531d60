"""Text from files: `.txt` (a file is a document), `.jsonl` (a line is a document), `.parquet` (a row is a document).

A line or row has `text` and, as the division asks, `split`, `date`, `version` and `domain`. Nothing is dropped or
repaired: a malformed record stops the preparation with its file and line. A document must fit into memory.
"""

import json
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from lrpath.data.manifest import is_name
from lrpath.data.sources.division import Division
from lrpath.data.sources.document import Arrival, Document, HeldOutSettings, fingerprint
from lrpath.errors import ConfigError, DataError

Records = Iterator[tuple[str, dict[str, Any]]]

_FIELDS = ("text", "split", "date", "version", "domain")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSource:
    """Text of files and folders, divided into increments.

    Args:
        paths: Files or folders; a folder stands for all its `.txt`, `.jsonl` and `.parquet` files, at any depth.
            Either these or `domains`.
        domains: One file or folder for each domain, when the records do not name their domain.
        versions: How the records are divided. By file: a single folder's entries, `V2` before `V10`, or the listed
            paths, are the increments; an entry that is a folder gives all its files.
        heldout: Which documents are held out when a record has no `split`.
        overlap: What is done about a document that an earlier version has, word for word: it is kept, or refused.

    Raises:
        ConfigError: If not exactly one of `paths` and `domains` is given, or the name of a domain is not a short one.
    """

    kind: ClassVar[str] = "text"
    paths: tuple[str, ...] = ()
    domains: Mapping[str, str] = field(default_factory=dict)
    versions: Division = field(default_factory=Division)
    heldout: HeldOutSettings = field(default_factory=HeldOutSettings)
    overlap: Literal["keep", "refuse"] = "keep"

    def __post_init__(self) -> None:
        if bool(self.paths) == bool(self.domains):
            raise ConfigError(
                "data.source: give paths or domains, and not both", field="data.source.paths", value=self.paths
            )
        for domain in self.domains:
            if not is_name(domain):
                raise ConfigError(
                    f"data.source.domains: {domain!r} must be letters, digits, `.`, `_`, `-`; rename it",
                    field="data.source.domains",
                    value=domain,
                )
        if self.versions.by == "split":
            raise ConfigError(
                "data.source.versions.by=split is for datasets; use file, date, share or field",
                field="data.source.versions.by",
                value="split",
            )

    def spec(self) -> dict[str, Any]:
        """Return what identifies the text besides the files; paths stand as they were given."""
        return {
            "kind": "text",
            # By file, each increment records its own files; a list of paths may then grow.
            "paths": list(self.paths) if self.versions.by != "file" else None,
            "domains": dict(self.domains),
            "versions": self.versions.spec(),
            "heldout": {"share": self.heldout.share, "max_bytes": self.heldout.max_bytes, "seed": self.heldout.seed},
        }

    def increment_spec(self, number: int) -> dict[str, Any]:
        """Return the files with their fingerprints, the dates, or the share that make an increment.

        Raises:
            DataError: If there is no file for it.
        """
        if self.versions.by != "file":
            return self.versions.increment_spec(number)
        return {"files": [_named(self._entry(paths, number)) for _, paths in self._roots()]}

    def expected_bytes(self, number: int) -> int | None:
        """Return the size of the files of an increment [bytes]; None unless it has files of its own."""
        if self.versions.by != "file":
            return None
        return sum(path.stat().st_size for _, paths in self._roots() for path in self._files(paths, number))

    def documents(self, arrival: Arrival) -> Iterator[Document]:
        """Yield the documents of an increment, domain by domain and file by file.

        Raises:
            DataError: If a file is missing, unreadable or malformed, or has what is refused; the message has the file
                and the line.
        """
        divider = self.heldout.divider()
        self.increment_spec(arrival.number)
        for domain, paths in self._roots():
            for path in self._files(paths, arrival.number):
                for place, record in read_records(path):
                    document = self.versions.document(record, arrival, domain=domain, divider=divider, place=place)
                    if document is not None:
                        self._check_new(document, arrival, place=place)
                        yield document

    def _check_new(self, document: Document, arrival: Arrival, *, place: str) -> None:
        if self.overlap == "refuse" and not arrival.used.isdisjoint(document.fingerprints):
            raise DataError(
                f"{place}: this text is in an earlier version than {arrival.version} already; remove it from here, or "
                "give data.source.overlap=keep to read it again"
            )

    def _roots(self) -> list[tuple[str | None, list[pathlib.Path]]]:
        if self.domains:
            return [(domain, [pathlib.Path(path)]) for domain, path in self.domains.items()]
        return [(None, [pathlib.Path(path) for path in self.paths])]

    def _files(self, paths: list[pathlib.Path], number: int) -> list[pathlib.Path]:
        if self.versions.by == "file":
            return _files_below(self._entry(paths, number))
        return [file for path in paths for file in _files_below(path)]

    def _entry(self, paths: list[pathlib.Path], number: int) -> pathlib.Path:
        """Return the file or folder that is an increment of its own."""
        entries = paths
        if len(paths) == 1 and paths[0].is_dir():
            visible = (entry for entry in paths[0].iterdir() if not entry.name.startswith("."))
            entries = sorted((entry for entry in visible if entry.is_dir() or entry.suffix in _READERS), key=_natural)
        if not entries:
            raise DataError(f"{paths[0]} holds no {', '.join(_READERS)} file or folder; give another folder")
        if number >= len(entries):
            raise DataError(
                f"{paths[0]} has {len(entries)} files or folders to be versions, but version number {number + 1} was "
                "asked for; add a file, or prepare fewer versions"
            )
        return entries[number]


def _named(path: pathlib.Path) -> dict[str, Any]:
    """Return name and fingerprint of a file or folder: another text, or a changed one, is noticed by it."""
    return {"name": path.name} | fingerprint(_files_below(path))


def _natural(path: pathlib.Path) -> list[tuple[int, str]]:
    """Sort key by name in which `V2` comes before `V10`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _files_below(path: pathlib.Path) -> list[pathlib.Path]:
    if path.is_dir():
        found = sorted((file for file in path.rglob("*") if file.is_file() and file.suffix in _READERS), key=str)
        if not found:
            raise DataError(f"{path} holds no {', '.join(_READERS)} file; give another folder")
        return found
    if not path.is_file():
        raise DataError(f"{path} does not exist; correct data.source.paths or data.source.domains")
    if path.suffix not in _READERS:
        raise DataError(f"{path} must end in {', '.join(_READERS)}; convert it")
    return [path]


def read_records(path: pathlib.Path) -> Records:
    """Yield `(place, record)` for every record of a file, where the place is `file:line` or `file:row`.

    Raises:
        DataError: If a record is malformed.
    """
    return _READERS[path.suffix](path)


def _read_txt(path: pathlib.Path) -> Records:
    data = path.read_bytes()
    try:
        yield str(path), {"text": data.decode()}
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _not_utf8(f"{path}:{line}", error) from error


def _read_jsonl(path: pathlib.Path) -> Records:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield f"{path}:{number}", _json_record(line, place=f"{path}:{number}")


def _json_record(line: bytes, *, place: str) -> dict[str, Any]:
    try:
        record = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise _not_utf8(place, error) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place} is not JSON ({error}); correct the line or remove it") from error
    if not isinstance(record, dict) or "text" not in record:
        raise DataError(f"{place} must be a JSON object with a field `text`; correct the line or remove it")
    return record


def _read_parquet(path: pathlib.Path) -> Records:
    try:
        from pyarrow import ArrowException, parquet  # an optional extra
    except ImportError as error:
        raise DataError(f"{path} needs pyarrow to be read: pip install 'lrpath[parquet]'") from error
    row = 0
    try:
        with parquet.ParquetFile(path) as file:
            names = [name for name in _FIELDS if name in file.schema_arrow.names]
            if "text" not in names:
                raise DataError(f"{path} has no column `text`; rename the column that holds the text")
            for batch in file.iter_batches(batch_size=1_000, columns=names):
                for record in batch.to_pylist():
                    row += 1
                    filled = {name: _plain(value) for name, value in record.items() if value is not None}
                    yield f"{path}:row {row}", filled
    except (ArrowException, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as Parquet after row {row} ({error}); restore it") from error


def _plain(value: object) -> object:
    return value if isinstance(value, str) or not hasattr(value, "isoformat") else value.isoformat()


def _not_utf8(place: str, error: UnicodeDecodeError) -> DataError:
    return DataError(f"{place} is not UTF-8 ({error.reason} at byte {error.start}); convert the file to UTF-8")


_READERS: dict[str, Callable[[pathlib.Path], Records]] = {
    ".txt": _read_txt,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
