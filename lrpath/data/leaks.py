"""Whether held-out text stands in what is trained on, read from the tokens themselves.

Digests recognise copies of whole documents. A passage of a held-out document may stand in another document too: a
function that two packages share, a paragraph that is quoted. The preparation looks for such passages with a
`PassageIndex`, and `find_leaks` for whatever came past it, in a finished store. Near duplicates are not found.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrpath.data.store import TokenStore

PROBE_TOKENS = 16
"""Held-out documents (or their passages) of fewer tokens are not looked for: so little text recurs by chance."""

_LONG_TOKENS = 3072  # more than one passage has, unless `passage_characters` is larger than usual
_EDGE = 2  # tokens at the ends of a text, which are others where it stands inside another one
_CHUNK = 1 << 16  # the arrays of so many tokens stay in a core's cache
_BASE = 0x9E3779B97F4A7C15
_TABLE_SHIFT = np.uint64(48)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """A held-out document that is trained on.

    Args:
        version: Version whose held-out set has it.
        domain: Its domain.
        split: `valid` or `test`.
        document: Its number in the set, from 0.
        trained: Version that trains on it.
        position: Training token at which it stands there.
    """

    version: str
    domain: str
    split: str
    document: int
    trained: str
    position: int


class PassageIndex:
    """Finds passages among tokens: by the hash of 16 tokens from the middle of each, then token by token.

    Args:
        passages: Token ids of each; those of fewer than 16 tokens are not looked for.
    """

    def __init__(self, passages: Sequence[NDArray[Any]]) -> None:
        self._passages = passages
        self._numbers = np.array([n for n, ids_N in enumerate(passages) if len(ids_N) >= PROBE_TOKENS], dtype=np.int64)
        middles = [(len(passages[n]) - PROBE_TOKENS) // 2 for n in self._numbers]
        probes = [_hashes(passages[n][at : at + PROBE_TOKENS])[0] for n, at in zip(self._numbers, middles, strict=True)]
        order = np.argsort(np.array(probes, dtype=np.uint64))
        self._probes = np.array(probes, dtype=np.uint64)[order]
        self._numbers, self._middles = self._numbers[order], np.array(middles, dtype=np.int64)[order]
        # Nearly every hash is none of the probes: a table of their first 16 bits tells that in a tenth of the time.
        self._may_be = np.zeros(1 << 16, dtype=bool)
        self._may_be[self._probes >> _TABLE_SHIFT] = True

    def find(self, ids_N: NDArray[Any]) -> Iterator[tuple[int, int]]:
        """Yield the number of each passage that stands among some tokens, and where, as often as it does."""
        if not len(self._probes):
            return
        for begin in range(0, len(ids_N), _CHUNK):
            hashes = _hashes(ids_N[begin : begin + _CHUNK + PROBE_TOKENS - 1])
            maybe = np.flatnonzero(self._may_be[hashes >> _TABLE_SHIFT])
            firsts = np.searchsorted(self._probes, hashes[maybe])
            lasts = np.searchsorted(self._probes, hashes[maybe], side="right")
            for hit in np.flatnonzero(firsts < lasts):
                for rank in range(firsts[hit], lasts[hit]):
                    passage, at = self._passages[self._numbers[rank]], int(begin + maybe[hit] - self._middles[rank])
                    if at >= 0 and np.array_equal(ids_N[at : at + len(passage)], passage):
                        yield int(self._numbers[rank]), at


def find_leaks(store: TokenStore) -> list[Leak]:
    """Return the held-out documents of which a passage, all its tokens in a row, is trained on by any version."""
    places, passages = [], []
    for version in store.versions:
        for place, ids_N in held_out_passages(store, version):
            places.append((version, *place))
            passages.append(ids_N)
    index = PassageIndex(passages)
    found: dict[tuple[Any, ...], Leak] = {}
    for trained in store.versions:
        for number, at in index.find(store.tokens(trained)):
            version, domain, split, document = places[number]
            leak = Leak(version=version, domain=domain, split=split, document=document, trained=trained, position=at)
            found.setdefault((*places[number], trained), leak)
    return list(found.values())


def held_out_passages(store: TokenStore, version: str) -> Iterator[tuple[tuple[str, str, int], NDArray[Any]]]:
    """Yield domain, split and number of the document of every held-out passage, and its tokens as they are looked for.

    A document is one passage; a long one may be represented by several.
    """
    for split in ("valid", "test"):
        for domain, ids_N in store.held_out_set(version, split).items():
            starts = store.document_starts(version, domain, split)
            passages = store.passage_starts(version, domain, split)
            numbers = np.searchsorted(starts, passages, side="right") - 1
            for number, begin, end in zip(numbers.tolist(), passages, [*passages[1:], len(ids_N)], strict=True):
                yield (domain, split, number), as_passage(ids_N[begin:end], end_id=store.end_id)


def unknown_passages(store: TokenStore, version: str) -> int:
    """Return how many long documents of a version's held-out sets may be passages of which nobody knows the borders.

    Stores of before it was recorded say where documents begin; of one that is several passages, no other text has all.
    """
    count = 0
    for split in ("valid", "test"):
        for domain, ids_N in store.held_out_set(version, split).items():
            starts = store.document_starts(version, domain, split)
            if store.end_id is not None and len(store.passage_starts(version, domain, split)) == len(starts):
                ends = np.append(starts[1:], len(ids_N))
                count += int(((ends - starts > _LONG_TOKENS) & (ids_N[ends - 1] != store.end_id)).sum())
    return count


def as_passage(ids_N: NDArray[Any], *, end_id: int | None) -> NDArray[Any]:
    """Return the tokens by which a document is looked for: without its end mark, and without those at its edges."""
    whole = ids_N[:-1] if end_id is not None and len(ids_N) and ids_N[-1] == end_id else ids_N
    return whole[_EDGE:-_EDGE]


def _hashes(ids_N: NDArray[Any]) -> NDArray[np.uint64]:
    """Return a hash of every 16 tokens in a row: the polynomial of the tokens in `_BASE`, modulo 2⁶⁴.

    That of 2n tokens is put together from those of n tokens at its two halves, so that 16 take four rounds.
    """
    if len(ids_N) < PROBE_TOKENS:
        return np.empty(0, dtype=np.uint64)
    hashes = ids_N.astype(np.uint64) + np.uint64(1)
    length = 1
    while length < PROBE_TOKENS:
        factor = np.uint64(pow(_BASE, length, 1 << 64))
        hashes = hashes[:-length] * factor + hashes[length:]
        length *= 2
    return hashes
