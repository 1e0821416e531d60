"""Curves of the paths of plans and studies: rates as planned, losses as recorded, and where the data change.

    paths = paths_of(study)                                     # every path that the study's plans hold, by name
    held_out = EvaluationSets.choose(study, ("v1",))                   # None stands for the training loss
    curve = read_path(study, tree=paths[0].tree, path_id=paths[0].path.id, held_out=held_out)

Shapes: U updates since the root, P observed positions.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import numpy as np

from lrpath.analysis.compare import read_plans, read_series
from lrpath.analysis.path_names import names_in
from lrpath.errors import LawError, PlanError, StateError
from lrpath.laws.areas import Ints
from lrpath.laws.curves import Curve, rates_of
from lrpath.planning.global_batch import GROWTH
from lrpath.planning.paths import Path, Release, StateKey, Tree
from lrpath.planning.shared_paths import unite
from lrpath.planning.streams import WEIGHT_PARTS, Segment
from lrpath.records.path_folder import PathFolder
from lrpath.records.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSets:
    """Held-out sets that are taken together, as one loss.

    Args:
        name: What tables call them.
        keys: (version, domain) of each.
    """

    name: str
    keys: frozenset[tuple[str, str]]

    @property
    def versions(self) -> frozenset[str]:
        """Versions whose sets are among them."""
        return frozenset(version for version, _ in self.keys)

    @classmethod
    def choose(cls, study: Study, patterns: Sequence[str]) -> "EvaluationSets":
        """Return the sets that a study was evaluated on and any of the patterns means.

        Args:
            study: The study.
            patterns: A version, `v1`; a version and domain, `v1/stdlib`; `*` stands for any text, `*/stdlib`.

        Raises:
            LawError: If a pattern matches no held-out set; the message lists them.
            StateError: If a table is altered.
        """
        known = {row.held_out for folder in study.folders() for row in folder.evaluations()}
        found: set[tuple[str, str]] = set()
        for pattern in patterns:
            meant = {key for key in known if any(fnmatchcase(text, pattern) for text in (key[0], "/".join(key)))}
            if not meant:
                there = ", ".join(sorted("/".join(key) for key in known)) or "none"
                text = f"set={pattern} matches no held-out set of study {study.name}. Known sets: {there}, train"
                raise LawError(text, field="set", value=pattern)
            found |= meant
        return cls(name=", ".join(patterns), keys=frozenset(found))

    def part(self, versions: Collection[str]) -> "EvaluationSets":
        """Return those of some versions alone."""
        kept = frozenset(key for key in self.keys if key[0] in versions)
        return EvaluationSets(name=", ".join(sorted({version for version, _ in kept})), keys=kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedPath:
    """A path as people name it.

    Args:
        name: Its own name, or the name of its series and version where several paths have that name.
        tree: Tree that holds it and its ancestors.
        path: The path.
        shared: Its names in all paradigms that have it.
    """

    name: str
    tree: Tree
    path: Path
    shared: frozenset[str] = frozenset()

    @property
    def end(self) -> int:
        """Position up to which it is planned."""
        return self.tree.end(self.path.id)

    @property
    def made_releases(self) -> tuple[Release, ...]:
        """Releases that the state at its end is."""
        key = StateKey(self.path.id, self.end)
        return tuple(release for release in self.tree.releases if release.parts == ((key, 1.0),))

    @property
    def releases(self) -> tuple[str, ...]:
        """Versions that the state at its end is."""
        return tuple(dict.fromkeys(release.version for release in self.made_releases))

    def is_meant(self, pattern: str) -> bool:
        """Say whether a pattern means its name, that in its plan, a part of it, or its id."""
        texts = (self.name, self.path.name, *self.path.name.split("."), self.path.id)
        return any(text == pattern or fnmatchcase(text, pattern) for text in texts)  # a name may have brackets


def paths_of_tree(tree: Tree) -> tuple[NamedPath, ...]:
    """Return the paths of one plan's tree."""
    return tuple(NamedPath(name=path.name, tree=tree, path=path) for path in tree.paths)


def paths_of(study: Study) -> tuple[NamedPath, ...]:
    """Return the paths of all plans that a study keeps.

    Paths that two plans call the same, such as v2 at two values of α, are named after their series, which says where
    the plans differ: `path_switching (alpha=0.2).v2`.

    Raises:
        StateError: If the study keeps no plan.
        PlanError: If a plan was altered, or plans contradict each other.
    """
    plans = read_plans(study)
    if not plans:
        raise StateError(f"{study.folder} holds no plan; train first, or choose another study")
    tree = unite(plan.tree for plan in plans)
    names = [path.name for path in tree.paths]
    longer: dict[str, str] = {}
    shared: dict[str, set[str]] = {}
    for series in read_series(study):
        for path in series.tree.paths:
            shared.setdefault(path.id, set()).update(names_in(series, path))
            longer.setdefault(path.id, f"{series.label}.{path.name.split('.', 1)[-1]}")
    return tuple(
        NamedPath(
            name=path.name if names.count(path.name) == 1 else longer.get(path.id, f"{path.name} #{path.id}"),
            tree=tree,
            path=path,
            shared=frozenset(shared.get(path.id, ())),
        )
        for path in tree.paths
    )


def choose_paths(paths: Sequence[NamedPath], patterns: Iterable[str], *, field: str) -> tuple[NamedPath, ...]:
    """Return the paths that any of the patterns means, in their order.

    Args:
        paths: All there are.
        patterns: Names, see `NamedPath.is_meant`; `*` stands for any text. What no path is called by itself may be the
            name of one that paradigms share.
        field: Field of the configuration that gives them, for the message.

    Raises:
        PlanError: If a pattern matches no path.
    """
    meant: set[str] = set()
    for pattern in patterns:
        found = {path.path.id for path in paths if path.is_meant(pattern)}
        found = found or {path.path.id for path in paths if pattern in path.shared}
        meant |= found
        if not found:
            known = ", ".join(path.name for path in paths)
            text = f"{field}={pattern} matches no path. Known paths: {known}"
            raise PlanError(text, field=field, value=pattern)
    return tuple(path for path in paths if path.path.id in meant)


def plan_path(*, tree: Tree, path_id: str, positions: Ints | None = None) -> Curve:
    """Return the curve of a planned path without losses, to be predicted; its history is that of its ancestors.

    Args:
        tree: The plan's tree.
        path_id: The path.
        positions: Positions that are asked for; by default all updates of the path itself.

    Raises:
        LawError: If the batch grows on the way: the laws know rates, and not what a larger batch does.
    """
    line = tree.line(path_id)
    if line[-1].recipe.batch.grows_before(tree.end(path_id)):
        raise LawError(
            f"path {line[-1].name} has a batch that grows ({GROWTH}), and the laws know updates of one batch alone; "
            "choose paths that end before it grows, with fit= and predict=",
            field=GROWTH,
            value=line[-1].recipe.growth,
        )
    ends = [*(path.start for path in line[1:]), tree.end(path_id)]
    parts = [rates_of(path.schedule, updates=end - path.start) for path, end in zip(line, ends, strict=True)]
    asked = np.arange(line[-1].start + 1, ends[-1] + 1) if positions is None else positions
    return Curve(name=line[-1].name, rates_U=np.concatenate(parts), positions_P=asked)


def has_losses(study: Study, path: Path, held_out: EvaluationSets | None = None) -> bool:
    """Say whether a study has recorded a loss of the path: of training, or on all of some held-out sets at once."""
    folder = study.find(path.id)
    return folder is not None and bool(_losses(folder, held_out))


def read_path(
    study: Study, *, tree: Tree, path_id: str, whole: bool = False, held_out: EvaluationSets | None = None
) -> Curve:
    """Return the curve of a path as a study has recorded it, its history that of its ancestors up to the forks.

    Updates whose loss was not finite, which the guard left out, are left out here.

    Args:
        study: The study.
        tree: The plan's tree, which knows the path's rates and ancestors.
        path_id: The path.
        whole: Whether its ancestors' losses are observed too. By default only its own are, so that the curves of a tree
            together hold every loss once.
        held_out: Sets whose loss is read, at the positions where all of them were evaluated; the training loss by
            default.

    Raises:
        LawError: If nothing is recorded.
        StateError: If a table is altered.
    """
    line = tree.line(path_id)
    ends = [*(path.start for path in line[1:]), tree.end(path_id)]
    losses: dict[int, float] = {}
    for path, end in list(zip(line, ends, strict=True))[0 if whole else -1 :]:
        folder = study.find(path.id)
        rows = {} if folder is None else _losses(folder, held_out)
        losses |= {position: loss for position, loss in rows.items() if path.start < position <= end}
    name = line[-1].name
    if not losses:
        if held_out is None or study.find(path_id) is None:
            raise LawError(f"study {study.name} has no losses of path {name}; train it, or choose another path")
        raise LawError(
            f"study {study.name} has not evaluated path {name} on {held_out.name}, all sets at one position; choose "
            "another set, or train with a shorter cadence.evaluate_every, which changes no number of a path"
        )
    positions = np.array(sorted(losses))
    planned = plan_path(tree=tree, path_id=path_id, positions=positions)
    return replace(planned, losses_P=np.array([losses[position] for position in positions.tolist()]))


def _losses(folder: PathFolder, held_out: EvaluationSets | None) -> dict[int, float]:
    if held_out is None:
        found = {row.position: row.loss for row in folder.metrics.rows()}
    else:
        sums: dict[int, dict[tuple[str, str], tuple[float, int]]] = {}
        for row in folder.evaluations():
            if row.held_out in held_out.keys:
                sums.setdefault(row.position, {})[row.held_out] = row.nll, row.tokens
        found = {
            position: sum(nll for nll, _ in parts.values()) / sum(tokens for _, tokens in parts.values())
            for position, parts in sums.items()
            if len(parts) == len(held_out.keys)
        }
    return {position: loss for position, loss in found.items() if math.isfinite(loss)}


def with_shift(curve: Curve, *, tree: Tree, path_id: str, old: Collection[str]) -> Curve:
    """Return the curve of a path with the position from which its plan reads other than old data, and how much of them.

    Args:
        curve: The path's curve.
        tree: The plan's tree.
        path_id: The path.
        old: Versions whose increments are the old data.

    Raises:
        LawError: If the plan mixes new data in from the first update, or changes the share of old data later on; the
            law of continual pre-training has no term for that.
    """
    line = tree.line(path_id)
    ends = [*(path.start for path in line[1:]), tree.end(path_id)]
    shares: list[tuple[int, float]] = []
    for path, end in zip(line, ends, strict=True):
        position = path.start
        for segment, first, last in path.stream.spans(path.start, end):
            shares.append((position, _share_of(segment, old)))
            position += last - first
    boundary = next((position for position, share in shares if share < 1), None)
    later = {share for position, share in shares if boundary is not None and position >= boundary}
    if boundary == 0 or len(later) > 1 or 1.0 in later:
        text = ", ".join(f"{share:.2f} from {position:,}" for position, share in shares)
        raise LawError(
            f"path {curve.name} reads {', '.join(sorted(old))} with shares {text}; the law of continual pre-training "
            "knows old data alone and then one mixture: leave the path out, or name other versions in old="
        )
    return replace(curve, boundary=boundary, replay=later.pop() if later else 0.0)


def _share_of(segment: Segment, old: Collection[str]) -> float:
    """Return the expected share of a segment's windows that comes from old increments."""
    parts = 0.0
    for component in segment.components:
        pool = sum(increment.updates for increment in component.increments)
        known = sum(increment.updates for increment in component.increments if increment.version in old)
        parts += component.parts * known / pool
    return parts / WEIGHT_PARTS
