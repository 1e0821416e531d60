"""Writes advice: in words, as a command of `lrpath.train`, as JSON, and the Pareto curve as table and figure."""

import json
import pathlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lrpath.laws.advice import Advice, Choice
from lrpath.laws.candidates import Evaluated, Objective
from lrpath.laws.probes import Average, ObservedBranch, Parabola
from lrpath.planning.paradigms.setting import Alpha
from lrpath.planning.schedule import Decay
from lrpath.records.files import write_json, write_whole
from lrpath.reporting.plot_style import MARKERS, WIDTH, save, style, whole_numbers
from lrpath.reporting.prediction_report import write_law
from lrpath.reporting.tables import Align, Column, ReportTable, write_fixed, write_whole_number

_COLUMNS = (
    Column(key="version", title="version", align=Align.LEFT),
    Column(key="choice", title="choice", align=Align.LEFT),
    Column(key="updates", title="branch", unit="updates", write=write_whole_number),
    Column(key="share", title="share", unit="of all so far", write=write_fixed(3)),
    Column(key="loss_nats_per_token", title="predicted", unit="nats/token", write=write_fixed(4)),
    Column(key="low_nats_per_token", title="from", write=write_fixed(4)),
    Column(key="high_nats_per_token", title="to", write=write_fixed(4)),
    Column(key="second_nats_per_token", title="2nd law", write=write_fixed(4)),
    Column(key="observed_nats_per_token", title="observed", write=write_fixed(4)),
    Column(key="gain_nats_per_100_updates", title="last 100 gain", unit="nats", write=write_fixed(4)),
)


FORMAT = 2
"""Of advice.json; 1 had no number."""


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


def overrides_of(advice: Advice, question: Question) -> tuple[str, ...]:
    """Return the advice as overrides of `lrpath.train`."""
    at, fields = f"paradigms.{question.label}", advice.choices[0].evaluated.candidate.fields
    names = [choice.evaluated.candidate.path.path.name for choice in advice.choices]
    if "alpha" in fields:
        chosen = {
            choice.evaluated.candidate.version: choice.evaluated.candidate.fields["alpha"] for choice in advice.choices
        }
        alphas = [chosen.get(version, alpha) for version, alpha in zip(question.versions, question.alphas, strict=True)]
        configured = {} if question.decay is None else asdict(question.decay)
        others = [name for name in configured.keys() - {"shape", "floor"} if configured[name] is not None]
        gone = "".join(f",{name}:null" for name in sorted(others))  # Hydra would keep a hold, or the shares of a stair
        made = (
            f"{at}.alpha=[{','.join(map(str, alphas))}]",
            f"{at}.decay={{shape:{fields['shape']},floor:{_exact(fields['floor'])}{gone}}}",
        )
        return (*made, f"paths=[{question.main},{','.join(names)}]")
    peak = max(
        max(piece.first, piece.last) for piece in advice.choices[0].evaluated.candidate.path.path.schedule.pieces
    )
    rewarmed = () if fields["peak"] is None else (f"++{at}.rewarm_peak={peak!r}",)
    return (f"++{at}.replay={_exact(fields['replay'])}", *rewarmed)


def _exact(number: float) -> str:
    """Return a number with all its digits: another one would be another path."""
    return repr(number).removesuffix(".0")


def command_of(advice: Advice, question: Question) -> str:
    """Return the command that trains what is advised."""
    given = [text for text in question.given if not text.startswith("paths=")]
    return shlex.join(["python", "-m", "lrpath.train", *given, *overrides_of(advice, question)])


def advice_table(advice: Advice, question: Question) -> ReportTable:
    """Return what is chosen for each version, and below it what is configured."""
    rows: list[tuple[Any, ...]] = []
    for choice in advice.choices:
        gain = None if choice.marginal is None else 100 * choice.marginal
        version = choice.evaluated.candidate.version
        rows.append((version, *_cells(choice.evaluated, "", low=choice.low, high=choice.high, gain=gain)))
        if choice.second is not None:
            rows.append(("", *_cells(choice.second, "2nd law: ")))
        configured = [one for one in advice.configured if one.candidate.version == version]
        rows += [("", *_cells(one, "configured: ")) for one in configured]
    sets = " and ".join(
        f"{weighted.fitted.set}" + ("" if len(advice.fits) == 1 else f" × {weighted.weight:g}")
        for weighted in advice.fits
    )
    return ReportTable(
        title=f"Advice for {question.label}, by the loss on {sets}",
        columns=_COLUMNS,
        rows=tuple(rows),
        notes=(advice.interval_sentence,),
    )


def _cells(
    row: Evaluated, title: str, *, low: float | None = None, high: float | None = None, gain: float | None = None
) -> tuple[Any, ...]:
    one = row.candidate
    return (f"{title}{one.text()}", one.updates, one.share, row.loss, low, high, row.second, row.observed, gain)


def sentences_of(advice: Advice, question: Question) -> list[str]:
    """Return the advice in words: what, at what price, and how sure."""
    lines = [_rule(question.objective)]
    lines += [_sentence(choice, advice, level=question.settings["level"]) for choice in advice.choices]
    lines += _seen_sentences(question.seen)
    if advice.shift is not None:
        lines += _shift_sentences(advice)
    if "alpha" in advice.choices[0].evaluated.candidate.fields and len(advice.choices) < len(question.versions):
        lines.append("Versions not advised on keep their α in the command, and are left out of it by paths=.")
    return lines


def _rule(objective: Objective) -> str:
    if objective.budget is not None:
        return f"The least loss for {objective.budget:,} updates of these versions' own paths:"
    if objective.loss is not None:
        return f"The cheapest that reaches {objective.loss:g} nats per token:"
    return f"The cheapest within {objective.within:g} nats per token of the best predicted:"


def _sentence(choice: Choice, advice: Advice, *, level: float) -> str:
    row = choice.evaluated
    version = row.candidate.version
    text = f"{version}: {row.candidate.text()}, {row.candidate.updates:,} updates, is predicted {row.loss:.4f}"
    text += f" [{choice.low:.4f}, {choice.high:.4f}]"
    if row.observed is not None:
        text += f" (observed {row.observed:.4f})"
    if choice.second is not None:
        text += f"; the second law chooses {choice.second.candidate.text()}"
    best = min(advice.frontier(version), key=lambda one: one.loss)
    if best.loss < row.loss - 5e-5:
        more = best.candidate.updates - row.candidate.updates
        price = f" for {more:,} updates more" if more else ""
        text += f"; the best predicted, {best.candidate.text()}, gains another {row.loss - best.loss:.4f}{price}"
    else:
        text += "; nothing to choose from is predicted better"
    if choice.interval is not None and choice.interval[0] < choice.interval[1]:
        text += f"; {level:.0%} bootstrap interval of {_name(choice)}: {choice.interval[0]:g} to {choice.interval[1]:g}"
    return text + "."


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
    for reason, count in advice.excluded.items():
        lines.append(f"note: {count:,} candidates were left out, for {reason}: outside the range that was fitted")
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


def advice_record(advice: Advice, question: Question) -> dict[str, Any]:
    """Return the advice as plain data."""
    return {
        "format": FORMAT,
        "label": question.label,
        "fit": {**question.settings, "objective": _plain(question.objective)},
        "intervals": advice.interval_sentence,
        "observed": [
            {"version": one.version, "alpha": one.alpha, "shape": one.shape, "floor": one.floor, "loss": one.loss}
            for one in question.seen.branches
        ],
        "parabolas": [asdict(one) for one in question.seen.parabolas],
        "averages": [asdict(one) for one in question.seen.averages],
        "rule": _rule(question.objective),
        "releases": [
            {
                "version": choice.evaluated.candidate.version,
                **choice.evaluated.candidate.fields,
                "updates": choice.evaluated.candidate.updates,
                "loss": choice.evaluated.loss,
                "losses": choice.evaluated.losses,
                "low": choice.low,
                "high": choice.high,
                "marginal_nats_per_update": choice.marginal,
                "interval": choice.interval,
                "share": choice.evaluated.candidate.share,
                "observed": choice.evaluated.observed,
                "second": None
                if choice.second is None
                else {**choice.second.candidate.fields, "loss": choice.second.second},
                "is_identified": choice.is_identified,
                "cautions": list(choice.cautions),
            }
            for choice in advice.choices
        ],
        "configured": [
            {"version": row.candidate.version, **row.candidate.fields, "updates": row.candidate.updates}
            | {"share": row.candidate.share, "loss": row.loss, "second": row.second, "observed": row.observed}
            for row in advice.configured
        ],
        "shift": None if advice.shift is None else asdict(advice.shift),
        "laws": {weighted.fitted.set: weighted.fitted.fit.values for weighted in advice.fits},
        "warnings": warnings_of(advice, question),
        "overrides": list(overrides_of(advice, question)),
        "command": command_of(advice, question),
    }


def candidates_table(advice: Advice) -> ReportTable:
    """Return every candidate with what is predicted of it; `pareto` marks those that none beats in price and loss."""
    names = list(advice.choices[0].evaluated.candidate.fields)
    sets = [weighted.fitted.set for weighted in advice.fits]
    keys = [
        "version",
        *names,
        "updates",
        "loss",
        *(f"loss_{name}" for name in sets if len(sets) > 1),
        "pareto",
        "chosen",
    ]
    best = {id(row) for choice in advice.choices for row in advice.frontier(choice.evaluated.candidate.version)}
    chosen = {id(choice.evaluated) for choice in advice.choices}
    rows = []
    for row in advice.evaluated:
        parts = [row.losses[name] for name in sets] if len(sets) > 1 else []
        marks = (int(id(row) in best), int(id(row) in chosen))
        rows.append(
            (row.candidate.version, *row.candidate.fields.values(), row.candidate.updates, row.loss, *parts, *marks)
        )
    columns = tuple(Column(key=key, title=key) for key in keys)
    return ReportTable(title="Candidates", columns=columns, rows=tuple(rows))


def write_advice(advice: Advice, question: Question, folder: pathlib.Path) -> str:
    """Write advice, candidates, figure and laws, and return what to print."""
    write_json(folder / "advice.json", advice_record(advice, question))
    write_whole(folder / "candidates.csv", candidates_table(advice).csv())
    write_law(folder / "law.json", [weighted.fitted for weighted in advice.fits], question.settings)
    plot_advice(advice, folder / "pareto.png")
    described = [weighted.fitted.fit.describe() for weighted in advice.fits]
    fit_warnings = sum(len(weighted.fitted.fit.warnings) for weighted in advice.fits)
    lines = [
        *described,
        "",
        advice_table(advice, question).text(),
        "",
        *sentences_of(advice, question),
        *warnings_of(advice, question)[fit_warnings:],
        "",
        "to train it:",
        f"  {command_of(advice, question)}",
        f"written to {folder}: advice.json, candidates.csv, law.json, pareto.png",
    ]
    return "\n".join(lines)


def _plain(objective: Objective) -> dict[str, Any]:
    found = {one.name: getattr(objective, one.name) for one in fields(Objective)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def advice_json(advice: Advice, question: Question) -> str:
    """Return the advice as JSON text."""
    return json.dumps(advice_record(advice, question), indent=1, allow_nan=False)


def plot_advice(advice: Advice, file: pathlib.Path) -> None:
    """Draw predicted loss over the branch's updates, or the new data's over the old data's where the price is fixed."""
    with style():
        versions = [choice.evaluated.candidate.version for choice in advice.choices]
        figure = Figure(figsize=(WIDTH, 4), layout="constrained")
        axes = figure.subplots()
        for number, version in enumerate(versions):
            rows = [row for row in advice.evaluated if row.candidate.version == version and not row.violations]
            if "alpha" in advice.choices[0].evaluated.candidate.fields:
                _draw_prices(axes, advice, rows, number)
            else:
                _draw_domains(axes, advice, rows, number)
        names = axes.get_legend_handles_labels()
        figure.legend(*names, loc="outside upper center", ncols=min(len(versions), 3), fontsize=7, frameon=False)
        save(figure, file)


def _draw_prices(axes: Axes, advice: Advice, rows: Sequence[Evaluated], number: int) -> None:
    choice, colour = advice.choices[number].evaluated, f"C{number}"
    version = choice.candidate.version
    axes.plot([r.candidate.updates for r in rows], [r.loss for r in rows], ".", color=colour, alpha=0.25, markersize=3)
    line = advice.frontier(version)
    axes.plot(
        [r.candidate.updates for r in line], [r.loss for r in line], color=colour, label=f"{version}: Pareto curve"
    )
    axes.plot(choice.candidate.updates, choice.loss, "o", color=colour, markersize=8, label=choice.candidate.text())
    for row in advice.configured:
        if row.candidate.version == version:
            axes.plot(
                row.candidate.updates,
                row.loss,
                "x",
                color=colour,
                markersize=8,
                label=f"configured: {row.candidate.text()}",
            )
    axes.set_xlabel("updates of the branch")
    axes.xaxis.set_major_formatter(whole_numbers())
    axes.set_ylabel("predicted loss [nats per token]")


def _draw_domains(axes: Axes, advice: Advice, rows: Sequence[Evaluated], number: int) -> None:
    sets = [weighted.fitted.set for weighted in advice.fits]
    marker, colour = MARKERS[number % len(MARKERS)], f"C{number}"
    for row in rows:
        point = (row.losses[sets[0]], row.losses[sets[-1]])
        axes.plot(*point, marker, color=colour, markersize=5)
        axes.annotate(row.candidate.text(), point, xytext=(4, 3), textcoords="offset points", fontsize=8)
    chosen = advice.choices[number].evaluated
    place = (chosen.losses[sets[0]], chosen.losses[sets[-1]])
    axes.plot(
        *place, "o", color=colour, markersize=11, markerfacecolor="none", label=f"{chosen.candidate.version}: chosen"
    )
    axes.set_xlabel(f"predicted loss on {sets[0]} [nats per token]")
    axes.set_ylabel(f"predicted loss on {sets[-1]} [nats per token]")
