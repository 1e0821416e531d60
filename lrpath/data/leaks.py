"""Whether held-out text stands in what is trained on, read from the tokens themselves.

The preparation keeps copies of held-out documents away from training and writes down what it decided; this looks at
what came of it, with another method: no digest of a text is used. It finds copies, not near duplicates.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrpath.data.store import TokenStore

PROBE_TOKENS = 16
"""Held-out documents (or their passages) of fewer tokens are not looked for: so little text recurs by chance."""

_EDGE = 2  # tokens at the ends of a passage, which may be others where it stands inside a text
_CHUNK = 1 << 22
_BASE = np.uint64(0x9E3779B97F4A7C15)


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


def find_leaks(store: TokenStore) -> list[Leak]:
    """Return the held-out documents whose tokens, all in a row, are training tokens of any version.

    Every document is looked for once in each version: by the hash of 16 tokens from its middle, then token by token.
    """
    held = [entry for entry in _held_out(store) if len(entry[1]) >= PROBE_TOKENS]
    if not held:
        return []
    middles = np.array([(len(ids) - PROBE_TOKENS) // 2 for _, ids in held])
    probes = np.array([_hashes(ids[at : at + PROBE_TOKENS])[0] for (_, ids), at in zip(held, middles, strict=True)])
    order = np.argsort(probes)
    found: dict[tuple[int, str], Leak] = {}
    for trained in store.versions:
        tokens = store.tokens(trained)
        for begin in range(0, len(tokens), _CHUNK):
            hashes = _hashes(tokens[begin : begin + _CHUNK + PROBE_TOKENS - 1])
            first = np.searchsorted(probes[order], hashes)
            hits = np.flatnonzero(probes[order][np.minimum(first, len(order) - 1)] == hashes)
            for hit in hits:
                for rank in range(first[hit], len(order)):
                    number = int(order[rank])
                    if probes[number] != hashes[hit]:
                        break
                    (version, domain, split, document), ids = held[number]
                    at = int(begin + hit - middles[number])
                    if (number, trained) not in found and at >= 0 and np.array_equal(tokens[at : at + len(ids)], ids):
                        found[number, trained] = Leak(
                            version=version, domain=domain, split=split, document=document, trained=trained, position=at
                        )
    return list(found.values())


def _held_out(store: TokenStore) -> Iterator[tuple[tuple[str, str, str, int], NDArray[Any]]]:
    """Yield place and tokens of every held-out document, without its end mark and the tokens at its edges."""
    for version in store.versions:
        for split in ("valid", "test"):
            for domain, ids_N in store.held_out_set(version, split).items():
                starts = store.document_starts(version, domain, split)
                for number, (begin, end) in enumerate(zip(starts, [*starts[1:], len(ids_N)], strict=True)):
                    for ids in _passages(ids_N[begin:end], store):
                        yield (version, domain, split, number), ids


def _passages(ids_N: NDArray[Any], store: TokenStore) -> Iterator[NDArray[Any]]:
    whole = ids_N[:-1] if store.end_id is not None and len(ids_N) and ids_N[-1] == store.end_id else ids_N
    yield whole if len(whole) < len(ids_N) else whole[_EDGE:-_EDGE]


def _hashes(ids_N: NDArray[Any]) -> NDArray[np.uint64]:
    """Return a hash of every 16 tokens in a row: a polynomial modulo 2⁶⁴, by Horner's rule."""
    count = max(len(ids_N) - PROBE_TOKENS + 1, 0)
    wide = ids_N.astype(np.uint64) + np.uint64(1)
    hashes = np.zeros(count, dtype=np.uint64)
    for offset in range(PROBE_TOKENS):
        hashes = hashes * _BASE + wide[offset : offset + count]
    return hashes
