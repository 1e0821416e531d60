"""The paths of a plan as plain data for another trainer: pieces, forks, streams, and files of rates.

    python -m lrpath.plan +exp=quickstart format=json rates=rates

prints it under `tree`. The form is stable: `format` is raised when a field changes its meaning, not when one is added.
docs/another_trainer.md explains the fields.
"""

import pathlib
from typing import Any

from lrpath.planning.paths import Path, StateKey
from lrpath.planning.plan import Plan
from lrpath.planning.streams import WEIGHT_PARTS
from lrpath.records.files import write_whole
from lrpath.records.study import plain_name
from lrpath.reporting.tree_text import pieces_run

FORMAT = 1
"""Of all that `lrpath.plan format=json` prints."""


def trainer_paths(plan: Plan, *, rates: pathlib.Path | None = None) -> list[dict[str, Any]]:
    """Return every path of a plan, parents first.

    Args:
        plan: The plan.
        rates: Folder of the files that `write_rates` has written; None for none.
    """
    return [
        {
            "id": path.id,
            "name": path.name,
            "parent": None if path.parent is None else _parent(path, path.parent),
            "start": path.start,
            "end": plan.tree.end(path.id),
            "pieces": _pieces(path, end=plan.tree.end(path.id)),
            "states": list(plan.tree.needed(path.id)),
            "forks": [
                {"position": child.parent.position, "id": child.id}
                for child in plan.tree.paths
                if child.parent is not None and child.parent.path_id == path.id
            ],
            "releases": [
                {"position": key.position, "paradigm": one.paradigm, "version": one.version, "weight": weight}
                for one in plan.tree.releases
                for key, weight in one.parts
                if key.path_id == path.id
            ],
            "stream": _stream(path, end=plan.tree.end(path.id)),
            **_batch(path, end=plan.tree.end(path.id)),
            "rates_file": None if rates is None else str(_file(path, rates)),
        }
        for path in plan.tree.paths
    ]


def _parent(path: Path, parent: StateKey) -> dict[str, Any]:
    weights = {"weights": "released"} if path.from_released else {}
    return {"id": parent.path_id, "position": parent.position} | weights


def write_rates(plan: Plan, folder: pathlib.Path) -> None:
    """Write the rates of every path into a file, one line an update, with all their digits."""
    for path in plan.tree.paths:
        updates = range(path.start, plan.tree.end(path.id))
        write_whole(_file(path, folder), "".join(f"{path.schedule.rate(update)!r}\n" for update in updates))


def _file(path: Path, folder: pathlib.Path) -> pathlib.Path:
    return folder / f"{plain_name(path.name)}-{path.id}.txt"


def _pieces(path: Path, *, end: int) -> list[dict[str, Any]]:
    found = []
    begin = path.start - path.schedule.skipped
    for piece, _ in pieces_run(path, end=end):
        stop = None if piece.updates is None else begin + piece.updates
        row = {"shape": piece.shape.value, "begin": begin, "end": stop, "first": piece.first, "last": piece.last}
        found.append(row | ({"exponent": piece.exponent} if piece.shape.value == "power" else {}))
        begin = end if stop is None else stop
    return found


def _batch(path: Path, *, end: int) -> dict[str, Any]:
    """Return the sequences of an update by its position, where they are not those of the first update throughout."""
    batch = path.recipe.batch
    names = ("begin", "end", "sequences_per_update")
    rows = [dict(zip(names, row, strict=True)) for row in batch.stretches(path.start, end)]
    return {"batch": rows} if batch.grows_before(end) else {}


def _stream(path: Path, *, end: int) -> list[dict[str, Any]]:
    found, begin = [], path.start
    for segment, first, last in path.stream.spans(path.start, end):
        components = [
            {
                "share": component.parts / WEIGHT_PARTS,
                "increments": [increment.version for increment in component.increments],
                "first_pass": component.first_pass,
            }
            for component in segment.components
        ]
        found.append({"begin": begin, "end": begin + last - first, "first": first, "components": components})
        begin += last - first
    return found
