"""What every source of text yields, what it is asked for, and how texts and files are recognised."""

import pathlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import asdict, dataclass, field
from hashlib import blake2b, sha256
from typing import Any, ClassVar, Literal, Protocol

from lrpath.errors import ConfigError, DataError

Split = Literal["train", "valid", "test"]

_SAMPLES, _SAMPLE_BYTES = 64, 4096  # 64 × 4 KiB: milliseconds on a network file system, where a terabyte takes hours

_SPLITS: dict[str, Split] = {
    "train": "train",
    "valid": "valid",
    "validation": "valid",
    "dev": "valid",
    "heldout": "valid",
    "test": "test",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One text of an increment.

    Args:
        text: The text; at least one character, without lone surrogates and NUL.
        version: Version whose increment it belongs to.
        domain: Name under which held-out documents are evaluated.
        declared: The split that its source gives it; None leaves the choice to `lrpath.data.heldout`.
        fingerprints: 16-byte digests by which the document is recognised; the first is `text_digest` of the text, or
            what its source takes for it.
    """

    text: str
    version: str
    domain: str
    declared: Split | None
    fingerprints: tuple[bytes, ...]

    @property
    def digest(self) -> bytes:
        """The digest that decides whether two documents are the same text."""
        return self.fingerprints[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """The increment that a source is asked for.

    Args:
        version: Its name.
        number: Its place in the order of arrival, from 0.
        used: Fingerprints of the documents of all earlier increments.
        versions: Names of all versions that are prepared, so that a record of none of them can be counted.
        tally: Counts what the source met and did not yield: `files` read, `waiting` records that belong to no version
            that is prepared, `bad` records that were left out, `empty` files without a record.
    """

    version: str
    number: int
    used: Set[bytes] = field(default_factory=frozenset)
    versions: Sequence[str] = ()
    tally: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutSettings:
    """How large the held-out sets of a version are where its source does not declare them.

    Each domain of a version has two sets, `valid` to choose on and `test` to report. `lrpath.data.heldout` says which
    documents they get.

    Args:
        documents: Documents of each set, where `share` allows as many.
        share: Most documents that are held out, both sets together, as a share of the domain's documents, in `[0, 1)`.
        passage_characters: Of a longer document, the sets hold passages of about so many characters; at least 64.
        seed: Of the choice; any integer.
    """

    documents: int
    share: float
    passage_characters: int
    seed: int

    def __post_init__(self) -> None:
        for name, fits, rule in (
            ("documents", self.documents >= 0, "must be at least 0"),
            ("share", 0 <= self.share < 1, "must lie in [0, 1)"),
            ("passage_characters", self.passage_characters >= 64, "must be at least 64"),
        ):
            if not fits:
                value, field_name = getattr(self, name), f"data.source.heldout.{name}"
                raise ConfigError(f"{field_name}={value} {rule}; correct it", field=field_name, value=value)

    def spec(self) -> dict[str, Any]:
        """Return what identifies the choice, as plain data."""
        return asdict(self)


class TextOrigin(Protocol):
    """A source of text. Its documents are a function of its fields, the arrival, and what lies on the disk."""

    kind: ClassVar[str]

    @property
    def heldout(self) -> HeldOutSettings:
        """How large the held-out sets are."""
        ...

    def spec(self) -> dict[str, Any]:
        """Return what identifies the text of every increment, as plain data."""
        ...

    def increment_spec(self, number: int) -> dict[str, Any]:
        """Return what identifies the text of one increment besides `spec`, as plain data."""
        ...

    def documents(self, arrival: Arrival) -> Iterator[Document]:
        """Yield the documents of an increment, in the order in which they are stored."""
        ...


def text_digest(text: str) -> bytes:
    r"""Return the 16-byte digest by which a text is recognised: texts that differ only in white space have the same.

    >>> text_digest("two  words\r\n") == text_digest("two words")
    True
    """
    return fingerprint_of(" ".join(text.split()).encode())


def fingerprint_of(data: bytes, *, kind: str = "text") -> bytes:
    """Return the 16-byte digest of some bytes; digests of different kinds never agree."""
    return blake2b(data, digest_size=16, person=kind.encode()).digest()


def fingerprint(paths: Iterable[pathlib.Path]) -> dict[str, Any]:
    """Return the size [bytes] of some files together and a digest of samples of them, to know the content by.

    Of each file 64 evenly spaced blocks of 4 KiB are hashed, a small file as a whole: milliseconds for any size. An
    increment of the same size that differs between the blocks is told apart only by the digest that its store keeps.
    Of a file at a URL the ETag stands for the blocks, or its time where the file system has none: nothing is read. So
    text that was moved to a URL is prepared once more, and what comes out is found to be there.
    """
    digest, total = sha256(), 0
    for path in paths:
        size = path.stat().st_size
        total += size
        digest.update(size.to_bytes(8, "little"))
        if isinstance(stamp := getattr(path, "stamp", None), str):  # a `RemotePath`
            digest.update(stamp.encode())
            continue
        last = max(size - _SAMPLE_BYTES, 0)
        with path.open("rb") as handle:
            for offset in sorted({last * number // (_SAMPLES - 1) for number in range(_SAMPLES)}):
                handle.seek(offset)
                digest.update(handle.read(_SAMPLE_BYTES))
    return {"bytes": total, "samples_sha256": digest.hexdigest()}


def hashed_share(digest: bytes, *, seed: int, word: str) -> float:
    """Return a number in `[0, 1)` that depends on the digest, the seed and the word, and looks uniform."""
    hashed = blake2b(digest + f"{seed}:{word}".encode(), digest_size=8).digest()
    return (int.from_bytes(hashed) >> 11) / (1 << 53)  # a float64 holds 53 bits exactly, so no value rounds up to 1


def split_of(value: object, *, place: str) -> Split:
    """Return the split that a record names.

    Raises:
        DataError: If the name is not one of train, valid, validation, dev, heldout and test.
    """
    if not isinstance(value, str) or value not in _SPLITS:
        raise DataError(f"{place}: split must be one of {', '.join(_SPLITS)}, not {str(value)[:40]!r}")
    return _SPLITS[value]


def checked_text(text: object, *, place: str) -> str:
    """Return a record's text, without a byte order mark at its start.

    Raises:
        DataError: If it is not a string, is empty, holds NUL, or half of a surrogate pair, which UTF-8 cannot express.
    """
    if isinstance(text, str):
        text = text.removeprefix("\ufeff")
    if not isinstance(text, str) or not text:
        found = "an empty string" if text == "" else type(text).__name__
        raise DataError(f"{place}: text must be a string of at least one character, not {found}")
    if "\0" in text:
        raise DataError(
            f"{place}: text has the character NUL {text.count(chr(0)):_} times, as UTF-16 read as UTF-8 has, or a "
            "binary file"
        )
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"{place}: text is not valid Unicode ({error.reason} at character {error.start})") from None
    return text
