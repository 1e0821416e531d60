"""A tree as plain data, in which what many paths share is written once.

    {"recipes": [...], "increments": [["v1", 300, "<content>"], ...],
     "segments": [{"updates": 300, "components": [{"parts": 1000, "first_pass": 0, "increments": [[0, 1]]}]}, ...],
     "paths": [{"id", "name", "recipe": 0, "parent": ["<id>", 120], "schedule",
                "stream": {"start": 0, "segments": [[0, 1]]}}, ...],
     "releases": [...]}

Increments and segments are named by ranges `[begin, end)` of their lists, so that training version 300 from scratch,
which reads a pool of 300 increments, takes no more letters than version 3. Before format 3 of plans every path had its
recipe, its segments and their increments in full, and a plan of 300 versions 71 MB; such trees are read too.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from lrpath.errors import PlanError
from lrpath.planning import recipe as recipes
from lrpath.planning import schedule as schedules
from lrpath.planning import stream_record
from lrpath.planning.lineage import canonical
from lrpath.planning.paths import Path, Release, StateKey, Tree
from lrpath.planning.recipe import Recipe
from lrpath.planning.streams import Component, Increment, Segment, Stream


class _Shared:
    """What the paths of a tree share, numbered in the order in which it is first met."""

    def __init__(self) -> None:
        self._recipes: list[dict[str, Any]] = []
        self._increments: dict[Increment, int] = {}
        self._segments: list[dict[str, Any]] = []
        self._segment_numbers: dict[str, int] = {}
        # Objects are shared too, and to look one up by what it is takes a hundred times as long; the tree keeps them.
        self._numbers: dict[int, int] = {}

    def recipe(self, recipe: Recipe) -> int:
        if id(recipe) not in self._numbers:
            if (record := recipe.as_record()) not in self._recipes:
                self._recipes.append(record)
            self._numbers[id(recipe)] = self._recipes.index(record)
        return self._numbers[id(recipe)]

    def increment(self, increment: Increment) -> int:
        if id(increment) not in self._numbers:
            self._numbers[id(increment)] = self._increments.setdefault(increment, len(self._increments))
        return self._numbers[id(increment)]

    def segment(self, segment: Segment) -> int:
        if id(segment) not in self._numbers:
            pools = [(part, _ranges(map(self.increment, part.increments))) for part in segment.components]
            components = [
                {"parts": part.parts, "first_pass": part.first_pass, "increments": ranges} for part, ranges in pools
            ]
            record = {"updates": segment.updates, "components": components}
            text = canonical(record)
            self._numbers[id(segment)] = self._segment_numbers.setdefault(text, len(self._segments))
            if self._numbers[id(segment)] == len(self._segments):
                self._segments.append(record)
        return self._numbers[id(segment)]

    def as_record(self) -> dict[str, Any]:
        increments = [stream_record.increment_record(increment, content=True) for increment in self._increments]
        return {"recipes": self._recipes, "increments": increments, "segments": self._segments}


def _ranges(numbers: Iterable[int]) -> list[list[int]]:
    """Return numbers as ranges.

    >>> _ranges([0, 1, 2, 7, 3])
    [[0, 3], [7, 8], [3, 4]]
    """
    found: list[list[int]] = []
    for number in numbers:
        if found and found[-1][1] == number:
            found[-1][1] += 1
        else:
            found.append([number, number + 1])
    return found


def _named(ranges: Iterable[Sequence[int]], every: Sequence[Any]) -> tuple[Any, ...]:
    """Return what ranges of a list name.

    Raises:
        ValueError: If a range does not lie in the list.
    """
    found: list[Any] = []
    for begin, end in ranges:
        if not 0 <= begin < end <= len(every):
            raise ValueError(f"[{begin}, {end}) lies outside of a list of {len(every)}")
        found += every[begin:end]
    return tuple(found)


def as_record(tree: Tree) -> dict[str, Any]:
    """Return a tree as plain data; `from_record` reads it back."""
    shared, paths = _Shared(), []
    for path in tree.paths:
        parent = None if path.parent is None else [path.parent.path_id, path.parent.position]
        row = {"id": path.id, "name": path.name, "recipe": shared.recipe(path.recipe), "parent": parent}
        row |= {"from_released": True} if path.from_released else {}
        stream = {"start": path.stream.start, "segments": _ranges(map(shared.segment, path.stream.segments))}
        paths.append(row | {"schedule": schedules.as_record(path.schedule), "stream": stream})
    releases = [
        {
            "paradigm": release.paradigm,
            "version": release.version,
            "parts": [[key.path_id, key.position, weight] for key, weight in release.parts],
        }
        for release in tree.releases
    ]
    return shared.as_record() | {"paths": paths, "releases": releases}


def from_record(record: dict[str, Any]) -> Tree:
    """Return the tree that `as_record`, of this version or an earlier one, wrote.

    Raises:
        PlanError: If a path's content no longer gives the id it was written with.
        ValueError: If a list has no entry of a number that names one.
    """
    is_shared = "segments" in record
    segments = _read_segments(record) if is_shared else ()
    known = [recipes.from_record(row) for row in record["recipes"]] if is_shared else []
    paths = []
    for row in record["paths"]:
        stream = row["stream"]
        path = Path(
            name=row["name"],
            recipe=_named([[row["recipe"], row["recipe"] + 1]], known)[0]
            if is_shared
            else recipes.from_record(row["recipe"]),
            schedule=schedules.from_record(row["schedule"]),
            stream=Stream(
                start=stream["start"],
                segments=_named(stream["segments"], segments)
                if is_shared
                else tuple(stream_record.from_record(part) for part in stream["segments"]),
            ),
            parent=None if row["parent"] is None else StateKey(*row["parent"]),
            from_released=row.get("from_released", False),
        )
        if path.id != row["id"]:
            raise PlanError(
                f"path {row['name']} was written with id {row['id']}, but its content gives {path.id}: it was altered; "
                "restore the file from a copy"
            )
        paths.append(path)
    return Tree(paths=tuple(paths), releases=tuple(map(_release, record["releases"])))


def _read_segments(record: dict[str, Any]) -> tuple[Segment, ...]:
    increments = [stream_record.read_increment(*entry) for entry in record["increments"]]
    return tuple(
        Segment(
            updates=row["updates"],
            components=tuple(
                Component(
                    parts=part["parts"],
                    first_pass=part["first_pass"],
                    increments=_named(part["increments"], increments),
                )
                for part in row["components"]
            ),
        )
        for row in record["segments"]
    )


def _release(row: dict[str, Any]) -> Release:
    return Release(
        paradigm=row["paradigm"],
        version=row["version"],
        parts=tuple((StateKey(path_id, position), weight) for path_id, position, weight in row["parts"]),
    )
