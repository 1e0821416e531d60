"""Writes the report of studies from what is on disk: tables, figures, the verdict, the ledger, and a page of it all."""

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path as File

from lrpath import __version__
from lrpath.analysis.compare import Outcome, Series, read_outcomes, read_series
from lrpath.errors import StateError
from lrpath.records.files import write_whole
from lrpath.records.study import Study
from lrpath.reporting.canvas import Panel
from lrpath.reporting.execution import executed
from lrpath.reporting.figures import draw_rates, plot_alpha, plot_domains, plot_losses, plot_quality_against_cost
from lrpath.reporting.page import Picture, page
from lrpath.reporting.summary_tables import cost_table, seed_table, summary_table
from lrpath.reporting.tables import held_out_versions, study_table
from lrpath.reporting.verdict import verdict

MOST_SETS = 4
"""With more held-out sets than this, the printed table leaves their columns to the files."""
MOST_PANELS = 12
_CAPTIONS = {
    "rates": "Learning rates: bold where branches leave, a dot is a fork, a ring a release",
    "quality_cost": "Held-out loss against cost",
    "losses": "Training losses of the trees on one axis",
    "alpha": "Held-out loss over α",
    "domains": "Held-out losses, domain by domain, along every path",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report that was written.

    Args:
        text: What to print; `str(report)` is the same.
        files: Tables, figures and the page on disk.
    """

    text: str
    files: tuple[File, ...]

    def __str__(self) -> str:
        return self.text


def write_report(*studies: Study, folder: File | None = None) -> Report:
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
    with _alone(place):
        return _write(studies, place)


@contextmanager
def _alone(place: File) -> Iterator[None]:
    """Let nobody else read for and write this report: of processes that end together, the last one's is of them all."""
    place.mkdir(parents=True, exist_ok=True)
    with (place / ".lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _write(studies: Sequence[Study], place: File) -> Report:
    outcomes, series = read_outcomes(*studies), read_series(*studies)
    releases, seeds, costs = study_table(outcomes), summary_table(outcomes), cost_table(series)
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
        write_whole(place / name, text)
    panels = _panels(series)
    pictures = _draw(studies, outcomes, panels[:MOST_PANELS], place, left_out=len(panels) - MOST_PANELS)
    found, ledgers = verdict(outcomes), [executed(study).sentence() for study in studies]
    whole = page(
        title=", ".join(study.name for study in studies),
        sentences=found + ledgers,
        tables=[seeds, releases, costs],
        pictures=pictures,
        foot=f"lrpath {__version__}",
    )
    write_whole(place / "index.html", whole)
    names = [*texts, *(picture.file.name for picture in pictures), "index.html"]
    shown = study_table(outcomes, sets=len(held_out_versions(outcomes)) <= MOST_SETS)
    lines = ["", *found, "", *ledgers, f"written to {place}: {', '.join(names)}"]
    return Report(text="\n".join([shown.text(), *lines]), files=tuple(place / name for name in names))


def _draw(
    studies: Sequence[Study], outcomes: Sequence[Outcome], panels: Sequence[Panel], place: File, *, left_out: int
) -> list[Picture]:
    """Draw every figure that has data; captions say where series were left out."""
    more = f"; {left_out:,} more series are in the tables" if left_out > 0 else ""
    files = {caption: place / f"{name}.png" for name, caption in _CAPTIONS.items()}
    rates, quality, losses, alpha, domains = files.values()
    draw_rates(panels, rates)
    drawn = {
        rates: True,
        quality: plot_quality_against_cost(outcomes, quality),
        losses: plot_losses(studies, panels, losses),
        alpha: plot_alpha(outcomes, alpha),
        domains: plot_domains(studies, panels, domains),
    }
    partly = (rates, losses, domains)
    return [
        Picture(file=file, caption=caption + (more if file in partly else ""))
        for caption, file in files.items()
        if drawn[file]
    ]


def _panels(found: tuple[Series, ...]) -> tuple[Panel, ...]:
    """Return one panel for each group of series; of several seeds, whose rates are equal, the first is drawn."""
    groups: dict[str, Panel] = {}
    for series in found:
        groups.setdefault(series.group, Panel(label=series.group, kind=series.kind, tree=series.tree))
    return tuple(groups.values())
