"""The batches of a path: a store read in an order, and a record of what has been read up to a position.

Shapes: B sequences of an update, T = length + 1 tokens of a window (inputs `[:-1]`, targets `[1:]`), N any number,
U updates.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrpath.data.order import WindowOrder, part_name
from lrpath.data.store import TokenStore
from lrpath.errors import ConfigError, DataError
from lrpath.planning.lineage import differences
from lrpath.planning.stream_record import reading_records
from lrpath.planning.streams import Increment, Stream
from lrpath.records.read_segments import LABELLING, ReadSegments, folded, without_labelling


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBatches:
    """The token ids of every update of a stream, as a pure function of position.

    Args:
        store: Holds the windows.
        order: Says which of them an update reads.
    """

    store: TokenStore
    order: WindowOrder

    @classmethod
    def of(
        cls,
        store: TokenStore,
        *,
        stream: Stream,
        sequences: int,
        length: int,
        seed: int,
        repeat: bool | float = False,
        growth: tuple[tuple[int, int], ...] = (),
    ) -> "TokenBatches":
        """Join a store and a stream.

        Args:
            store: Holds the windows.
            stream: Which increments are read where.
            sequences: Windows that an update reads, over all ranks.
            length: Tokens of a window that are predicted; at least 1.
            seed: Of the order.
            growth: Positions from which on an update reads more windows, and how many.
            repeat: Most epochs of one reading of an increment or domain, as in `WindowOrder`.

        Raises:
            ConfigError: If `sequences` or `length` is less than 1.
            DataError: If the store holds too little of an increment.
        """
        if length < 1:
            raise ConfigError(f"length must be at least 1 token, not {length}", field="length", value=length)
        windows = {version: store.windows(version, length) for version in store.versions}
        mixed = {increment.version: increment for segment in stream.segments for increment in segment.increments}
        windows |= {
            part_name(version, domain): store.domain_windows(version, domain, length)
            for version, increment in mixed.items()
            if version in windows
            for domain, _ in increment.mixture
        }
        order = WindowOrder(
            stream=stream,
            sequences=sequences,
            length=length,
            seed=seed,
            windows=windows,
            repeat=repeat,
            growth=growth,
        )
        return cls(store=store, order=order)

    def rows(self, begin: int, end: int, *, slots: slice = slice(None)) -> NDArray[np.int64]:
        """Return the windows of some global slots of the updates `[begin, end)`, `[U, N, T]`.

        Several updates at once take little longer than one, as long as their windows are few.

        Raises:
            DataError: If a file of the store cannot be read.
            PlanError: If the stream does not describe these updates.
            ValueError: If the batch grows among them.
        """
        parts_UN, windows_UN = self.order.windows_between(begin, end, slots=slots)
        length = self.order.length
        ids_UNT = np.empty((*windows_UN.shape, length + 1), dtype=np.int64)
        for part in np.unique(parts_UN):
            mine = parts_UN == part
            version, _, domain = str(part).partition("/")
            ids_UNT[mine] = (
                self.store.gather_domain(version, domain, windows_UN[mine], length)
                if domain
                else self.store.gather(version, windows_UN[mine], length)
            )
        return ids_UNT

    def batch(self, update: int, *, rank: int = 0, ranks: int = 1) -> NDArray[np.int64]:
        """Return the windows that a rank reads in an update, `[B / ranks, T]`: every `ranks`-th slot from `rank` on.

        Raises:
            ConfigError: If `ranks` does not divide B.
            PlanError: If the stream does not describe this update.
        """
        slots = self.order.rank_slots(rank, ranks, update=update)
        found: NDArray[np.int64] = self.rows(update, update + 1, slots=slots)[0]
        return found

    def reading(self, start: int, end: int) -> dict[str, Any]:
        """Return what the updates `[start, end)` read, as plain data for the manifest of a state.

        Two equal records mean the same windows in the same order with the same tokens.

        Raises:
            PlanError: If the stream does not describe all of `[start, end)`.
        """
        return self.readings(start).until(end)

    def readings(self, start: int) -> ReadSegments:
        """Return the records that `reading` makes from a start to one end after another, for the states of a path."""
        order, domains = self.order, self._domains()
        head = {
            "sequences": order.sequences,
            "length": order.length,
            "seed": order.seed,
            "repeat": order.most_epochs > 1,
        }

        def parts(begin: int, end: int) -> list[dict[str, Any]]:
            spans, records = (
                order.stream.spans(begin, end),
                reading_records(order.stream, begin, end, batch=order.batch),
            )
            return [
                record | {"increments": self._increments(segment.increments, domains)}
                for record, (segment, _, _) in zip(records, spans, strict=True)
            ]

        return ReadSegments(head, start=start, parts=parts)

    def _increments(self, read: Iterable[Increment], domains: Mapping[str, dict[str, int]]) -> dict[str, Any]:
        return {
            version: {"digest": self.store.digest(version), "windows": self.order.windows[version]}
            | ({"domains": domains[version], LABELLING: self._labelling(version)} if version in domains else {})
            for version in sorted({increment.version for increment in read})
        }

    def _labelling(self, version: str) -> str | None:
        return self.store.manifest(version).labelling

    def _domains(self) -> dict[str, dict[str, int]]:
        """Return how many windows each domain of a version holds, of the versions that are not read as a whole."""
        found: dict[str, dict[str, int]] = {}
        for name, count in self.order.windows.items():
            version, _, domain = name.partition("/")
            if domain:
                found.setdefault(version, {})[domain] = count
        return found


def compare_readings(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Return one line for every field in which two readings differ, `field: theirs → ours`; none if they are equal.

    >>> compare_readings({"seed": 1, "segments": []}, {"seed": 0, "segments": []})
    ['seed: 0 → 1']
    """
    ours = ours if LABELLING in str(theirs) else without_labelling(ours)
    return differences(folded(theirs), folded(ours))


def held_out_windows(
    store: TokenStore, *, version: str, domain: str, length: int, limit: int | None = None, split: str = "valid"
) -> NDArray[np.int64]:
    """Return the held-out windows of a domain of a version, `[N, T]`, evenly spaced when there are more than `limit`.

    A set that is smaller than a window is one shorter window.

    Args:
        store: Holds the tokens.
        version: Version whose held-out documents are read.
        domain: One of the version's domains.
        length: Tokens of a window that are predicted; at least 1.
        limit: Most windows to return; None returns all.
        split: `valid`, the set to choose on, or `test`, the set to report.

    Raises:
        ConfigError: If `length` or `limit` is less than 1.
        DataError: If the version has no such set, or only one token of it.
    """
    ids_N, begins_N, length = _held_out(store, version=version, domain=domain, length=length, limit=limit, split=split)
    return np.lib.stride_tricks.sliding_window_view(ids_N, length + 1)[begins_N].astype(np.int64)


def held_out_documents(
    store: TokenStore, *, version: str, domain: str, length: int, limit: int | None = None, split: str = "valid"
) -> NDArray[np.int64]:
    """Return the number of the document that each predicted token of `held_out_windows` belongs to, `[N, T - 1]`.

    Documents count from 0 in the order of the set; losses summed by them are independent of each other, as those of
    windows are not.
    """
    _, begins_N, length = _held_out(store, version=version, domain=domain, length=length, limit=limit, split=split)
    targets_NT = begins_N[:, None] + np.arange(1, length + 1)
    starts = store.document_starts(version, domain, split)
    return np.searchsorted(starts, targets_NT, side="right").astype(np.int64) - 1


def _held_out(
    store: TokenStore, *, version: str, domain: str, length: int, limit: int | None, split: str
) -> tuple[NDArray[Any], NDArray[np.int64], int]:
    """Return the tokens of a held-out set, where its windows begin, and their length."""
    if length < 1 or (limit is not None and limit < 1):
        raise ConfigError(f"held-out windows need a length and a limit of at least 1, not {length} and {limit}")
    domains = store.manifest(version).domains_of(split)
    if domain not in domains:
        raise DataError(f"{version} has no {split} set of domain {domain!r} (there: {', '.join(domains) or 'none'})")
    ids_N = store.held_out_set(version, split)[domain]
    length = min(length, len(ids_N) - 1)
    if length < 1:
        raise DataError(
            f"the {split} set of {version}, domain {domain}, has {len(ids_N):_} token, and the first of a set is not "
            "predicted; hold out more text"
        )
    there = (len(ids_N) - 1) // length
    count = there if limit is None else min(limit, there)
    return ids_N, np.arange(count, dtype=np.int64) * there // count * length, length
