"""What a state has read that its path's id does not hold: two studies may go on differently from equal beginnings.

The id of a path holds the segment in which its stream begins. Later segments, and how the batch grows over them, are
appended when their data arrives, on the path itself and on those that it comes from. Within a study an id has one
meaning; where two studies are compared, equal ids are the same states only if this is equal too.
"""

from bisect import bisect_left

from lrpath.planning import stream_record
from lrpath.planning.lineage import content_id
from lrpath.planning.paths import Path, StateKey, Tree
from lrpath.planning.streams import Segment


class LaterReadings:
    """Digests of what the states of a tree have read behind the segments that ids hold."""

    def __init__(self, tree: Tree) -> None:
        """Take the tree; a path is looked at once, when a state of it or of one that leaves it is asked for."""
        self._tree = tree
        self._of_path: dict[str, tuple[list[int], list[str]]] = {}

    def digest(self, key: StateKey) -> str:
        """Return the digest for a state; empty where ids hold all that was read."""
        line = [self._tree.path(key.path_id)]
        while line[-1].id not in self._of_path and (parent := line[-1].parent) is not None:
            line.append(self._tree.path(parent.path_id))
        for path in reversed(line):  # a line of some hundred versions is too deep for a recursion
            if path.id not in self._of_path:
                self._of_path[path.id] = self._chain(path)
        return self._at(key)

    def _at(self, key: StateKey) -> str:
        begins, digests = self._of_path[key.path_id]
        return digests[bisect_left(begins, key.position)]

    def _chain(self, path: Path) -> tuple[list[int], list[str]]:
        """Return where later segments of a path begin, and the digests before the first and behind each of them."""
        begins: list[int] = []
        digests = ["" if path.parent is None else self._at(path.parent)]
        at = path.start
        for number, (segment, first, last) in enumerate(path.stream.spans(path.start, path.stream.end)):
            if number:
                begins.append(at)
                digests.append(content_id([digests[-1], _record(path, segment, at)]))
            at += last - first
        return begins, digests


def _record(path: Path, segment: Segment, at: int) -> list[object]:
    batches = path.recipe.batch.stretches(at, at + segment.updates)
    return [stream_record.as_record(segment, content=True), list(batches)]
