"""Data as a pure function of position: which window of which increment each slot of an update reads.

Update k takes the training from position k to k + 1 and reads B slots. Slot b is window n = (k − first)·B + b of the
segment that begins at position `first`. A weight of p parts gives a component exactly p of every 1,000 windows; its
draws are numbered m = 0, 1, …; m is mapped to a pool index, the pool index to an increment and j, and j to a window:

    single increment, pass 0      pool index = m
    any other pool or pass        pool index = permutation of m mod |pool|, keyed by (seed, versions, pass)
    increment v                   window = permutation of j over all windows the store holds of v, keyed by (seed, v)

Nothing here knows how many ranks there are: a rank takes every `ranks`-th slot.

Shapes: B slots of an update, N any number of slots, K rounds.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from math import isqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrpath.errors import ConfigError, DataError
from lrpath.planning.streams import WEIGHT_PARTS, Component, Stream

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
        stream: Which increments are read where. Each increment v contributes `updates_v × sequences` windows.
        sequences: Windows that one update reads, over all ranks (B); at least 1.
        length: Tokens of a window that are predicted; used here only to name sizes in tokens.
        seed: Any integer; another seed is another order.
        windows: Windows that the store holds of each version.
        repeat: Let an increment that is too small be read again, each epoch under an order of its own.

    Raises:
        ConfigError: If `sequences` or `length` is less than 1.
        DataError: If the store lacks a version, or holds fewer windows of it than the stream reads and `repeat` is off.
    """

    stream: Stream
    sequences: int
    length: int
    seed: int
    windows: Mapping[str, int]
    repeat: bool = False

    def __post_init__(self) -> None:
        for field in ("sequences", "length"):
            if (value := getattr(self, field)) < 1:
                raise ConfigError(f"{field} must be at least 1, not {value}", field=field, value=value)
        for version, updates in self._planned_updates().items():
            self._check_enough(version, updates)

    def _planned_updates(self) -> dict[str, int]:
        planned: dict[str, int] = {}
        for segment in self.stream.segments:
            for component in segment.components:
                for increment in component.increments:
                    planned[increment.version] = max(planned.get(increment.version, 0), increment.updates)
        return planned

    def _check_enough(self, version: str, updates: int) -> None:
        if version not in self.windows:
            there = ", ".join(sorted(self.windows)) or "none"
            raise DataError(f"increment {version} is not in the store (there: {there}); prepare it first")
        held, needed = self.windows[version], updates * self.sequences
        if held >= needed or (self.repeat and held > 0):
            return
        raise DataError(
            f"increment {version} is too small: {updates:_} updates × {self.sequences:_} sequences × {self.length:_} "
            f"tokens need {needed * self.length + 1:_} tokens, and the store holds {held:_} windows "
            f"({held * self.length:_} tokens); plan at most {held // self.sequences:_} updates, prepare more text, "
            "or set data.repeat=true",
            field="increment",
            value=updates,
        )

    def windows_of(self, update: int, *, slots: slice = slice(None)) -> tuple[NDArray[np.str_], Integers]:
        """Return the version and the window of each slot of an update.

        Args:
            update: The update from position `update` to `update + 1`; the stream must describe it.
            slots: Which of the B global slots; all of them unless told.

        Returns:
            `versions_N` and `windows_N`, in the order of the slots.

        Raises:
            PlanError: If the stream does not describe this update.
        """
        ((segment, inside, _),) = self.stream.spans(update, update + 1)
        numbers_N = inside * self.sequences + np.arange(self.sequences, dtype=np.int64)[slots]
        components_N, draws_N = _draws(numbers_N, tuple(component.parts for component in segment.components))
        versions_N = np.empty(numbers_N.shape, dtype=f"<U{max(map(len, self.windows))}")
        windows_N = np.empty(numbers_N.shape, dtype=np.int64)
        for number, component in enumerate(segment.components):
            chosen = components_N == number
            versions_N[chosen], windows_N[chosen] = self._read(component, draws_N[chosen])
        return versions_N, windows_N

    def _read(self, component: Component, draws_N: Integers) -> tuple[NDArray[np.str_], Integers]:
        """Map draw numbers of a component to versions and windows."""
        sizes = np.array([increment.updates * self.sequences for increment in component.increments], dtype=np.int64)
        ends = np.cumsum(sizes)
        places_N = self._places(component, draws_N, pool=int(ends[-1]))
        owners_N = np.searchsorted(ends, places_N, side="right")
        inside_N = places_N - (ends - sizes)[owners_N]
        versions = np.array([increment.version for increment in component.increments])
        windows_N = np.empty_like(draws_N)
        for owner in np.unique(owners_N):
            mine = owners_N == owner
            windows_N[mine] = self._windows(str(versions[owner]), inside_N[mine])
        return versions[owners_N], windows_N

    def _places(self, component: Component, draws_N: Integers, *, pool: int) -> Integers:
        """Map draw numbers to indices of the pool, pass after pass."""
        versions = [increment.version for increment in component.increments]
        passes_N, places_N = component.first_pass + draws_N // pool, draws_N % pool
        for number in np.unique(passes_N).tolist():
            if len(versions) > 1 or number > 0:
                mine = passes_N == number
                key = derive_key(self.seed, "pool", *versions, number)
                places_N[mine] = permuted(places_N[mine], size=pool, key=key)
        return places_N

    def _windows(self, version: str, places_N: Integers) -> Integers:
        """Map indices of an increment to windows of the store: a random subset that does not depend on its size."""
        held = self.windows[version]
        epochs_N, windows_N = places_N // held, places_N % held
        for epoch in np.unique(epochs_N).tolist():
            mine = epochs_N == epoch
            words = (version,) if epoch == 0 else (version, epoch)  # epoch 0 keeps the key of a store read once
            key = derive_key(self.seed, "increment", *words)
            windows_N[mine] = permuted(windows_N[mine], size=held, key=key)
        return windows_N

    def rank_slots(self, rank: int, ranks: int) -> slice:
        """Return the global slots of a rank: every `ranks`-th one, from `rank` on.

        Raises:
            ConfigError: If `ranks` does not divide `sequences`, or `rank` is not one of them.
        """
        if ranks < 1 or self.sequences % ranks:
            raise ConfigError(
                f"{self.sequences} sequences per update cannot be shared by {ranks} ranks; "
                f"use a number of ranks that divides {self.sequences}",
                field="batch.sequences_per_update",
                value=self.sequences,
            )
        if not 0 <= rank < ranks:
            raise ConfigError(f"rank {rank} must lie in [0, {ranks})")
        return slice(rank, None, ranks)

    def digest(self, update: int) -> str:
        """Return a hexadecimal digest of what an update reads, slot by slot, for tests of equality."""
        versions_B, windows_B = self.windows_of(update)
        read = json.dumps([versions_B.tolist(), windows_B.tolist()], separators=(",", ":"))
        return blake2b(read.encode(), digest_size=16).hexdigest()


def _draws(numbers_N: Integers, parts: tuple[int, ...]) -> tuple[Integers, Integers]:
    """Return the component that window n of a segment is drawn from, and how many of its draws came before."""
    pattern, before = _pattern(parts)
    blocks_N, places_N = np.divmod(numbers_N, WEIGHT_PARTS)
    components_N = pattern[places_N]
    return components_N, blocks_N * np.array(parts, dtype=np.int64)[components_N] + before[places_N]


@lru_cache(maxsize=64)
def _pattern(parts: tuple[int, ...]) -> tuple[Integers, Integers]:
    """Spread the components evenly over 1,000 windows: each goes to the component furthest behind its share.

    A component is chosen only while it is behind (the deficits add up to 1,000 before each choice, so the largest is
    positive), so none gets more than its parts, and therefore each gets exactly its parts.
    """
    pattern, before = np.empty(WEIGHT_PARTS, dtype=np.int64), np.empty(WEIGHT_PARTS, dtype=np.int64)
    deficits, drawn = [0] * len(parts), [0] * len(parts)
    for place in range(WEIGHT_PARTS):
        deficits = [deficit + part for deficit, part in zip(deficits, parts, strict=True)]
        chosen = deficits.index(max(deficits))
        pattern[place], before[place] = chosen, drawn[chosen]
        deficits[chosen] -= WEIGHT_PARTS
        drawn[chosen] += 1
    return pattern, before
