"""Paths, states, releases and the tree they form.

A path is one learning-rate curve over one data stream, from a root or from a state of a parent path. Its id is a digest
of what determines its numbers: the recipe, the rates, the parent, and the tokens of the segment in which its stream
begins. It holds neither where the path ends nor who runs it, and nothing of where the text came from: a main path that
is continued for version 5 is the same path, and the values of an α sweep share one main path. Where a path ends follows
from what is needed of it: the forks and releases that lie on it.

Later segments are appended when their data arrives, so the id cannot hold them, nor a batch that grows behind the first
segment: a team may decide on that when version 4 arrives. Where two plans of a study go on differently, the first one
keeps the path, and the other leaves it, as any branch does, at the end of the last increment they share
(`lrpath.planning.continuation`): a continuation runs at the parent's own rates and is bit for bit what the undivided
path would have been. A study therefore gives an id one meaning; two studies may go on differently from equal
beginnings, and the manifest of every state says what it has read. The alternative, a path for each increment, would
need no study to name a path, but cut every main path into N runs.

The id of a path that reads tokens which are not prepared yet begins with `~`: it is made from the source's settings and
the files' fingerprints, is there to be looked at, and is never kept in a study.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from lrpath.errors import PlanError
from lrpath.planning import schedule as schedules
from lrpath.planning import stream_record
from lrpath.planning.field_names import nearest
from lrpath.planning.global_batch import GROWTH
from lrpath.planning.lineage import content_id
from lrpath.planning.recipe import Recipe
from lrpath.planning.schedule import Schedule
from lrpath.planning.streams import Increment, Segment, Stream

PROVISIONAL_ID = "~"
"""How the id of a path begins that reads tokens which are not prepared yet."""

_REST = re.compile(r"(_from_\d+)+$")
"""What the name of a path's rest has behind the path's name: the position, of a rest's rest both."""


@dataclass(frozen=True, slots=True, order=True)
class StateKey:
    """Names a state: a position on a path.

    Args:
        path_id: The path.
        position: Updates completed since the root; more than 0.
    """

    path_id: str
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """One learning-rate curve over one data stream.

    Args:
        name: Label for people and folder names; not part of the id.
        recipe: What all updates share.
        schedule: Rates from the path's first update on.
        stream: Data from the path's first update on; may begin earlier.
        parent: State the path leaves from; None for a root, which starts from initial weights.
        from_released: Whether the path begins with the weights that the parent would release, an average, in place of
            its live ones; everything else that the two optimizers have in common is gone on with.
    """

    name: str
    recipe: Recipe
    schedule: Schedule
    stream: Stream
    parent: StateKey | None = None
    from_released: bool = False
    id: str = field(init=False)

    def __post_init__(self) -> None:
        if self.schedule.start != self.start:
            raise PlanError(
                f"path {self.name} starts at {self.start}, but its schedule starts at {self.schedule.start}"
            )
        # A branch of version 300 would else name 300 segments in every copy of the plan, and read one.
        object.__setattr__(self, "stream", self.stream.between(self.start, self.schedule.end))
        if self.recipe.growth:
            self._check_sizes()
        mark = PROVISIONAL_ID if self._is_provisional() else ""
        object.__setattr__(self, "id", mark + content_id(self.identity()))

    @property
    def start(self) -> int:
        """Position of the first update."""
        return 0 if self.parent is None else self.parent.position

    def name_of_rest(self, position: int) -> str:
        """Return the name of the path's rest from `position` on, where other data makes it a path of its own."""
        return f"{self.name}_from_{position}"

    def identity(self) -> dict[str, Any]:
        """Return what the id is a digest of: recipe, schedule, parent, and the segment in which the stream begins.

        Later segments can be appended when data arrives, so they are compared with what a state has read instead; and
        so is a growth of the batch behind the first segment, which may be decided when these arrive.
        """
        segment, offset = self.first_segment()
        content = not self.recipe.names_source  # an old id stays what it was
        parent: dict[str, Any] | None = None
        if self.parent is not None:
            parent = {"path": self.parent.path_id, "position": self.parent.position}
            parent |= {"weights": "released"} if self.from_released else {}
        return {
            "recipe": self.recipe.as_record(until=self.start - offset + segment.updates),
            "schedule": schedules.as_record(self.schedule),
            "stream": {"segment": stream_record.as_record(segment, content=content), "from": offset},
            "parent": parent,
        }

    def first_segment(self) -> tuple[Segment, int]:
        """Return the segment in which the path begins, and after how many of its updates."""
        segment, offset, _ = self.stream.spans(self.start, self.start + 1)[0]
        return segment, offset

    def _check_sizes(self) -> None:
        """Raise if a segment is as long as its increments, but its updates have fewer windows than these.

        Positions of another increment have another batch: what is left over there would be left out without a word.
        """
        batch = self.recipe.batch
        for at, segment in zip((self.stream.start, *self.stream.ends()), self.stream.segments, strict=False):
            pool = segment.components[0]
            if pool.first_pass or sum(one.updates for one in pool.increments) != segment.updates:
                continue
            held = sum(one.count_windows(sequences=batch.sequences) for one in pool.increments)
            read = batch.between(at, at + segment.updates)
            if read < held:
                names = ", ".join(one.version for one in pool.increments)
                raise PlanError(
                    f"path {self.name} reads {names} in the {segment.updates:,} updates from position {at:,} on, which "
                    f"have {read:,} sequences by {GROWTH}, and {names} has {held:,}: {held - read:,} would never be "
                    "read. Choose a paradigm that reads an increment at the positions of a main path (no leave_after, "
                    f"no reads=own from scratch), or {GROWTH}=[]",
                    field=GROWTH,
                    value=self.recipe.growth,
                )

    def _is_provisional(self) -> bool:
        if self.parent is not None and self.parent.path_id.startswith(PROVISIONAL_ID):
            return True
        segment, _ = self.first_segment()
        unknown = any(increment.is_provisional for increment in segment.increments)
        return not self.recipe.names_source and (unknown or self.recipe.is_provisional)

    @property
    def is_provisional(self) -> bool:
        """Whether the id stands for tokens that are not prepared yet."""
        return self.id.startswith(PROVISIONAL_ID)

    def with_increments(self, known: Mapping[str, Increment]) -> "Path":
        """Return the path with the increments of some versions replaced."""
        segments = tuple(segment.with_increments(known) for segment in self.stream.segments)
        return replace(self, stream=replace(self.stream, segments=segments))

    def check_position(self, position: int) -> None:
        """Raise unless the path can be run to `position`."""
        end = self.stream.end if self.schedule.end is None else min(self.stream.end, self.schedule.end)
        if not self.start < position <= end:
            raise PlanError(
                f"position {position:_} must lie in path {self.name} ({self.start:_}, {end:_}]; "
                "extend its data or schedule, or move the fork or release"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A model version to be made: one state, or a weighted mean of several.

    Args:
        paradigm: Label of the paradigm that asks for it.
        version: Name of the version.
        parts: States and their weights, which add up to 1; an ordinary release has one part.
    """

    paradigm: str
    version: str
    parts: tuple[tuple[StateKey, float], ...]

    def __post_init__(self) -> None:
        total = sum(weight for _, weight in self.parts)
        if not abs(total - 1.0) <= 1e-9:  # nor NaN
            raise PlanError(f"weights of release {self.paradigm}/{self.version} add up to {total}, not 1")

    @property
    def last(self) -> StateKey:
        """The latest state of the release, whose position it is listed under."""
        return self.parts[-1][0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """Paths and releases, checked: parents come first, and everything needed lies on its path.

    Args:
        paths: Parents before children, no id twice.
        releases: In the order in which they are to be made.
    """

    paths: tuple[Path, ...]
    releases: tuple[Release, ...]
    _by_id: dict[str, Path] = field(init=False, repr=False, compare=False)
    _needed: dict[str, tuple[int, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        known: dict[str, Path] = {}
        for path in self.paths:
            if path.parent is not None and path.parent.path_id not in known:
                raise PlanError(
                    f"path {path.name} leaves a path that does not stand before it in the tree; reorder them"
                )
            if path.id in known:
                raise PlanError(f"paths {path.name} and {known[path.id].name} are equal; list one of them")
            known[path.id] = path
        object.__setattr__(self, "_by_id", known)
        object.__setattr__(self, "_needed", self._collect_needs())

    def _collect_needs(self) -> dict[str, tuple[int, ...]]:
        needs: dict[str, set[int]] = {path.id: set() for path in self.paths}
        keys = [path.parent for path in self.paths if path.parent is not None]
        for release in self.releases:
            for key, _ in release.parts:
                if key.path_id not in needs:
                    raise PlanError(
                        f"release {release.paradigm}/{release.version} is made of a state of path {key.path_id}, which "
                        "the tree does not have; add the path, or remove the release"
                    )
                keys.append(key)
        for key in keys:
            self.path(key.path_id).check_position(key.position)
            needs[key.path_id].add(key.position)
        for path in self.paths:
            if not needs[path.id]:
                raise PlanError(f"no release and no fork needs a state of path {path.name}; remove it from the plan")
        return {path_id: tuple(sorted(positions)) for path_id, positions in needs.items()}

    def path(self, path_id: str) -> Path:
        """Return the path with this id."""
        return self._by_id[path_id]

    def needed(self, path_id: str) -> tuple[int, ...]:
        """Return the positions at which a state of the path is needed, ascending: its forks and releases."""
        return self._needed[path_id]

    def end(self, path_id: str) -> int:
        """Return the position up to which the path is run."""
        return self.needed(path_id)[-1]

    def updates(self, path_id: str) -> int:
        """Return how many updates the path itself takes [updates]."""
        return self.end(path_id) - self.path(path_id).start

    def tokens(self, path_id: str) -> int:
        """Return how many tokens the updates of the path itself read."""
        path = self.path(path_id)
        return path.recipe.tokens_between(path.start, self.end(path_id))

    def states(self) -> Iterator[StateKey]:
        """Yield every state that is needed, path by path."""
        for path in self.paths:
            yield from (StateKey(path.id, position) for position in self.needed(path.id))

    def increment_ends(self, path_id: str) -> tuple[int, ...]:
        """Return where increments end on the path before the path does, other than at states that are needed.

        A state is kept there when the path passes, so that the next increment can be exchanged without running this one
        again. Nothing needs it: where it is missing, nothing is run for it.
        """
        path, needed, end = self.path(path_id), self.needed(path_id), self.end(path_id)
        return tuple(at for at in path.stream.ends() if path.start < at < end and at not in needed)

    def kept_states(self) -> Iterator[StateKey]:
        """Yield every state that retention keeps, path by path: those needed, and those where an increment ends."""
        for path in self.paths:
            positions = sorted({*self.needed(path.id), *self.increment_ends(path.id)})
            yield from (StateKey(path.id, position) for position in positions)

    def line(self, path_id: str) -> tuple[Path, ...]:
        """Return the path and its ancestors, root first."""
        line = [self.path(path_id)]
        while (parent := line[-1].parent) is not None:
            line.append(self.path(parent.path_id))
        return tuple(reversed(line))

    def rate(self, path_id: str, update: int) -> float:
        """Return the rate of an update on the path or, before its fork, on the ancestor it came from."""
        path = self.path(path_id)
        while path.parent is not None and update < path.start:
            path = self.path(path.parent.path_id)
        return path.schedule.rate(update)

    def reads(self, key: StateKey) -> list[tuple[Segment, int]]:
        """Return `(segment, updates read of it)` for all a state has read since the root.

        A branch that goes on in its parent's segment counts as one reading of it.
        """
        found: list[tuple[Segment, int]] = []
        line = self.line(key.path_id)
        ends = [*(path.start for path in line[1:]), key.position]
        for path, end in zip(line, ends, strict=True):
            for segment, begin, stop in path.stream.spans(path.start, end):
                goes_on = found and found[-1] == (segment, begin)
                found[-1:] = [(segment, stop)] if goes_on else [*found[-1:], (segment, stop - begin)]
        return found

    def named(self, names: Iterable[str]) -> dict[str, int]:
        """Return the ids of the paths that any of the names matches, and up to which position each is meant.

        Where paradigms share a path, the name of each means as much of it as that paradigm needs.

        Args:
            names: A path's name, `path_switching.v2`, also under the name of another paradigm that shares the path; the
                name's part before or after the point, `v2`; or a pattern with `*`. The rest of a path that is one of
                its own, since it reads other data, belongs to the path's name.

        Raises:
            PlanError: If a name matches no path of the tree.
        """
        meant = self._names()
        found: dict[str, int] = {}
        for name in names:
            matching = {key: end for key, end in meant.items() if fnmatchcase(key[0], name)}
            if not matching:
                known = [path.name for path in self.paths]
                hint = nearest(name, {text for text, _ in meant})
                text = f"paths={name} matches no path of this plan{hint or '.'} It has {', '.join(known)}"
                raise PlanError(text, field="paths", value=name)
            for (_, path_id), end in matching.items():
                found[path_id] = max(end, found.get(path_id, 0))
        return found

    def _names(self) -> dict[tuple[str, str], int]:
        """Return up to which position a name means a path, by name and path id."""
        meant: dict[tuple[str, str], int] = {}
        for path in self.paths:
            whole = name_of_whole(path.name)
            for text in (path.name, whole, *path.name.split("."), *whole.split(".")):
                meant[text, path.id] = self.end(path.id)
        for release in self.releases:
            for key, _ in release.parts:
                line = self.line(key.path_id)
                for path, end in zip(line, [*(path.start for path in line[1:]), key.position], strict=True):
                    own = path.name.rpartition(".")[2]
                    for text in (
                        release.paradigm,
                        f"{release.paradigm}.{own}",
                        f"{release.paradigm}.{name_of_whole(own)}",
                    ):
                        meant[text, path.id] = max(end, meant.get((text, path.id), 0))
        return meant

    def only(self, releases: tuple[Release, ...]) -> "Tree":
        """Return the tree that needs these releases and nothing else."""
        wanted = {path.id for release in releases for key, _ in release.parts for path in self.line(key.path_id)}
        return Tree(paths=tuple(path for path in self.paths if path.id in wanted), releases=releases)


def name_of_whole(name: str) -> str:
    """Return the name of the path that a name means, or of whose rest it is the name.

    >>> name_of_whole("path_switching.main_from_760"), name_of_whole("weights_from_average.main")
    ('path_switching.main', 'weights_from_average.main')
    """
    return _REST.sub("", name)
