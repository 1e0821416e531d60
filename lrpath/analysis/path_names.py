"""What paths are called where people read of them: by their own names, or with α and seed where two have one name."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from lrpath.analysis.compare import Series, series_of
from lrpath.analysis.labels import differing_fields, labelled, settings_of
from lrpath.planning.paths import Path, name_of_whole
from lrpath.planning.plan import Plan
from lrpath.records.study import Study


def short_name(path: Path, *, paradigm: str) -> str:
    """Return a path's name without the paradigm's label; a path that another paradigm made keeps that label."""
    return path.name.removeprefix(f"{paradigm}.")


def common_label(its: Sequence[Series]) -> str:
    """Return the label of a lone series; of several what their labels have in common, for example all but α."""
    if len(its) == 1:
        return its[0].label
    name, words = its[0].paradigm, [one.label.removeprefix(one.paradigm).strip(" ()").split(", ") for one in its]
    common = [word for word in words[0] if word and all(word in other for other in words)]
    return f"{name} ({', '.join(common)})" if common else name


def series_by_path(found: Iterable[Series]) -> dict[str, list[Series]]:
    """Return, by path id, the series that have the path."""
    its: dict[str, list[Series]] = {}
    for series in found:
        for path in series.tree.paths:
            its.setdefault(path.id, []).append(series)
    return its


def names_in(series: Series, path: Path) -> set[str]:
    """Return what a path is called as one of a series: of one that it shares, or of whose rest it is, under its own."""
    last = path.name.rpartition(".")[2]
    return {f"{label}.{own}" for label in (series.paradigm, series.label) for own in (last, name_of_whole(last))}


def path_names(study: Study, plans: Iterable[Plan]) -> dict[str, str]:
    """Return a name for every path of some plans of a study, no two alike, by path id.

    `path_switching.v2` stays what it is, unless branches of several α have that name: then it is
    `path_switching (alpha=0.6).v2`.
    """
    its = series_by_path(series_of({study: tuple(plans)}))
    paths = {path_id: found[0].tree.path(path_id) for path_id, found in its.items()}
    count = Counter(path.name for path in paths.values())
    names = {
        path_id: path.name
        if count[path.name] == 1
        else f"{common_label(its[path_id])}.{short_name(path, paradigm=its[path_id][0].paradigm)}"
        for path_id, path in paths.items()
    }
    again = Counter(names.values())
    return {path_id: name if again[name] == 1 else f"{name} #{path_id}" for path_id, name in names.items()}


def plan_labels(plans: Mapping[str, Plan]) -> dict[str, tuple[str, ...]]:
    """Return the paradigms of every plan, each with the settings in which it differs from that of other plans."""
    rivals = [(plan, name) for plan in plans.values() for name in plan.paradigms]
    every = [(*rival, settings) for rival, settings in zip(rivals, settings_of(rivals), strict=True)]
    fields = {
        name: differing_fields([settings for _, other, settings in every if other == name])
        for name in {name for _, name, _ in every}
    }
    return {
        plan_id: tuple(
            labelled(name, {field: settings[field] for field in fields[name] if field in settings})
            for owner, name, settings in every
            if owner is plan
        )
        for plan_id, plan in plans.items()
    }
