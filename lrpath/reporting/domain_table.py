"""Tokens by domain: what a plan reads, and what the ledger says was read."""

from collections import Counter
from collections.abc import Iterable

from lrpath.analysis.comparison import StudyComparison
from lrpath.planning.mixture import WHOLE
from lrpath.planning.paths import Tree
from lrpath.planning.plan import Plan
from lrpath.planning.readings import domain_tokens, has_mixture
from lrpath.planning.units import write_count
from lrpath.records.ledger import Run
from lrpath.reporting.tables import Align, Column, ReportTable, write_fixed

_DOMAIN = Column(key="domain", title="domain", align=Align.LEFT)
_UNMIXED = "as stored"


def planned_domain_table(plan: Plan) -> ReportTable | None:
    """Return the tokens of each domain that each paradigm reads; None for a plan without a mixture."""
    if not has_mixture(plan.tree):
        return None
    rows = []
    for paradigm in plan.paradigms:
        tokens = _planned(plan.part(paradigm))
        total = sum(tokens.values())
        rows += [(paradigm, name or _UNMIXED, count, count / total) for name, count in _sorted(tokens)]
    return ReportTable(
        title="Tokens by domain",
        columns=(
            Column(key="paradigm", title="paradigm", align=Align.LEFT),
            _DOMAIN,
            Column(key="tokens", title="tokens", write=write_count),
            Column(key="share", title="share", write=write_fixed(4)),
        ),
        rows=tuple(rows),
    )


def executed_domain_table(comparison: StudyComparison) -> ReportTable | None:
    """Return the tokens of each domain that each series was planned to read and has read; None without a mixture."""
    mixed = [series for series in comparison.series if has_mixture(series.tree)]
    rows = []
    for series in mixed:
        planned, run = _planned(series.tree), _run(series.tree, comparison.runs[series.study])
        rows += [(series.label, name or _UNMIXED, count, run[name]) for name, count in _sorted(planned)]
    if not rows:
        return None
    return ReportTable(
        title="Tokens by domain, planned and run",
        columns=(
            Column(key="series", title="series", align=Align.LEFT),
            _DOMAIN,
            Column(key="tokens_planned", title="tokens planned", write=write_count),
            Column(key="tokens_run", title="run", write=write_count),
        ),
        rows=tuple(rows),
    )


def _planned(tree: Tree) -> Counter[str]:
    total: Counter[str] = Counter()
    for path in tree.paths:
        total.update(domain_tokens(path, path.start, tree.end(path.id)))
    return total


def _run(tree: Tree, runs: Iterable[Run]) -> Counter[str]:
    """Count what the runs of a tree's paths have read: which windows follows from the positions that they ran."""
    paths = {path.id: path for path in tree.paths}
    total: Counter[str] = Counter()
    for run in runs:
        if (path := paths.get(run.path_id)) is not None:
            total.update(domain_tokens(path, run.begin, min(run.end, path.stream.end)))
    return total


def _sorted(tokens: Counter[str]) -> list[tuple[str, int]]:
    return sorted(tokens.items(), key=lambda item: (item[0] == WHOLE, item[0]))
