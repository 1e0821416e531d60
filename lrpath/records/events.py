"""TensorBoard event files, made from the tables of a path, so that no point is shown twice whatever a kill left behind.

In each folder one event file has content. It is written anew, whole, under a higher number than the files that it
replaces, and begins with the session start at which a running TensorBoard discards what it has read so far. A process
that was taken over may go on appending to an older file, which no TensorBoard reads any more.
"""

import contextlib
import math
import pathlib
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from types import MappingProxyType, TracebackType
from typing import Any

from lrpath.records.file_memory import Fingerprint, fingerprint_of
from lrpath.records.files import atomic_file, is_temporary
from lrpath.records.path_folder import PathFolder
from lrpath.records.rows import EvaluationRow, MetricsRow, SpeedRow
from lrpath.records.tables import Row, Table
from lrpath.records.task_scores import TaskScore, task_scores_of_path

_EVENTS = "tfevents"
"""TensorBoard takes every file for an event file whose name contains this."""
_NUMBER = re.compile(rf"{_EVENTS}\.([0-9]+)")

Event = Any
"""A message of TensorBoard, whose package has no types."""


class EventFile:
    """The event file of a folder, open for more events.

    Args:
        folder: Made if it is missing; the other event files in it are emptied when this one is complete.
        events: The first events.
    """

    def __init__(self, folder: pathlib.Path, events: Iterable[Event] = ()) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # half a second for those who write none
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        older = [file for file in folder.iterdir() if _EVENTS in file.name or is_temporary(file)]
        number = 1 + max((int(found[1]) for file in older if (found := _NUMBER.search(file.name))), default=0)
        begins = [Event(file_version="brain.Event:2"), Event(session_log=SessionLog(status=SessionLog.START))]
        with contextlib.ExitStack() as on_error:
            self.file = folder / f"events.out.{_EVENTS}.{number:010d}"
            with atomic_file(self.file) as temporary:
                self._records = RecordWriter(temporary.open("wb"))
                on_error.callback(self.close)
                self.append([*begins, *events])
            on_error.pop_all()  # the file stays open: renamed, it is still the one that is appended to
        for file in older:
            _empty(file)

    @classmethod
    def reopened(cls, file: pathlib.Path) -> "EventFile":
        """Return an event file that this process has written and closed, open for more events."""
        from tensorboard.summary.writer.record_writer import RecordWriter

        again = cls.__new__(cls)
        again.file, again._records = file, RecordWriter(file.open("ab"))
        return again

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
    if _EVENTS in file.name and file.stat().st_size:
        with atomic_file(file) as temporary:
            temporary.touch()
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
        self._folder = folder
        self._last = 0
        known = _CLOSED.pop(folder.tensorboard, None)
        if (
            known is not None
            and until is not None
            and known.last <= until
            and known.fingerprints == self._prints(known.file)
        ):
            self._last, self._seconds = known.last, known.seconds
            self._file = EventFile.reopened(known.file)
            return
        self._seconds = (folder.folder / "path.json").stat().st_mtime
        self._file = EventFile(
            folder.tensorboard,
            self._events(
                metrics=rows_until(folder.metrics, until),
                evaluation=rows_until(folder.evaluation, until),
                speed=rows_until(folder.speed, until),
                tasks={
                    position: scores
                    for position, scores in task_scores_of_path(folder.folder).items()
                    if until is None or position <= until
                },
            ),
        )

    def __enter__(self) -> "PathEvents":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
        _CLOSED[self._folder.tensorboard] = _Closed(
            file=self._file.file,
            fingerprints=self._prints(self._file.file),
            last=self._last,
            seconds=self._seconds,
        )

    def _prints(self, events: pathlib.Path) -> tuple[Fingerprint | None, ...]:
        """Return what the event file and the tables that it was made from are known by."""
        files = [events, *(table.file for table in self._folder.tables)]
        return tuple(fingerprint_of(file) if file.exists() else None for file in files)

    def append(
        self,
        *,
        metrics: Sequence[MetricsRow] = (),
        evaluation: Sequence[EvaluationRow] = (),
        speed: Sequence[SpeedRow] = (),
    ) -> None:
        """Write the events of rows that were appended to the path's tables, later ones than those before."""
        self._file.append(self._events(metrics=metrics, evaluation=evaluation, speed=speed))

    def _events(
        self,
        *,
        metrics: Sequence[MetricsRow],
        evaluation: Sequence[EvaluationRow],
        speed: Sequence[SpeedRow],
        tasks: Mapping[int, Sequence[TaskScore]] = MappingProxyType({}),
    ) -> Iterator[Event]:
        clocked = [row.position for row in speed]
        clock = list(accumulate((row.seconds for row in speed), initial=self._seconds))
        figures_at = figures_by_position(metrics, evaluation, speed)
        for position, scores in tasks.items():
            figures_at.setdefault(position, {}).update({score.tag: score.value for score in scores})
        for position, figures in sorted(figures_at.items()):
            self._last = max(self._last, position)
            row = bisect_left(clocked, position)  # first row of speeds at or after this position
            yield scalars(position, figures, seconds=clock[min(row + 1, len(speed))])
        self._seconds = clock[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Closed:
    """An event file that this process has closed; while it and its tables stay as they were, it is appended to again.

    Args:
        file: The event file.
        fingerprints: Of it and the tables.
        last: Last position in it.
        seconds: Where its axis of time stands.
    """

    file: pathlib.Path
    fingerprints: tuple[Fingerprint | None, ...]
    last: int
    seconds: float


_CLOSED: dict[pathlib.Path, _Closed] = {}


def rewrite_path_events(folder: PathFolder) -> None:
    """Write the events of all rows of a path anew, after a run that has put rows between older ones."""
    with PathEvents(folder):
        pass


def rows_until(table: Table[Row], until: int | None) -> list[Row]:
    """Return the rows of a table up to a position; all of them for None."""
    return [row for row in table.rows() if until is None or row.position <= until]


def figures_by_position(
    metrics: Sequence[MetricsRow], evaluation: Sequence[EvaluationRow], speed: Sequence[SpeedRow]
) -> dict[int, dict[str, float]]:
    """Return figures by position and tag."""
    found: dict[int, dict[str, float]] = {}
    for row in metrics:
        figures = {"loss": row.loss, "lr": row.lr, "grad_norm": row.grad_norm, "tokens": row.tokens}
        found[row.position] = {f"train/{name}": value for name, value in figures.items()}
    for evaluated in evaluation:
        name = f"{evaluated.version}.{evaluated.domain}"
        perplexity = math.exp(min(evaluated.loss, 700.0))
        figures = {f"held_out_loss/{name}": evaluated.loss, f"perplexity/{name}": perplexity}
        found.setdefault(evaluated.position, {}).update(figures)
    for timed in speed:
        found.setdefault(timed.position, {})["speed/tokens_per_second"] = timed.tokens_per_second
    return found
