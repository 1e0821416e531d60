"""Writes advice: in words, as a command of `lrpath.train`, as JSON, and the Pareto curve as table and figure."""

import json
import pathlib
import shlex
from dataclasses import asdict, fields
from typing import Any

from lrpath.laws.advice import SHOWN_WITHIN, Advice
from lrpath.laws.candidates import Evaluated, Objective
from lrpath.records.files import write_json, write_whole
from lrpath.reporting.advice_figure import plot_advice
from lrpath.reporting.advice_sentences import Question, rule_of, sentences_of, warnings_of
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


FORMAT = 3
"""Of advice.json; 1 had no number, 2 neither `best` nor `shortest`."""


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
        if question.objective.is_best and choice.shortest is not choice.evaluated:
            rows.append(("", *_cells(choice.shortest, f"shortest within {SHOWN_WITHIN:g}: ")))
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
        "rule": rule_of(question.objective),
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
                "best": {
                    **choice.best.candidate.fields,
                    "updates": choice.best.candidate.updates,
                    "loss": choice.best.loss,
                },
                "shortest": {
                    **choice.shortest.candidate.fields,
                    "updates": choice.shortest.candidate.updates,
                    "loss": choice.shortest.loss,
                },
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
