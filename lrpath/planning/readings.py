"""How much of each increment the paths of a tree read, for the first time and again.

A path's own stretch is looked at once, however many paths leave it, so that a tree of many versions is read in one go.
Shares are exact fractions. A pool of several increments that is read in part counts with the expected share under a
uniform order, `1 − (1 − a)(1 − b)` for two readings of shares a and b.
"""

from dataclasses import dataclass
from fractions import Fraction

from lrpath.planning.global_batch import GlobalBatch
from lrpath.planning.mixture import domain_reads
from lrpath.planning.paths import Path, StateKey, Tree
from lrpath.planning.streams import WEIGHT_PARTS, Segment

_NOTHING, _ALL = Fraction(0), Fraction(1)


def domain_tokens(path: Path, begin: int, end: int) -> dict[str, int]:
    """Return how many tokens of each domain the updates `[begin, end)` of a path read, exactly.

    What is read as it is stored, without a mixture, stands under the name `WHOLE`.
    """
    recipe = path.recipe
    spans = path.stream.window_spans(begin, end, batch=recipe.batch)
    windows = domain_reads(spans, sequences=recipe.sequences_per_update)
    return {name: count * recipe.tokens_per_sequence for name, count in windows.items()}


def has_mixture(tree: Tree) -> bool:
    """Say whether any increment that a path of a tree reads has a mixture."""
    return any(one.mixture for path in tree.paths for segment in path.stream.segments for one in segment.increments)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConsumed:
    """What a path reads of an increment, as shares of it.

    Args:
        first: Read for the first time by the model on this path.
        again: Read by it before, there or on an ancestor.
    """

    first: Fraction
    again: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stretch:
    """A component that a path reads over some positions.

    Args:
        segment: Its segment, and `offset` the updates of the segment that came before the path's first of it.
        offset: As above.
        begin: First position on the path, and `end` the first after it.
        end: As above.
        rate: Share of each increment of the pool that a window of the path is, whichever component it is drawn from.
        batch: Windows of an update by its position.
    """

    segment: Segment
    offset: int
    begin: int
    end: int
    rate: Fraction
    batch: GlobalBatch

    def windows(self, *, until: int | None = None) -> int:
        """Return how many windows the path reads over it, or up to a position in it."""
        return self.batch.between(self.begin, self.end if until is None else min(self.end, until))


class Readings:
    """The readings of a tree's paths, each run to its end."""

    def __init__(self, tree: Tree) -> None:
        """Take the tree; nothing is computed before it is asked for."""
        self._tree = tree
        self._stretches: dict[str, _PathReadings] = {}

    def of_path(self, path: Path) -> dict[str, DataConsumed]:
        """Return what a path, run to its end, reads of each increment, by version."""
        end, found = self._tree.end(path.id), {}
        for version in self._of(path).versions():
            stretches = self._of(path).stretches(version)
            total = sum((one.windows() * one.rate for one in stretches), _NOTHING)
            before = _NOTHING if path.parent is None else self.share(path.parent, version)
            first = self.share(StateKey(path.id, end), version) - before
            found[version] = DataConsumed(first=first, again=total - first)
        return found

    def share(self, key: StateKey, version: str) -> Fraction:
        """Return the share of an increment that a state has read at least once since the root."""
        left, carried, line = _ALL, 0, key
        while True:
            path = self._tree.path(line.path_id)
            for one in reversed(self._of(path).stretches(version)):
                if one.begin >= line.position:
                    continue
                windows = one.windows(until=line.position) + carried
                # A branch that goes on in its parent's segment reads on; the two are one reading of the pool.
                carried = windows if self._reads_on(path, one, version) else 0
                if not carried:
                    left *= _ALL - min(_ALL, windows * one.rate)
            if path.parent is None or not left:
                return _ALL - left
            line = path.parent

    def _reads_on(self, path: Path, one: _Stretch, version: str) -> bool:
        """Say whether a path begins inside a segment, at the update up to which the line before it has read that."""
        if path.parent is None or one.begin != path.start or not one.offset:
            return False
        parent = self._tree.path(path.parent.path_id)
        before = [other for other in self._of(parent).stretches(version) if other.begin < path.start][-1:]
        return any(
            other.segment == one.segment
            and other.offset + path.start - other.begin == one.offset
            and (not other.offset or self._reads_on(parent, other, version))
            for other in before
        )

    def read_once(self) -> dict[str, Fraction]:
        """Return the share of each increment that some path reads, by version: what is read for the first time."""
        seen: dict[str, Fraction] = {}
        for path in self._tree.paths:
            key = StateKey(path.id, self._tree.end(path.id))
            for version in self._of(path).versions():
                if seen.get(version, _NOTHING) < 1:
                    seen[version] = max(seen.get(version, _NOTHING), self.share(key, version))
        return seen

    def _of(self, path: Path) -> "_PathReadings":
        if path.id not in self._stretches:
            self._stretches[path.id] = _PathReadings(path, end=self._tree.end(path.id))
        return self._stretches[path.id]


class _PathReadings:
    """What a path itself reads: single increments by version, pools of several whole.

    A pool of 300 increments is one entry here, not 300: version 300 trained from scratch is one of 300 paths that have
    such pools.
    """

    def __init__(self, path: Path, *, end: int) -> None:
        self._alone: dict[str, list[_Stretch]] = {}
        self._pools: list[tuple[dict[str, None], _Stretch]] = []
        at, batch = path.start, path.recipe.batch
        for segment, first, last in path.stream.spans(path.start, end):
            stop = at + last - first
            for component in segment.components:
                pool = sum(one.count_windows(sequences=batch.sequences) for one in component.increments)
                rate = Fraction(component.parts, WEIGHT_PARTS * pool)
                one = _Stretch(segment=segment, offset=first, begin=at, end=stop, rate=rate, batch=batch)
                names = dict.fromkeys([increment.version for increment in component.increments])
                if len(names) == 1:
                    self._alone.setdefault(next(iter(names)), []).append(one)
                else:
                    self._pools.append((names, one))
            at = stop

    def versions(self) -> dict[str, None]:
        """Return the versions that are read, in the order in which they are first."""
        begins = [(one.begin, [version]) for version, (one, *_) in self._alone.items()]
        begins += [(one.begin, list(names)) for names, one in self._pools]
        return dict.fromkeys(version for _, names in sorted(begins, key=lambda pair: pair[0]) for version in names)

    def stretches(self, version: str) -> list[_Stretch]:
        """Return the stretches over which a version is read, in order."""
        alone = self._alone.get(version, [])
        pools = [one for names, one in self._pools if version in names]
        return sorted([*alone, *pools], key=lambda one: one.begin) if alone and pools else alone or pools
