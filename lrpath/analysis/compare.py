"""Compares what a study's releases are worth on held-out text with what they cost.

The releases v1 … vN of one label in one plan are a series. Of version i,

    headline = Σ nll ÷ Σ tokens over the held-out sets of versions 1…i   [nats per token]
    cost     = tokens that releasing versions 1…i takes, relative to training each of them from scratch

Headlines of one version are on one scale, headlines of different versions are not: their sets differ.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lrpath.analysis.labels import SEEDS, Settings, differing_fields, labelled, settings_of, sort_key
from lrpath.analysis.scores import Score, StudyScores, total
from lrpath.planning.cost import Cost
from lrpath.planning.later_readings import LaterReadings
from lrpath.planning.lineage import content_id
from lrpath.planning.paths import Release, StateKey, Tree
from lrpath.planning.plan import Plan
from lrpath.planning.recipe import Recipe
from lrpath.records.held_out import SetName
from lrpath.records.study import Study

Seed = tuple[int, int]
"""Seeds of the weights and of the order."""


def write_seeds(seeds: Iterable[Seed]) -> str:
    """Write seeds, `1, 2`; where the two differ, `weights 1 order 7`.

    >>> write_seeds([(2, 2), (1, 1), (1, 7)])
    '1, weights 1 order 7, 2'
    """
    texts = [
        f"{weights}" if weights == order else f"weights {weights} order {order}" for weights, order in sorted(seeds)
    ]
    return ", ".join(dict.fromkeys(texts))


@dataclass(frozen=True, kw_only=True, eq=False)  # equal if it is the same object: to compare two plans takes long
class Series:
    """The releases of one label in one plan.

    Args:
        study: The study that keeps the plan.
        plan: The plan.
        paradigm: The label in the plan.
        settings: What the paradigm and its recipe were given, flat, by dotted field name.
        group: The label, extended by the settings other than the seed that differ within the study.
        label: The group, extended by the seed if seeds differ.
    """

    study: Study
    plan: Plan
    paradigm: str
    settings: Settings
    group: str
    label: str

    @property
    def kind(self) -> str:
        """Kind of the paradigm, for example `path_switching`."""
        return self.plan.paradigms[self.paradigm].kind

    @property
    def seed(self) -> Seed:
        """Seeds of its weights and of its order."""
        return self.recipe.weights_seed, self.recipe.order_seed

    @cached_property
    def tree(self) -> Tree:
        """All paths and releases of the series."""
        return self.plan.part(self.paradigm)

    @property
    def recipe(self) -> Recipe:
        """What all its updates share."""
        return self.tree.paths[0].recipe

    @cached_property
    def recipe_id(self) -> str:
        """Digest of model, data and batch."""
        recipe = self.recipe
        return content_id([recipe.model, recipe.data, recipe.sequences_per_update, recipe.tokens_per_sequence])


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is equal among releases that may be ranked: model, data, batch, increments, and the held-out tokens.

    Relative costs are in units of training from scratch, so they are of one scale only where the increments are equal.

    Args:
        recipe: Digest of model, data and batch.
        increments: Of each increment up to the version its size [updates], its batches where they have grown, and
            digests of its tokens and of its held-out tokens, those to report among them, which no table of a path has.
        evaluated_on: Digest of each version's held-out tokens, up to the version.
    """

    recipe: str
    increments: tuple[tuple[Any, ...], ...]
    evaluated_on: tuple[str, ...]

    def is_continued_by(self, other: "Setup") -> bool:
        """Say whether another setup is of a later version of the same."""
        count = len(self.increments)
        begins = (other.increments[:count], other.evaluated_on[:count]) == (self.increments, self.evaluated_on)
        return begins and self.recipe == other.recipe and count < len(other.increments)


@dataclass(frozen=True, kw_only=True)  # not slotted, for what is computed once
class Outcome:
    """One release: how good it is and what it and the releases before it cost.

    Args:
        series: The series it belongs to.
        version: Its version.
        scores: Score by (version, domain) of the held-out set; None while the release is not made and evaluated.
        cost: Cost of the series' versions up to this one.
        cost_from_scratch: Tokens that training each of these versions from scratch takes.
    """

    series: Series
    version: str
    scores: dict[SetName, Score] | None
    cost: Cost
    cost_from_scratch: int

    @cached_property
    def number(self) -> int:
        """Number of the version, from 1."""
        return self.series.plan.versions.index(self.version) + 1

    @cached_property
    def setup(self) -> "Setup":
        """What is equal where losses, gaps and costs are compared; see `Setup`."""
        read, at, batch = [], 0, self.series.recipe.batch
        for one in self.series.plan.increments[: self.number]:
            begin, at = at, at + one.updates
            grown = tuple(batch.stretches(begin, at)) if batch.grows_before(at) else ()
            read.append((one.updates, *grown, one.content, one.held_out))
        return Setup(recipe=self.series.recipe_id, increments=tuple(read), evaluated_on=self._digests)

    @cached_property
    def evaluated_on(self) -> str:
        """Digest of the held-out tokens of this and all earlier versions; equal where two losses are of one scale."""
        return content_id(self._digests)

    @cached_property
    def _digests(self) -> tuple[str, ...]:
        """Return a digest of each version's held-out tokens; of studies without one, of where the text comes from."""
        data = content_id(self.series.recipe.data)
        increments = {one.version: one.held_out or data for one in self.series.plan.increments}
        sets: dict[str, list[tuple[object, ...]]] = {}
        for (version, domain), score in sorted((self.scores or {}).items()):
            sets.setdefault(version, []).append((domain, score.tokens, score.sha256 or increments.get(version, data)))
        return tuple(content_id(sets.get(name, [data])) for name in self.series.plan.versions[: self.number])

    @property
    def relative_cost(self) -> float:
        """Tokens up to this version ÷ those of training each version from scratch."""
        return self.cost.tokens / self.cost_from_scratch

    @cached_property
    def headline(self) -> Score | None:
        """Score on the sets of this and all earlier versions together."""
        return self.score(versions=self.series.plan.versions[: self.number])

    def score(self, *, versions: Collection[str], domain: str | None = None) -> Score | None:
        """Return the score on the sets of some versions together, of one domain or of all.

        None if the release was not evaluated on every one of these versions: a sum over other sets is not comparable.
        """
        found = {
            key: score for key, score in (self.scores or {}).items() if key[0] in versions and domain in (None, key[1])
        }
        if not found or {version for version, _ in found} != set(versions):
            return None
        return total(found.values())


def plans_by_id(study: Study) -> dict[str, Plan]:
    """Return every plan kept in the study by its id, oldest first.

    Raises:
        PlanError: If a plan cannot be read.
        StateError: If one was altered.
    """
    return {kept.id: kept.plan for kept in study.kept_plans()}


def read_plans(study: Study) -> tuple[Plan, ...]:
    """Return every plan kept in the study, oldest first; raises as `plans_by_id`."""
    return tuple(plans_by_id(study).values())


def read_series(*studies: Study) -> tuple[Series, ...]:
    """Return what `series_of` finds in the plans that some studies keep."""
    return series_of({study: read_plans(study) for study in studies})


def series_of(kept: Mapping[Study, Iterable[Plan]]) -> tuple[Series, ...]:
    """Return the series of all plans, by label and settings; of series that begin with the same states, the longest.

    States are named by content, so a plan to which v5 was added, or the from-scratch releases of every plan in an α
    sweep, are found to be the same thing. Of equal series of several studies, the one with most evaluated releases;
    one that goes on in another study, with fewer of them there, stands beside it.
    """
    every = [(study, plan) for study, its in kept.items() for plan in its]
    parts_of = _parts if len(kept) > 1 else _parts_of_one_study
    scores = {study: StudyScores(study) for study in kept}
    order: dict[str, int] = {}
    # Series of which one may be the beginning of the other have label and first release in common.
    alike: dict[tuple[object, ...], dict[_Parts, _Row]] = {}
    met: dict[tuple[str, _Parts], int] = {}
    for study, plan in every:
        for paradigm, parts in parts_of(plan).items():
            order.setdefault(paradigm, len(order))
            longest = alike.setdefault((paradigm, *parts[:1]), {})
            row = (study, plan, paradigm)
            longer = [known for known in longest if known != parts and known[: len(parts)] == parts]
            if any(_holds(longest[known], row, scores) for known in longer):
                continue
            if parts in longest and _evaluated(longest[parts], scores) >= _evaluated(row, scores):
                continue
            for shorter in [known for known in longest if parts[: len(known)] == known]:
                if _holds(row, longest[shorter], scores):
                    del longest[shorter]
            longest[parts] = row
            met.setdefault((paradigm, parts), len(met))
    found = [((order[row[2]], met[row[2], parts]), row) for longest in alike.values() for parts, row in longest.items()]
    rows = [row for _, row in sorted(found, key=lambda pair: pair[0])]
    settings = settings_of([(plan, paradigm) for _, plan, paradigm in rows])
    return _labelled([(*row, its) for row, its in zip(rows, settings, strict=True)])


_Part = tuple[tuple[StateKey, float, str], ...]
_Parts = tuple[_Part, ...]
"""Of what states each release of a series is made, with their weights, and what they have read that no id says."""
_Row = tuple[Study, Plan, str]
"""Study, plan and label of a series."""


def _parts(plan: Plan) -> dict[str, _Parts]:
    return _parts_by_paradigm(plan, LaterReadings(plan.tree).digest)


def _parts_of_one_study(plan: Plan) -> dict[str, _Parts]:
    return _parts_by_paradigm(plan, lambda _: "")  # a study gives an id one meaning


def _parts_by_paradigm(plan: Plan, digest: Callable[[StateKey], str]) -> dict[str, _Parts]:
    found: dict[str, list[_Part]] = {paradigm: [] for paradigm in plan.paradigms}
    for release in plan.tree.releases:
        if release.paradigm in found:
            found[release.paradigm].append(tuple((key, weight, digest(key)) for key, weight in release.parts))
    return {paradigm: tuple(parts) for paradigm, parts in found.items()}


def _holds(longer: _Row, shorter: _Row, scores: Mapping[Study, StudyScores]) -> bool:
    """Say whether a series that goes on from another has its results: in another study it may be planned alone."""
    return longer[0] is shorter[0] or _evaluated(longer, scores) >= _evaluated(shorter, scores)


def _evaluated(row: _Row, scores: Mapping[Study, StudyScores]) -> int:
    study, plan, paradigm = row
    releases = (release for release in plan.tree.releases if release.paradigm == paradigm)
    return sum(scores[study].of(release) is not None for release in releases)


def _labelled(rows: list[tuple[Study, Plan, str, Settings]]) -> tuple[Series, ...]:
    """Extend each label by the settings that differ between its series, and by a path id or the study if none does."""
    found: list[tuple[list[tuple[int, float, str]], Series]] = []
    names: dict[str, int] = {}
    rivals: dict[str, list[Settings]] = {}
    for *_, paradigm, settings in rows:
        names.setdefault(paradigm, len(names))
        rivals.setdefault(paradigm, []).append(settings)
    fields = {paradigm: differing_fields(its) for paradigm, its in rivals.items()}
    taken: set[str] = set()
    for study, plan, paradigm, settings in rows:
        differing = {key: settings[key] for key in fields[paradigm] if key in settings}
        group = labelled(paradigm, {key: value for key, value in differing.items() if key not in SEEDS})
        label = labelled(paradigm, differing)
        for more in (f" #{plan.part(paradigm).releases[-1].last.path_id}", f" of {study.name}"):
            if label in taken:
                group, label = group + more, label + more
        taken.add(label)
        series = Series(study=study, plan=plan, paradigm=paradigm, settings=settings, group=group, label=label)
        order = [(names[paradigm], 0.0, ""), *map(sort_key, differing.values())]
        found.append((order, series))
    return tuple(series for _, series in sorted(found, key=lambda pair: pair[0]))


def read_outcomes(*studies: Study) -> tuple[Outcome, ...]:
    """Return the outcomes of all series of some studies; see `outcomes_of`."""
    return outcomes_of(read_series(*studies))


def outcomes_of(found: Iterable[Series]) -> tuple[Outcome, ...]:
    """Return the outcome of every release of some series, also of those not made yet.

    Raises:
        StateError: If a table of evaluations is altered.
    """
    every = list(found)
    studies = dict.fromkeys(series.study for series in every)
    scores = {study: StudyScores(study, sets=study.held_out.read()) for study in studies}
    return tuple(
        Outcome(
            series=series,
            version=release.version,
            scores=scores[series.study].of(release),
            cost=series.plan.costs(series.paradigm)[number - 1],
            cost_from_scratch=series.plan.tokens_from_scratch(versions=number),
        )
        for series in every
        for number, release in _in_order(series)
    )


def _in_order(series: Series) -> list[tuple[int, Release]]:
    """Return the releases of a series, version by version, each with the number of its version."""
    numbers = {version: number for number, version in enumerate(series.plan.versions, start=1)}
    found = [(numbers[release.version], release) for release in series.tree.releases]
    return sorted(found, key=lambda pair: pair[0])
