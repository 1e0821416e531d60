"""Text from files and folders, divided into increments; `files` says which are read, `records` how."""

import pathlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from lrpath.data.manifest import is_name
from lrpath.data.sources.division import Division
from lrpath.data.sources.document import Arrival, Document, HeldOutSettings, fingerprint
from lrpath.data.sources.files import files_below, version_entries
from lrpath.data.sources.records import read_records
from lrpath.data.sources.remote_path import source_path
from lrpath.errors import ConfigError, DataError
from lrpath.records.remote.folder import check_address

_NAMED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSource:
    """Text of files and folders, divided into increments.

    Args:
        paths: Files or folders, on this machine or at URLs; a folder stands for all its files, at any depth. Either
            these or places in `domains`.
        domains: One file or folder for each domain, when the records do not name their domain; or `folders`: in each of
            `paths`, or in each version's entry of them, the first folder that a file lies in names its domain.
        text_field: Field or column that holds the text.
        versions: How the records are divided. By file: a single folder's entries, `V2` before `V10`, or the listed
            paths, are the increments; an entry that is a folder gives all its files.
        heldout: How large the held-out sets are; a record's own `split` goes first.
        overlap: What is done about a document that an earlier version has, word for word: it is kept, or refused.
        bad_records: What is done about a malformed record: all of a file are listed and refused, or left out and
            counted.

    Raises:
        ConfigError: If not exactly one of `paths` and `domains` is given, or the name of a domain is not a short one.
    """

    kind: ClassVar[str] = "text"
    paths: tuple[str, ...] = ()
    domains: Mapping[str, str] | Literal["folders"] = field(default_factory=dict)
    text_field: str
    versions: Division
    heldout: HeldOutSettings
    overlap: Literal["keep", "refuse"]
    bad_records: Literal["refuse", "skip"]

    def __post_init__(self) -> None:
        if bool(self.paths) == bool(self.places):
            raise ConfigError(
                "data.source: give paths or domains, and not both", field="data.source.paths", value=self.paths
            )
        for path in (*self.paths, *self.places.values()):
            check_address(path, field="data.source.paths" if self.paths else "data.source.domains")
        for domain in self.places:
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

    @property
    def places(self) -> Mapping[str, str]:
        """Files or folders of the domains that are given one by one."""
        return {} if isinstance(self.domains, str) else self.domains

    def spec(self) -> dict[str, Any]:
        """Return what identifies the text besides the files; paths stand as they were given."""
        return {
            "kind": "text",
            # By file, each increment records its own files; a list of paths may then grow.
            "paths": list(self.paths) if self.versions.by != "file" else None,
            "domains": self.domains if self.domains == "folders" else dict(self.places),
            "text_field": self.text_field,
            "bad_records": self.bad_records,
            "versions": self.versions.spec(),
            "heldout": self.heldout.spec(),
        }

    def increment_spec(self, number: int) -> dict[str, Any]:
        """Return the files with their fingerprints, the dates, or the share that make an increment.

        Raises:
            DataError: If there is no file for it.
        """
        if self.versions.by != "file":
            # Any record of any file may belong to it, so that a change of one file is a change of every increment.
            return self.versions.increment_spec(number) | {"text": fingerprint(self.files(number))}
        return {"files": [entry_spec(self._entry(paths, number)) for _, paths in self._roots()]}

    def documents(self, arrival: Arrival) -> Iterator[Document]:
        """Yield the documents of an increment, domain by domain and file by file.

        Raises:
            DataError: If a file is missing or cannot be read, or has malformed records; the message has the file and
                their lines.
        """
        self.increment_spec(arrival.number)
        for domain, paths in self._roots():
            for root in [self._entry(paths, arrival.number)] if self.versions.by == "file" else paths:
                for path in files_below(root):
                    arrival.tally["files"] += 1
                    own = _folder_domain(path, root) if self.domains == "folders" else domain
                    yield from self._documents_of(path, arrival, domain=own)

    def _documents_of(self, path: pathlib.Path, arrival: Arrival, *, domain: str | None) -> Iterator[Document]:
        bad: list[DataError] = []
        records = 0
        for place, record in read_records(path, text_field=self.text_field):
            records += 1
            try:
                if isinstance(record, DataError):
                    raise record
                document = self.versions.document(record, arrival, domain=domain, place=place)
            except DataError as error:
                bad.append(error)
                continue
            if document is None or (bad and self.bad_records == "refuse"):
                continue  # a file with a bad record is read to its end, so that all of them are listed at once
            self._check_new(document, arrival, place=place)
            yield document
        arrival.tally["bad"] += len(bad)
        if not records:  # as an interrupted download leaves it, among other things
            arrival.tally["empty"] += 1
        if bad and self.bad_records == "refuse":
            raise _refused(path, bad)

    def _check_new(self, document: Document, arrival: Arrival, *, place: str) -> None:
        if self.overlap == "refuse" and not arrival.used.isdisjoint(document.fingerprints):
            raise DataError(
                f"{place}: this text is in an earlier version than {arrival.version} already; remove it from here, or "
                "give data.source.overlap=keep to read it again",
                field="data.source.overlap",
                value="refuse",
            )

    def files(self, number: int) -> list[pathlib.Path]:
        """Return the files that an increment is read from.

        Raises:
            DataError: If there is none.
        """
        return [file for _, paths in self._roots() for file in self._files(paths, number)]

    def _roots(self) -> list[tuple[str | None, list[pathlib.Path]]]:
        if self.places:
            return [(domain, [source_path(path)]) for domain, path in self.places.items()]
        return [(None, [source_path(path) for path in self.paths])]

    def _files(self, paths: list[pathlib.Path], number: int) -> list[pathlib.Path]:
        if self.versions.by == "file":
            return files_below(self._entry(paths, number))
        return [file for path in paths for file in files_below(path)]

    def entries(self) -> list[pathlib.Path]:
        """Return the files or folders that are the increments when versions are divided by file.

        Raises:
            DataError: If a folder's entries cannot be put in order.
        """
        return _entries_of([source_path(path) for path in self.paths])

    def _entry(self, paths: list[pathlib.Path], number: int) -> pathlib.Path:
        """Return the file or folder that is an increment of its own."""
        entries = _entries_of(paths)
        if number >= len(entries):
            raise DataError(
                f"{paths[0]} has {len(entries)} files or folders to be versions, but version number {number + 1} was "
                "asked for; add a file, or prepare fewer versions"
            )
        return entries[number]


def _refused(path: pathlib.Path, bad: list[DataError]) -> DataError:
    if len(bad) == 1:
        return DataError(f"{bad[0]}; correct it, or leave it out: data.source.bad_records=skip")
    lines = "; ".join(str(error).removeprefix(f"{path}:") for error in bad[:_NAMED])
    more = f"; and {len(bad) - _NAMED:,} more" if len(bad) > _NAMED else ""
    return DataError(
        f"{path} has {len(bad):,} malformed records: {lines}{more}; correct them, or leave them out: "
        "data.source.bad_records=skip",
        field="data.source.bad_records",
        value="refuse",
    )


def _folder_domain(path: pathlib.Path, root: pathlib.Path) -> str:
    """Return the first folder below a version's entry, or a path that is given, that a file lies in."""
    first, *others = path.relative_to(root).parts if root.is_dir() else (path.name,)
    if not others or not is_name(first):
        raise DataError(
            f"{path} must lie in a folder of {root} that names its domain with letters, digits, `.`, `_`, `-`; move "
            "it, or leave out data.source.domains",
            field="data.source.domains",
            value="folders",
        )
    return first


def _entries_of(paths: list[pathlib.Path]) -> list[pathlib.Path]:
    return version_entries(paths[0]) if len(paths) == 1 and paths[0].is_dir() else paths


def entry_spec(path: pathlib.Path) -> dict[str, Any]:
    """Return name and fingerprint of a file or folder: another text, or a changed one, is noticed by it."""
    return {"name": path.name} | fingerprint(files_below(path))
