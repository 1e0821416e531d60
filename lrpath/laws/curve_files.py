"""Reads curves from CSV files and TensorBoard folders, of lrpath's own and of any other trainer.

    read_curve(CurveFile(path="run.csv"))
    read_curve(CurveFile(path="wandb_loss.csv+wandb_rate.csv", warmup=2160))

A file has steps (updates, counted from 1), rates and losses under names of its own. Rows need not have all of them:
rates are taken from the rows that have one and go in a straight line between them; losses from the rows that have one.
So a file may hold training and validation rows, or rates alone.

Shapes: P positions with a rate.
"""

import csv
import math
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lrpath.errors import DataError, LawError
from lrpath.laws.areas import Array, Ints
from lrpath.laws.curves import Curve, rates_of
from lrpath.planning.schedule import Schedule

Series = dict[int, float]
"""Values by position."""

_MOST_UPDATES = 50_000_000
"""A curve has a rate for each of its updates. The longest runs have some millions; steps beyond this are tokens."""
_MOST_TOKENS = 1_000_000
"""No vocabulary has as many. To guess evenly among them loses ln of that, 13.8 nats per token; a model has learnt."""
_LONGEST_FIELD = 131_072
"""Longest cell of a table of numbers [characters]; a longer one is something else."""
_USUAL = {
    "step": ("step", "position", "_step", "global_step", "trainer/global_step", "train/global_step", "iteration",
             "iterations", "iter", "update", "updates", "steps"),
    "lr": ("lr", "train/lr", "learning_rate", "train/learning_rate", "learning rate", "lr-adamw", "optimizer/lr"),
    "loss": ("loss", "train/loss", "train_loss", "training loss", "train/lm_loss", "lm loss"),
}  # fmt: skip
"""Names that trainers give to what a curve needs, in lower case; the first that a file has is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveFile:
    """A file that holds a curve, and what it does not say itself.

    Args:
        path: A CSV file, two of them joined by `+` (losses in one, rates in the other), or a TensorBoard folder.
        warmup: Updates of a linear warm-up from 0 to the first row's rate; None if the file begins where the run does.
        step: Name of the column of updates; None for the usual ones.
        lr: Name of the column, or tag, of the rate; None for the usual ones.
        loss: Name of the column, or tag, of the loss, for example a validation loss; None for the usual training ones.
        boundary: Position from which other data are read; None without a change of data.
        replay: Share of the old data after it.
        parameters: Size of the model [parameters]; None where no law asks.
    """

    path: str
    warmup: int | None = None
    step: str | None = None
    lr: str | None = None
    loss: str | None = None
    boundary: int | None = None
    replay: float = 0.0
    parameters: float | None = None


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

    def rates(self, *, name: str, positions_P: Ints, rates_P: Array, last: int) -> Array:
        """Return the rate of every update up to `last`; between rows it goes in a straight line, and stays at the end.

        Args:
            name: The file, for messages.
            positions_P: Positions of the rows.
            rates_P: Rates of the rows.
            last: Last position.

        Raises:
            DataError: If the first rows leave open what the rates before them were.
        """
        first = int(positions_P[0])
        spacing = int(positions_P[1] - first) if positions_P.size > 1 else 1
        if self.before is not None:
            known = self.before.rates_U[: first - 1]
            if known.size < first - 1:
                raise DataError(f"{name} begins at position {first:,}, after the end of {self.before.name}; join them")
        elif self.warmup is not None:
            if not 0 <= self.warmup <= first:
                raise DataError(
                    f"{name}: warmup={self.warmup} must lie in [0, {first}], up to its first row",
                    field="warmup",
                    value=self.warmup,
                )
            known = rates_P[0] * np.minimum(1.0, np.arange(1, first) / max(self.warmup, 1))
        elif first > spacing:
            raise DataError(
                f"{name} begins at position {first:,} and does not say what the rates before it were; give the updates "
                f"of the warm-up: files=[{{path: {name}, warmup: …}}]",
                field="files",
            )
        else:
            known = np.full(first - 1, rates_P[0])
        return np.concatenate((known, np.interp(np.arange(first, last + 1), positions_P, rates_P)))


FROM_FIRST_ROW = History()
"""The file begins where the run begins."""


def read_curve(file: CurveFile, *, history: History | None = None) -> Curve:
    """Return the curve in a file; without losses if it has none.

    Args:
        file: The file.
        history: What came before its first row, if it is more than `file.warmup`.

    Raises:
        DataError: Naming file, line and rule if something is missing, cut, no number, or out of range.
    """
    found = FROM_FIRST_ROW if history is None else history
    if history is None and file.warmup is not None:
        found = History(warmup=file.warmup)
    series: dict[str, Series] = {"lr": {}, "loss": {}}
    parts = [pathlib.Path(part) for part in file.path.split("+")]
    for part in parts:
        read = _csv_series if part.suffix in (".csv", ".tsv", ".txt") else _tensorboard_series
        for name, values in read(part, file).items():
            _check_agree(part, name, series[name], values)
            series[name] |= values
    if not series["lr"] and found.schedule is None:
        raise DataError(
            f"{file.path} has no rates: no column {_names(file, 'lr')}. Name it, files=[{{path: {file.path}, lr: …}}], "
            "or join the file that has them, path: losses.csv+rates.csv",
            field="files",
            value=file.path,
        )
    _check_nats(file, series["loss"])
    curve = _curve(parts[0], series, found)
    return replace(curve, boundary=file.boundary, replay=file.replay, parameters=file.parameters)


def read_csv(file: pathlib.Path, *, history: History = FROM_FIRST_ROW) -> Curve:
    """Return the curve in a CSV file whose columns have usual names; see `read_curve`."""
    return read_curve(CurveFile(path=str(file)), history=history)


def _check_agree(file: pathlib.Path, name: str, before: Series, values: Series) -> None:
    """Refuse joined files that say different things of one update: they are of two runs, or of two losses."""
    odd = next((step for step in before.keys() & values.keys() if before[step] != values[step]), None)
    if odd is not None:
        raise DataError(
            f"{file} says {name}={values[odd]:g} of step {odd:,}, and a file that it is joined to {before[odd]:g}; "
            f"join files of one run, of which one has the column {name}",
            field="files",
            value=str(file),
        )


def _check_nats(file: CurveFile, losses: Series) -> None:
    """Refuse losses that are perplexities: by the column's name, or since no model's loss stays so high in nats."""
    is_named = {"perplexity", "ppl"} & set(re.split("[^a-z]+", (file.loss or "").lower()))
    lowest = min(losses.values(), default=0.0)
    if is_named or lowest > math.log(_MOST_TOKENS):
        found = f"column {file.loss} seems to hold perplexities"
        if not is_named:
            found = (
                f"the lowest loss is {lowest:.4g}, higher than that of guessing evenly among {_MOST_TOKENS:,} tokens "
                f"({math.log(_MOST_TOKENS):.1f} nats per token)"
            )
        raise DataError(
            f"{file.path}: {found}; losses must be in nats per token: give the natural logarithm of a perplexity, or "
            "bits per token × 0.6931",
            field="files",
            value=file.path,
        )


def _check_reach(file: pathlib.Path, *, rates_P: Ints, last: int) -> None:
    """Refuse rates that end before the losses do, by more than they are apart: nobody knows what came then."""
    spacing = int(np.diff(rates_P).max()) if rates_P.size > 1 else 1
    if last > rates_P[-1] + spacing:
        raise DataError(
            f"{file} has losses up to step {last:,}, and rates up to {int(rates_P[-1]):,} only; give the rates of the "
            "whole run: path: losses.csv+rates.csv",
            field="files",
            value=str(file),
        )


def _curve(file: pathlib.Path, series: Mapping[str, Series], history: History) -> Curve:
    rates, losses = series["lr"], series["loss"]
    positions = np.array(sorted(losses or rates), dtype=np.int64)
    last = int(positions[-1])
    if (largest := max(last, *rates)) > _MOST_UPDATES:
        raise DataError(
            f"{file} has steps up to {largest:,}, more than the {_MOST_UPDATES:,} updates of any run: they seem "
            f"to be tokens or samples. Name the column of updates, files=[{{path: {file}, step: …}}], or divide it",
            field="files",
            value=str(file),
        )
    if history.schedule is not None:
        rates_U = rates_of(history.schedule, updates=last)
    else:
        at = np.array(sorted(rates), dtype=np.int64)
        _check_reach(file, rates_P=at, last=last)
        values = np.array([rates[position] for position in at.tolist()])
        rates_U = history.rates(name=str(file), positions_P=at, rates_P=values, last=max(last, int(at[-1])))
    losses_P = np.array([losses[position] for position in positions.tolist()]) if losses else None
    return Curve(name=file.stem, rates_U=rates_U, positions_P=positions, losses_P=losses_P)


def _names(file: CurveFile, name: str) -> str:
    given = getattr(file, name)
    return given or ", ".join(_USUAL[name])


def _column(file: CurveFile, name: str, known: Iterable[str]) -> str | None:
    """Return which of the known columns or tags is meant; W&B puts the run's name before the metric's, `run - loss`."""
    given = getattr(file, name)
    wanted = (given.lower(),) if given else _USUAL[name]
    plain = {column.strip().strip('"').lower(): column for column in known}
    short = {
        text.rsplit(" - ", 1)[-1]: column for text, column in plain.items() if not text.endswith(("__min", "__max"))
    }
    return next((names[text] for names in (plain, short) for text in wanted if text in names), None)


def _csv_series(file: pathlib.Path, what: CurveFile) -> dict[str, Series]:
    rows, columns, is_european = _csv_rows(file)
    found = {name: _column(what, name, columns) for name in _USUAL}
    if found["step"] is None or (found["lr"] is None and found["loss"] is None):
        missing = "step" if found["step"] is None else "loss"
        raise DataError(
            f"{file} has columns {', '.join(columns) or 'none'}; none of them is {_names(what, missing)}. Name the "
            f"column: files=[{{path: {file}, {missing}: …}}]",
            field="files",
            value=str(file),
        )
    series: dict[str, Series] = {"lr": {}, "loss": {}}
    before = 0
    for number, row in rows:
        texts = {name: (row[column] or "").strip() for name, column in found.items() if column is not None}
        if is_european:
            texts = {name: text.replace(",", ".") for name, text in texts.items()}
        if not any(texts.get(name) for name in series):
            continue  # a row of another metric
        step = _step(file, number, texts["step"])
        repeated = [name for name in series if texts.get(name) and step in series[name]]
        if step < before or step < 1 or repeated:
            raise DataError(f"{file}, row {number}: step {step} does not ascend (after {before}); steps count from 1")
        before = step
        for name in series:
            if texts.get(name):
                series[name][step] = _value(file, number, name, texts[name])
    if not any(series.values()):
        raise DataError(f"{file} has no rows under its header with a rate or a loss")
    return series


def _csv_rows(file: pathlib.Path) -> tuple[list[tuple[int, dict[str, str]]], Sequence[str], bool]:
    """Return rows with their line, the columns, and whether decimals are written with a comma, as beside `;`."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not text ({error})") from None
    if text and not text.endswith("\n"):
        raise DataError(f"{file}: its last line has no end, so it may be cut; add the line's end if it is whole")
    lines = text.splitlines()
    header = lines[0] if lines else ""
    delimiter = max(",;\t", key=header.count)
    csv.field_size_limit(
        _LONGEST_FIELD
    )  # the module has one limit for all readers, and a reader of documents raises it
    rows = csv.DictReader(lines, delimiter=delimiter)
    try:
        columns = rows.fieldnames or []
        found = [(rows.line_num, row) for row in rows]
    except csv.Error as error:  # for example a field of more than 131,072 characters
        raise DataError(f"{file}, row {rows.reader.line_num}: {error}; correct the file") from None
    for number, row in found:
        if None in row or None in row.values():
            raise DataError(f"{file}, row {number} does not have a field for every column; is it cut?")
    return found, columns, delimiter == ";" and "." not in "".join(lines[1:])


def _step(file: pathlib.Path, number: int, text: str) -> int:
    try:
        step = float(text)
    except ValueError:
        raise DataError(f"{file}, row {number}: step {text!r} is not a number") from None
    if not (math.isfinite(step) and step == int(step)):
        raise DataError(f"{file}, row {number}: step {text} is not a whole number")
    return int(step)


def _value(file: pathlib.Path, number: int, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise DataError(f"{file}, row {number}: {name} {text!r} is not a number") from None
    if rule := _broken_rule(name, value):
        raise DataError(f"{file}, row {number}: {name}={text} must be {rule}")
    return value


def _broken_rule(name: str, value: float) -> str | None:
    """Return what a rate or a loss must be if it is not so."""
    if math.isfinite(value) and (value > 0 or (name == "lr" and value == 0)):
        return None
    return "finite and at least 0" if name == "lr" else "finite and above 0"


def _tensorboard_series(folder: pathlib.Path, what: CurveFile) -> dict[str, Series]:
    """Return the series in TensorBoard event files; of points written twice at one step the later is kept."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # takes a second to import

    if not folder.exists():
        raise DataError(f"{folder} cannot be read: there is no such file or folder")
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    known = events.Tags()["scalars"]
    tags = {name: _column(what, name, known) for name in ("lr", "loss")}
    lacking = [name for name, tag in tags.items() if tag is None and (getattr(what, name) or not any(tags.values()))]
    if lacking:
        raise DataError(
            f"{folder} has scalars {', '.join(known) or 'none'}; none of them is {_names(what, lacking[0])}. Name the "
            f"tag: files=[{{path: {folder}, {lacking[0]}: …}}]",
            field="files",
            value=str(folder),
        )
    series = {
        name: {event.step: event.value for event in events.Scalars(tag) if event.step > 0}
        for name, tag in tags.items()
        if tag is not None
    }
    for name, values in series.items():
        for step, value in values.items():
            if rule := _broken_rule(name, value):
                raise DataError(f"{folder}: {tags[name]} has the value {value} at step {step:,}, which must be {rule}")
    return series
