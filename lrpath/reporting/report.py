"""Writes a study's report from what is on disk: tables, figures, the verdict, and the ledger against the plan."""

from dataclasses import dataclass
from pathlib import Path as File

from lrpath.analysis.compare import Outcome, Series, read_outcomes, read_series
from lrpath.errors import StateError
from lrpath.records.files import write_whole
from lrpath.records.study import Study
from lrpath.reporting.canvas import Panel
from lrpath.reporting.execution import executed
from lrpath.reporting.figures import draw_rates, plot_losses, plot_quality_against_cost
from lrpath.reporting.tables import held_out_versions, study_table
from lrpath.reporting.verdict import verdict

MOST_SETS = 4
"""With more held-out sets than this, the printed table leaves their columns to the files."""
MOST_PANELS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report that was written.

    Args:
        text: What to print; `str(report)` is the same.
        files: Tables and figures on disk.
    """

    text: str
    files: tuple[File, ...]

    def __str__(self) -> str:
        return self.text


def write_report(study: Study) -> Report:
    """Write the tables and figures of a study to its `report` folder; a figure without any data is left out.

    Raises:
        StateError: If the study is not there or holds no plan, or a file in it was altered.
        PlanError: If a plan was altered.
    """
    Study.existing(study.folder.parent, study.name)
    if not study.plans():
        raise StateError(f"{study.folder} holds no plan; train first, or choose another study")
    outcomes = read_outcomes(study)
    full = study_table(outcomes)
    write_whole(study.report / "table.md", full.markdown())
    write_whole(study.report / "table.csv", study_table(outcomes, domains=True).csv())
    files = (study.report / "table.md", study.report / "table.csv", *_draw(study, outcomes))
    shown = study_table(outcomes, sets=len(held_out_versions(outcomes)) <= MOST_SETS)
    names = ", ".join(file.name for file in files)
    lines = ["", *verdict(outcomes), "", executed(study).sentence(), f"written to {study.report}: {names}"]
    return Report(text="\n".join([shown.text(), *lines]), files=files)


def _draw(study: Study, outcomes: tuple[Outcome, ...]) -> list[File]:
    panels = _panels(read_series(study))
    rates, quality, losses = (study.report / f"{name}.png" for name in ("rates", "quality_cost", "losses"))
    draw_rates(panels, rates)
    files = [rates]
    if plot_quality_against_cost(outcomes, quality):
        files.append(quality)
    if plot_losses(study, panels, losses):
        files.append(losses)
    return files


def _panels(found: tuple[Series, ...]) -> tuple[Panel, ...]:
    """Return one panel for each group of series; of several seeds, whose rates are equal, the first is drawn."""
    groups: dict[str, Panel] = {}
    for series in found:
        groups.setdefault(series.group, Panel(label=series.group, kind=series.kind, tree=series.tree))
    return tuple(groups.values())[:MOST_PANELS]
