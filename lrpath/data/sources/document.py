"""What every source of text yields, what it is asked for, and the rule that holds documents out."""

import pathlib
from collections import Counter
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, field
from hashlib import blake2b, sha256
from typing import Any, ClassVar, Literal, Protocol

from lrpath.errors import ConfigError, DataError

Split = Literal["train", "heldout"]

_SAMPLES, _SAMPLE_BYTES = 64, 4096  # 64 × 4 KiB: milliseconds on a network file system, where a terabyte takes hours

_SPLITS: dict[str, Split] = {
    "train": "train",
    "valid": "heldout",
    "validation": "heldout",
    "dev": "heldout",
    "test": "heldout",
    "heldout": "heldout",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One text of an increment.

    Args:
        text: The text; at least one character, without lone surrogates.
        version: Version whose increment it belongs to.
        domain: Name under which held-out documents are evaluated.
        split: Whether it is trained on or held out.
        fingerprints: 16-byte digests by which the source recognises the document.
    """

    text: str
    version: str
    domain: str
    split: Split
    fingerprints: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """The increment that a source is asked for.

    Args:
        version: Its name.
        number: Its place in the order of arrival, from 0.
        used: Fingerprints of the documents of all earlier increments.
    """

    version: str
    number: int
    used: Set[bytes] = field(default_factory=frozenset)


class TextOrigin(Protocol):
    """A source of text. Its documents are a function of its fields, the arrival, and what lies on the disk."""

    kind: ClassVar[str]

    def spec(self) -> dict[str, Any]:
        """Return what identifies the text of every increment, as plain data."""
        ...

    def increment_spec(self, number: int) -> dict[str, Any]:
        """Return what identifies the text of one increment besides `spec`, as plain data."""
        ...

    def expected_bytes(self, number: int) -> int | None:
        """Return roughly how much text an increment has [bytes], or None when that is not known before."""
        ...

    def documents(self, arrival: Arrival) -> Iterator[Document]:
        """Yield the documents of an increment, in the order in which they are stored."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutSettings:
    """Which documents are held out when their source does not say.

    A document is held out when a hash of (seed, its digest) falls below `share`, until the held-out documents of its
    domain in its increment have `max_bytes`; so the choice does not depend on the other documents below that cap.

    Args:
        share: Share of the documents, in `[0, 1)`.
        max_bytes: Most held-out text of a domain in an increment [bytes]; the documents beyond are trained on.
        seed: Any integer.
    """

    share: float = 0.1
    max_bytes: int = 200_000
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ConfigError(
                f"data.source.heldout.share must lie in [0, 1), not {self.share}; 0.1 is usual",
                field="data.source.heldout.share",
                value=self.share,
            )
        if self.max_bytes < 0:
            raise ConfigError(
                f"data.source.heldout.max_bytes must be at least 0, not {self.max_bytes}",
                field="data.source.heldout.max_bytes",
                value=self.max_bytes,
            )

    def divider(self) -> "Divider":
        """Return a divider for one increment."""
        return Divider(self)


class Divider:
    """Gives each document of an increment its split, keeping count of the held-out bytes of each domain."""

    def __init__(self, rule: HeldOutSettings) -> None:
        self._rule = rule
        self._bytes: Counter[str] = Counter()

    def split(self, digest: bytes, *, domain: str, size: int) -> Split:
        """Return the split of a document of `size` bytes."""
        chosen = hashed_share(digest, seed=self._rule.seed, word="heldout") < self._rule.share
        if not chosen or self._bytes[domain] + size > self._rule.max_bytes:
            return "train"
        self._bytes[domain] += size
        return "heldout"


def text_fingerprint(data: bytes, *, kind: str = "text") -> bytes:
    """Return the 16-byte digest of some bytes; digests of different kinds never agree."""
    return blake2b(data, digest_size=16, person=kind.encode()).digest()


def fingerprint(paths: Iterable[pathlib.Path]) -> dict[str, Any]:
    """Return the size [bytes] of some files together and a digest of samples of them, to know the content by.

    Of each file 64 evenly spaced blocks of 4 KiB are hashed, a small file as a whole: milliseconds for any size. An
    increment of the same size that differs between the blocks is told apart only by the digest that its store keeps.
    """
    digest, total = sha256(), 0
    for path in paths:
        size = path.stat().st_size
        total += size
        digest.update(size.to_bytes(8, "little"))
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
        DataError: If the name is not one of train, valid, validation, dev, test and heldout.
    """
    if not isinstance(value, str) or value not in _SPLITS:
        raise DataError(f"{place}: split must be one of {', '.join(_SPLITS)}, not {str(value)[:40]!r}")
    return _SPLITS[value]


def encoded(text: object, *, place: str) -> bytes:
    """Return the UTF-8 bytes of a record's text.

    Raises:
        DataError: If it is not a string, is empty, or holds half of a surrogate pair, which UTF-8 cannot express.
    """
    if not isinstance(text, str) or not text:
        found = "an empty string" if text == "" else type(text).__name__
        raise DataError(f"{place}: text must be a string of at least one character, not {found}; correct or remove it")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{place}: text is not valid Unicode ({error.reason} at character {error.start})") from error
