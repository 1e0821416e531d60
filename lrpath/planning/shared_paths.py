"""Equal paths of several trees are one path: they are united, and it is said from where two that begin alike differ."""

from collections.abc import Iterable

from lrpath.errors import PlanError
from lrpath.planning.paths import Path, Release, Tree
from lrpath.planning.streams import Segment


def unite(trees: Iterable[Tree]) -> Tree:
    """Return one tree that needs all that the given ones need; equal paths become one.

    Raises:
        PlanError: If two streams that begin alike go on differently, so that one path would have two meanings.
    """
    paths: dict[str, Path] = {}
    releases: dict[Release, None] = {}
    for tree in trees:
        for path in tree.paths:
            paths[path.id] = longer(paths.get(path.id, path), path)
        releases |= dict.fromkeys(tree.releases)
    return Tree(paths=tuple(paths.values()), releases=tuple(releases))


def longer(one: Path, other: Path) -> Path:
    """Return that one of two equal paths of whose data more is known.

    Raises:
        PlanError: If they go on differently.
    """
    if one is other:
        return one
    if end_of_shared(one, other) is not None:
        raise PlanError(
            f"{one.name} and {other.name} begin alike but read different increments later. Increments can be appended "
            "to a path but not changed; choose another study for other increments"
        )
    return max(one, other, key=lambda path: (path.stream.end, _count_known(path)))


def _count_known(path: Path) -> int:
    increments = [increment for segment in path.stream.segments for increment in segment.increments]
    return sum(increment.content is not None and not increment.is_provisional for increment in increments)


def end_of_shared(one: Path, other: Path) -> int | None:
    """Return the position from which two paths that begin alike read different segments; None if there is none.

    A segment over which the batch grows otherwise is another one, from where it begins.
    """
    ours, theirs = ({at: segment for segment, at in _segments_of(path)} for path in (one, other))
    ends = min(one.stream.end, other.stream.end)
    for at in sorted({*ours, *theirs}):
        alike = at in ours and at in theirs and ours[at].may_be(theirs[at])
        if at < ends and not (alike and _batches(one, at) == _batches(other, at)):
            return at
    return None


def _batches(path: Path, position: int) -> list[tuple[int, int, int]]:
    """Return the batches of a path in the segment that it reads from a position on."""
    ((segment, offset, _),) = path.stream.spans(position, position + 1)
    return list(path.recipe.batch.stretches(position, position - offset + segment.updates))


def _segments_of(path: Path) -> list[tuple[Segment, int]]:
    """Return the segments that a path reads, each with the position at which the path begins to read it."""
    found, at = [], path.start
    for segment, first, last in path.stream.spans(path.start, path.stream.end):
        found.append((segment, at))
        at += last - first
    return found
