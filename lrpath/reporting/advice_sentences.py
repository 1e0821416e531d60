"""Advice in words: what is chosen, at what price, how sure, what has been observed, and what must not be trusted."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lrpath.laws.advice import Advice, Choice
from lrpath.laws.candidates import Objective
from lrpath.laws.probes import Average, ObservedBranch, Parabola
from lrpath.planning.decay import Decay
from lrpath.planning.paradigms.setting import Alpha


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What has been observed already that bears on the choice.

    Args:
        branches: Branches of the versions that are advised on.
        parabolas: The best α by three branches of a version, without a law.
        averages: Losses of averages of the main path's states.
    """

    branches: tuple[ObservedBranch, ...] = ()
    parabolas: tuple[Parabola, ...] = ()
    averages: tuple[Average, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What advice was asked for.

    Args:
        label: Paradigm that is advised on.
        objective: The objective, its budget in updates.
        given: Overrides of the command line that belong to `lrpath.train`.
        versions: All versions of the configuration, in order.
        alphas: Their configured α; empty where there is none.
        decay: The configured decay; None where there is none.
        main: Name of the main path in the configuration's plan, where another paradigm may share and name it.
        settings: How the laws were fitted.
        seen: What has been observed already.
    """

    label: str
    objective: Objective
    given: tuple[str, ...]
    versions: tuple[str, ...]
    alphas: tuple[Alpha, ...]
    decay: Decay | None
    main: str
    settings: Mapping[str, Any]
    seen: Seen = field(default_factory=Seen)


def sentences_of(advice: Advice, question: Question) -> list[str]:
    """Return the advice in words: what, at what price, and how sure."""
    lines = [rule_of(question.objective)]
    lines += [_sentence(choice, advice, level=question.settings["level"]) for choice in advice.choices]
    lines += _seen_sentences(question.seen)
    if advice.shift is not None:
        lines += _shift_sentences(advice)
    if "alpha" in advice.choices[0].evaluated.candidate.fields and len(advice.choices) < len(question.versions):
        lines.append("Versions not advised on keep their α in the command, and are left out of it by paths=.")
    return lines


def rule_of(objective: Objective) -> str:
    """Return the rule of the choice in words."""
    if objective.budget is not None:
        return f"The least loss for {objective.budget:,} updates of these versions' own paths:"
    if objective.loss is not None:
        return f"The cheapest that reaches {objective.loss:g} nats per token:"
    if objective.within is not None:
        return f"The cheapest within {objective.within:g} nats per token of the best predicted:"
    return "The best predicted, whatever its price:"


def _sentence(choice: Choice, advice: Advice, *, level: float) -> str:
    row = choice.evaluated
    version = row.candidate.version
    text = f"{version}: {row.candidate.text()}, {row.candidate.updates:,} updates, is predicted {row.loss:.4f}"
    text += f" [{choice.low:.4f}, {choice.high:.4f}]"
    if row.observed is not None:
        text += f" (observed {row.observed:.4f})"
    text += _price_text(choice, advice)
    if choice.interval is not None and choice.interval[0] < choice.interval[1]:
        text += f"; {level:.0%} bootstrap interval of {_name(choice)}: {choice.interval[0]:g} to {choice.interval[1]:g}"
    return text + "."


def _price_text(choice: Choice, advice: Advice) -> str:
    """Return what the second law chooses, and what a dearer branch would gain or a cheaper one save."""
    row, shortest = choice.evaluated, choice.shortest
    text = "" if choice.second is None else f"; the second law chooses {choice.second.candidate.text()}"
    best = min(advice.frontier(row.candidate.version), key=lambda one: one.loss)
    if best.loss < row.loss - 5e-5:
        more = best.candidate.updates - row.candidate.updates
        price = f" for {more:,} updates more" if more else ""
        text += f"; the best predicted, {best.candidate.text()}, gains another {row.loss - best.loss:.4f}{price}"
    else:
        text += "; nothing to choose from is predicted better"
    if (saved := row.candidate.updates - shortest.candidate.updates) > 0:
        text += f"; α={shortest.candidate.chosen_value:.4g} would save {saved:,} updates and is predicted "
        text += f"{shortest.loss - row.loss:.4f} worse, which is less than the law can tell"
    return text


def _seen_sentences(seen: Seen) -> list[str]:
    lines = [f"{one.version} has been run with {one.text()}: observed {one.loss:.4f}." for one in seen.branches]
    for found in seen.parabolas:
        where = "" if found.is_inside else ", at the end of what was run: run a branch further out"
        lines.append(
            f"{found.version}, without a law: by a parabola in log α through {found.text}, the best α is "
            f"{found.alpha:.3g} with {found.loss:.4f}{where}."
        )
    for version in dict.fromkeys(one.version for one in seen.averages):
        some = [one for one in seen.averages if one.version == version]
        best = min(some, key=lambda one: one.loss)
        each = ", ".join(f"{one.window:.1%}: {one.loss:.4f}" for one in some)
        lines.append(
            f"{version}, without training: averages of the main path's states over the last part of everything so far "
            f"({each}); best is {best.window:.1%}."
        )
    return lines


def _shift_sentences(advice: Advice) -> list[str]:
    shift = advice.shift
    assert shift is not None
    if shift.turning is None:
        back = "the old data's loss never comes back (no turning length)"
    elif shift.turning == 0:
        back = "the old data's loss does not rise (turning length 0)"
    else:
        back = f"the old data's loss is back after {shift.turning:,.0f} updates at a constant rate (turning length)"
    critical = "none" if shift.critical is None else f"{shift.critical:,.0f} updates of pre-training at the peak"
    old = next(weighted.fitted.fit for weighted in advice.fits if not weighted.fitted.is_of_new_data)
    not_identified = [name for name in ("A", "alpha", "B", "E", "beta") if name in old.not_identified]
    doubt = (
        f" Both rest on {', '.join(not_identified)}, which the curves do not identify: no more than a hint."
        if not_identified
        else ""
    )
    return [
        f"The data change after {shift.before:,} updates, at loss potential {shift.potential:.2f}: by the law {back}; "
        f"critical point: {critical}.{doubt}"
    ]


def warnings_of(advice: Advice, question: Question) -> list[str]:
    """Return what must not be trusted, in sentences."""
    lines = [f"{text} (law for {j.fitted.set})" for j in advice.fits for text in j.fitted.fit.warnings]
    for choice in advice.choices:
        if choice.cautions:
            where = choice.evaluated.candidate.version
            lines.append(f"WARNING: this extrapolates: of {where}'s choice, {'; '.join(choice.cautions)}")
        lines += _doubts(choice)
    priced = question.objective.budget is not None or question.objective.loss is not None
    longest = [choice.evaluated.candidate.version for choice in advice.choices if _is_longest(choice, advice)]
    if longest and not priced:
        lines.append(f"WARNING: {', '.join(longest)}: the longest α there was to choose from; the law would go further")
    kinds: dict[str, tuple[int, str]] = {}  # candidates that are too long in their hundreds differ in a number alone
    for reason, count in advice.excluded.items():
        kind = re.sub(r"[\d.,]+", "#", reason)
        before, first = kinds.get(kind, (0, reason))
        kinds[kind] = before + count, first
    for count, first in kinds.values():
        what = "candidate lies" if count == 1 else "candidates lie"
        lines.append(f"note: {count:,} {what} outside the range that was fitted and cannot be chosen: for one, {first}")
    return lines


def _doubts(choice: Choice) -> list[str]:
    if choice.is_identified:
        return []
    what = f"{_name(choice)} of {choice.evaluated.candidate.version} is not identified by these curves"
    found = []
    if choice.second is not None and choice.second.candidate.text() != choice.evaluated.candidate.text():
        found.append(f"another law chooses {choice.second.candidate.text()}")
    if choice.interval is not None and choice.interval[0] < choice.interval[1]:
        found.append(f"its bootstrap interval is {choice.interval[0]:g} to {choice.interval[1]:g}")
    return [f"WARNING: {what}: {'; '.join(found)}. Run one longer branch of an early version before spending more"]


def _name(choice: Choice) -> str:
    return "α" if "alpha" in choice.evaluated.candidate.fields else "replay"


def _is_longest(choice: Choice, advice: Advice) -> bool:
    chosen = choice.evaluated.candidate
    rows = [row.candidate.chosen_value for row in advice.evaluated if row.candidate.version == chosen.version]
    return chosen.is_branch and chosen.chosen_value == max(rows)
