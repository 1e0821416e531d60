"""The loss on the test sets, which nothing was chosen on, with intervals over documents and seeds."""

from collections.abc import Sequence
from typing import Any

from lrpath.analysis.comparison import ComparableGroup, StudyComparison
from lrpath.analysis.document_intervals import DocumentInterval, DocumentLosses
from lrpath.analysis.seeds import Summary
from lrpath.reporting.release_tables import titled, to_what
from lrpath.reporting.tables import Align, Column, ReportTable, write_fixed, write_whole_number

SPLIT = "test"


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("-", "−")


_LOSS, _GAP = write_fixed(4), _signed
_COLUMNS = (
    Column(key="version", title="version", align=Align.LEFT),
    Column(key="paradigm", title="paradigm", align=Align.LEFT),
    Column(key="test_loss_nats_per_token", title="test loss", unit="nats/token", write=_LOSS),
    Column(key="test_loss_low_95", title="95 % from", write=_LOSS),
    Column(key="test_loss_high_95", title="to", write=_LOSS),
    Column(key="test_gap_nats_per_token", title="gap", unit="nats/token", write=_GAP),
    Column(key="test_gap_low_95", title="95 % from", write=_GAP),
    Column(key="test_gap_high_95", title="to", write=_GAP),
    Column(key="seeds", title="seeds"),
    Column(key="documents", title="documents", write=write_whole_number),
)


def document_tables(comparison: StudyComparison) -> list[ReportTable]:
    """Return one table a group whose releases were evaluated by document; a row a version and setting.

    A group has the same sets to choose on; where its sets to report differ, it has a table for each of them.
    """
    tables = [
        _document_table(group, summaries, number=number if len(group.by_test_sets) > 1 else None)
        for group in comparison.groups
        for number, summaries in enumerate(group.by_test_sets, start=1)
    ]
    return [table for table in tables if table.rows]


def _document_table(group: ComparableGroup, summaries: Sequence[Summary], *, number: int | None) -> ReportTable:
    losses = {id(one): DocumentLosses.read(one.outcomes, split=SPLIT) for one in summaries}
    rows = []
    for one in summaries:
        found = losses[id(one)]
        if found is not None:
            reference = _reference_of(one, summaries)
            theirs = None if reference is None else losses[id(reference)]
            rows.append(_row(one, found.interval(), None if theirs is None else found.gap(theirs)))
    return ReportTable(
        title=titled("Loss on the test sets, with intervals over documents and seeds", group)
        + ("" if number is None else f", test sets {number}"),
        columns=_COLUMNS,
        rows=tuple(rows),
        notes=(
            "On the test sets of this and all earlier versions together, which nothing was chosen on. Other tables "
            "and figures are of the valid sets, which are other documents; do not compare one with the other.",
            "Intervals: 95 %, two-way bootstrap over documents and seeds. With one seed they speak of documents alone, "
            "with two or three they are too narrow.",
            f"Gap: difference in test loss {to_what(group)} at the same version, paired by document and seed (negative "
            "is better).",
        ),
    )


def _reference_of(one: Summary, others: Sequence[Summary]) -> Summary | None:
    if one.reference is None:
        return None
    group, setup = one.reference.group, one.first.setup
    return next((other for other in others if (other.first.series.group, other.first.setup) == (group, setup)), None)


def _row(one: Summary, loss: DocumentInterval, gap: DocumentInterval | None) -> tuple[Any, ...]:
    difference = (None, None, None) if gap is None else (gap.mean, gap.low, gap.high)
    quality = (loss.mean, loss.low, loss.high)
    return (one.first.version, one.first.series.group, *quality, *difference, loss.seeds, loss.documents)
