"""The findings of a report in plain sentences, also where they contradict the paper or are missing."""

import math

from lrpath.analysis.compare import write_seeds
from lrpath.analysis.comparison import ComparableGroup, StudyComparison
from lrpath.analysis.paper_order import ORDER, PaperOrder
from lrpath.analysis.seeds import Summary
from lrpath.planning.units import write_span

_REPORTED = f"The order that arXiv 2410.04103 reports ({' ≤ '.join(ORDER)})"


def findings(comparison: StudyComparison) -> list[str]:
    """Return what a report has found, one sentence or a few for each question that the studies answer."""
    pairs = zip(comparison.studies, comparison.executions, strict=True)
    several = len(comparison.studies) > 1
    ledgers = [f"{f'{study.name}, ' if several else ''}{execution.sentence()}" for study, execution in pairs]
    return [*_incomparable(comparison), *order_sentences(comparison), *front_sentences(comparison), *ledgers]


def _incomparable(comparison: StudyComparison) -> list[str]:
    if len(comparison.groups) == 1:
        return []
    names = "; ".join(group.name for group in comparison.groups)
    sizes = {_text_bytes(group) for group in comparison.groups}
    bits = (
        "Bits per byte are not comparable either: the groups were evaluated on other text."
        if None not in sizes and len(sizes) == len(comparison.groups)
        else "Bits per byte can be compared only where both groups were evaluated on the same text."
    )
    return [
        f"{len(comparison.groups)} groups of series were evaluated on different held-out tokens ({names}), so their "
        f"losses in nats per token are not comparable. Each group has tables and figures of its own. {bits}"
    ]


def _text_bytes(group: ComparableGroup) -> int | None:
    """Return on how many bytes of text a group's last version was evaluated; None where it is not known."""
    headlines = [outcome.headline for outcome in group.outcomes if outcome.headline is not None]
    return max((one.text_bytes for one in headlines if one.text_bytes is not None), default=None)


def order_sentences(comparison: StudyComparison) -> list[str]:
    """Return whether the paper's order is seen, naming contradictions, missing results and lone seeds.

    Empty where the plans do not hold all three kinds: the studies ask something else.
    """
    if comparison.paper_orders:
        names = {series.group: group.name for group in comparison.groups for series in group.series}
        return [
            f"{names[one.best[ORDER[0]].group]}: {sentence}" if len(comparison.groups) > 1 else sentence
            for one in comparison.paper_orders
            for sentence in _sentences(one)
        ]
    outcomes = comparison.outcomes
    if not {outcome.series.kind for outcome in outcomes} >= set(ORDER):
        return []
    evaluated = {outcome.series.kind for outcome in outcomes if outcome.headline is not None}
    missing = [kind for kind in ORDER if kind not in evaluated]
    reason = (
        f"no release of {', '.join(missing)} was evaluated"
        if missing
        else "no version has equal data, held-out text and seed in all three"
    )
    return [f"Whether the order that arXiv 2410.04103 reports ({' ≤ '.join(ORDER)}) is seen is not known: {reason}."]


def front_sentences(comparison: StudyComparison) -> list[str]:
    """Return which settings are Pareto-optimal at the last version, a sentence for each front with a choice on it."""
    sentences = []
    for front in comparison.fronts:
        if len(front) > 1:
            names = "; ".join(
                f"{one.first.series.group} ({one.first.relative_cost:.2f} × scratch, {_loss(one)})" for one in front
            )
            sentences.append(f"Pareto-optimal at {front[0].first.version} by cost and held-out loss: {names}.")
    return sentences


def _loss(one: Summary) -> str:
    bits = "" if one.bits_per_byte is None else f" = {one.bits_per_byte.mean:.4f} bits/byte"
    return f"{one.loss.mean:.4f} nats/token{bits}"


def _sentences(found: PaperOrder) -> list[str]:
    last, count = found.versions[-1], len(found.seeds)
    seeds = f"seed {write_seeds(found.seeds)}" if count == 1 else f"mean of {count} seeds"
    means = {kind: found.mean(kind) or math.nan for kind in ORDER}
    figures = ", ".join(f"{found.best[kind].group} {means[kind]:.4f}" for kind in ORDER)
    lines = [
        f"Held-out loss of {last} on the sets of {write_span(found.versions)} [nats per token], {seeds}: {figures}."
    ]
    if found.holds:
        lines.append(f"{_REPORTED} is seen at {last}.")
    else:
        wrong = [f"{high} is below {low} by {means[low] - means[high]:.4f}" for low, high in _inversions(means)]
        lines.append(f"{_REPORTED} is not seen at {last}: {'; '.join(wrong)}.")
    if found.missing:
        lines.append(f"Left out: {write_span(found.missing)}, planned but not evaluated in all three.")
    lines += _gap_sentence(found)
    chosen = [f"{one.group}, of {one.tried}" for one in found.best.values() if one.tried > 1]
    if chosen:
        lines.append(
            "Of several settings of a paradigm the best is compared, chosen on these same held-out sets, which "
            f"flatters it: {', '.join(chosen)}."
        )
    if count == 1:
        lines.append("With one seed it is not known how much of these differences is chance.")
    else:
        lines.append(f"Taken alone, {found.seeds_in_order} of {count} seeds show the order.")
    return lines


def _inversions(means: dict[str, float]) -> list[tuple[str, str]]:
    """Pairs of kinds whose means stand the other way round than in the paper."""
    pairs = [(low, high) for number, low in enumerate(ORDER) for high in ORDER[number + 1 :]]
    return [(low, high) for low, high in pairs if means[low] > means[high]]


def _gap_sentence(found: PaperOrder) -> list[str]:
    if len([gap for gap in found.gaps if gap is not None]) < 2:
        return []
    gaps = ", ".join("–" if gap is None else f"{gap:+.4f}".replace("-", "−") for gap in found.gaps)
    trends = {None: "", True: "; it widens with every version", False: "; it does not widen with every version"}
    return [f"Gap continual − from_scratch at {write_span(found.versions)}: {gaps}{trends[found.widens]}."]
