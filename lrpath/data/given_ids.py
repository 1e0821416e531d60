"""Checks ids that came without their text: no held-out ones stand in training ids too, and the tokenizer made them.

Text is held out by lrpath itself; ids are named by the user, in files whose documents nobody knows. So samples of the
held-out ids are looked for: if the most of a set are trained on, it is a part of the training ids, and is refused; text
that recurs by chance, such as a licence, is counted.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from lrpath.data.id_shards import IdShards
from lrpath.data.leaks import PassageIndex
from lrpath.errors import DataError

SAMPLES = 1000
"""Most samples of a held-out set."""
_SAMPLE_TOKENS = 64
_LEAST_DISTINCT = 16  # a sample with fewer ids in it is padding, or a table
REFUSED_SHARE = 0.5
_MOST_TOKENS = 4_000_000_000  # of an increment, half of them from its end: some 40 s

Ids = NDArray[Any]


class HeldOutSamples:
    """Samples of held-out sets, and which of them were found in training ids.

    Args:
        sets: Held-out ids by domain and version.
    """

    def __init__(self, sets: Mapping[tuple[str, str], Ids]) -> None:
        self._owners: list[tuple[str, str]] = []
        samples: list[Ids] = []
        for owner, ids_N in sets.items():
            for begin in _begins(len(ids_N)):
                sample = np.asarray(ids_N[begin : begin + _SAMPLE_TOKENS])
                if len(np.unique(sample)) >= _LEAST_DISTINCT:
                    self._owners.append(owner)
                    samples.append(sample)
        self._index = PassageIndex(samples)

    def look_through(self, shards: IdShards, *, version: str) -> int:
        """Return how many samples stand in the training ids of a version.

        Raises:
            DataError: If more than half of those of a set do.
        """
        found: set[int] = set()
        if self._owners:
            for ids_N in _parts(shards):
                found.update(number for number, _ in self._index.find(ids_N))
        for owner in dict.fromkeys(self._owners):
            mine = [number for number, other in enumerate(self._owners) if other == owner]
            share = len(found.intersection(mine)) / len(mine)
            if share > REFUSED_SHARE:
                domain, of_version = owner
                raise DataError(
                    f"data.source.heldout.{domain}: {share:.0%} of {len(mine):,} samples of the held-out ids of "
                    f"{of_version} stand in the training ids of {version} too, so that losses on them say nothing of "
                    "text that was not seen; give held-out ids that no version trains on",
                    field=f"data.source.heldout.{domain}",
                    value=version,
                )
        return len(found)


def _begins(length: int) -> Sequence[int]:
    last = length - _SAMPLE_TOKENS
    if last < 0:
        return []
    count = min(SAMPLES, length // _SAMPLE_TOKENS)
    return sorted({last * number // max(count - 1, 1) for number in range(count)})


def _parts(shards: IdShards) -> Iterator[Ids]:
    """Yield the ids, some millions at a time; of very many, those at the beginning and at the end."""
    half = _MOST_TOKENS // 2
    spans = [(0, len(shards))] if len(shards) <= _MOST_TOKENS else [(0, half), (len(shards) - half, len(shards))]
    step = 1 << 22
    for first, last in spans:
        for begin in range(first, last, step):
            yield shards.read(begin, min(begin + step + _SAMPLE_TOKENS, last))


_DECODED, _DECODED_TOKENS = 20, 256
_COME_BACK = 0.97


def foreign_ids(shards: IdShards, tokenizer: Tokenizer) -> tuple[int, int]:
    """Return how many neighbours of sampled ids are others when they are decoded and encoded again, and of how many.

    Few are with the tokenizer that ids were made with, but at the ends of a sample; with another one of the same size,
    ids decode to letters that nobody wrote, and a release is given that tokenizer. So few that it may be chance count
    as none.
    """
    added = set(tokenizer.get_added_tokens_decoder())
    known = tokenizer.get_vocab_size(with_added_tokens=True)
    lost = sampled = 0
    last = max(len(shards) - _DECODED_TOKENS, 0)
    for begin in sorted({last * number // (_DECODED - 1) for number in range(_DECODED)}):
        ids = [
            one for one in shards.read(begin, min(begin + _DECODED_TOKENS, len(shards))).tolist() if one not in added
        ]
        inside = [one for one in ids if one < known]  # ids above are a user's own, as padded vocabularies have them
        again = tokenizer.encode(tokenizer.decode(inside, skip_special_tokens=False), add_special_tokens=False).ids
        pairs = Counter(pairwise(inside))
        lost += (pairs - Counter(pairwise(again))).total()
        sampled += pairs.total()
    return (lost, sampled) if lost > (1 - _COME_BACK) * sampled else (0, sampled)
