"""Fits plans into what there is: paths keep their ids, and leave those of other data where these differ.

A study gives an id one meaning. So a path that reads other increments later than the study's path of the same id is
divided where they differ; and a path that was made before ids followed from content goes on under its old id.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from lrpath.planning.paths import Path, Release, StateKey, Tree
from lrpath.planning.shared_paths import end_of_shared, longer, unite


def leave_where_data_differ(tree: Tree, known: Mapping[str, Path]) -> Tree:
    """Return the tree with every path that reads other increments than a known one of its id divided where they differ.

    The path keeps what both share. The rest becomes a continuation that leaves it there, over the tree's own increments
    and at the rates of the path; forks and releases that lay on the rest lie on the continuation.

    Args:
        tree: A plan's.
        known: Paths that the study has, by id; they agree with each other.
    """
    moved: dict[str, list[Path]] = {}

    def place(key: StateKey) -> StateKey:
        parts = moved[key.path_id]
        return StateKey(next(part for part in reversed(parts) if part.start < key.position).id, key.position)

    for path in tree.paths:
        parts = [path if path.parent is None else replace(path, parent=place(path.parent))]
        while (other := known.get(parts[-1].id)) and (at := end_of_shared(parts[-1], other)) is not None:
            rest = parts.pop()
            parts.append(replace(rest, stream=rest.stream.until(at)))
            if at >= tree.end(path.id):
                break
            fork = StateKey(parts[-1].id, at)
            parts.append(replace(rest, name=path.name_of_rest(at), schedule=rest.schedule.after(at), parent=fork))
        moved[path.id] = parts
    paths = {part.id: part for path in tree.paths for part in moved[path.id]}
    return Tree(paths=tuple(paths.values()), releases=_moved(tree.releases, place))


def unite_where_data_agree(trees: Iterable[Tree]) -> Tree:
    """Return one tree that needs all that the given ones need, as `unite`, of paradigms that may read other data later.

    Of two main paths that begin alike and differ from version 2 on, the first keeps the path, and the other leaves it.
    """
    fitted: list[Tree] = []
    known: dict[str, Path] = {}
    for tree in trees:
        fitted.append(leave_where_data_differ(tree, known))
        known |= {path.id: longer(known.get(path.id, path), path) for path in fitted[-1].paths}
    return unite(fitted)


def keep_old_ids(tree: Tree, known: Iterable[Path]) -> Tree:
    """Return the tree in which paths that the study made before ids followed from content have the ids they had.

    Args:
        tree: A plan's.
        known: Paths that the study has, parents before children, with the contents that their states have read.
    """
    old = [path for path in known if path.recipe.names_source]
    if not old:
        return tree
    ids: dict[str, str] = {}
    paths = []
    for path in tree.paths:
        parent = None if path.parent is None else StateKey(ids[path.parent.path_id], path.parent.position)
        own = replace(path, parent=parent)
        for other in old:
            named = replace(own, recipe=replace(path.recipe, data=other.recipe.data))
            if _is_same(named, other):
                own = named
                break
        ids[path.id] = own.id
        paths.append(own)
    releases = _moved(tree.releases, lambda key: StateKey(ids[key.path_id], key.position))
    return Tree(paths=tuple(paths), releases=releases)


def _moved(releases: tuple[Release, ...], place: Callable[[StateKey], StateKey]) -> tuple[Release, ...]:
    """Return releases of the states that took the place of theirs."""
    return tuple(
        replace(release, parts=tuple((place(key), weight) for key, weight in release.parts)) for release in releases
    )


def _is_same(one: Path, old: Path) -> bool:
    """Say whether a path, whose recipe has an old path's words for the data, is that path.

    The plans must agree in all else, and the tokens that it begins with must be those that the old path has read.
    """
    (ours, _), (theirs, _) = one.first_segment(), old.first_segment()
    are_known = all(increment.content is not None for increment in theirs.increments)
    return (
        one.id == old.id
        and are_known
        and not any(increment.is_provisional for increment in ours.increments)
        and ours.may_be(theirs)
    )
