"""What each series was planned to cost, and what the ledger has of it."""

import math
from collections.abc import Sequence
from typing import Any

from lrpath.analysis.compare import Series
from lrpath.analysis.comparison import StudyComparison
from lrpath.planning.units import write_count
from lrpath.records.ledger import Run
from lrpath.reporting.domain_table import executed_domain_table
from lrpath.reporting.tables import Align, Column, ReportTable, write_fixed, write_flops, write_whole_number

_COSTS = (
    Column(key="series", title="series", align=Align.LEFT),
    Column(key="updates_planned", title="updates planned", write=write_whole_number),
    Column(key="updates_run", title="run", write=write_whole_number),
    Column(key="updates_repeated", title="repeated", write=write_whole_number),
    Column(key="tokens_planned", title="tokens planned", write=write_count),
    Column(key="tokens_run", title="run", write=write_count),
    Column(key="flops_planned", title="FLOPs planned", write=write_flops),
    Column(key="flops_run", title="run", write=write_flops),
    Column(key="device_hours", title="time", unit="device-hours", write=write_fixed(3)),
)


def cost_tables(comparison: StudyComparison) -> list[ReportTable]:
    """Return what was planned and run: costs, and tokens by domain where a series has a mixture."""
    domains = executed_domain_table(comparison)
    return [executed_cost_table(comparison), *([] if domains is None else [domains])]


def executed_cost_table(comparison: StudyComparison) -> ReportTable:
    """Return one row a series: what its plan asks for and what the ledger has of its paths."""
    devices = sorted({run.device for runs in comparison.runs.values() for run in runs})
    return ReportTable(
        title="Cost, planned and run",
        columns=_COSTS,
        rows=tuple(_row(series, comparison.runs[series.study]) for series in comparison.series),
        notes=(
            "Each series is counted alone: a path that several series share is counted in each of them. "
            "The time is that of runs that ended; how long a killed run took is not known.",
            f"Devices: {', '.join(devices) or 'none yet'}.",
        ),
    )


def _row(series: Series, every: Sequence[Run]) -> tuple[Any, ...]:
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
