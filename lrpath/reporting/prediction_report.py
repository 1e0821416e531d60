"""Writes what a fitted law predicts of paths: table, curves, figure, and the law itself."""

import csv
import io
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lrpath.laws.path_fit import PathFit
from lrpath.laws.prediction import PathPrediction, PredictedPaths
from lrpath.records.files import write_json, write_whole
from lrpath.reporting.plot_style import WIDTH, save, style, whole_numbers
from lrpath.reporting.tables import Align, Column, ReportTable, write_fixed, write_whole_number

FORMAT = 2
"""Of predictions.json; 1 said what is predicted in other words."""
MOST_PLOTTED = 8
"""Paths in the figure; the last ones are left to the files."""
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")


def _signed(digits: int) -> Any:
    return lambda value: f"{value:+.{digits}f}".replace("-", "−")


_COLUMNS = (
    Column(key="path", title="path", align=Align.LEFT),
    Column(key="position_updates", title="at", unit="updates", write=write_whole_number),
    Column(key="predicted_nats_per_token", title="predicted", unit="nats/token", write=write_fixed(4)),
    Column(key="low_nats_per_token", title="from", write=write_fixed(4)),
    Column(key="high_nats_per_token", title="to", write=write_fixed(4)),
    Column(key="observed_nats_per_token", title="observed", unit="nats/token", write=write_fixed(4)),
    Column(key="error_nats_per_token", title="error", unit="nats/token", write=_signed(4)),
    Column(key="rmse_nats_per_token", title="RMSE", unit="of its curve", write=write_fixed(4)),
    Column(key="r2", title="R²", write=write_fixed(3)),
    Column(key="worst_share", title="worst", unit="% of loss", write=lambda value: f"{100 * value:.2f}"),
)


def predictions_table(found: PredictedPaths) -> ReportTable:
    """Return one row a path: what is predicted of its end, and how far off that and its whole curve are."""
    ranking = found.ranking
    pairs = ranking.right + ranking.wrong
    notes = [found.rule.sentence()]
    if found.note:
        notes.append(found.note)
    if pairs:
        notes.append(
            f"Ranking of releases within a version: Kendall's τ {ranking.tau:.2f} ({ranking.right} of {pairs} pairs)."
        )
    return ReportTable(
        title=f"Predicted losses on {found.fitted.set}",
        columns=_COLUMNS,
        rows=tuple(_row(one) for one in found.predictions),
        notes=tuple(notes),
    )


def _row(one: PathPrediction) -> tuple[Any, ...]:
    position, loss, low, high = one.final
    errors = one.errors
    known = (None,) * 5
    if errors is not None:
        r2 = errors.r2 if math.isfinite(errors.r2) else None
        known = (one.observed_final, errors.last, errors.rmse, r2, errors.worst)  # type: ignore[assignment]
    return (one.name, position, loss, low, high, *known)


def warnings_of(found: PredictedPaths) -> list[str]:
    """Return what must not be trusted, in sentences: of the fit, then path by path."""
    lines = list(found.fitted.fit.warnings)
    for one in found.predictions:
        if one.violations:
            lines.append(f"WARNING: {one.name} lies outside the range that was fitted: {'; '.join(one.violations)}")
    if found.grown:
        more = f", and so were {len(found.grown) - 1} more" if len(found.grown) > 1 else ""
        lines.append(f"note: {found.grown[0]}: it was left out{more}")
    if found.left_out:
        lines.append(
            f"note: {len(found.left_out)} paths were left out, as they would be extrapolated: {found.left_out[0]}"
            f"{' …' if len(found.left_out) > 1 else ''}. Name them with predict= and add extrapolate=true to see them"
        )
    cautious = [one for one in found.predictions if one.cautions]
    if cautious:
        lines.append(
            f"note: {len(cautious)} of {len(found.predictions)} paths decay longer or deeper than any that was fitted, "
            f"for example {cautious[-1].name}: {'; '.join(cautious[-1].cautions)}; they rest on the law alone"
        )
    return lines


def write_law(file: pathlib.Path, fitted: Sequence[PathFit], settings: Mapping[str, Any]) -> None:
    """Write fits so that `law=FILE` reads them again."""
    write_json(file, {"settings": dict(settings), "fits": {one.set: one.as_record() for one in fitted}})


def write_predictions(found: PredictedPaths, folder: pathlib.Path, *, settings: Mapping[str, Any]) -> str:
    """Write table, curves, figure and law, and return what to print.

    Args:
        found: The predictions.
        folder: Where to.
        settings: What the law file says of how it was fitted.
    """
    table = predictions_table(found)
    write_whole(folder / "table.csv", table.csv())
    write_whole(folder / "table.md", table.markdown())
    write_whole(folder / "curves.csv", _curves(found))
    write_json(folder / "predictions.json", predictions_record(found))
    write_law(folder / "law.json", [found.fitted], settings)
    plot_predictions(found, folder / "predictions.png")
    names = "table.csv, table.md, curves.csv, predictions.json, law.json, predictions.png"
    lines = [found.fitted.fit.describe(), "", table.text(), *warnings_of(found)[len(found.fitted.fit.warnings) :]]
    return "\n".join([*lines, f"written to {folder}: {names}"])


def predictions_record(found: PredictedPaths) -> dict[str, Any]:
    """Return the predictions as plain data."""
    ranking = found.ranking
    return {
        "format": FORMAT,
        "set": found.fitted.set,
        "law": found.fitted.fit.law.name,
        "fitted": list(found.fitted.fit.names),
        "values": found.fitted.fit.values,
        "intervals": found.rule.sentence(),
        "note": found.note,
        "not_identified": found.fitted.fit.not_identified,
        "paths": [
            dict(zip([column.key for column in _COLUMNS], _row(one), strict=True))
            | {"releases": list(one.releases), "violations": list(one.violations), "cautions": list(one.cautions)}
            for one in found.predictions
        ],
        "ranking": asdict(ranking) | {"tau": ranking.tau if math.isfinite(ranking.tau) else None},
        "warnings": warnings_of(found),
    }


def predictions_json(found: PredictedPaths) -> str:
    """Return the predictions as JSON text."""
    return json.dumps(predictions_record(found), indent=1, allow_nan=False)


def _curves(found: PredictedPaths) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("path", "position", "lr", "predicted", "low", "high", "observed"))
    for one in found.predictions:
        curve, places = one.prediction.curve, one.prediction.curve.positions_P
        seen = {} if one.observed is None else dict(zip(*_points(one), strict=True))
        for at, position in enumerate(places.tolist()):
            low, high = one.prediction.low_P, one.prediction.high_P
            ends = ("", "") if low is None or high is None else (float(low[at]), float(high[at]))
            predicted = float(one.prediction.losses_P[at])
            rows.writerow(
                (one.name, position, float(curve.rates_U[position - 1]), predicted, *ends, seen.get(position, ""))
            )
    return text.getvalue()


def _points(one: PathPrediction) -> tuple[list[int], list[float]]:
    assert one.observed is not None
    return one.observed.positions_P.tolist(), one.observed.observed().tolist()


def plot_predictions(found: PredictedPaths, file: pathlib.Path) -> None:
    """Draw predicted curves with their intervals, and observed losses as dots; fitted losses are grey."""
    plotted = found.predictions[:MOST_PLOTTED]
    with style():
        figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
        axes = figure.subplots()
        for curve in found.fitted.fit.curves:
            axes.plot(curve.positions_P, curve.observed(), ".", color="#bbbbbb", markersize=3, zorder=1)
        heights = [curve.observed() for curve in found.fitted.fit.curves]
        for one, colour in zip(plotted, _COLOURS, strict=False):
            places, prediction = one.prediction.curve.positions_P, one.prediction
            axes.plot(places, prediction.losses_P, color=colour, linewidth=1.4, zorder=3, label=one.name)
            heights.append(prediction.losses_P)
            if prediction.low_P is not None and prediction.high_P is not None:
                axes.fill_between(places, prediction.low_P, prediction.high_P, color=colour, alpha=0.2, zorder=2)
            if one.observed is not None:
                axes.plot(*_points(one), ".", color=colour, markersize=4, zorder=2)
                heights.append(one.observed.observed())
        low, high = np.quantile(np.concatenate(heights), [0.0, 0.97])
        axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
        axes.set_xlabel("position [updates]")
        axes.xaxis.set_major_formatter(whole_numbers())
        axes.set_ylabel(f"loss on {found.fitted.set} [nats per token]")
        more = len(found.predictions) - len(plotted)
        left_out = f"; {more} more in the files" if more else ""
        kind = f"{found.fitted.fit.law.name}: line predicted ({found.rule.level:.0%} interval)"
        axes.set_title(f"{kind}, dots observed, grey fitted{left_out}", fontsize=9, loc="left")
        axes.legend(fontsize=8, frameon=False)
        save(figure, file)
