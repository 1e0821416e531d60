"""Which increments a path reads at which position: the data half of a plan, in counts only.

A stream is a sequence of segments over positions. A segment draws windows from weighted components; a component is a
pool of one or more increments. `lrpath.data.order` turns the same description into window numbers.

    sequential   one segment an increment, each with one component holding that increment
    union        one segment, one component holding several increments, shuffled together
    mixture      one segment an increment: the new increment with weight 1 − r, the earlier ones pooled with weight r
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache
from itertools import accumulate
from typing import Literal

from lrpath.errors import PlanError
from lrpath.planning.global_batch import GlobalBatch

PROVISIONAL = "source:"
"""How the content of an increment begins whose tokens are not prepared."""

WEIGHT_PARTS = 1000
"""Component weights are whole parts of this number, so that every block of 1,000 windows holds exactly the mixture."""


Replay = float | Literal["union"]
"""Share of earlier increments in what a version reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Increment:
    """The data that arrives for one version.

    Args:
        version: Name of the version, for example `v1`.
        updates: How many updates its windows fill when each is read once; at least 1.
        content: SHA-256 of its training tokens; a text that begins with `source:` and stands for its source while the
            tokens are not prepared; None in a plan that was kept before ids followed from content.
        held_out: Digest of its held-out tokens, likewise. What a path is judged on is no part of its id.
        mixture: Domains and their weights, see `lrpath.planning.mixture`; empty to read it as it is stored.
        windows: How many windows it contributes, where the batch has grown at the positions at which it lies; None
            where each of its updates reads as many as the first update of all.
    """

    version: str
    updates: int
    content: str | None = None
    held_out: str | None = None
    mixture: tuple[tuple[str, int], ...] = ()
    windows: int | None = None

    def __post_init__(self) -> None:
        if self.updates < 1:
            raise PlanError(
                f"increment {self.version} has {self.updates} updates; it needs at least 1",
                field="increment",
                value=self.updates,
            )

    def count_windows(self, *, sequences: int) -> int:
        """Return how many windows it contributes.

        Args:
            sequences: Windows of the first update of all.
        """
        return self.updates * sequences if self.windows is None else self.windows

    @property
    def is_provisional(self) -> bool:
        """Whether its tokens are not prepared, so that only its source is known."""
        return self.content is not None and self.content.startswith(PROVISIONAL)

    def may_be(self, other: "Increment") -> bool:
        """Say whether two increments have the same tokens, as far as is known of both."""
        same = all(getattr(self, name) == getattr(other, name) for name in ("version", "updates", "mixture", "windows"))
        return same and self.may_have_text_of(other)

    def may_have_text_of(self, other: "Increment") -> bool:
        """Say whether what is stored for two increments is the same, as far as is known of both."""
        known = not (self.is_provisional or other.is_provisional) and None not in (self.content, other.content)
        return not known or self.content == other.content


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A pool of increments that is drawn from without replacement, pass after pass.

    Args:
        increments: The pool. Each increment contributes the windows it is planned for, `Increment.count_windows`.
        parts: Weight in the segment, in thousandths.
        first_pass: Number of the pass the first draw belongs to. Pass 0 of a single increment is the increment's own
            order; every later pass, and every pool of several, has a permutation of its own.
    """

    increments: tuple[Increment, ...]
    parts: int = WEIGHT_PARTS
    first_pass: int = 0

    def __post_init__(self) -> None:
        names = [increment.version for increment in self.increments]
        if not names or len(set(names)) != len(names):
            raise PlanError(f"a data component needs increments with different names, not {names}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of positions over which the mixture does not change.

    Args:
        updates: Length; at least 1.
        components: Weighted pools; their parts add up to 1,000.
    """

    updates: int
    components: tuple[Component, ...]

    def __post_init__(self) -> None:
        if self.updates < 1:
            raise PlanError(f"a data segment has {self.updates} updates; it needs at least 1")
        parts = sum(component.parts for component in self.components)
        if parts != WEIGHT_PARTS or any(component.parts < 1 for component in self.components):
            raise PlanError(f"weights of a data segment must be positive and add up to {WEIGHT_PARTS}, not {parts}")

    def passes(self, begin: int, *, batch: GlobalBatch) -> list[tuple[Component, Fraction, Fraction]]:
        """Return, for each component, how often its pool is read from position `begin` on: in updates, and in windows.

        The two are equal as long as the batch does not grow.
        """
        windows = batch.between(begin, begin + self.updates)
        found = []
        for one in self.components:
            updates = sum(increment.updates for increment in one.increments)
            held = sum(increment.count_windows(sequences=batch.sequences) for increment in one.increments)
            share = Fraction(one.parts, WEIGHT_PARTS)
            found.append((one, share * self.updates / updates, share * windows / held))
        return found

    @property
    def increments(self) -> tuple[Increment, ...]:
        """The increments of all components; one that is in two stands twice."""
        return tuple(increment for component in self.components for increment in component.increments)

    def may_be(self, other: "Segment") -> bool:
        """Say whether two segments read the same windows of the same tokens, as far as is known of both."""
        ours, theirs = (
            (segment.updates, [(one.parts, one.first_pass, len(one.increments)) for one in segment.components])
            for segment in (self, other)
        )
        pairs = zip(self.increments, other.increments, strict=False)
        return ours == theirs and all(one.may_be(two) for one, two in pairs)

    def with_increments(self, known: Mapping[str, Increment]) -> "Segment":
        """Return the segment with the increments of some versions replaced."""
        components = tuple(
            replace(part, increments=tuple(known.get(increment.version, increment) for increment in part.increments))
            for part in self.components
        )
        return replace(self, components=components)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Data as a function of position: segment after segment, the first beginning at position `start`.

    Args:
        start: First position that the segments describe; earlier positions belong to a parent path.
        segments: The stretches, in order. A segment may be appended later without changing what came before.
    """

    start: int = 0
    segments: tuple[Segment, ...]
    _begins: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        lengths = (segment.updates for segment in self.segments)
        object.__setattr__(self, "_begins", tuple(accumulate(lengths, initial=self.start)))

    @property
    def end(self) -> int:
        """First position [updates] that the stream does not describe."""
        return self._begins[-1]

    def until(self, end: int) -> "Stream":
        """Return the stream without the segments that begin at or after position `end`."""
        return self.between(self.start, end)

    def between(self, begin: int, end: int | None) -> "Stream":
        """Return the stream without the segments that end at or before `begin`, or begin at or after `end`.

        What lies outside of the stream is left to `spans`, which refuses it.
        """
        last = len(self.segments) if end is None else bisect_left(self._begins, end, hi=len(self.segments))
        first = max(bisect_right(self._begins, begin, hi=last) - 1, 0)
        if (first, last) == (0, len(self.segments)) or begin >= self.end:
            return self
        return Stream(start=self._begins[first], segments=self.segments[first:last])

    def ends(self) -> tuple[int, ...]:
        """Return the positions at which a segment ends, the last one being the stream's end."""
        return self._begins[1:]

    def spans(self, begin: int, end: int) -> list[tuple[Segment, int, int]]:
        """Return `(segment, from, to)` with update numbers inside each segment for the positions `[begin, end)`.

        Raises:
            PlanError: If the stream does not describe all of `[begin, end)`.
        """
        if not self.start <= begin <= end <= self.end:
            raise PlanError(f"updates [{begin}, {end}) lie outside the data stream [{self.start}, {self.end})")
        found = []
        # Looked up, not searched from the start: a branch of version 300 leaves 300 segments behind it.
        for number in range(max(bisect_right(self._begins, begin) - 1, 0), len(self.segments)):
            segment, at = self.segments[number], self._begins[number]
            if at >= end:
                break
            first, last = max(begin, at), min(end, at + segment.updates)
            if first < last:
                found.append((segment, first - at, last - at))
        return found

    def window_spans(self, begin: int, end: int, *, batch: GlobalBatch) -> list[tuple[Segment, int, int]]:
        """Return `(segment, from, to)` with window numbers inside each segment for the positions `[begin, end)`.

        The windows of an update come after those of all earlier updates of its segment, whatever batches these had.

        Raises:
            PlanError: As `spans`.

        >>> stream = sequential((Increment(version="v1", updates=30),))
        >>> batch = GlobalBatch(sequences=8, growth=((20, 16),))
        >>> [(first, last) for _, first, last in stream.window_spans(19, 22, batch=batch)]
        [(152, 192)]
        """
        found, at = [], begin
        for segment, first, last in self.spans(begin, end):
            start = at - first
            found.append((segment, batch.between(start, at), batch.between(start, at := start + last)))
        return found


def sequential(increments: tuple[Increment, ...]) -> Stream:
    """Read the increments one after another, each window once."""
    return Stream(segments=tuple(_alone(increment) for increment in increments))


def union(increments: tuple[Increment, ...]) -> Stream:
    """Read all increments shuffled together, each window once."""
    updates = sum(increment.updates for increment in increments)
    return Stream(segments=(Segment(updates=updates, components=(Component(increments=increments),)),))


def mixture(increments: tuple[Increment, ...], *, replay: Replay, sequences: int | None = None) -> Stream:
    """Read increment after increment, a share `replay` of each segment coming from all earlier increments.

    Args:
        increments: In order of arrival. A segment is as long as its increment, so a share `replay` of the new
            increment's windows stays unread.
        replay: Share of old data in `[0, 1)`, rounded to thousandths; `union`: every increment so far by its size.
        sequences: Windows of the first update of all, `recipe.sequences_per_update`, by which sizes compare where the
            batch grows.

    Raises:
        PlanError: If `replay` lies outside `[0, 1)`, or `sequences` is needed and missing.

    >>> old, new = Increment(version="v1", updates=100), Increment(version="v2", updates=50)
    >>> stream = mixture((old, new), replay=0.25)
    >>> for component in stream.segments[1].components:
    ...     print(component.parts, [increment.version for increment in component.increments])
    750 ['v2']
    250 ['v1']
    """
    if replay != "union" and not 0 <= replay < 1:
        raise PlanError(f"replay={replay} must lie in [0, 1)", field="replay", value=replay)
    if replay == "union" and sequences is None and any(one.windows is not None for one in increments):
        raise PlanError(
            "mixture of increments at which the batch has grown needs sequences=recipe.sequences_per_update"
        )
    segments, total = [], 0
    for number, increment in enumerate(increments):
        total += (size := increment.count_windows(sequences=sequences or 1))
        old = round((1 - size / total if replay == "union" else replay) * WEIGHT_PARTS)
        if number == 0 or old == 0:
            segments.append(_alone(increment))
            continue
        new = Component(increments=(increment,), parts=WEIGHT_PARTS - old)
        replayed = Component(increments=increments[:number], parts=old)
        segments.append(Segment(updates=increment.updates, components=(new, replayed)))
    return Stream(segments=tuple(segments))


def again(increment: Increment, *, start: int, updates: int) -> Stream:
    """Read an increment a second time, from position `start`, in a new order."""
    component = Component(increments=(increment,), first_pass=1)
    return Stream(start=start, segments=(Segment(updates=updates, components=(component,)),))


def shuffled(increments: tuple[Increment, ...], *, start: int, updates: int, new_share: float | None = None) -> Stream:
    """Read windows of several increments from position `start`, in a new order.

    Args:
        increments: In order of arrival; the last is the newest.
        start: First position.
        updates: Length.
        new_share: Share of the windows that comes from the newest increment, in (0, 1), rounded to thousandths; the
            rest comes from the earlier ones. None takes all windows alike, so that each increment has its own size.

    Raises:
        PlanError: If the share is outside (0, 1).

    >>> two = (Increment(version="v1", updates=30), Increment(version="v2", updates=10))
    >>> [[i.version for i in c.increments] for c in shuffled(two, start=35, updates=5).segments[0].components]
    [['v1', 'v2']]
    """
    *earlier, newest = increments
    if new_share is None:
        components: tuple[Component, ...] = (Component(increments=increments, first_pass=1),)
    else:
        parts = round(new_share * WEIGHT_PARTS)
        if not 0 < parts < WEIGHT_PARTS:
            text = f"reads={new_share} must lie in (0, 1): it is the share of the newest increment"
            raise PlanError(text, field="reads", value=new_share)
        new = Component(increments=(newest,), parts=parts, first_pass=1)
        components = (new, Component(increments=tuple(earlier), parts=WEIGHT_PARTS - parts, first_pass=1))
    return Stream(start=start, segments=(Segment(updates=updates, components=components),))


def _alone(increment: Increment) -> Segment:
    return Segment(updates=increment.updates, components=(Component(increments=(increment,)),))


def in_order(mixture: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """Return the weights of a mixture, the largest first, equal ones by name: the order in which windows are shared.

    >>> in_order({"code": 1, "books": 1, "web": 8})
    (('web', 8), ('books', 1), ('code', 1))
    """
    return tuple(sorted(mixture.items(), key=lambda item: (-item[1], item[0])))


@cache
def spread(parts: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Spread components evenly over 1,000 windows: each goes to the component furthest behind its share.

    A component is chosen only while it is behind (the deficits add up to 1,000 before each choice, so the largest is
    positive), so none gets more than its parts, and therefore each gets exactly its parts.

    Returns:
        The component of each window, and how many windows it had before.
    """
    pattern, before = [], []
    deficits, drawn = [0] * len(parts), [0] * len(parts)
    for _ in range(WEIGHT_PARTS):
        deficits = [deficit + part for deficit, part in zip(deficits, parts, strict=True)]
        chosen = deficits.index(max(deficits))
        pattern.append(chosen)
        before.append(drawn[chosen])
        deficits[chosen] -= WEIGHT_PARTS
        drawn[chosen] += 1
    return tuple(pattern), tuple(before)


def drawn_before(window: int, parts: tuple[int, ...]) -> list[int]:
    """Return how many of the windows of a segment before a given one each of its components was drawn for.

    >>> drawn_before(2004, (750, 250))
    [1503, 501]
    """
    blocks, rest = divmod(window, WEIGHT_PARTS)
    begun = spread(parts)[0][:rest]
    return [blocks * part + begun.count(number) for number, part in enumerate(parts)]
