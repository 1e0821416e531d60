"""What of a plan is on disk, which stretches of its paths are to be run, and what paths of the study have read."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from lrpath.planning.lineage import canonical
from lrpath.planning.paths import Path, StateKey, Tree
from lrpath.records.manifest import read_manifest
from lrpath.records.read_segments import digests_in
from lrpath.records.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Updates of a path that are to be run in one go.

    Args:
        path: The path.
        begin: Position of the nearest state before, or the path's beginning.
        end: Position of the state that is missing.
        version: The version whose release asks for it first.
    """

    path: Path
    begin: int
    end: int
    version: str

    @property
    def updates(self) -> int:
        """How many updates it takes."""
        return self.end - self.begin


def missing_stretches(study: Study, tree: Tree, *, order: Sequence[str]) -> tuple[Stretch, ...]:
    """Return the stretches that lead to the states which a tree needs and which are missing, in the order to run them.

    Args:
        study: Where states are.
        tree: The plan's.
        order: Versions in order of arrival.
    """
    found: list[Stretch] = []
    made: dict[str, list[int]] = {}
    rank = {version: number for number, version in enumerate(order)}
    for release in sorted(tree.releases, key=lambda release: rank[release.version]):
        for key, _ in release.parts:
            found += _leading_to(key, study, tree, made, release.version)
    return tuple(found)


def _leading_to(key: StateKey, study: Study, tree: Tree, made: dict[str, list[int]], version: str) -> Iterator[Stretch]:
    """Yield the stretches that lead to a state, and note the states that they make; `made` has those of each path."""
    path = tree.path(key.path_id)
    if path.id not in made:
        folder = study.find(path.id)
        made[path.id] = [] if folder is None else folder.positions()
    ours = made[path.id]
    before = bisect_left(ours, key.position)
    if before < len(ours) and ours[before] == key.position:
        return
    if path.parent is not None:
        yield from _leading_to(path.parent, study, tree, made, version)
    begin = ours[before - 1] if before else path.start
    # A stretch that is run saves every state that the plan needs on its way.
    needed = tree.needed(path.id)
    ours[before:before] = needed[bisect_right(needed, begin) : bisect_right(needed, key.position)]
    yield Stretch(path=path, begin=begin, end=key.position, version=version)


def with_read_contents(study: Study, paths: Iterable[Path]) -> list[Path]:
    """Return paths in which the increments of plans that do not say their content have what the states have read.

    Such plans were kept before ids followed from content. All paths of a study that name one source and tokenizer have
    read the same tokens, or `verify` says otherwise.
    """
    given = list(paths)
    contents: dict[str, dict[str, str]] = {}
    for path in given:
        if path.recipe.names_source and (folder := study.find(path.id)) is not None:
            known = contents.setdefault(canonical(path.recipe.data), {})
            for position in folder.positions():
                known |= dict(digests_in(read_manifest(folder.state(position)).get("read")))
    return [_with_contents(path, contents.get(canonical(path.recipe.data), {})) for path in given]


def _with_contents(path: Path, known: Mapping[str, str]) -> Path:
    increments = (increment for segment in path.stream.segments for increment in segment.increments)
    unsaid = [increment for increment in increments if increment.content is None and increment.version in known]
    return path.with_increments({one.version: replace(one, content=known[one.version]) for one in unsaid})
