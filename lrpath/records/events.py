"""TensorBoard event files, made from what else is on disk, so that whatever a killed run left, no point is there twice.

One event file of a folder holds something. It is written anew, whole, under a higher number than those it takes the
place of, and begins with the mark at which a TensorBoard that is looking forgets what it has read. Whoever still writes
into an older file writes where nobody reads.
"""

import math
import pathlib
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from types import TracebackType
from typing import Any
from uuid import uuid4

from lrpath.records.path_folder import PathFolder
from lrpath.records.tables import Table

_MARK = "tfevents"
"""What TensorBoard knows an event file by."""
_NUMBER = re.compile(rf"{_MARK}\.([0-9]+)")

Event = Any
"""A message of TensorBoard, whose package has no types."""


class EventFile:
    """The event file of a folder, open for more events.

    Args:
        folder: Made if it is not there; event files in it are emptied when this one is whole.
        events: What it begins with.
    """

    def __init__(self, folder: pathlib.Path, events: Iterable[Event] = ()) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # half a second for those who write none
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        older = [file for file in folder.iterdir() if _MARK in file.name or file.name.startswith(".events.")]
        number = 1 + max((int(found[1]) for file in older if (found := _NUMBER.search(file.name))), default=0)
        beside = folder / f".events.{uuid4().hex[:8]}"
        self._records = RecordWriter(beside.open("wb"))
        try:
            begins = Event(session_log=SessionLog(status=SessionLog.START))
            self.append([Event(file_version="brain.Event:2"), begins, *events])
            beside.replace(folder / f"events.out.{_MARK}.{number:010d}")
        except BaseException:
            self.close()
            beside.unlink(missing_ok=True)
            raise
        for file in older:
            _empty(file)

    def append(self, events: Iterable[Event]) -> None:
        """Write events so that a TensorBoard which is looking sees them; they need not survive a power cut."""
        for event in events:
            self._records.write(event.SerializeToString())
        self._records.flush()

    def close(self) -> None:
        """Close the file."""
        self._records.close()


def _empty(file: pathlib.Path) -> None:
    """Empty an event file, since a TensorBoard without data server is stuck where one is gone; remove an empty one."""
    if _MARK in file.name and file.stat().st_size:
        beside = file.with_name(f".events.{uuid4().hex[:8]}")
        beside.touch()
        beside.replace(file)
    else:
        file.unlink(missing_ok=True)


def scalars(position: int, figures: dict[str, float], *, seconds: float = 0.0) -> Event:
    """Return the event of some figures by tag.

    Args:
        position: Where they stand on TensorBoard's axis of steps.
        figures: Values by tag.
        seconds: When they were found [seconds since 1970].
    """
    from tensorboard.compat.proto.event_pb2 import Event

    event = Event(step=position, wall_time=seconds)
    for tag, value in figures.items():
        event.summary.value.add(tag=tag, simple_value=value)
    return event


class PathEvents:
    """The curves of one path: an event for every position that has rows, written as the rows are.

    TensorBoard's axis of time counts the seconds of `speed.csv`, without pauses, from when the path's folder was made.

    Args:
        folder: The path's folder; its tables are read.
        until: Position of the last rows to begin with; None for all there are.
    """

    def __init__(self, folder: PathFolder, *, until: int | None = None) -> None:
        self._seconds = (folder.folder / "path.json").stat().st_mtime
        rows = (_rows(table, until=until) for table in (folder.metrics, folder.evaluation, folder.speed))
        self._file = EventFile(folder.tensorboard, self._events(*rows))

    def __enter__(self) -> "PathEvents":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def append(
        self,
        *,
        metrics: Sequence[Sequence[Any]] = (),
        evaluation: Sequence[Sequence[Any]] = (),
        speed: Sequence[Sequence[Any]] = (),
    ) -> None:
        """Write the events of rows that were appended to the path's tables, later ones than those before."""
        self._file.append(self._events(metrics, evaluation, speed))

    def _events(
        self, metrics: Sequence[Sequence[Any]], evaluation: Sequence[Sequence[Any]], speed: Sequence[Sequence[Any]]
    ) -> Iterator[Event]:
        clocked = [int(row[0]) for row in speed]
        clock = list(accumulate((float(row[1]) for row in speed), initial=self._seconds))
        for position, figures in sorted(_figures(metrics, evaluation, speed).items()):
            row = bisect_left(clocked, position)  # the row of speeds that is of this position, if any is
            yield scalars(position, figures, seconds=clock[min(row + 1, len(speed))])
        self._seconds = clock[-1]


def rewrite_path_events(folder: PathFolder) -> None:
    """Write the events of a path anew, of all its rows, for a run that has put rows between others."""
    with PathEvents(folder):
        pass


def _rows(table: Table, *, until: int | None) -> list[tuple[str, ...]]:
    rows = (row for row in table.rows() if until is None or int(row["position"]) <= until)
    return [tuple(row[column] for column in table.columns) for row in rows]


def _figures(
    metrics: Sequence[Sequence[Any]], evaluation: Sequence[Sequence[Any]], speed: Sequence[Sequence[Any]]
) -> dict[int, dict[str, float]]:
    """Return figures by position and tag."""
    found: dict[int, dict[str, float]] = {}
    for position, loss, rate, norm, tokens in metrics:
        figures = {"train/loss": loss, "train/lr": rate, "train/grad_norm": norm, "train/tokens": tokens}
        found[int(position)] = {tag: float(value) for tag, value in figures.items()}
    for position, version, domain, nll, tokens in evaluation:
        loss, name = float(nll) / int(tokens), f"{version}.{domain}"
        figures = {f"held_out_loss/{name}": loss, f"perplexity/{name}": math.exp(min(loss, 700.0))}
        found.setdefault(int(position), {}).update(figures)
    for position, _, tokens_per_second in speed:
        found.setdefault(int(position), {})["speed/tokens_per_second"] = float(tokens_per_second)
    return found
