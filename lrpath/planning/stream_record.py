"""Segments, increments and what updates read of them, as plain data: in ids, plans and manifests."""

from typing import Any

from lrpath.planning.global_batch import GlobalBatch
from lrpath.planning.streams import Component, Increment, Segment, Stream, in_order


def reading_records(stream: Stream, begin: int, end: int, *, batch: GlobalBatch) -> list[dict[str, Any]]:
    """Return what the updates `[begin, end)` read where, as plain data, a record for each segment.

    Where the batch has grown, a record has from which of the segment's updates on there were how many sequences.

    Raises:
        PlanError: If the stream does not describe all of `[begin, end)`.
    """
    found, at = [], begin
    for segment, first, last in stream.spans(begin, end):
        start, at = at - first, at - first + last
        record = {"segment": as_record(segment), "first": first, "updates": last - first}
        if batch.grows_before(at):
            record["batch"] = [[one - start, sequences] for one, _, sequences in batch.stretches(start, at)]
        found.append(record)
    return found


def as_record(segment: Segment, *, content: bool = False) -> dict[str, Any]:
    """Return a segment as plain data.

    Args:
        segment: The segment.
        content: Whether each increment's content stands after its size, as in path ids and plans. A state's manifest
            has the digests of what was read beside the segment.
    """
    return {
        "updates": segment.updates,
        "components": [
            {
                "parts": component.parts,
                "first_pass": component.first_pass,
                "increments": [increment_record(increment, content=content) for increment in component.increments],
            }
            for component in segment.components
        ],
    }


def increment_record(increment: Increment, *, content: bool) -> list[Any]:
    """Return version, updates, content where it is known and asked for, and mixture and windows where there are any."""
    known: list[Any] = [increment.content] if content and increment.content is not None else []
    known += [dict(increment.mixture)] if increment.mixture else []
    known += [] if increment.windows is None else [increment.windows]
    return [increment.version, increment.updates, *known]


def from_record(record: dict[str, Any]) -> Segment:
    """Return the segment that `as_record` wrote."""
    components = tuple(
        Component(
            parts=row["parts"],
            first_pass=row["first_pass"],
            increments=tuple(read_increment(*entry) for entry in row["increments"]),
        )
        for row in record["components"]
    )
    return Segment(updates=record["updates"], components=components)


def read_increment(version: str, updates: int, *more: str | dict[str, int] | int) -> Increment:
    """Return the increment that `increment_record` wrote."""
    content = next((entry for entry in more if isinstance(entry, str)), None)
    mixture = next((entry for entry in more if isinstance(entry, dict)), {})
    windows = next((entry for entry in more if isinstance(entry, int)), None)
    return Increment(version=version, updates=updates, content=content, mixture=in_order(mixture), windows=windows)
