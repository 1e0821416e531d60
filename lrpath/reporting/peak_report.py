"""Writes which peak rate is best for each paradigm, how sure that is, and the overrides that use it."""

from collections.abc import Sequence
from typing import Any

from lrpath.laws.peaks import PeakChoice
from lrpath.reporting.tables import Align, Column, ReportTable, write_fixed

_COLUMNS = (
    Column(key="paradigm", title="paradigm", align=Align.LEFT),
    Column(key="peak", title="best peak", write=lambda value: f"{value:.3g}"),
    Column(key="low", title="from", write=lambda value: f"{value:.3g}"),
    Column(key="high", title="to", write=lambda value: f"{value:.3g}"),
    Column(key="loss", title="loss at the best tried", unit="nats/token", write=write_fixed(4)),
    Column(key="tried", title="tried", align=Align.LEFT),
)


def peaks_text(found: Sequence[PeakChoice]) -> str:
    """Return a table, what is uncertain, and overrides of `lrpath.train`."""
    table = ReportTable(
        title=f"Best peak rate by the held-out loss of {found[0].version}",
        columns=_COLUMNS,
        rows=tuple(_row(one) for one in found),
        notes=("Peak: a parabola in its logarithm; from, to: its 90 % interval over the seeds.",),
    )
    overrides = [f"  paradigms.{one.paradigm}.peak={one.peak:.3g}" for one in found]
    return "\n".join(
        [table.text(), *(doubt for one in found for doubt in _doubts(one)), "", "to use them:", *overrides]
    )


def _row(one: PeakChoice) -> tuple[Any, ...]:
    low, high = one.interval or (None, None)
    tried = ", ".join(f"{peak:g}: {loss:.4f}" for peak, loss in one.tried.items())
    return one.paradigm, one.peak, low, high, one.tried[one.best], tried


def _doubts(one: PeakChoice) -> list[str]:
    lines = []
    if not one.is_inside:
        side = "higher" if one.best == max(one.tried) else "lower"
        lines.append(
            f"WARNING: {one.paradigm}: the best peak, {one.best:g}, is the {side[:-2]}est tried; try {side} ones"
        )
    if one.lead is None:
        lines.append(f"note: {one.paradigm}: one seed, so nothing says how sure this is; sweep seed=1,2,3 too")
    elif one.lead[0] <= one.lead[1]:
        lines.append(
            f"note: {one.paradigm}: the second best peak is {one.lead[0]:.4f} ± {one.lead[1]:.4f} nats behind: the "
            "seeds do not tell the two apart"
        )
    return lines
