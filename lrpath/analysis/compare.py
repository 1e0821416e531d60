"""Compares what a study's releases are worth on held-out text with what they cost.

The releases v1 … vN of one label in one plan are a series. Of version i,

    headline = Σ nll ÷ Σ tokens over the held-out sets of versions 1…i   [nats per token]
    cost     = updates that releasing versions 1…i takes, relative to training each of them from scratch

Headlines of one version are on one scale, headlines of different versions are not: their sets differ.
"""

import math
import pathlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lrpath.errors import StateError
from lrpath.planning import plan as plans
from lrpath.planning.cost import Cost
from lrpath.planning.lineage import content_id
from lrpath.planning.paths import Release, Tree
from lrpath.planning.plan import Plan
from lrpath.planning.units import write_count
from lrpath.records.study import Study
from lrpath.records.tables import EVALUATION_COLUMNS, Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How well held-out tokens are predicted; scores of several sets add up.

    Args:
        nll: Negative log-likelihood, summed [nats].
        tokens: Predicted tokens; at least 1.
    """

    nll: float
    tokens: int

    def __add__(self, other: "Score") -> "Score":
        return Score(nll=self.nll + other.nll, tokens=self.tokens + other.tokens)

    @property
    def loss(self) -> float:
        """Mean negative log-likelihood [nats per token]."""
        return self.nll / self.tokens

    @property
    def perplexity(self) -> float:
        """Exponential of the loss; infinite where a float cannot hold it."""
        return math.exp(self.loss) if self.loss < 700 else math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
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
    settings: dict[str, Any]
    group: str
    label: str

    @property
    def kind(self) -> str:
        """Kind of the paradigm, for example `path_switching`."""
        return str(self.settings.get("kind", self.paradigm))

    @property
    def tree(self) -> Tree:
        """All paths and releases of the series."""
        return self.plan.part(self.paradigm)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One release: how good it is and what it and the releases before it cost.

    Args:
        series: The series it belongs to.
        version: Its version.
        scores: Score by (version, domain) of the held-out set; None while the release is not made and evaluated.
        cost: Cost of the series' versions up to this one.
        cost_from_scratch: Updates that training each of these versions from scratch takes.
    """

    series: Series
    version: str
    scores: dict[tuple[str, str], Score] | None
    cost: Cost
    cost_from_scratch: int

    @property
    def number(self) -> int:
        """Number of the version, from 1."""
        return self.series.plan.versions.index(self.version) + 1

    @property
    def place(self) -> tuple[str, tuple[int, ...]]:
        """What is equal where losses are compared: a digest of model, data and batch, and the increments so far."""
        recipe = self.series.tree.paths[0].recipe
        read = [[part.content, part.held_out] for part in self.series.plan.increments[: self.number]]
        setup = [recipe.model, recipe.data, read, recipe.sequences_per_update, recipe.tokens_per_sequence]
        return content_id(setup), self.increments

    @property
    def increments(self) -> tuple[int, ...]:
        """Sizes of the increments up to this version [updates]."""
        return tuple(increment.updates for increment in self.series.plan.increments[: self.number])

    @property
    def relative_cost(self) -> float:
        """Updates up to this version ÷ those of training each version from scratch."""
        return self.cost.updates / self.cost_from_scratch

    @property
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
        return Score(nll=math.fsum(part.nll for part in found.values()), tokens=sum(p.tokens for p in found.values()))


def release_folder(study: Study, *, release: Release) -> pathlib.Path:
    """Return the folder of a merged release, named by a digest of its parts; it need not exist.

    Its `evaluation.csv` has the columns of a path's, with the position of the release's latest state.
    """
    digest = content_id([[key.path_id, key.position, weight] for key, weight in release.parts])
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", f"{release.paradigm}-{release.version}")
    return study.folder / "releases" / f"{name}-{digest}"


def scores_of(study: Study, *, release: Release) -> dict[tuple[str, str], Score] | None:
    """Return a release's scores by (version, domain); None if it was not evaluated.

    Raises:
        StateError: If the table of evaluations is altered.
    """
    if len(release.parts) > 1:
        table = Table(release_folder(study, release=release) / "evaluation.csv", columns=EVALUATION_COLUMNS)
    elif (folder := study.find(release.last.path_id)) is not None:
        table = folder.evaluation
    else:
        return None
    try:
        found = {
            (row["version"], row["domain"]): Score(nll=float(row["nll"]), tokens=int(row["tokens"]))
            for row in table.rows()
            if int(row["position"]) == release.last.position
        }
    except ValueError as error:
        raise StateError(f"{table.file} has a row that is no number ({error}); restore it from a copy") from None
    if any(score.tokens < 1 or not math.isfinite(score.nll) for score in found.values()):
        raise StateError(f"{table.file} has a row without tokens or with a loss that is not finite; restore it")
    return found or None


def read_plans(study: Study) -> tuple[Plan, ...]:
    """Return every plan kept in the study, oldest first.

    Raises:
        PlanError: If a plan was altered.
    """
    return tuple(plans.from_record(record) for record in study.plans().values())


def read_series(*studies: Study) -> tuple[Series, ...]:
    """Return the series of all plans, by label and settings; of series that begin with the same states, the longest.

    States are named by content, so a plan to which v5 was added, or the from-scratch releases of every plan in an α
    sweep, are found to be the same thing. Of equal series of several studies, the one with most evaluated releases.
    """
    longest: dict[tuple[object, ...], tuple[Study, Plan, str]] = {}
    every = [(study, plan) for study in studies for plan in read_plans(study)]
    order = list(dict.fromkeys(paradigm for _, plan in every for paradigm in plan.paradigms))
    for study, plan in every:
        for paradigm in plan.paradigms:
            key = (paradigm, *(r.parts for r in plan.tree.releases if r.paradigm == paradigm))
            if any(known[: len(key)] == key for known in longest if known != key):
                continue
            if key in longest and _evaluated(*longest[key]) >= _evaluated(study, plan, paradigm):
                continue
            shorter = [known for known in longest if key[: len(known)] == known]
            longest = {known: value for known, value in longest.items() if known not in shorter}
            longest[key] = (study, plan, paradigm)
    kept = sorted(longest.values(), key=lambda row: order.index(row[2]))
    return _named([(study, plan, paradigm, _settings(plan, paradigm)) for study, plan, paradigm in kept])


def _evaluated(study: Study, plan: Plan, paradigm: str) -> int:
    releases = (release for release in plan.tree.releases if release.paradigm == paradigm)
    return sum(scores_of(study, release=release) is not None for release in releases)


def read_outcomes(*studies: Study) -> tuple[Outcome, ...]:
    """Return the outcome of every release of every series of some studies, also of those not made yet.

    Raises:
        StateError: If a table of evaluations is altered.
        PlanError: If a plan is altered.
    """
    return tuple(
        Outcome(
            series=series,
            version=release.version,
            scores=scores_of(series.study, release=release),
            cost=series.plan.cost(series.plan.part(series.paradigm, versions=number)),
            cost_from_scratch=series.plan.updates_from_scratch(versions=number),
        )
        for series in read_series(*studies)
        for number, version in enumerate(series.plan.versions, start=1)
        for release in series.tree.releases
        if release.version == version
    )


def _settings(plan: Plan, paradigm: str) -> dict[str, Any]:
    recipe = plan.part(paradigm).paths[0].recipe.as_record()
    sizes = [increment.updates for increment in plan.increments]
    updates = sizes[0] if len(set(sizes)) == 1 else sizes
    own = {"model": plan.model_name, "increment_updates": updates, "parameters": plan.parameters}
    return _flat(plan.paradigms[paradigm]) | _flat(recipe) | own


def _flat(record: dict[str, Any], at: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in record.items():
        flat |= _flat(value, f"{at}{key}.") if isinstance(value, dict) else {f"{at}{key}": value}
    return flat


def _named(rows: list[tuple[Study, Plan, str, dict[str, Any]]]) -> tuple[Series, ...]:
    """Extend each label by the settings that differ between series of that label, and by a path id if none does."""
    found: list[tuple[list[tuple[int, float, str]], Series]] = []
    names = [paradigm for *_, paradigm, _ in rows]
    for study, plan, paradigm, settings in rows:
        fields = [key for key in _telling([other for *_, name, other in rows if name == paradigm]) if key in settings]
        group = _extended(paradigm, {key: settings[key] for key in fields if key != "seed"})
        label = _extended(paradigm, {key: settings[key] for key in fields})
        if any(series.label == label for _, series in found):
            group, label = (f"{name} #{plan.part(paradigm).paths[0].id}" for name in (group, label))
        series = Series(study=study, plan=plan, paradigm=paradigm, settings=settings, group=group, label=label)
        order = [(names.index(paradigm), 0.0, ""), *(_rank(settings[key]) for key in fields)]
        found.append((order, series))
    return tuple(series for _, series in sorted(found, key=lambda pair: pair[0]))


def _telling(rivals: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the fields that differ between rivals; sizes of the model only where they are needed to tell them apart.

    The number of parameters says most about a size, so widths and depths come after it.
    """
    known = dict.fromkeys(key for settings in rivals for key in settings)
    differing = [key for key in known if any(other.get(key) != rivals[0].get(key) for other in rivals)]
    sizes = [key for key in differing if key.startswith("model.")]
    fields = [key for key in differing if key not in sizes and key != "parameters"]
    for more in (["parameters"], sizes):
        if _kinds(rivals, fields) < _kinds(rivals, differing):
            fields += [key for key in more if key in differing]
    return fields


def _kinds(rivals: Sequence[Mapping[str, Any]], fields: Sequence[str]) -> int:
    """Return how many rivals some fields tell apart; runs that differ in their seed are one."""
    return len({str([settings.get(key) for key in fields if key != "seed"]) for settings in rivals})


def _rank(value: Any) -> tuple[int, float, str]:
    """Sort numbers by size and before anything else."""
    return (0, float(value), "") if isinstance(value, int | float) else (1, 0.0, str(value))


def _extended(name: str, settings: dict[str, Any]) -> str:
    texts = [f"{key}={_written(key, value)}" for key, value in settings.items()]
    return f"{name} ({', '.join(texts)})" if texts else name


def _written(key: str, value: Any) -> str:
    if key == "parameters" and value is not None:
        return write_count(value)
    return f"{value:g}" if isinstance(value, float) else str(value)[:24]
