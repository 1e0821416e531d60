"""Finds a release, a path, or a state of a path by the name that people give it."""

from collections.abc import Sequence

from lrpath.analysis.compare import Series, read_plans, read_series
from lrpath.analysis.path_names import names_in, path_names, series_by_path
from lrpath.errors import PlanError, StateError
from lrpath.planning.paradigms import PathSwitching
from lrpath.planning.paths import Path, Release, StateKey
from lrpath.records.study import Study


def choose_release(study: Study, *, name: str) -> tuple[Series, Release]:
    """Return a release, or a kept state as one, and the series it belongs to.

    Args:
        study: The study.
        name: `label/version`, with the label as the report writes it; or a version alone, which means the study's
            only series, or its only one of path switching. `path_switching.main/120` is the state of a path at a
            position, `path_switching.main` its newest one.

    Raises:
        PlanError: If there is no such release, or several; says which there are.
        StateError: If a path is named, and has no such state on disk.
    """
    planned = read_series(study)
    place, position = split_position(name)
    if paths := _paths_named(study, planned, place):
        return _state(study, planned, _only(study, planned, place, paths, position), position)
    label, _, version = name.rpartition("/")
    everything = [series for series in planned if version in series.plan.versions]
    if label:
        found = [series for series in everything if series.label == label]
        found = found or [series for series in everything if series.paradigm == label]
    else:
        switching = [series for series in everything if series.kind == PathSwitching.kind]
        found = switching or everything
    if len(found) != 1:
        what = "several releases" if found else "no release"
        known = [(series, version) for series in everything] or [(one, one.plan.versions[-1]) for one in planned]
        names = ", ".join(f"'release=\"{series.label}/{last}\"'" for series, last in known)
        raise PlanError(f"study {study.name} has {what} {name!r}; choose one of {names}")
    return found[0], found[0].plan.release(found[0].paradigm, version)


def choose_path(study: Study, *, name: str) -> tuple[Series, Path]:
    """Return a path by its name, and the series whose plan runs it furthest.

    Args:
        study: The study.
        name: As `lrpath.show` writes it. A path that paradigms share may be called by the name of each: where training
            from scratch begins as continual training does, `from_scratch.v1` is `continual.v1`.

    Raises:
        PlanError: If there is no such path, or several; says which there are.
    """
    planned = read_series(study)
    paths = _paths_named(study, planned, name)
    if not paths:
        known = ", ".join(path_names(study, read_plans(study)).values())
        raise PlanError(f"study {study.name} has no path {name!r}; its paths: {known}", value=name)
    path_id = _only(study, planned, name, paths, None)
    series = max(series_by_path(planned)[path_id], key=lambda one: one.tree.end(path_id))
    return series, series.tree.path(path_id)


def split_position(name: str) -> tuple[str, int | None]:
    """Return a path's name and the position behind it, None where none is given.

    >>> split_position("path_switching.main/120"), split_position("path_switching.main")
    (('path_switching.main', 120), ('path_switching.main', None))
    """
    place, _, number = name.rpartition("/")
    return (place, int(number)) if place and number.isdecimal() else (name, None)


def _paths_named(study: Study, planned: Sequence[Series], name: str) -> dict[str, str]:
    """Return the paths of a name by id, each with the name that no other has; all of them where several share it."""
    names = path_names(study, read_plans(study))
    if unique := {path_id: one for path_id, one in names.items() if name in (one, path_id)}:
        return unique
    by_path = series_by_path(planned)
    if own := {path_id: one for path_id, one in names.items() if by_path[path_id][0].tree.path(path_id).name == name}:
        return own
    shared = {path.id for series in planned for path in series.tree.paths if name in names_in(series, path)}
    return {path_id: one for path_id, one in names.items() if path_id in shared}


def _only(study: Study, planned: Sequence[Series], name: str, paths: dict[str, str], position: int | None) -> str:
    """Return the one path that is meant: of a path and its rest the one that makes the update to a position.

    Raises:
        PlanError: If there are several.
    """
    if len(paths) == 1:
        return next(iter(paths))
    for tree in (series.tree for series in planned if paths.keys() <= {path.id for path in series.tree.paths}):
        line = max((tree.line(path_id) for path_id in paths), key=len)
        if paths.keys() <= {path.id for path in line}:
            named = [path for path in line if path.id in paths]
            return next((path.id for path in reversed(named) if position is None or path.start < position), named[0].id)
    raise PlanError(f"study {study.name} has several paths {name!r}; choose one of {', '.join(paths.values())}")


def _state(study: Study, planned: Sequence[Series], path_id: str, asked: int | None) -> tuple[Series, Release]:
    folder = study.find(path_id)
    kept = [] if folder is None else folder.positions()
    position = max(kept, default=0) if asked is None else asked
    of_path = series_by_path(planned)[path_id]
    path = of_path[0].tree.path(path_id)
    if position not in kept:
        there = f"its states are at {', '.join(f'{one:,}' for one in kept)}" if kept else "it has none on disk"
        raise StateError(f"study {study.name} has no state of {path.name} at {position:,}; {there}", value=position)
    series = next((one for one in of_path if one.tree.end(path_id) >= position), of_path[-1])
    return series, Release(paradigm=path.name, version=str(position), parts=((StateKey(path_id, position), 1.0),))
