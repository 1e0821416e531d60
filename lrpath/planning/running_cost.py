"""What the versions of a tree cost, one after another, each stretch of a path looked at once.

Of version i it is what the tree of versions 1…i costs, without making that tree: a study of 300 versions has 300 of
them, and together they have 45,000 paths.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from fractions import Fraction

from lrpath.planning.cost import Cost
from lrpath.planning.paths import Path, StateKey, Tree
from lrpath.planning.readings import Readings


class RunningCost:
    """What a growing part of a tree costs.

    Args:
        tree: The whole tree.
        sizes: Tokens of each increment by version.
        flops_per_token: Training cost of a token [FLOP]; None where it is not known.
        state_bytes: Size of a state on disk [bytes]; None likewise.
    """

    def __init__(
        self, tree: Tree, *, sizes: dict[str, int], flops_per_token: int | None, state_bytes: int | None
    ) -> None:
        self._tree = tree
        self._sizes = sizes
        self._flops_per_token = flops_per_token
        self._state_bytes = state_bytes
        self._readings = Readings(tree)
        self._ends: dict[str, int] = {}
        self._kept: dict[str, set[int]] = {}
        self._seen: dict[str, Fraction] = {}
        self._whole: set[str] = set()
        self._read_once = Fraction(0)
        self._updates = 0
        self._tokens = 0
        self._states = 0

    def add(self, keys: Iterable[StateKey]) -> Cost:
        """Add some states, with all that leads to them, and return what everything costs that was added so far."""
        read: list[tuple[Path, str]] = []
        for key in keys:
            line: StateKey | None = key
            while line is not None:
                path = self._tree.path(line.path_id)
                is_new = path.id not in self._ends
                read += [(path, version) for version in self._run(path, line.position)]
                line = path.parent if is_new else None
        for path, version in read:
            self._note_read(path, version)
        tokens, flops, size = self._tokens, self._flops_per_token, self._state_bytes
        return Cost(
            updates=self._updates,
            tokens=tokens,
            tokens_first=round(self._read_once),
            flops=None if flops is None else tokens * flops,
            states=self._states,
            state_bytes=None if size is None else self._states * size,
        )

    def _run(self, path: Path, position: int) -> set[str]:
        """Run a path on to a position that is needed, and return the versions read on the way that were not whole."""
        begin = self._ends.get(path.id, path.start)
        end = max(begin, position)
        kept = self._kept.setdefault(path.id, set())
        before, ends = len(kept), path.stream.ends()
        kept.add(position)
        # A state is kept where an increment ends before the path does; where it ends there is one that is needed.
        kept.update(ends[bisect_right(ends, max(begin - 1, path.start)) : bisect_left(ends, end)])
        self._states += len(kept) - before
        self._updates += end - begin
        self._tokens += path.recipe.tokens_between(begin, end)
        self._ends[path.id] = end
        if begin == end:
            return set()
        spans = path.stream.spans(begin, end)
        names = {increment.version for segment, _, _ in spans for increment in segment.increments}
        return names - self._whole

    def _note_read(self, path: Path, version: str) -> None:
        """Note how much of an increment some path has read by now, which counts by the path that has read most."""
        if version in self._whole:
            return
        before = self._seen.get(version, Fraction(0))
        share = self._readings.share(StateKey(path.id, self._ends[path.id]), version)
        self._seen[version] = max(before, share)
        self._read_once += (self._seen[version] - before) * self._sizes.get(version, 0)
        if self._seen[version] >= 1:
            self._whole.add(version)
