"""Which documents are held out: decided once, by the digest of the text, over all versions and domains.

A domain of a version has two sets: `valid`, evaluated during training and to choose on, and `test`, to report. Where
the source declares no document of the domain as held out, they get the documents with the smallest hashes of (seed,
digest), alternately, up to `documents` each and up to `share` of the domain's documents. What was decided holds for
every copy:

    a copy of a held-out document, in this or any later version, in this or another domain, is not trained on
    a document that an earlier version trained on is in no held-out set of a later one
    a second copy inside a set is not counted again

A long held-out document is represented by passages, evenly spaced; none of it is trained on. A domain with too few
documents for that (one `.txt` a version) is cut into passages, which are decided like documents. Passages end where a
hash of a line says so, not at fixed offsets: text that was inserted before them, as in a dump that repeats the last
one, leaves them as they were, and they are recognised again.
"""

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from zlib import crc32

from lrpath.data.sources.document import Document, HeldOutSettings, Split, hashed_share, text_digest

_SETS: tuple[Split, Split] = ("valid", "test")
_LINES = 16  # a passage that is long enough ends after one line in so many


@dataclass(slots=True, kw_only=True)
class Known:
    """Digests of the texts of all increments up to one.

    Args:
        used: Of all documents, and of all passages where documents were cut into them.
        held: Of what is held out.
        has_passages: Whether any of `held` is a passage of a document that is trained on in its other parts.
    """

    used: set[bytes] = field(default_factory=set)
    held: set[bytes] = field(default_factory=set)
    has_passages: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is held out of an increment.

    Args:
        sets: Set and domain of each held-out digest.
        cut: Domains whose documents are cut into passages, which `sets` decides.
        sizes: Held-out documents (or passages, where cut) by set and domain.
        documents: Documents that were read.
        trained: Documents of which at least a part is trained on.
        characters: Characters that were read.
        fingerprints: Of all documents and passages, for the decision on the next increment.
        trained_before: Documents declared as held out that an earlier version trained on; they are in no set.
        texts: Digest of the documents that were read, in any order: see `add_text`.
    """

    sets: dict[bytes, tuple[Split, str]]
    cut: frozenset[str]
    sizes: dict[tuple[Split, str], int]
    documents: int
    trained: int
    characters: int
    fingerprints: set[bytes]
    trained_before: int
    texts: int

    def extend(self, known: Known) -> None:
        """Add this increment to what the next one must not contradict."""
        known.used |= self.fingerprints
        known.held |= self.sets.keys()
        known.has_passages |= bool(self.cut)


class _Domain:
    """What is collected of one domain: few digests, however many documents it has."""

    def __init__(self, settings: HeldOutSettings) -> None:
        self.settings = settings
        self.count = 0
        self.smallest: list[tuple[float, bytes]] = []
        self.declared: dict[bytes, Split] = {}
        self.passages: dict[bytes, bool] = {}  # by digest: whether it may be held out

    @property
    def is_small(self) -> bool:
        """Whether `share` of the documents so far is fewer than one for each set."""
        return self.settings.share > 0 and self.settings.documents > 0 and self.count * self.settings.share < len(_SETS)

    def offer(self, digest: bytes) -> None:
        self.count += 1
        entry = (-hashed_share(digest, seed=self.settings.seed, word="heldout"), digest)
        if len(self.smallest) < len(_SETS) * self.settings.documents:
            heapq.heappush(self.smallest, entry)
        elif self.smallest and entry > self.smallest[0]:
            heapq.heapreplace(self.smallest, entry)

    def choose(self) -> tuple[dict[bytes, Split], bool]:
        """Return the held-out digests with their sets, and whether they are of passages."""
        if self.declared:
            return self._declared_sets(), False
        if not self.is_small:
            ranked = [digest for _, digest in sorted(self.smallest, reverse=True)]
            return _alternate(ranked[: math.floor(self.settings.share * self.count)]), False
        free = [digest for digest, may in self.passages.items() if may]
        ranked = sorted(free, key=lambda digest: hashed_share(digest, seed=self.settings.seed, word="heldout"))
        wanted = max(math.floor(self.settings.share * len(ranked)), len(_SETS)) if len(ranked) > len(_SETS) else 0
        return _alternate(ranked[: min(wanted, len(_SETS) * self.settings.documents)]), bool(wanted)

    def _declared_sets(self) -> dict[bytes, Split]:
        if len(set(self.declared.values())) > 1:
            return self.declared
        # One set cannot serve for both choosing and reporting, so it is halved.
        ranked = sorted(self.declared, key=lambda digest: hashed_share(digest, seed=self.settings.seed, word="halves"))
        return _alternate(ranked)


def _alternate(digests: Sequence[bytes]) -> dict[bytes, Split]:
    return {digest: _SETS[number % len(_SETS)] for number, digest in enumerate(digests)}


def decide(documents: Iterable[Document], settings: HeldOutSettings, known: Known) -> Decision:
    """Read an increment once and decide what of it is held out.

    Args:
        documents: The increment's.
        settings: How large the sets are.
        known: All earlier increments.
    """
    domains: dict[str, _Domain] = {}
    seen: set[bytes] = set()
    characters = read = trained = trained_before = texts = 0
    for document in documents:
        read += 1
        characters += len(document.text)
        texts = add_text(texts, document)
        domain = domains.setdefault(document.domain, _Domain(settings))
        first = document.digest not in seen
        seen.update(document.fingerprints)
        if document.declared in _SETS:
            if document.digest in known.used and document.digest not in known.held:
                trained_before += 1
            elif not any(document.digest in other.declared for other in domains.values()):
                domain.declared[document.digest] = document.declared
            continue
        trained += document.digest not in known.held
        if first:
            _offer(document, domain, known)
    sets: dict[bytes, tuple[Split, str]] = {}
    sizes: Counter[tuple[Split, str]] = Counter()
    cut = set()
    for name, domain in domains.items():
        chosen, are_passages = domain.choose()
        cut |= {name} if are_passages else set()
        if are_passages:
            seen.update(domain.passages)
        fresh = {digest: (split, name) for digest, split in chosen.items() if digest not in sets}
        sets |= fresh
        sizes.update(fresh.values())
        trained -= 0 if are_passages or domain.declared else len(fresh)
    return Decision(
        sets=sets,
        cut=frozenset(cut),
        sizes=dict(sizes),
        documents=read,
        trained=trained,
        characters=characters,
        fingerprints=seen,
        trained_before=trained_before,
        texts=texts,
    )


def add_text(texts: int, document: Document) -> int:
    """Return the digest of some documents and one more; it tells that a second reading gave the same ones.

    What is held out is decided by digests of a first reading. Text of which a second one differs would be trained on
    though another version may hold it out.
    """
    return (texts + int.from_bytes(document.digest)) % (1 << 128)


def _offer(document: Document, domain: _Domain, known: Known) -> None:
    """Let a document, and while there are few its passages, stand for being held out."""
    passages = []
    if domain.is_small or known.has_passages:
        passages = [text_digest(text) for text in cut(document.text, size=domain.settings.passage_characters)]
    if document.digest not in known.used and known.used.isdisjoint(passages if known.has_passages else ()):
        domain.offer(document.digest)
    if domain.is_small:
        domain.passages |= {digest: digest not in known.used for digest in passages}


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A stretch of text on its way into one file of an increment.

    Args:
        text: The text.
        split: Where it goes.
        domain: Its domain.
        begins: Whether it begins a document (of a held-out set: one that has an interval of its own).
        ends: Whether it ends a document, so that the end mark follows.
    """

    text: str
    split: Split
    domain: str
    begins: bool
    ends: bool


class Divider:
    """Divides the documents of an increment, in order, into pieces that are trained on or held out.

    Args:
        decision: Of this increment.
        settings: What it was made by.
        known: All earlier increments.

    Attributes:
        counts: `copies`: documents and passages that are not trained on, since a copy of them is held out. `repeats`:
            second copies inside a held-out set, left out.
    """

    def __init__(self, decision: Decision, settings: HeldOutSettings, known: Known) -> None:
        self._decision = decision
        self._settings = settings
        self._known = known
        self._written: set[bytes] = set()
        self.counts: Counter[str] = Counter()

    def pieces(self, document: Document) -> Iterator[Piece]:
        """Yield what becomes of a document; nothing if it is left out."""
        if document.declared in _SETS or document.digest in self._decision.sets:
            yield from self._held_out(document)
        elif document.digest in self._known.held:
            self.counts["copies"] += 1
        elif document.domain in self._decision.cut or self._known.has_passages:
            yield from self._cut(document)
        else:
            yield Piece(text=document.text, split="train", domain=document.domain, begins=True, ends=True)

    def _held_out(self, document: Document) -> Iterator[Piece]:
        place = self._decision.sets.get(document.digest)
        if place is None:
            return  # declared as held out, and trained on by an earlier version: `trained_before` counts it
        if document.digest in self._written:
            self.counts["repeats" if document.declared in _SETS else "copies"] += 1
            return
        self._written.add(document.digest)
        size = self._settings.passage_characters
        split, domain = place
        count = max(self._settings.documents // self._decision.sizes[place], 1)
        for number, (text, is_whole) in enumerate(spaced(document.text, size=size, count=count)):
            yield Piece(text=text, split=split, domain=domain, begins=number == 0, ends=is_whole)

    def _cut(self, document: Document) -> Iterator[Piece]:
        """Divide a document into the passages that are held out and the stretches between them."""
        stretch: list[str] = []
        passages = cut(document.text, size=self._settings.passage_characters)
        for text in passages:
            digest = text_digest(text)
            place = self._decision.sets.get(digest)
            if place is None and digest not in self._known.held:
                stretch.append(text)
                continue
            if stretch:
                yield Piece(text="".join(stretch), split="train", domain=document.domain, begins=True, ends=True)
                stretch = []
            if place is None or digest in self._written:
                self.counts["copies"] += 1
                continue
            self._written.add(digest)
            yield Piece(text=text, split=place[0], domain=place[1], begins=True, ends=len(passages) == 1)
        if stretch:
            yield Piece(text="".join(stretch), split="train", domain=document.domain, begins=True, ends=True)


def cut(text: str, *, size: int) -> list[str]:
    """Cut a text into passages of about `size` characters, at ends of lines that its content chooses.

    >>> lines = "".join(f"line {number} of the text" + chr(10) for number in range(400))
    >>> passages = cut(lines, size=1000)
    >>> "".join(passages) == lines, max(map(len, passages)) <= 1500
    (True, True)
    >>> len(set(cut("another beginning" + chr(10) + lines, size=1000)) & set(passages)) >= len(passages) - 2
    True
    """
    passages: list[str] = []
    passage: list[str] = []
    length = 0
    for line in text.splitlines(keepends=True):
        for part in _parts(line, size=size):
            if passage and length + len(part) > size + size // 2:
                passages.append("".join(passage))
                passage, length = [], 0
            passage.append(part)
            length += len(part)
            if length >= size // 2 and crc32(part.encode()) % _LINES == 0:
                passages.append("".join(passage))
                passage, length = [], 0
    return [*passages, "".join(passage)] if passage else passages


def _parts(line: str, *, size: int) -> Iterator[str]:
    """Cut a line that is longer than a passage after a space, or anywhere if it has none."""
    at = 0
    while len(line) - at > size:
        end = line.rfind(" ", at + size // 2, at + size) + 1 or at + size
        yield line[at:end]
        at = end
    yield line[at:]


def spaced(text: str, *, size: int, count: int) -> list[tuple[str, bool]]:
    """Return up to `count` passages of about `size` characters, evenly spaced, and whether each ends the document.

    >>> spaced("short", size=100, count=3)
    [('short', True)]
    >>> [len(passage) for passage, _ in spaced("one two three four five six seven eight nine " * 9, size=64, count=2)]
    [69, 70]
    """
    if len(text) <= size + size // 2:
        return [(text, True)]
    count = min(count, len(text) // size)
    found = []
    for number in range(count):
        start = (len(text) - size) * (2 * number + 1) // (2 * count)
        start = text.find(" ", start, start + size // 2) + 1 or start
        end = text.find(" ", start + size, start + size + size // 2) + 1 or start + size
        found.append((text[start:end], False))
    return found
