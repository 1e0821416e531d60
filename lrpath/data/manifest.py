"""What the manifests of a store say, read as hostile text: plain JSON, every field checked, no name that climbs out."""

import hashlib
import json
import pathlib
import re
from collections.abc import Callable, Mapping, Set
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from lrpath.errors import DataError
from lrpath.planning.lineage import canonical, content_id
from lrpath.records.files import digest_file
from lrpath.records.manifest import seal_manifest

FORMAT = 2
_READABLE = (1, FORMAT)
"""Format 1 is of stores whose increments lie under the names of versions; they are read where they lie."""
STORE_FILE = "store.json"
TOKENIZER_FILE = "tokenizer.json"
MANIFEST_FILE = "increment.json"
TRAIN_FILE = "train.bin"
MARKS_FILE = "documents.bin"
MARK_BYTES = 16
DOMAINS_FILE = "domains.bin"
"""Where the training tokens of each domain lie, see `lrpath.data.domains`; absent where all are of one domain."""
HELD_OUT_FILE = "held_out.bin"
"""Digests, as in `documents.bin`, of the documents and passages that no version trains on."""
UNNAMED_DOMAIN = "text"
"""Domain of text of which none is named."""
START_BYTES = 8

_FOLDERS = {"valid": "heldout", "test": "test"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_JSON_BYTES = 16 << 20
_STORE_FIELDS = frozenset({"format", "vocab_size", "end_id", "tokenizer"})
# In stores that were made before ids followed from content, whose files have no digest of their own.
_EARLIER_FIELDS = frozenset({"spec", "version", "number", "source"})
PREPARE_AGAIN = "remove it and prepare the store again"


def is_name(text: str) -> bool:
    """Tell whether a version or domain may become a file name: letters, digits, `._-`, at most 64, no leading dot."""
    return _NAME.fullmatch(text) is not None


def heldout_file(domain: str, split: str = "valid") -> str:
    """Return the name, inside an increment, of the held-out tokens of a domain, of its `valid` or its `test` set."""
    return f"{_FOLDERS[split]}/{domain}.bin"


def starts_file(domain: str, split: str = "valid") -> str:
    """Return the name of the file that says at which tokens the documents of a held-out set begin."""
    return f"{_FOLDERS[split]}/{domain}.starts"


def passages_file(domain: str, split: str = "valid") -> str:
    """Return the name of the file that says at which tokens the passages of held-out documents begin."""
    return f"{_FOLDERS[split]}/{domain}.passages"


def unit_of(name: str, dtype: str) -> int:
    """Return of how many bytes an entry of a file of an increment is."""
    if name in (MARKS_FILE, HELD_OUT_FILE, DOMAINS_FILE):
        return MARK_BYTES  # of the last: two numbers of 8 bytes
    return START_BYTES if name.endswith((".starts", ".passages")) else 2 if dtype == "<u2" else 4


def token_dtype(vocab_size: int) -> str:
    """Return the numpy type of the ids on disk: `<u2` while the vocabulary is below 65,536, else `<u4`."""
    return "<u2" if vocab_size < 65_536 else "<u4"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """Size [bytes] and SHA-256 of a file of an increment."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What `increment.json` says of an increment.

    Args:
        source: Of what the tokens were first made, for people: the same tokens may have come from other files since.
        dtype: Type of the ids, `<u2` or `<u4`.
        tokens: Training tokens.
        documents: Documents, held-out ones included.
        text_bytes: UTF-8 bytes of the training text; 0 when ids were given.
        files: Every other file of the folder.
        counts: What the preparation counted: see `lrpath.data.prepare`.
        mapped: Whether the training tokens lie in files of the source instead, of which `files` has what they would
            be in one file here.
        trained: Training tokens of each domain, in the order in which the domains first stand in them; empty where it
            is not known, as in stores of before it was recorded.
    """

    source: Mapping[str, Any]
    dtype: str
    tokens: int
    documents: int
    text_bytes: int
    files: Mapping[str, StoredFile]
    counts: Mapping[str, int] = field(default_factory=dict)
    mapped: bool = False
    trained: Mapping[str, int] = field(default_factory=dict)

    @property
    def content(self) -> str:
        """SHA-256 of the training tokens: what a path that reads them is known by."""
        return self.files[TRAIN_FILE].sha256

    @property
    def held_out(self) -> str:
        """Digest of the held-out tokens of all domains, to choose on and to report."""
        files = {heldout_file(domain, split) for split in _FOLDERS for domain in self.domains_of(split)}
        return content_id({name: self.files[name].sha256 for name in files})

    @property
    def name(self) -> str:
        """Name of the increment's folder: a digest of all its files, and of how its domains are called, if they are.

        The same tokens under other names of domains are another increment: a mixture reads other windows of it.
        """
        return self._names[0]

    @property
    def _names(self) -> tuple[str, ...]:
        """The name, and the one that an earlier version gave, of the files alone."""
        files = {name: file.sha256 for name, file in self.files.items()}
        before = content_id(files)
        return (before,) if set(self.trained) <= {UNNAMED_DOMAIN} else (content_id([files, list(self.trained)]), before)

    @property
    def labelling(self) -> str:
        """Digest of which training tokens are of which domain."""
        runs = self.files.get(DOMAINS_FILE)
        return content_id([list(self.trained), None if runs is None else runs.sha256])

    def windows(self, length: int) -> int:
        """Return how many windows of `length` predicted tokens there are; neighbours overlap by one token."""
        return (self.tokens - 1) // length

    @property
    def domains(self) -> tuple[str, ...]:
        """Domains with held-out tokens to choose on, sorted."""
        return self.domains_of("valid")

    def domains_of(self, split: str) -> tuple[str, ...]:
        """Domains with a `valid` or a `test` set, sorted."""
        folder = f"{_FOLDERS[split]}/"
        found = (name for name in self.files if name.startswith(folder) and name.endswith(".bin"))
        return tuple(sorted(name.removeprefix(folder).removesuffix(".bin") for name in found))

    def as_record(self) -> dict[str, Any]:
        """Return the manifest as plain data, with the digest of its fields."""
        record = {"format": FORMAT, **asdict(self)}
        for name in ("mapped", "trained"):
            if not record[name]:
                del record[name]
        return seal_manifest(record)

    @classmethod
    def read(cls, path: pathlib.Path) -> "Manifest":
        """Read `increment.json`.

        Raises:
            DataError: If the file is missing, not a manifest of this format, names a file outside the increment, or
                lists other files than those that the folder is named after.
        """
        record = _read_record(path)
        if not isinstance(files := record.get("files"), dict):
            raise _malformed(path, "files", files)
        manifest = cls(
            source=_field(record, "source", lambda value: isinstance(value, dict), path=path),
            dtype=_field(record, "dtype", lambda value: value in ("<u2", "<u4"), path=path),
            tokens=_field(record, "tokens", _is_count, path=path),
            documents=_field(record, "documents", _is_count, path=path),
            text_bytes=_field(record, "text_bytes", _is_count, path=path),
            files={name: _stored_file(name, entry, path) for name, entry in files.items()},
            mapped=bool(_field(record, "mapped", lambda value: value in (None, False, True), path=path)),
            counts=_field(record, "counts", _are_counts, path=path) or {},
            trained=_field(record, "trained", _are_domains, path=path) or {},
        )
        if record["format"] == FORMAT and path.parent.name not in manifest._names:
            raise DataError(
                f"{path} lists other files than those that gave its folder the name {path.parent.name}, so that one of "
                f"them was altered; {PREPARE_AGAIN}"
            )
        _check_seal(record, path, known={"format", *(one.name for one in fields(cls))})
        return manifest


def read_store_record(folder: pathlib.Path) -> dict[str, Any]:
    """Read and check `store.json`: the vocabulary, and the digest of the tokenizer by what it does.

    Raises:
        DataError: If it is missing or malformed, or if `tokenizer.json` is not the one it names.
    """
    path = folder / STORE_FILE
    record = _read_record(path)
    vocab_size = _field(record, "vocab_size", lambda value: _is_count(value) and 0 < value <= 1 << 31, path=path)
    end_id = _field(
        record, "end_id", lambda value: value is None or (_is_count(value) and value < vocab_size), path=path
    )
    expected = _field(record, "tokenizer", lambda value: value is None or isinstance(value, dict), path=path)
    if expected is not None:
        check_file(folder / TOKENIZER_FILE, _stored_file(TRAIN_FILE, expected, path), inside=folder, contents=True)
    _check_seal(record, path, known=_STORE_FIELDS)
    tokenizer = None if expected is None else tokenizer_digest(folder / TOKENIZER_FILE)
    return {"vocab_size": vocab_size, "end_id": end_id, "tokenizer": tokenizer}


def tokenizer_digest(path: pathlib.Path) -> str:
    """Return a digest of a `tokenizer.json` by its content: spaces and the order of its keys do not count.

    Raises:
        DataError: If the file is not JSON.
    """
    try:
        record = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON ({error}); {PREPARE_AGAIN}") from error
    return hashlib.sha256(canonical(record).encode()).hexdigest()


def _read_record(path: pathlib.Path) -> dict[str, Any]:
    """Read a JSON object from a file of the store.

    Raises:
        DataError: If the file is missing, larger than 16 MiB, or not a JSON object.
    """
    if not path.is_file():
        raise DataError(
            f"{path} is missing, so its folder is not a whole store or increment; prepare it, or correct data.folder "
            "(an increment without its manifest must be removed first)"
        )
    if (size := path.stat().st_size) > _MAX_JSON_BYTES:
        raise DataError(f"{path} has {size:_} bytes, and at most {_MAX_JSON_BYTES:_} are read; {PREPARE_AGAIN}")
    try:
        record = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is incomplete or not JSON ({error}); {PREPARE_AGAIN}") from error
    if not isinstance(record, dict) or record.get("format") not in _READABLE:
        found = record.get("format") if isinstance(record, dict) else type(record).__name__
        raise DataError(f"{path} must be a JSON object of a format up to {FORMAT}, not {found}; {PREPARE_AGAIN}")
    return record


def _check_seal(record: dict[str, Any], path: pathlib.Path, *, known: Set[str]) -> None:
    """Raise unless a file's fields are those that its digest is of; those of earlier versions have no digest.

    A field that is unknown counts as the digest: it may be the digest's own name that was altered.

    Raises:
        DataError: If they are others.
    """
    if record.keys() - known - _EARLIER_FIELDS and record != seal_manifest(record):
        raise DataError(f"{path} was altered: its fields are not those that its digest is of; {PREPARE_AGAIN}")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _are_counts(value: object) -> bool:
    return value is None or (isinstance(value, dict) and all(map(_is_count, value.values())))


def _are_domains(value: object) -> bool:
    return value is None or (_are_counts(value) and isinstance(value, dict) and all(map(is_name, value)))


def _field(record: Mapping[str, Any], name: str, is_valid: Callable[[Any], bool], *, path: pathlib.Path) -> Any:
    value = record.get(name)
    try:
        valid = is_valid(value)
    except TypeError:
        valid = False
    if not valid:
        raise _malformed(path, name, value)
    return value


def _malformed(path: pathlib.Path, name: str, value: object) -> DataError:
    return DataError(f"{path}: {name} has an invalid value: {str(value)[:80]!r}; {PREPARE_AGAIN}")


def _stored_file(name: str, entry: object, path: pathlib.Path) -> StoredFile:
    domain = name.partition("/")[2].rpartition(".")[0]
    sets = (
        [file(domain, split) for split in _FOLDERS for file in (heldout_file, starts_file, passages_file)]
        if is_name(domain)
        else []
    )
    if name not in (TRAIN_FILE, MARKS_FILE, HELD_OUT_FILE, DOMAINS_FILE, *sets):
        raise DataError(
            f"{path} names the file {name[:80]!r}; only {TRAIN_FILE}, {MARKS_FILE}, {HELD_OUT_FILE}, {DOMAINS_FILE} "
            f"and the held-out sets are read; {PREPARE_AGAIN}"
        )
    if not isinstance(entry, dict):
        raise _malformed(path, name, entry)
    size = _field(entry, "bytes", _is_count, path=path)
    sha256 = _field(entry, "sha256", lambda value: _SHA256.fullmatch(value) is not None, path=path)
    return StoredFile(bytes=size, sha256=sha256)


def check_file(path: pathlib.Path, expected: StoredFile, *, inside: pathlib.Path, contents: bool) -> None:
    """Compare a file with what a manifest says of it: its size, and with `contents` its SHA-256.

    Raises:
        DataError: If the file is missing, leaves the folder `inside` through a link, or differs.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing; the manifest says {expected.bytes:_} bytes; {PREPARE_AGAIN}")
    if not path.resolve().is_relative_to(inside.resolve()):
        raise DataError(f"{path} is a link that leaves the store; put the file itself there")
    if (size := path.stat().st_size) != expected.bytes:
        raise DataError(f"{path} has {size:_} bytes where the manifest says {expected.bytes:_}; {PREPARE_AGAIN}")
    if contents and (found := digest_file(path)) != expected.sha256:
        raise DataError(
            f"{path} was altered: SHA-256 {found[:16]}… where the manifest says {expected.sha256[:16]}…; "
            f"{PREPARE_AGAIN}"
        )
