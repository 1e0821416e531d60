"""The runs that TensorBoard lists: every path under the name of its series, which says α and seed.

The events of a path lie in its folder, whose name is a path's and an id. TensorBoard names a run by its folder, so a
report links them under names that tell branches of one version apart.
"""

import contextlib
import os
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass

from lrpath.analysis.compare import Series
from lrpath.analysis.path_names import common_label, series_by_path, short_name
from lrpath.planning.paths import Path
from lrpath.reporting.hparams import folder_name
from lrpath.reporting.tables import Align, Column, ReportTable, write_whole_number

_RUNS = (
    Column(key="run", title="run", align=Align.LEFT),
    Column(key="series", title="series", align=Align.LEFT),
    Column(key="first", title="from", write=write_whole_number),
    Column(key="end", title="to", write=write_whole_number),
    Column(key="leaves", title="leaves", align=Align.LEFT),
    Column(key="releases", title="releases", align=Align.LEFT),
    Column(key="folder", title="folder in paths/", align=Align.LEFT),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedRun:
    """A path as TensorBoard lists it.

    Args:
        folder: Folder of the run's series.
        name: Its name in that folder.
        path: The path.
        series: The series that have it.
    """

    folder: str
    name: str
    path: Path
    series: tuple[Series, ...]

    @property
    def place(self) -> pathlib.Path:
        """Folder of the path's own, made or not."""
        return self.series[0].study.place_of(self.path)


def named_runs(found: Sequence[Series]) -> list[NamedRun]:
    """Return every path of some series once a study: one that several share is named by what these have in common.

    Two studies may have gone on with other text under one id, so each has curves of its own.
    """
    runs, taken = [], set()
    for study in dict.fromkeys(series.study for series in found):
        for path_id, its in series_by_path(series for series in found if series.study is study).items():
            path = its[0].tree.path(path_id)
            folder, name = folder_name(common_label(its)), short_name(path, paradigm=its[0].paradigm)
            for more in (path_id, study.name):
                if (folder, name) in taken:
                    name = f"{name}-{more}"
            taken.add((folder, name))
            runs.append(NamedRun(folder=folder, name=name, path=path, series=tuple(its)))
    return runs


def link_runs(folder: pathlib.Path, runs: Sequence[NamedRun]) -> None:
    """Link the events of every run under its name; a link may point to what is not made yet.

    A file system without links has no such names: there, TensorBoard is given the folder of the study.
    """
    wanted = {folder / run.folder / run.name: run.place / "tb" for run in runs}
    for old in folder.glob("*/*"):
        if old.is_symlink() and old not in wanted:
            old.unlink()
    for link, place in wanted.items():
        target = os.path.relpath(place.absolute(), link.parent.absolute())
        link.parent.mkdir(exist_ok=True)
        if link.is_symlink() and str(link.readlink()) != target:
            link.unlink()
        if not link.is_symlink():
            with contextlib.suppress(OSError):
                link.symlink_to(target, target_is_directory=True)


def runs_table(runs: Sequence[NamedRun]) -> ReportTable:
    """Return a row for every run: which path it is, and of which series."""
    rows = []
    for run in runs:
        its, path = run.series, run.path
        more = [f"{len(its) - 2} more"] if len(its) > 2 else []
        released = [one.version for series in its for one in series.tree.releases if one.last.path_id == path.id]
        rows.append(
            (
                f"{run.folder}/{run.name}",
                ", ".join([*(series.label for series in its[:2]), *more]),
                path.start,
                max(series.tree.end(path.id) for series in its),
                None if path.parent is None else its[0].tree.path(path.parent.path_id).name,
                ", ".join(dict.fromkeys(released)) or None,
                run.place.name,
            )
        )
    return ReportTable(title="Runs", columns=_RUNS, rows=tuple(rows), notes=("Positions are in updates.",))
