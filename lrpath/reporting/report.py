"""Writes the report of studies from what is on disk: tables, figures, verdict, ledger, a page of it all, and a board.

The board is TensorBoard's; it is written only beside curves, so not where `logger=none` was asked for.
"""

import pathlib
from collections.abc import Sequence
from dataclasses import dataclass

from lrpath import __version__
from lrpath.analysis.compare import Outcome, Series, read_outcomes, read_series
from lrpath.errors import StateError
from lrpath.records.files import locked, write_text
from lrpath.records.study import Study
from lrpath.reporting.execution import executed
from lrpath.reporting.figures import draw_rates, plot_alpha, plot_domains, plot_losses, plot_quality_against_cost
from lrpath.reporting.page import Picture, page
from lrpath.reporting.paper_order import front_sentences, verdict
from lrpath.reporting.plot_style import Panel
from lrpath.reporting.summary_tables import cost_table, last_version_table, seed_table, summary_table
from lrpath.reporting.tables import held_out_versions, study_table
from lrpath.reporting.tensorboard import write_board

MOST_SETS = 4
"""With more held-out sets than this, the printed table leaves their columns to the files."""
MOST_ROWS = 40
"""With more releases than this, the last version's alone are printed, the mean over seeds for each setting."""
TICKED_RUNS = 40
"""Of more runs than this TensorBoard shows none until they are ticked."""
MOST_PANELS = 12
"""Series that a figure with a panel or a line for each of them shows."""
_CAPTIONS = {
    "quality_cost": "Held-out loss against cost; small markers are seeds, dotted steps the Pareto front of their means",
    "alpha": "Held-out loss over α",
    "domains": "Held-out losses, domain by domain, along every path",
    "losses": "Training losses of the trees on one axis",
    "rates": "Learning rates: bold where branches leave, a dot is a fork, a ring a release",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report that was written.

    Args:
        text: What to print; `str(report)` is the same.
        files: Tables, figures and the page on disk.
    """

    text: str
    files: tuple[pathlib.Path, ...]

    def __str__(self) -> str:
        return self.text


def open_board(study: Study) -> None:
    """Write a study's board before its plan is run, so that TensorBoard can show how it goes.

    Raises:
        StateError: As `write_report`.
        PlanError: Likewise.
    """
    with locked(study.report):
        outcomes, series = read_outcomes(study), read_series(study)
        tables = [last_version_table(outcomes), summary_table(outcomes), study_table(outcomes), cost_table(series)]
        sentences = [*verdict(outcomes), *front_sentences(outcomes), executed(study).sentence()]
        write_board(study.report / "tb", outcomes=outcomes, sentences=sentences, tables=tables)


def write_report(*studies: Study, folder: pathlib.Path | None = None) -> Report:
    """Write tables, figures and a page about studies taken together; a figure without any data is left out.

    Args:
        studies: At least one.
        folder: Where to; None for the first study's `report` folder.

    Raises:
        StateError: If a study is not there or holds no plan, or a file in it was altered.
        PlanError: If a plan was altered.
    """
    for study in studies:
        Study.existing(study.folder.parent, study.name)
        if not study.plans():
            raise StateError(f"{study.folder} holds no plan; train first, or choose another study")
    place = folder or studies[0].report
    with locked(place):  # of processes that end together, the last one's report is of them all
        return _write(studies, place)


def _write(studies: Sequence[Study], place: pathlib.Path) -> Report:
    outcomes, series = read_outcomes(*studies), read_series(*studies)
    best, releases = last_version_table(outcomes), study_table(outcomes)
    seeds, costs = summary_table(outcomes), cost_table(series)
    texts = {
        "table.md": releases.markdown(),
        "table.csv": study_table(outcomes, domains=True).csv(),
        "seeds.md": seeds.markdown(),
        "seeds.csv": seed_table(outcomes).csv(),
        "seeds.tex": seeds.latex(),
        "cost.md": costs.markdown(),
        "cost.csv": costs.csv(),
    }
    for name, text in texts.items():
        write_text(place / name, text)
    panels = _panels(series)
    pictures = _draw(studies, outcomes, panels[:MOST_PANELS], place, left_out=len(panels) - MOST_PANELS)
    found, ledgers = verdict(outcomes) + front_sentences(outcomes), [executed(study).sentence() for study in studies]
    whole = page(
        title=", ".join(study.name for study in studies),
        sentences=found + ledgers,
        first=best,
        pictures=pictures,
        tables=[seeds, releases, costs],
        foot=f"lrpath {__version__}",
    )
    write_text(place / "index.html", whole)
    names = [*texts, *(picture.file.name for picture in pictures), "index.html"]
    boards = []
    if curves := sum(folder.tensorboard.is_dir() for study in studies for folder in study.folders()):
        write_board(place / "tb", outcomes=outcomes, sentences=found + ledgers, tables=[best, seeds, releases, costs])
        boards = [f"curves and rows: tensorboard {_logdir(place, studies)}"]
        if curves + len(series) > TICKED_RUNS:
            boards.append(
                f"(TensorBoard ticks no run where there are over {TICKED_RUNS}: tick report/tb and those you want)"
            )
    shown = (
        study_table(outcomes, sets=len(held_out_versions(outcomes)) <= MOST_SETS)
        if len(releases.rows) <= MOST_ROWS
        else best
    )
    lines = ["", *found, "", *ledgers, f"written to {place}: {', '.join(names)}", *boards]
    return Report(text="\n".join([shown.text(), *lines]), files=tuple(place / name for name in names))


def _logdir(place: pathlib.Path, studies: Sequence[Study]) -> str:
    """Return TensorBoard's option for studies and a report: the study's folder, if it is one and holds the report."""
    if len(studies) == 1 and studies[0].folder in place.parents:
        return f"--logdir {studies[0].folder}"
    folders = {study.name: study.folder for study in studies} | {"report": place}
    return "--logdir_spec " + ",".join(f"{name}:{folder}" for name, folder in folders.items())


def _draw(
    studies: Sequence[Study],
    outcomes: Sequence[Outcome],
    panels: Sequence[Panel],
    place: pathlib.Path,
    *,
    left_out: int,
) -> list[Picture]:
    """Draw every figure that has data; captions say where series were left out."""
    more = f"; {left_out:,} more series are in the tables" if left_out > 0 else ""
    files = {caption: place / f"{name}.png" for name, caption in _CAPTIONS.items()}
    quality, alpha, domains, losses, rates = files.values()
    draw_rates(panels, rates)
    drawn = {
        quality: plot_quality_against_cost(outcomes, quality),
        alpha: plot_alpha(outcomes, alpha),
        domains: plot_domains(studies, panels, domains),
        losses: plot_losses(studies, panels, losses),
        rates: True,
    }
    partly = (rates, losses, domains)
    return [
        Picture(file=file, caption=caption + (more if file in partly else ""))
        for caption, file in files.items()
        if drawn[file]
    ]


def _panels(found: tuple[Series, ...]) -> tuple[Panel, ...]:
    """Return one panel for each group of series; of several seeds, whose rates are equal, the first is drawn.

    Where not all can be drawn, every kind comes first once, then a second time, and so on.
    """
    groups: dict[str, Panel] = {}
    for series in found:
        groups.setdefault(series.group, Panel(label=series.group, kind=series.kind, tree=series.tree))
    panels = list(groups.values())
    kinds = [panel.kind for panel in panels]
    turn = {panel.label: kinds[:number].count(panel.kind) for number, panel in enumerate(panels)}
    shown = sorted(panels, key=lambda panel: turn[panel.label]) if len(panels) > MOST_PANELS else panels
    return tuple(shown)
