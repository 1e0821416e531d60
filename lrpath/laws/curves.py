"""A loss curve with the whole history of rates behind it.

The loss at position p is that of update p, or of a held-out set after it; both are set beside the rates of updates
1 … p. A branch's history is the main path up to the fork and the branch from there on, so a curve holds the rate of
every update since the root, and the losses of those positions that are to be fitted or compared.

Shapes: U updates since the root, P observed positions.
"""

import csv
import math
import pathlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrpath.errors import DataError, LawError
from lrpath.laws.areas import Array
from lrpath.planning.schedule import Schedule, Shape


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """Losses at some positions of a path, and the rate of every update since its root.

    Args:
        name: What tables and messages call it.
        rates_U: Rate of every update, finite and at least 0; update p is `rates_U[p − 1]`.
        positions_P: Observed positions, ascending, in `[1, U]`.
        losses_P: Losses there [nats per token], finite and positive; NaN is allowed nowhere. A curve that is only to be
            predicted may leave them out: pass None.
        boundary: Position from which other data are read (continual pre-training); None if there is no such shift.
        replay: Share of the old data among what is read after the boundary, in `[0, 1)`.
        parameters: Size of the model [parameters]; None where a law does not ask for it.

    Raises:
        LawError: If a value breaks these rules.
    """

    name: str
    rates_U: Array
    positions_P: NDArray[np.int64]
    losses_P: Array | None = None
    boundary: int | None = None
    replay: float = 0.0
    parameters: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "rates_U", np.asarray(self.rates_U, dtype=np.float64))
        object.__setattr__(self, "positions_P", np.asarray(self.positions_P, dtype=np.int64))
        updates, positions = self.rates_U.size, self.positions_P
        if not (np.isfinite(self.rates_U).all() and (self.rates_U >= 0).all()):
            raise LawError(f"curve {self.name}: every rate must be finite and at least 0")
        if positions.size == 0 or (np.diff(positions) <= 0).any() or not 1 <= positions[0] <= positions[-1] <= updates:
            raise LawError(f"curve {self.name}: positions must ascend within [1, {updates:,}], its updates with a rate")
        if self.rates_U[: positions[0]].sum() == 0:
            raise LawError(f"curve {self.name}: no update before position {positions[0]:,} has a rate above 0")
        if self.losses_P is not None:
            object.__setattr__(self, "losses_P", np.asarray(self.losses_P, dtype=np.float64))
            if self.losses_P.shape != positions.shape:
                raise LawError(
                    f"curve {self.name} has {self.losses_P.size:,} losses for {positions.size:,} positions; "
                    "give one each"
                )
            if not (np.isfinite(self.losses_P).all() and (self.losses_P > 0).all()):
                raise LawError(f"curve {self.name}: every loss must be finite and above 0")
        if self.boundary is not None and not 0 < self.boundary <= updates:
            raise LawError(f"curve {self.name}: boundary {self.boundary:,} must lie within (0, {updates:,}]")
        if not 0 <= self.replay < 1:
            raise LawError(f"curve {self.name}: replay={self.replay} must lie in [0, 1), the old data's share")
        if self.parameters is not None and not 0 < self.parameters < math.inf:
            raise LawError(f"curve {self.name}: parameters={self.parameters} must be a positive count")

    @property
    def peak(self) -> float:
        """Highest rate."""
        return float(self.rates_U.max())

    def observed(self) -> Array:
        """Return the losses.

        Raises:
            LawError: If the curve has none.
        """
        if self.losses_P is None:
            raise LawError(f"curve {self.name} has rates but no losses; it can be predicted, not fitted or compared")
        return self.losses_P

    def between(self, first: int, last: int | None = None) -> "Curve":
        """Return the curve observed only at positions in `[first, last]`; its rates, the history, stay whole."""
        kept = (self.positions_P >= first) & (self.positions_P <= (self.rates_U.size if last is None else last))
        losses = None if self.losses_P is None else self.losses_P[kept]
        return replace(self, positions_P=self.positions_P[kept], losses_P=losses)

    def binned(self, count: int) -> "Curve":
        """Return the curve with at most `count` observations, each the mean of a run of neighbours.

        Averaging takes noise out of a loss that was written at every update. The mean stands at the middle position.
        """
        groups = np.array_split(np.arange(self.positions_P.size), min(count, self.positions_P.size))
        middles = [self.positions_P[group[group.size // 2]] for group in groups]
        losses = None if self.losses_P is None else [self.losses_P[group].mean() for group in groups]
        return replace(self, positions_P=np.array(middles), losses_P=None if losses is None else np.array(losses))


def rates_of(schedule: Schedule, *, updates: int) -> Array:
    """Return the rates of a path's first updates, those of the schedule.

    Args:
        schedule: The curve.
        updates: How many [updates].
    """
    parts: list[Array] = []
    left = updates
    for piece in schedule.pieces:
        count = left if piece.updates is None else min(piece.updates, left)
        is_constant = piece.shape is Shape.CONSTANT  # a main path is long
        rates = np.full(count, piece.last) if is_constant else np.array([piece.rate(k) for k in range(count)])
        parts.append(rates)
        left -= count
    if left:
        raise LawError(f"the schedule ends at {schedule.end}, {left:,} updates before those that are asked for")
    return np.concatenate(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a file of losses does not say about the updates before its first row. At most one may be given.

    Args:
        schedule: The whole curve of rates; the file's own rates are then not read.
        warmup: Updates of a linear warm-up from 0 to the first row's rate, which holds from there to the first row.
        before: Curve of the path that the file's path left; its rates are the history up to the first row.
    """

    schedule: Schedule | None = None
    warmup: int | None = None
    before: Curve | None = None

    def __post_init__(self) -> None:
        if sum(value is not None for value in (self.schedule, self.warmup, self.before)) > 1:
            raise LawError("a history is a schedule, a warm-up or the curve before; give one of them")

    def rates(self, *, name: str, positions_P: NDArray[np.int64], rates_P: Array) -> Array:
        """Return the rate of every update up to the last row; between rows the rate is taken to go in a straight line.

        Args:
            name: The file, for messages.
            positions_P: Positions of the rows.
            rates_P: Rates of the rows.

        Raises:
            DataError: If the first rows leave open what the rates before them were.
        """
        first, last = int(positions_P[0]), int(positions_P[-1])
        if self.schedule is not None:
            return rates_of(self.schedule, updates=last)
        spacing = int(positions_P[1] - first) if positions_P.size > 1 else 1
        if self.before is not None:
            known = self.before.rates_U[: first - 1]
            if known.size < first - 1:
                raise DataError(f"{name} begins at position {first:,}, after the end of {self.before.name}; join them")
        elif self.warmup is not None:
            if not 0 <= self.warmup <= first:
                raise DataError(f"{name}: warmup={self.warmup} must lie in [0, {first}], up to its first row")
            known = rates_P[0] * np.minimum(1.0, np.arange(1, first) / max(self.warmup, 1))
        elif first > spacing:
            raise DataError(
                f"{name} begins at position {first:,} and does not say how the rate came there; "
                "give the schedule, the warm-up or the curve before as its history"
            )
        else:
            known = np.full(first - 1, rates_P[0])
        return np.concatenate((known, np.interp(np.arange(first, last + 1), positions_P, rates_P)))


FROM_FIRST_ROW = History()
"""The file begins where the run begins."""


def read_csv(file: pathlib.Path, *, history: History = FROM_FIRST_ROW) -> Curve:
    """Return the curve in a CSV file with a header and the columns `step` (or `position`), `lr`, `loss`.

    Args:
        file: The file; other columns are left alone.
        history: What came before its first row, or the whole schedule.

    Raises:
        DataError: Naming file, line and rule if a column is missing, a line is cut or odd, a value is no number or not
            finite, a rate is negative, a loss not positive, or steps do not ascend from 1.
    """
    rows = [_numbers(file, number, row) for number, row in _csv_rows(file)]
    positions = np.array([row[0] for row in rows])
    for number, (before, after) in enumerate(zip([0, *positions[:-1]], positions, strict=True), start=2):
        if after <= before:
            raise DataError(f"{file}, row {number}: step {after} does not ascend (after {before}); steps count from 1")
    rates = history.rates(name=str(file), positions_P=positions, rates_P=np.array([row[1] for row in rows]))
    return Curve(name=file.stem, rates_U=rates, positions_P=positions, losses_P=np.array([row[2] for row in rows]))


def _csv_rows(file: pathlib.Path) -> list[tuple[int, dict[str, str]]]:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is no text ({error})") from None
    if text and not text.endswith("\n"):
        raise DataError(f"{file}: its last line has no end, so it may be cut; add the line's end if it is whole")
    rows = csv.DictReader(text.splitlines())
    try:
        columns = rows.fieldnames or []
    except csv.Error as error:
        raise DataError(f"{file}, row 1: {error}; correct the file") from None
    if "position" in columns:
        rows.fieldnames = columns = ["step" if column == "position" else column for column in columns]
    missing = [column for column in ("step", "lr", "loss") if column not in columns]
    if missing:
        raise DataError(f"{file} has columns {', '.join(columns) or 'none'}; {', '.join(missing)} must be among them")
    try:
        found = [(rows.line_num, row) for row in rows]
    except csv.Error as error:  # for example a field of more than 131,072 characters
        raise DataError(f"{file}, row {rows.line_num}: {error}; correct the file") from None
    if not found:
        raise DataError(f"{file} has no rows under its header")
    return found


def _numbers(file: pathlib.Path, number: int, row: dict[str, Any]) -> tuple[int, float, float]:
    if None in row or None in row.values():
        raise DataError(f"{file}, row {number} does not have a field for every column; is it cut?")
    try:
        step, rate, loss = float(row["step"]), float(row["lr"]), float(row["loss"])
    except ValueError as error:
        raise DataError(f"{file}, row {number}: {error}") from None
    if not (math.isfinite(step) and step == int(step)):
        raise DataError(f"{file}, row {number}: step {row['step']} is no whole number")
    if not (math.isfinite(rate) and rate >= 0 and math.isfinite(loss) and loss > 0):
        raise DataError(
            f"{file}, row {number}: lr={row['lr']} must be finite and at least 0, loss={row['loss']} finite and above 0"
        )
    return int(step), rate, loss


def read_tensorboard(
    folder: pathlib.Path, *, loss: str = "train/loss", rate: str = "train/lr", history: History = FROM_FIRST_ROW
) -> Curve:
    """Return the curve in TensorBoard event files; of points written twice at one step the later is kept.

    Args:
        folder: Folder of the event files, or one such file.
        loss: Tag of the loss.
        rate: Tag of the rate; not read when the history is a whole schedule.
        history: What came before the first point, or the whole schedule.

    Raises:
        DataError: If there are no events, a tag is missing, or loss and rate have no step in common.
    """
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # takes a second to import

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    known = events.Tags()["scalars"]
    wanted = [loss] if history.schedule is not None else [loss, rate]
    missing = [tag for tag in wanted if tag not in known]
    if missing:
        raise DataError(f"{folder} has no scalars {', '.join(missing)}; it has {', '.join(known) or 'none'}")
    series = [{event.step: event.value for event in events.Scalars(tag)} for tag in wanted]
    positions = sorted(set.intersection(*map(set, series)) - {0})
    if not positions:
        raise DataError(f"{folder}: {' and '.join(wanted)} have no step above 0 in common")
    losses_P = np.array([series[0][position] for position in positions])
    if not (np.isfinite(losses_P).all() and (losses_P > 0).all()):
        raise DataError(f"{folder}: {loss} has a value that is not finite and above 0")
    rates_P = np.array([series[-1][position] for position in positions])
    rates = history.rates(name=str(folder), positions_P=np.array(positions), rates_P=rates_P)
    return Curve(name=folder.stem, rates_U=rates, positions_P=np.array(positions), losses_P=losses_P)
