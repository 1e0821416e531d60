"""Data as a pure function of position: which window of which increment each slot of an update reads.

Update k takes the training from position k to k + 1 and reads B slots. Slot b is window n = (k − first)·B + b of the
segment that begins at position `first`; where the batch grows, n = b plus the slots of all updates from `first` to
k − 1. A weight of p parts gives a component exactly p of every 1,000 windows; its
draws are numbered m = 0, 1, …; m is mapped to a pool index, the pool index to an increment and j, and j to a window:

    single increment, pass 0      pool index = m
    any other pool or pass        pool index = permutation of m mod |pool|, keyed by (seed, versions, pass)
    increment v                   window = permutation of j over all windows the store holds of v, keyed by (seed, v)

Where increments have a mixture, m mod |pool| says first which domain it is (`lrpath.planning.mixture`), and as which
window of this domain it is; the rest then goes as above, with each domain as a pool, and its name among the keys.

Nothing here knows how many ranks there are: a rank takes every `ranks`-th slot.

Shapes: B slots of an update, N any number of slots, U updates, K rounds.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from math import ceil, inf, isqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrpath.errors import ConfigError, DataError
from lrpath.planning.global_batch import GROWTH, GlobalBatch
from lrpath.planning.mixture import MIXTURE_PARTS, WHOLE, counts_before, pool_by_domain, windows_by_domain
from lrpath.planning.streams import WEIGHT_PARTS, Component, Increment, Segment, Stream, spread

Words = NDArray[np.uint64]
Integers = NDArray[np.int64]

ROUNDS = 8
"""Feistel rounds. Four make a good permutation of a large range; a range of a few windows wants some more."""

_MAX_SIZE = 1 << 62


def derive_key(seed: int, *words: str | int) -> bytes:
    """Return 64 bytes (one 64-bit word a round) that depend on the seed and on every word.

    >>> derive_key(0, "a", "bc") == derive_key(0, "ab", "c")
    False
    """
    text = json.dumps([seed, *words], separators=(",", ":"))
    return blake2b(text.encode(), digest_size=8 * ROUNDS, person=b"lrpath-order").digest()


def permuted(indices: ArrayLike, *, size: int, key: bytes) -> Integers:
    """Return the places of `indices` under a pseudo-random permutation of `[0, size)`, without building it.

    A Feistel network over pairs (index mod a, index div a), with a = ⌈√size⌉ and b = ⌈size / a⌉, permutes `[0, a·b)`:
    in turn, one half is added a keyed hash of the other, modulo a or b. A result outside `[0, size)` is permuted again
    until it falls inside (cycle running; since a·b − size < a, hardly ever). Powers of two for a and b would be simpler
    and run up to four times as far. Memory and time are those of `indices`, and the result is the same under every
    version of numpy, whose own shuffles may change.

    Args:
        indices: Integers in `[0, size)`, any shape.
        size: Length of the range, in `[1, 2⁶²]`.
        key: 64 bytes from `derive_key`.

    Raises:
        ValueError: If `size` or an index is out of range.

    References:
        Black and Rogaway (2002), Ciphers with arbitrary finite domains: cycle running and the generalized network.

    >>> sorted(permuted(range(5), size=5, key=derive_key(0, "doc")).tolist())
    [0, 1, 2, 3, 4]
    """
    given = np.asarray(indices, dtype=np.int64)
    if not 1 <= size <= _MAX_SIZE:
        raise ValueError(f"size must lie in [1, 2**62], not {size}")
    if given.size and not 0 <= int(given.min()) <= int(given.max()) < size:
        raise ValueError(f"indices must lie in [0, {size}), not [{given.min()}, {given.max()}]")
    low_size = isqrt(size - 1) + 1
    sizes = (low_size, -(-size // low_size))
    keys_K = np.frombuffer(key, dtype="<u8").astype(np.uint64)
    places = _feistel(given.ravel().astype(np.uint64), sizes=sizes, keys_K=keys_K)
    outside = np.flatnonzero(places >= size)
    while outside.size:
        again = _feistel(places[outside], sizes=sizes, keys_K=keys_K)
        places[outside] = again
        outside = outside[again >= size]
    return places.astype(np.int64).reshape(given.shape)


def _feistel(values: Words, *, sizes: tuple[int, int], keys_K: Words) -> Words:
    low_size, high_size = np.uint64(sizes[0]), np.uint64(sizes[1])
    high, low = np.divmod(values, low_size)
    for low_key, high_key in keys_K.reshape(-1, 2):
        low = (low + _mix(high ^ low_key) % low_size) % low_size
        high = (high + _mix(low ^ high_key) % high_size) % high_size
    return high * low_size + low


def _mix(values: Words) -> Words:
    """Scramble 64 bits: the finalizer of SplitMix64 (Steele, Lea and Flood 2014); products wrap modulo 2⁶⁴."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowOrder:
    """The windows that each update reads, as a pure function of (stream, seed, position).

    Args:
        stream: Which increments are read where.
        sequences: Windows that one update reads, over all ranks (B); at least 1.
        growth: Positions from which on it is more, see `lrpath.planning.global_batch`.
        length: Tokens of a window that are predicted; used here only to name sizes in tokens.
        seed: Any integer; another seed is another order.
        windows: Windows that the store holds of each version, and of each domain of it under `part_name`.
        repeat: Most epochs of what the store holds that one reading of an increment, or of a domain of it, may take,
            each under an order of its own: False is one, True as many as it takes.

    Raises:
        ConfigError: If `sequences` or `length` is less than 1.
        DataError: If the store lacks a version or a domain, or a reading would take more epochs of it; also if a
            batch that grows would begin an increment again that the plan reads in part or once.
    """

    stream: Stream
    sequences: int
    length: int
    seed: int
    windows: Mapping[str, int]
    repeat: bool | float = False
    growth: tuple[tuple[int, int], ...] = ()
    batch: GlobalBatch = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("sequences", "length"):
            if (value := getattr(self, name)) < 1:
                raise ConfigError(f"{name} must be at least 1, not {value}", field=name, value=value)
        object.__setattr__(self, "batch", GlobalBatch(sequences=self.sequences, growth=self.growth))
        for increment in self._longest_increments():
            self._check_enough(increment)
        for at, segment in zip((self.stream.start, *self.stream.ends()), self.stream.segments, strict=False):
            if self.batch.grows_before(at + segment.updates):
                self._check_passes(at, segment)

    @property
    def most_epochs(self) -> float:
        """Most epochs that one reading may take."""
        if isinstance(self.repeat, bool):
            return inf if self.repeat else 1.0
        return self.repeat

    def _longest_increments(self) -> Iterable[Increment]:
        planned: dict[str, Increment] = {}
        for segment in self.stream.segments:
            for increment in segment.increments:
                known = planned.setdefault(increment.version, increment)
                planned[increment.version] = max(known, increment, key=lambda one: one.updates)
        return planned.values()

    def _check_enough(self, increment: Increment) -> None:
        version = increment.version
        if version not in self.windows:
            there = ", ".join(sorted(name for name in self.windows if "/" not in name)) or "none"
            raise DataError(f"increment {version} is not in the store (there: {there}); prepare it first")
        for domain, needed in windows_by_domain(increment, sequences=self.sequences).items():
            held = self.windows.get(part_name(version, domain), 0)
            if held and needed <= self.most_epochs * held:
                continue
            if domain != WHOLE:
                raise self._too_few(increment, domain, needed=needed, held=held)
            raise self._too_small(increment, needed=needed, held=held)

    def _check_passes(self, at: int, segment: Segment) -> None:
        """Raise if a pool is begun again that would not be without the growth of the batch, unless `repeat` allows it.

        A share of windows, or α, is chosen by updates; where these read more than the increment was sized by, they may
        come to its end.
        """
        for component, updates, windows in segment.passes(at, batch=self.batch):
            if windows <= max(ceil(updates), self.most_epochs):
                continue
            names = ", ".join(increment.version for increment in component.increments)
            raise DataError(
                f"the {segment.updates:_} updates from position {at:_} on would read {names} {float(windows):.3g} "
                f"times, since {GROWTH} gives them more sequences than {names} was sized by; lower alpha or replay, "
                f"enlarge the increment, or allow it with data.repeat={ceil(windows * 100) / 100:g}",
                field=GROWTH,
                value=self.growth,
            )

    def _too_few(self, increment: Increment, domain: str, *, needed: int, held: int) -> DataError:
        share = dict(increment.mixture)[domain] / MIXTURE_PARTS
        if not held:
            text = f"{increment.version} has no window of domain {domain}, and data.mixture gives it {share:.4g}"
            return DataError(f"{text}; give it 0, or give the version text of it", field="data.mixture", value=domain)
        epochs = needed / held
        return DataError(
            f"data.mixture gives domain {domain} {share:.4g} of {increment.version}: {needed:_} windows of "
            f"{self.length:_} tokens, and the store holds {held:_}, so that they would be read {epochs:.3g} times; "
            f"lower its weight or the increment, prepare more text, or allow it with "
            f"data.repeat={ceil(epochs * 100) / 100:g}",
            field="data.mixture",
            value=domain,
        )

    def _too_small(self, increment: Increment, *, needed: int, held: int) -> DataError:
        updates = increment.updates
        if increment.windows is None:
            read = f"{updates:_} updates × {self.sequences:_} sequences"
            fewer = f"plan at most {held // self.sequences:_} updates, " if held >= self.sequences else ""
        else:
            read = f"{updates:_} updates of a growing batch, {needed:_} sequences,"
            fewer = "plan fewer updates, "
        if held:
            there = f"{held:_} windows ({held * self.length:_} tokens)"
            remedy = f"{fewer}prepare more text, or set data.repeat=true"
        else:  # nothing could be repeated
            there = f"not one window, which takes {self.length + 1:_} tokens"
            remedy = f"prepare more text for {increment.version}"
        return DataError(
            f"increment {increment.version} is too small: {read} × {self.length:_} "
            f"tokens need {needed * self.length + 1:_} tokens, and the store holds {there}; {remedy}",
            field="increment",
            value=updates,
        )

    def windows_of(self, update: int, *, slots: slice = slice(None)) -> tuple[NDArray[np.str_], Integers]:
        """Return `windows_between` of one update, `parts_N` and `windows_N`."""
        parts_UN, windows_UN = self.windows_between(update, update + 1, slots=slots)
        return parts_UN[0], windows_UN[0]

    def windows_between(self, begin: int, end: int, *, slots: slice = slice(None)) -> tuple[NDArray[np.str_], Integers]:
        """Return the part of the store (a version, or a domain of it) and the window of each slot of some updates.

        Args:
            begin: First update, from position `begin` to `begin + 1`.
            end: First update that is left out; the stream must describe all before it. All of one batch.
            slots: Which of the B global slots of each; all of them unless told.

        Returns:
            `parts_UN`, by `part_name`, and `windows_UN`, in the order of updates and slots.

        Raises:
            PlanError: If the stream does not describe these updates.
            ValueError: If the batch grows among them.
        """
        sequences = self.batch.at(begin)
        if end > begin and self.batch.at(end - 1) != sequences:
            raise ValueError(f"the batch grows inside of the updates [{begin}, {end}); ask for those of one batch")
        slots_N = np.arange(sequences, dtype=np.int64)[slots]
        parts_UN = np.empty((end - begin, len(slots_N)), dtype=f"<U{max(map(len, self.windows))}")
        windows_UN = np.empty(parts_UN.shape, dtype=np.int64)
        row = 0
        for segment, first, last in self.stream.window_spans(begin, end, batch=self.batch):
            numbers_UN = np.arange(first, last, sequences, dtype=np.int64)[:, None] + slots_N
            rows = slice(row, row := row + len(numbers_UN))
            parts_UN[rows], windows_UN[rows] = self._read_all(segment.components, numbers_UN)
        return parts_UN, windows_UN

    def _read_all(self, components: Sequence[Component], numbers_UN: Integers) -> tuple[NDArray[np.str_], Integers]:
        """Map numbers of windows of a segment to parts of the store and their windows."""
        numbers_N = numbers_UN.ravel()
        components_N, draws_N = _draws(numbers_N, tuple(component.parts for component in components))
        parts_N = np.empty(numbers_N.shape, dtype=f"<U{max(map(len, self.windows))}")
        windows_N = np.empty(numbers_N.shape, dtype=np.int64)
        for number, component in enumerate(components):
            chosen = components_N == number
            parts_N[chosen], windows_N[chosen] = self._read(component, draws_N[chosen])
        return parts_N.reshape(numbers_UN.shape), windows_N.reshape(numbers_UN.shape)

    def _read(self, component: Component, draws_N: Integers) -> tuple[NDArray[np.str_], Integers]:
        """Map draw numbers of a component to parts of the store and their windows."""
        pool = pool_by_domain(component.increments, sequences=self.sequences)
        passes_N, places_N = np.divmod(draws_N, sum(pool.values()))
        domains_N, inside_N = _domains_of(places_N, tuple(pool.values()))
        parts_N, windows_N = np.empty(draws_N.shape, dtype=f"<U{max(map(len, self.windows))}"), np.empty_like(draws_N)
        for number, domain in enumerate(pool):
            mine = domains_N == number
            if mine.any():
                found = self._read_domain(component, domain, component.first_pass + passes_N[mine], inside_N[mine])
                parts_N[mine], windows_N[mine] = found
        return parts_N, windows_N

    def _read_domain(
        self, component: Component, domain: str, passes_N: Integers, places_N: Integers
    ) -> tuple[NDArray[np.str_], Integers]:
        """Map places among the windows that a pool has of a domain, each in its pass, to parts and their windows."""
        counts = {
            increment.version: windows_by_domain(increment, sequences=self.sequences).get(domain, 0)
            for increment in component.increments
        }
        sizes = np.array(list(counts.values()), dtype=np.int64)
        ends = np.cumsum(sizes)
        places_N = self._places(list(counts), domain, passes_N, places_N, pool=int(ends[-1]))
        owners_N = np.searchsorted(ends, places_N, side="right")
        inside_N = places_N - (ends - sizes)[owners_N]
        parts = np.array([part_name(version, domain) for version in counts])
        windows_N = np.empty_like(places_N)
        for owner in np.unique(owners_N):
            mine = owners_N == owner
            windows_N[mine] = self._windows(list(counts)[owner], domain, inside_N[mine])
        return parts[owners_N], windows_N

    def _places(
        self, versions: list[str], domain: str, passes_N: Integers, places_N: Integers, *, pool: int
    ) -> Integers:
        """Map places of a pool to those of each pass's own order."""
        for number in np.unique(passes_N).tolist():
            if len(versions) > 1 or number > 0:
                mine = passes_N == number
                key = derive_key(self.seed, "pool", *versions, number, *_named(domain))
                places_N[mine] = permuted(places_N[mine], size=pool, key=key)
        return places_N

    def _windows(self, version: str, domain: str, places_N: Integers) -> Integers:
        """Map indices of an increment to windows of the store: a random subset that does not depend on its size."""
        held = self.windows[part_name(version, domain)]
        epochs_N, windows_N = places_N // held, places_N % held
        for epoch in np.unique(epochs_N).tolist():
            mine = epochs_N == epoch
            words = (version,) if epoch == 0 else (version, epoch)  # epoch 0 keeps the key of a store read once
            key = derive_key(self.seed, "increment", *words, *_named(domain))
            windows_N[mine] = permuted(windows_N[mine], size=held, key=key)
        return windows_N

    def rank_slots(self, rank: int, ranks: int, *, update: int = 0) -> slice:
        """Return the global slots of a rank in an update: every `ranks`-th one, from `rank` on.

        Raises:
            ConfigError: If `ranks` does not divide the update's sequences, or `rank` is not one of them.
        """
        sequences = self.batch.at(update)
        if ranks < 1 or sequences % ranks:
            raise ConfigError(
                f"{sequences} sequences per update cannot be shared by {ranks} ranks; "
                f"use a number of ranks that divides {sequences}",
                field="batch.sequences_per_update",
                value=sequences,
            )
        if not 0 <= rank < ranks:
            raise ConfigError(f"rank {rank} must lie in [0, {ranks})")
        return slice(rank, None, ranks)

    def digest(self, update: int) -> str:
        """Return a hexadecimal digest of what an update reads, slot by slot, for tests of equality."""
        versions_B, windows_B = self.windows_of(update)
        read = json.dumps([versions_B.tolist(), windows_B.tolist()], separators=(",", ":"))
        return blake2b(read.encode(), digest_size=16).hexdigest()


def part_name(version: str, domain: str) -> str:
    """Return what windows of a version, or of a domain of it, are known by.

    >>> part_name("v1", ""), part_name("v1", "web")
    ('v1', 'v1/web')
    """
    return version if domain == WHOLE else f"{version}/{domain}"


def _named(domain: str) -> tuple[str, ...]:
    """Return what a domain adds to a key: nothing where an increment is read as a whole, as before mixtures."""
    return () if domain == WHOLE else ("domain", domain)


def _domains_of(places_N: Integers, sizes: tuple[int, ...]) -> tuple[Integers, Integers]:
    """Return the number of the domain of each window of a pool, and which of the domain's windows it is."""
    if len(sizes) == 1:
        return np.zeros_like(places_N), places_N
    # Products of two counts of windows may pass 2⁶³: then numpy calculates with Python's integers.
    given_N = places_N if sum(sizes) < 1 << 30 else places_N.astype(object)
    before = np.array(counts_before(given_N, sizes), dtype=np.int64)
    after = np.array(counts_before(given_N + 1, sizes), dtype=np.int64)
    domains_N = np.argmax(after - before, axis=0)
    return domains_N, before[domains_N, np.arange(len(places_N))]


def _draws(numbers_N: Integers, parts: tuple[int, ...]) -> tuple[Integers, Integers]:
    """Return the component that window n of a segment is drawn from, and how many of its draws came before."""
    pattern, before = _pattern(parts)
    blocks_N, places_N = np.divmod(numbers_N, WEIGHT_PARTS)
    components_N = pattern[places_N]
    return components_N, blocks_N * np.array(parts, dtype=np.int64)[components_N] + before[places_N]


@lru_cache(maxsize=64)
def _pattern(parts: tuple[int, ...]) -> tuple[Integers, Integers]:
    pattern, before = spread(parts)
    return np.array(pattern, dtype=np.int64), np.array(before, dtype=np.int64)
