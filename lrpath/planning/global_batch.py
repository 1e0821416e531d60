"""The global batch at every position: constant, or growing where certain positions are reached.

    sequences(k) = the batch of the last growth whose position is at most k, for the update from position k to k + 1
    before(k)    = sequences(0) + … + sequences(k − 1)

Positions are those of the line from the root, so that a main path, its branches and a training from scratch have one
batch at one position. Everything that counts sequences or tokens asks here: nothing multiplies a position by a batch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from lrpath.errors import ConfigError
from lrpath.planning.units import parse_length

GROWTH = "batch.growth"
"""Field of the configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalBatch:
    """How many sequences an update reads, over all ranks, by its position.

    Args:
        sequences: Of the first update; at least 1.
        growth: Positions, at least 1 and ascending, and the sequences of every update from there on, each more than
            those before. A batch that shrinks is refused: no run of the field does so on purpose.

    Raises:
        ConfigError: If it is not so.

    >>> batch = GlobalBatch(sequences=8, growth=((100, 16), (150, 32)))
    >>> batch.at(99), batch.at(100), batch.before(101), batch.between(99, 151)
    (8, 16, 816, 840)
    """

    sequences: int
    growth: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if self.sequences < 1:
            text = f"batch.sequences_per_update={self.sequences} must be at least 1"
            raise ConfigError(text, field="batch.sequences_per_update", value=self.sequences)
        for number, ((before, fewer), (position, more)) in enumerate(pairwise([(0, self.sequences), *self.growth])):
            if position <= before:
                rule = (
                    f"must lie behind the {before:,} of the entry before; correct it, or sort the entries"
                    if number
                    else "must be at least 1; what the first updates read is batch.sequences_per_update"
                )
                raise ConfigError(
                    f"{GROWTH}[{number}].position of {position:,} updates {rule}",
                    field=f"{GROWTH}[{number}].position",
                    value=position,
                )
            if more <= fewer:
                raise ConfigError(
                    f"{GROWTH}[{number}].sequences_per_update={more} must be more than the {fewer} before: the batch "
                    "only grows; raise it, or leave the entry out",
                    field=f"{GROWTH}[{number}].sequences_per_update",
                    value=more,
                )

    @property
    def sizes(self) -> tuple[int, ...]:
        """The batches in the order in which they are reached, the largest last."""
        return (self.sequences, *(sequences for _, sequences in self.growth))

    def at(self, position: int) -> int:
        """Return the sequences of the update from `position` to `position + 1`."""
        return next((sequences for begin, sequences in reversed(self.growth) if begin <= position), self.sequences)

    def before(self, position: int) -> int:
        """Return the sequences that all updates before a position read together, since the root."""
        return sum((end - begin) * sequences for begin, end, sequences in self.stretches(0, position))

    def between(self, begin: int, end: int) -> int:
        """Return the sequences that the updates `[begin, end)` read together."""
        return self.before(end) - self.before(begin)

    def stretches(self, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Yield `(from, to, sequences)` for the stretches of one batch that `[begin, end)` is made of, in order.

        >>> list(GlobalBatch(sequences=8, growth=((100, 16),)).stretches(90, 120))
        [(90, 100, 8), (100, 120, 16)]
        """
        inside = [position for position, _ in self.growth if begin < position < end]
        for first, last in pairwise([begin, *inside, end]):
            if first < last:
                yield first, last, self.at(first)

    def until(self, end: int) -> "GlobalBatch":
        """Return the batch as updates before position `end` know it: without what grows at `end` or later."""
        return GlobalBatch(sequences=self.sequences, growth=tuple(one for one in self.growth if one[0] < end))

    def grows_before(self, end: int) -> bool:
        """Say whether some update before position `end` reads more sequences than the first."""
        return any(position < end for position, _ in self.growth)

    def updates_of(self, sequences: Fraction | int, *, start: int = 0) -> Fraction:
        """Return how many updates from position `start` on read so many sequences, as an exact fraction.

        >>> GlobalBatch(sequences=8, growth=((100, 16),)).updates_of(40, start=98)
        Fraction(7, 2)
        """
        left, at = Fraction(sequences), start
        for position, _ in self.growth:
            there = max(position - at, 0) * self.at(at)
            if left < there:
                break
            left, at = left - there, max(position, at)
        return at - start + left / self.at(at)

    def parse_updates(self, text: int | str, *, tokens_per_sequence: int, field: str, start: int = 0) -> int:
        """Return a length in updates, of which one in tokens is counted with the batches from a position on.

        Args:
            text: As `lrpath.planning.units.parse_updates`.
            tokens_per_sequence: Window length [tokens].
            field: Name of the configuration field, for the message.
            start: Position at which the length begins.

        Raises:
            ConfigError: As `lrpath.planning.units.parse_updates`.

        >>> batch = GlobalBatch(sequences=8, growth=((100, 16),))
        >>> batch.parse_updates("16_000 tokens", tokens_per_sequence=10, field="increment")
        150
        """
        return parse_length(
            text,
            updates_of=lambda tokens: self.updates_of(tokens / tokens_per_sequence, start=start),
            tokens_per_update=self.at(start) * tokens_per_sequence,
            field=field,
        )
