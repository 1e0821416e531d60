"""Draws advice: predicted loss over price, or the two domains' losses where the price is fixed."""

import pathlib
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lrpath.laws.advice import Advice
from lrpath.laws.candidates import Evaluated
from lrpath.reporting.plot_style import MARKERS, WIDTH, save, style, whole_numbers


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
