"""Tables of releases: each of them, those of one setting over its seeds, and every seed's values for programs.

Only what was evaluated on the same held-out tokens stands in one table for people. A table for programs has all, with
the column `evaluated_on`: a digest of the held-out tokens, equal where losses are of one scale.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from lrpath.analysis.compare import Outcome
from lrpath.analysis.comparison import ComparableGroup, StudyComparison
from lrpath.analysis.held_out import ENOUGH_DOCUMENTS, few_documents
from lrpath.analysis.seeds import Interval, Summary
from lrpath.planning.units import write_count
from lrpath.reporting.tables import Align, Column, ReportTable, write_fixed, write_whole_number

_VERSION = Column(key="version", title="version", align=Align.LEFT)
_PARADIGM = Column(key="paradigm", title="paradigm", align=Align.LEFT)
_UPDATES = Column(key="updates", title="updates", write=write_whole_number)
_RELATIVE_COST = Column(key="relative_cost", title="cost", unit="× scratch", write=write_fixed(2))
_EVALUATED_ON = Column(key="evaluated_on", title="evaluated on", align=Align.LEFT)
_VALUES = (
    Column(key="loss_nats_per_token", title="loss", unit="nats/token", write=write_fixed(4)),
    Column(key="bits_per_byte", title="loss", unit="bits/byte", write=write_fixed(4)),
    Column(key="perplexity", title="perplexity", write=write_fixed(3)),
)


def write_interval(digits: int, *, signed: bool = False) -> Any:
    """Return a writer of `3.421 ± 0.012`; a single seed has no ±."""

    def write(interval: Interval) -> str:
        mean = f"{interval.mean:{'+' if signed else ''}.{digits}f}".replace("-", "−")
        return mean if interval.half is None else f"{mean} ± {interval.half:.{digits}f}"

    return write


ON_VALID = (
    "Loss and perplexity of a version: on the valid sets (to choose on) of this and all earlier versions together. "
    "Losses on the test sets, which are other documents, have their own table; do not compare one with the other."
)


class IntervalColumn(Column):
    """A column of means over seeds; for programs it becomes two."""


_SUMMARY = (
    _VERSION,
    _PARADIGM,
    IntervalColumn(key="loss_nats_per_token", title="loss", unit="nats/token", write=write_interval(4)),
    IntervalColumn(key="bits_per_byte", title="loss", unit="bits/byte", write=write_interval(4)),
    IntervalColumn(key="gap_nats_per_token", title="gap", unit="nats/token", write=write_interval(4, signed=True)),
    _RELATIVE_COST,
    Column(key="on_front", title="front", write=lambda on: "●" if on else ""),
    Column(key="seeds", title="seeds"),
    IntervalColumn(key="perplexity", title="perplexity", write=write_interval(3)),
    IntervalColumn(key="perplexity_gap", title="perplexity gap", write=write_interval(3, signed=True)),
    _UPDATES,
    Column(key="tokens_again", title="read again", unit="% of tokens", write=write_fixed(0)),
)


def summary_tables(comparison: StudyComparison) -> list[ReportTable]:
    """Return one table a group: a row for each version and setting, means over seeds with 95 % intervals, and gaps."""
    return [
        _summary_table(comparison, group.summaries, title=titled("Releases over seeds", group), group=group)
        for group in comparison.groups
    ]


def last_version_tables(comparison: StudyComparison) -> list[ReportTable]:
    """Return the rows of each group's last version, the lowest loss first."""
    tables = []
    for group in comparison.groups:
        found = group.last_summaries
        version = found[0].first.version if found else "no version yet"
        title = titled(f"Releases of {version}, best first", group)
        whole = _summary_table(comparison, found, title=title, group=group)
        tables.append(whole.without("version", "perplexity", "perplexity_gap", "updates", "tokens_again"))
    return tables


def titled(title: str, group: ComparableGroup) -> str:
    """Return a table's title with the name of the group that it is about, where there are several."""
    return f"{title} ({group.name})" if group.name else title


def _summary_table(
    comparison: StudyComparison, found: Sequence[Summary], *, title: str, group: ComparableGroup
) -> ReportTable:
    rows = tuple(_summary_row(one, on_front=_is_on_front(one, comparison)) for one in found)
    return ReportTable(title=title, columns=_SUMMARY, rows=rows, notes=_summary_notes(group))


def _is_on_front(summary: Summary, comparison: StudyComparison) -> bool:
    return any(summary is one for front in comparison.fronts for one in front)


def _summary_row(one: Summary, *, on_front: bool) -> tuple[Any, ...]:
    return (
        one.first.version,
        one.first.series.group,
        one.loss,
        one.bits_per_byte,
        one.gap,
        one.first.relative_cost,
        on_front,
        len(one.seeds),
        one.perplexity,
        one.perplexity_gap,
        one.first.cost.updates,
        100 * (1 - one.first.cost.tokens_first / one.first.cost.tokens),
    )


def to_what(group: ComparableGroup) -> str:
    """Return to what the gaps of a group are differences; empty where there is nothing."""
    references = dict.fromkeys(one.reference.group for one in group.summaries if one.reference is not None)
    first = next(iter(references), "")
    return f"to the best of {', '.join(references)}" if len(references) > 1 else f"to {first}" if first else ""


def _summary_notes(group: ComparableGroup) -> tuple[str, ...]:
    reference = to_what(group)
    gap = (
        f"Gap: difference in held-out loss {reference}, at the same version and seed (negative is better). "
        if reference
        else ""
    )
    seeds = {seed for one in group.summaries for seed in one.seeds}
    weights, orders = {weights for weights, _ in seeds}, {order for _, order in seeds}
    varied = ""
    if len(weights) > 1 and len(orders) == 1:
        varied = " The seeds vary the initial weights; all read the text in one order."
    elif len(orders) > 1 and len(weights) == 1:
        varied = " The seeds vary the order of the text; all begin with the same weights."
    return (
        ON_VALID,
        f"{gap}A value is the mean over seeds ± half of its 95 % interval (Student's t).{varied}",
        "Cost, updates and tokens are those of this and all earlier versions; cost 1 is training each from scratch.",
        "●: Pareto-optimal at the last version among settings with equal model, data, batch and increments.",
        *_few_documents_notes(group.outcomes),
    )


def _few_documents_notes(outcomes: Iterable[Outcome]) -> tuple[str, ...]:
    """Return a sentence on held-out sets of few documents, if there are any."""
    few = few_documents(outcomes)
    if not few:
        return ()
    sets = ", ".join(f"{version} {domain} {count:,}" for (version, domain), count in few.items())
    return (
        f"Held-out documents, as far as cadence.held_out_windows has them read: {sets}. Of fewer than "
        f"{ENOUGH_DOCUMENTS:,}, one may decide which of two losses is lower.",
    )


def summary_csv(comparison: StudyComparison) -> str:
    """Return all summaries for programs: the mean and the half width of an interval are columns of their own."""
    columns = [*(part for column in _SUMMARY for part in _plain_columns(column)), _EVALUATED_ON]
    rows = []
    for one in comparison.summaries:
        row = _summary_row(one, on_front=_is_on_front(one, comparison))
        values = [part for column, value in zip(_SUMMARY, row, strict=True) for part in _plain_values(column, value)]
        rows.append((*values, one.first.evaluated_on))
    return ReportTable(title="Releases over seeds", columns=tuple(columns), rows=tuple(rows)).csv()


def _plain_columns(column: Column) -> tuple[Column, ...]:
    if not isinstance(column, IntervalColumn):
        return (column,)
    return tuple(Column(key=f"{column.key}_{part}", title=column.title) for part in ("mean", "half_width_95"))


def _plain_values(column: Column, value: Any) -> tuple[Any, ...]:
    if not isinstance(column, IntervalColumn):
        return (value,)
    return (None, None) if value is None else (value.mean, value.half)


_SEEDS = (
    _VERSION,
    _PARADIGM,
    Column(key="alpha", title="alpha"),
    Column(key="seed_weights", title="seed of the weights"),
    Column(key="seed_order", title="seed of the order"),
    *_VALUES,
    Column(key="nll_nats", title="negative log-likelihood"),
    Column(key="tokens_held_out", title="held-out tokens"),
    Column(key="updates", title="updates"),
    Column(key="relative_cost", title="cost"),
    _EVALUATED_ON,
)


def seed_csv(comparison: StudyComparison) -> str:
    """Return every seed's values, a row a version, setting and seed, from which all intervals can be computed again."""
    rows = []
    for one in comparison.summaries:
        for seed, score in sorted(one.scores.items()):
            values = (score.loss, score.bits_per_byte, score.perplexity, score.nll, score.tokens)
            alpha = one.first.series.settings.get("alpha")
            cost = (one.first.cost.updates, one.first.relative_cost)
            rows.append(
                (one.first.version, one.first.series.group, alpha, *seed, *values, *cost, one.first.evaluated_on)
            )
    return ReportTable(title="Seeds", columns=_SEEDS, rows=tuple(rows)).csv()


_OUTCOMES = (
    _VERSION,
    _PARADIGM,
    *_VALUES,
    _UPDATES,
    Column(key="tokens", title="tokens", write=write_count),
    _RELATIVE_COST,
)


def release_tables(comparison: StudyComparison, *, sets: bool = True) -> list[ReportTable]:
    """Return one table a group with every release, made or not: a row a version and series.

    Args:
        comparison: The facts.
        sets: Whether the perplexity on each version's held-out set has a column.
    """
    return [
        _release_table(group.outcomes, title=titled("Releases, on held-out text and by cost", group), sets=sets)
        for group in comparison.groups
    ]


def release_csv(comparison: StudyComparison) -> str:
    """Return every release for programs, with the perplexity on every held-out set and domain."""
    table = _release_table(comparison.outcomes, title="Releases", sets=True, domains=True, evaluated_on=True)
    return table.csv()


def _release_table(
    outcomes: Sequence[Outcome], *, title: str, sets: bool, domains: bool = False, evaluated_on: bool = False
) -> ReportTable:
    pairs: list[tuple[str, str | None]] = [(version, None) for version in held_out_versions(outcomes) if sets]
    pairs += _domains(outcomes) if domains else []
    rows = [
        (*_outcome_row(outcome), *_perplexities(outcome, pairs), *([outcome.evaluated_on] if evaluated_on else []))
        for outcome in sorted(outcomes, key=lambda outcome: outcome.number)
    ]
    return ReportTable(
        title=title,
        columns=(*_OUTCOMES, *(_perplexity(*pair) for pair in pairs), *([_EVALUATED_ON] if evaluated_on else [])),
        rows=tuple(rows),
        notes=(
            ON_VALID,
            "Updates, tokens and cost: of this and all earlier versions; cost 1 is training each of them from scratch.",
            *_few_documents_notes(outcomes),
        ),
    )


def held_out_versions(outcomes: Iterable[Outcome]) -> tuple[str, ...]:
    """Return the versions whose held-out sets some release was evaluated on, in order of arrival."""
    every = list(outcomes)
    found = {version for outcome in every for version, _ in outcome.scores or {}}
    order = {version: None for outcome in every for version in outcome.series.plan.versions}
    return (*(version for version in order if version in found), *sorted(found - order.keys()))


def _domains(outcomes: Sequence[Outcome]) -> list[tuple[str, str | None]]:
    """Return the (version, domain) pairs; none where there is but one domain, which is the whole set."""
    pairs: set[tuple[str, str | None]] = {key for outcome in outcomes for key in outcome.scores or {}}
    return sorted(pairs) if len({domain for _, domain in pairs}) > 1 else []


def _outcome_row(outcome: Outcome) -> tuple[Any, ...]:
    head = outcome.headline
    quality = (None, None, None) if head is None else (head.loss, head.bits_per_byte, head.perplexity)
    cost = outcome.cost
    return (outcome.version, outcome.series.label, *quality, cost.updates, cost.tokens, outcome.relative_cost)


def _perplexity(version: str, domain: str | None = None) -> Column:
    names = [version] if domain is None else [version, domain]
    return Column(key="_".join(["perplexity", *names]), title=f"on {'/'.join(names)}", write=write_fixed(3))


def _perplexities(outcome: Outcome, sets: Sequence[tuple[str, str | None]]) -> tuple[float | None, ...]:
    scores = [outcome.score(versions=(version,), domain=domain) for version, domain in sets]
    return tuple(None if score is None else score.perplexity for score in scores)
