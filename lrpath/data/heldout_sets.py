"""Writes the training tokens and the held-out sets of an increment, so that no passage stands in both.

A training document in which a passage stands that an earlier increment holds out is left out, or the passage alone if
the document is long: that set is fixed. A held-out document of this increment of which a passage is trained on, here or
earlier, is left out of its set, and of training as before: it would otherwise cost every document that quotes it.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrpath.data.heldout import Piece
from lrpath.data.leaks import PassageIndex, as_passage, held_out_passages
from lrpath.data.manifest import TRAIN_FILE, heldout_file, passages_file, starts_file
from lrpath.data.sources.document import Split
from lrpath.data.store import TokenStore
from lrpath.data.writer import IncrementWriter

_LONG = 16  # of a document that is longer than so many passages, the passage alone is left out
_MARGIN = 2


class HeldOutSets:
    """The pieces of one increment on their way to its files.

    Args:
        store: Holds the earlier increments, and no other.
        end_id: Id of the end mark.

    Attributes:
        counts: `copies` and `shared`, see `lrpath.data.prepare`.
    """

    def __init__(self, store: TokenStore, *, end_id: int) -> None:
        self._earlier = store.versions
        self._store = store
        self._end_id = end_id
        self._held = [ids_N for version in self._earlier for _, ids_N in held_out_passages(store, version)]
        self._held_earlier = PassageIndex(self._held)
        self._documents: dict[tuple[Split, str], list[list[NDArray[Any]]]] = {}
        self.counts: Counter[str] = Counter()

    def add(self, pieces: Sequence[Piece], ids: Sequence[NDArray[Any]], writer: IncrementWriter) -> None:
        """Write training pieces, and keep held-out ones: a set is some hundred passages of each domain."""
        arrays = [
            np.append(ids_N, ids_N.dtype.type(self._end_id)) if piece.ends else ids_N
            for piece, ids_N in zip(pieces, ids, strict=True)
        ]
        training = {number: array for number, array in enumerate(arrays) if pieces[number].split == "train"}
        kept = self._without_held(list(training.values()))
        if kept:
            writer.add_tokens(TRAIN_FILE, np.concatenate(kept))
        for number, array in zip(training, kept, strict=True):
            writer.add_domain(pieces[number].domain, len(array))
        for piece, array in zip(pieces, arrays, strict=True):
            if piece.split != "train":
                documents = self._documents.setdefault((piece.split, piece.domain), [])
                documents += [[]] if piece.begins else []
                documents[-1].append(array)

    def _without_held(self, training: list[NDArray[Any]]) -> list[NDArray[Any]]:
        if not (training and self._held):
            return training
        joined, ends = np.concatenate(training), np.cumsum([len(array) for array in training])
        keep = np.ones(len(joined), dtype=bool)
        for passage, at in self._held_earlier.find(joined):
            length = len(self._held[passage])
            document = int(np.searchsorted(ends, at, side="right"))
            begin, end = int(ends[document]) - len(training[document]), int(ends[document])
            if length * _LONG < end - begin:
                begin, end = max(at - _MARGIN, begin), min(at + length + _MARGIN, end)
            self.counts["copies"] += bool(keep[begin:end].all())
            keep[begin:end] = False
        return [array[kept] for array, kept in zip(training, np.split(keep, ends[:-1]), strict=True)]

    def write(self, writer: IncrementWriter) -> None:
        """Write the sets, without the documents of which a passage is trained on."""
        places = [
            (place, number, as_passage(part, end_id=self._end_id))
            for place, documents in self._documents.items()
            for number, parts in enumerate(documents)
            for part in parts
        ]
        index = PassageIndex([ids_N for _, _, ids_N in places])
        shared = set()
        for ids_N in (*(self._store.tokens(version) for version in self._earlier), writer.written(TRAIN_FILE)):
            shared |= {places[passage][:2] for passage, _ in index.find(ids_N)}
        self.counts["shared"] += len(shared)
        for (split, domain), documents in sorted(self._documents.items()):
            kept = [parts for number, parts in enumerate(documents) if ((split, domain), number) not in shared]
            self._write_set(kept, split, domain, writer)

    def _write_set(
        self, documents: Sequence[list[NDArray[Any]]], split: Split, domain: str, writer: IncrementWriter
    ) -> None:
        """Write the passages of the documents of a set, and where documents and, if they differ, passages begin."""
        name = heldout_file(domain, split)
        has_passages = any(len(parts) > 1 for parts in documents)
        for parts in documents:
            writer.add_start(starts_file(domain, split), writer.tokens(name))
            for part in parts:
                if has_passages:
                    writer.add_start(passages_file(domain, split), writer.tokens(name))
                writer.add_tokens(name, part)
