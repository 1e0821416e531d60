"""The two tables of a publication: releases over seeds, and what was planned against what was run."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lrpath.analysis.compare import Outcome, Series
from lrpath.analysis.seeds import Interval, pareto_front, summarise
from lrpath.planning.units import write_count
from lrpath.records.ledger import Run
from lrpath.reporting.tables import Align, Column, Table, write_fixed, write_flops, write_whole_number


def write_interval(digits: int, *, signed: bool = False) -> Any:
    """Return a writer of `3.421 ± 0.012`; a single seed has no ±."""

    def write(interval: Interval) -> str:
        mean = f"{interval.mean:{'+' if signed else ''}.{digits}f}".replace("-", "−")
        return mean if interval.half is None else f"{mean} ± {interval.half:.{digits}f}"

    return write


class IntervalColumn(Column):
    """A column of means over seeds; for programs it becomes two."""


_RELEASES: tuple[Column, ...] = (
    Column(key="version", title="version", align=Align.LEFT),
    Column(key="paradigm", title="paradigm", align=Align.LEFT),
    Column(key="seeds", title="seeds"),
    Column(key="relative_cost", title="cost", unit="× scratch", write=write_fixed(2)),
    Column(key="on_front", title="front", write=lambda on: "●" if on else ""),
    IntervalColumn(key="loss_nats_per_token", title="loss", unit="nats/token", write=write_interval(4)),
    IntervalColumn(key="gap_nats_per_token", title="gap", unit="nats/token", write=write_interval(4, signed=True)),
    IntervalColumn(key="perplexity", title="perplexity", write=write_interval(3)),
    IntervalColumn(key="perplexity_gap", title="perplexity gap", write=write_interval(3, signed=True)),
    Column(key="updates", title="updates", write=write_whole_number),
    Column(key="tokens_again", title="read again", unit="% of tokens", write=write_fixed(0)),
)


def summary_table(outcomes: Sequence[Outcome]) -> Table:
    """Return one row a version and setting: means over seeds with 95 % intervals, and gaps to the reference."""
    found = summarise(outcomes)
    front = pareto_front(found)
    references = sorted({one.reference.group for one in found if one.reference is not None})
    return Table(
        title="Releases over seeds",
        columns=_RELEASES,
        rows=tuple(
            (
                one.first.version,
                one.first.series.group,
                len(one.seeds),
                one.first.relative_cost,
                one in front,
                one.loss,
                one.gap,
                one.perplexity,
                one.perplexity_gap,
                one.first.cost.updates,
                100 * (1 - one.first.cost.tokens_first / one.first.cost.tokens),
            )
            for one in found
        ),
        notes=(
            "Mean ± half of the 95 % interval (Student's t over seeds). "
            f"A gap is to {' or '.join(references) or 'nothing'}, the best at each version, seed by seed.",
            "Cost, updates and tokens: of this and all earlier versions.",
            "●: no setting that costs as much or less has a lower mean loss of the last version.",
        ),
    )


def last_version_table(outcomes: Sequence[Outcome]) -> Table:
    """Return the rows of the last version out of `summary_table`, the lowest loss first."""
    whole = summary_table(outcomes)
    columns = [column.key for column in whole.columns]
    version, loss = columns.index("version"), columns.index("loss_nats_per_token")
    if not whole.rows:
        return whole
    last = max((one.first.number, one.first.version) for one in summarise(outcomes))[1]
    rows = sorted((row for row in whole.rows if row[version] == last), key=lambda row: row[loss].mean)
    return replace(whole, title=f"Releases of {last}, best first", rows=tuple(rows))


def seed_table(outcomes: Sequence[Outcome]) -> Table:
    """Return the summary for programs: the mean and the half width of an interval are columns of their own."""
    shown = summary_table(outcomes)
    columns = [part for column in shown.columns for part in _plain_columns(column)]
    rows = [
        tuple(part for column, value in zip(shown.columns, row, strict=True) for part in _plain_values(column, value))
        for row in shown.rows
    ]
    return Table(title=shown.title, columns=tuple(columns), rows=tuple(rows))


def _plain_columns(column: Column) -> tuple[Column, ...]:
    if not isinstance(column, IntervalColumn):
        return (column,)
    return tuple(Column(key=f"{column.key}_{part}", title=column.title) for part in ("mean", "half_width_95"))


def _plain_values(column: Column, value: Any) -> tuple[Any, ...]:
    if not isinstance(column, IntervalColumn):
        return (value,)
    return (None, None) if value is None else (value.mean, value.half)


_COSTS = (
    Column(key="series", title="series", align=Align.LEFT),
    Column(key="updates_planned", title="updates planned", write=write_whole_number),
    Column(key="updates_run", title="run", write=write_whole_number),
    Column(key="updates_repeated", title="again", write=write_whole_number),
    Column(key="tokens_planned", title="tokens planned", write=write_count),
    Column(key="tokens_run", title="run", write=write_count),
    Column(key="flops_planned", title="FLOPs planned", write=write_flops),
    Column(key="flops_run", title="run", write=write_flops),
    Column(key="device_hours", title="time", unit="device-hours", write=write_fixed(3)),
)


def cost_table(found: Sequence[Series]) -> Table:
    """Return one row a series: what its plan asks for and what the ledger has of its paths.

    A path that two series share is counted in both; device time is the time of runs that came to their end.
    """
    studies = {series.study.folder: series.study for series in found}
    runs = {folder: study.ledger.runs() for folder, study in studies.items()}
    devices = sorted({run.device for some in runs.values() for run in some})
    return Table(
        title="Cost, planned and run",
        columns=_COSTS,
        rows=tuple(_cost_row(series, runs[series.study.folder]) for series in found),
        notes=(
            "Each series alone; a path that series share is counted in each. How long killed runs took is not known.",
            f"Devices: {', '.join(devices) or 'none yet'}.",
        ),
    )


def _cost_row(series: Series, every: list[Run]) -> tuple[Any, ...]:
    cost, paths = series.plan.cost(series.tree), {path.id for path in series.tree.paths}
    runs = [run for run in every if run.path_id in paths]
    seconds = [run.seconds * run.ranks for run in runs if run.seconds is not None]
    return (
        series.label,
        cost.updates,
        sum(run.updates for run in runs),
        sum(run.repeated for run in runs),
        cost.tokens,
        sum(run.tokens for run in runs),
        cost.flops,
        math.fsum(run.flops for run in runs),
        math.fsum(seconds) / 3600,
    )
