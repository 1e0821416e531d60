"""Writes the report of studies from what is on disk: tables, figures, findings, a page of it all, TensorBoard.

TensorBoard's part is written only beside curves, so not where `logger=none` was asked for.
"""

import pathlib
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from lrpath import __version__
from lrpath.analysis.compare import Series
from lrpath.analysis.comparison import ComparableGroup, StudyComparison
from lrpath.errors import StateError
from lrpath.records.files import locked, write_whole
from lrpath.records.study import Study
from lrpath.reporting.cost_table import cost_tables
from lrpath.reporting.document_table import document_tables
from lrpath.reporting.figures import draw_rates, plot_domains, plot_losses
from lrpath.reporting.findings import findings
from lrpath.reporting.page import Picture, page
from lrpath.reporting.plot_style import Panel
from lrpath.reporting.quality_figures import plot_alpha, plot_quality_against_cost
from lrpath.reporting.release_tables import (
    held_out_versions,
    last_version_tables,
    release_csv,
    release_tables,
    seed_csv,
    summary_csv,
    summary_tables,
)
from lrpath.reporting.setup_table import setup_tables
from lrpath.reporting.speed_table import speed_tables
from lrpath.reporting.tables import ReportTable, said_once
from lrpath.reporting.task_table import STATE_CSV, TASK_CSV, state_task_csv, task_csv, task_tables
from lrpath.reporting.tensorboard import MOST_SELECTED, write_tensorboard
from lrpath.reporting.version_matrix import matrix_csv, matrix_tables

MOST_SETS = 4
"""With more held-out sets than this, the printed table leaves their columns to the files."""
MOST_ROWS = 40
"""With more releases than this, the last version's alone are printed, the mean over seeds for each setting."""
MOST_PANELS = 12
"""Series that a figure with a panel or a line for each of them shows."""
_CAPTIONS = {
    "quality_cost": "Held-out loss against cost. Above: every version on the same sets. Below: the last version as in "
    "the tables; small markers are seeds, dotted steps the Pareto front of the means over them",
    "alpha": "Held-out loss over α, with 95 % intervals over seeds",
    "domains": "Held-out losses by domain, along every path",
    "losses": "Training losses of the trees on one axis",
    "rates": "Learning rates. Bold: a path that others leave; dot: a fork; ring: a release",
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


def start_tensorboard(study: Study) -> None:
    """Write TensorBoard's part of a report before the plan is run, so that TensorBoard can show how it goes.

    Raises:
        StateError: As `write_report`.
        PlanError: Likewise.
    """
    with locked(study.report):
        comparison = StudyComparison.read(study)
        write_tensorboard(study.report / "tb", comparison, findings=findings(comparison), tables=_tables(comparison))


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
        return _write(StudyComparison.read(*studies), place)


def _tables(comparison: StudyComparison) -> list[ReportTable]:
    """Return the tables for people, what most readers came for first."""
    return [
        *setup_tables(comparison),
        *last_version_tables(comparison),
        *document_tables(comparison),
        *task_tables(comparison),
        *matrix_tables(comparison),
        *summary_tables(comparison),
        *release_tables(comparison),
        *cost_tables(comparison),
        *speed_tables(comparison),
    ]


def _write(comparison: StudyComparison, place: pathlib.Path) -> Report:
    best, costs = last_version_tables(comparison), cost_tables(comparison)
    matrices, documents = matrix_tables(comparison), document_tables(comparison)
    tasks, speeds = task_tables(comparison), speed_tables(comparison)
    releases, summaries = release_tables(comparison), summary_tables(comparison)
    texts = {
        "setup.md": _markdown(setup_tables(comparison)),
        "table.md": _markdown(releases),
        "table.csv": release_csv(comparison),
        "summary.md": _markdown(summaries),
        "summary.csv": summary_csv(comparison),
        "summary.tex": "\n".join(table.latex() for table in summaries),
        "seeds.csv": seed_csv(comparison),
        "test.md": _markdown(documents),
        "matrix.md": _markdown(matrices),
        "matrix.csv": matrix_csv(comparison) if matrices else "",
        "tasks.md": _markdown(tasks),
        TASK_CSV: task_csv(comparison),
        STATE_CSV: state_task_csv(comparison),
        "cost.md": _markdown(costs),
        "cost.csv": costs[0].csv(),
        "speed.md": _markdown(speeds),
        "speed.csv": speeds[0].csv() if speeds else "",
        "tokens_by_domain.csv": costs[1].csv() if len(costs) > 1 else "",
    }
    texts = {name: text for name, text in texts.items() if text}
    for name, text in texts.items():
        write_whole(place / name, text)
    pictures, found = _draw(comparison, place), findings(comparison)
    whole = page(
        title=", ".join(study.name for study in comparison.studies),
        setup=setup_tables(comparison),
        findings=found,
        first=[*best, *documents, *task_tables(comparison, last=True)],
        pictures=pictures,
        tables=[*tasks, *matrices, *summaries, *releases, *costs, *speeds],
        foot=f"lrpath {__version__}",
    )
    write_whole(place / "index.html", whole)
    names = [*texts, *(picture.file.name for picture in pictures), "index.html"]
    lines = [
        "",
        *found,
        f"written to {comparison.studies[0].url_of(place)}: {', '.join(names)}",
        *_tensorboard_lines(comparison, place, found, pictures),
    ]
    shown = "\n\n".join(table.text() for table in said_once(_printed(comparison)))
    return Report(text="\n".join([shown, *lines]), files=tuple(place / name for name in names))


def _markdown(tables: Sequence[ReportTable]) -> str:
    return "\n".join(table.markdown() for table in said_once(tables))


def _printed(comparison: StudyComparison) -> list[ReportTable]:
    if len(comparison.outcomes) > MOST_ROWS:
        return last_version_tables(comparison)
    return release_tables(comparison, sets=len(held_out_versions(comparison.outcomes)) <= MOST_SETS)


def _tensorboard_lines(
    comparison: StudyComparison, place: pathlib.Path, found: Sequence[str], pictures: Sequence[Picture]
) -> list[str]:
    """Write TensorBoard's part, if any path has curves, and return how it is looked at."""
    if not any(folder.tensorboard.is_dir() for study in comparison.studies for folder in study.folders()):
        return []
    tables = _tables(comparison)
    runs = write_tensorboard(place / "tb", comparison, findings=found, tables=tables, pictures=pictures)
    lines = [f"curves, figures and rows: tensorboard --logdir {shlex.quote(str(place / 'tb'))}"]
    if runs > MOST_SELECTED:
        lines.append(
            f"TensorBoard selects no run by default when there are more than {MOST_SELECTED}. Select `.` first."
        )
    return lines


def _draw(comparison: StudyComparison, place: pathlib.Path) -> list[Picture]:
    """Draw every figure that has data; what was evaluated on other held-out tokens has figures of its own."""
    pictures = []
    for number, group in enumerate(comparison.groups, start=1):
        panels, left_out = _panels(group.series)
        for name, draw in _drawings(comparison, group, panels).items():
            file = place / f"{name}{'' if number == 1 else f'_{number}'}.png"
            if draw(file):
                about = f" ({group.name})" if group.name else ""
                caption = _CAPTIONS[name] + about + (left_out if name in ("losses", "domains") else "")
                pictures.append(Picture(file=file, caption=caption))
    panels, left_out = _panels(comparison.series)
    draw_rates(panels, place / "rates.png")
    return [*pictures, Picture(file=place / "rates.png", caption=_CAPTIONS["rates"] + left_out)]


def _drawings(
    comparison: StudyComparison, group: ComparableGroup, panels: Sequence[Panel]
) -> dict[str, Callable[[pathlib.Path], bool]]:
    """Return, by name, what draws a figure into a file and says whether there was anything to draw."""
    studies = comparison.studies
    return {
        "quality_cost": lambda file: plot_quality_against_cost(group, file, fronts=comparison.fronts),
        "alpha": lambda file: plot_alpha(group, file),
        "domains": lambda file: plot_domains(studies, panels, file),
        "losses": lambda file: plot_losses(studies, panels, file),
    }


def _panels(found: Iterable[Series]) -> tuple[Sequence[Panel], str]:
    """Return one panel for each group of series, and what a caption says of those that are left out.

    Of several seeds, whose rates are equal, the first is drawn. Where not all can be drawn, every kind comes first
    once, then a second time, and so on.
    """
    groups: dict[str, Panel] = {}
    for series in found:
        panel = Panel(label=series.group, kind=series.kind, tree=series.tree, study=series.study)
        groups.setdefault(series.group, panel)
    panels = list(groups.values())
    if len(panels) <= MOST_PANELS:
        return panels, ""
    kinds = [panel.kind for panel in panels]
    turn = {panel.label: kinds[:number].count(panel.kind) for number, panel in enumerate(panels)}
    shown = sorted(panels, key=lambda panel: turn[panel.label])[:MOST_PANELS]
    return shown, f". {len(panels) - MOST_PANELS:,} more series are in the tables"
