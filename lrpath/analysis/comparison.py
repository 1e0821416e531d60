"""The facts of a report on one study or several, read from disk and computed once; its writers only draw them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from lrpath.analysis.compare import Outcome, Series, outcomes_of, plans_by_id, series_of
from lrpath.analysis.execution import Execution, executed
from lrpath.analysis.labels import differing_fields, labelled, longest_by_chain
from lrpath.analysis.paper_order import PaperOrder, paper_orders
from lrpath.analysis.seeds import Summary, pareto_fronts, summarise
from lrpath.planning.lineage import canonical, content_id
from lrpath.planning.plan import Plan
from lrpath.records.ledger import Run
from lrpath.records.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparableGroup:
    """Series that were evaluated on the same held-out tokens: their losses are of one scale, and may be ranked.

    Args:
        name: What tells it from other groups; empty where there is one only.
        series: The series.
        outcomes: The outcomes of their releases.
        summaries: Their releases over seeds, version by version.
    """

    name: str
    series: tuple[Series, ...]
    outcomes: tuple[Outcome, ...]
    summaries: tuple[Summary, ...]

    @property
    def last_summaries(self) -> tuple[Summary, ...]:
        """The summaries of the last version, the lowest mean loss first."""
        last = max((one.first.number for one in self.summaries), default=0)
        return tuple(sorted((one for one in self.summaries if one.first.number == last), key=lambda one: one.loss.mean))

    @property
    def by_test_sets(self) -> tuple[tuple[Summary, ...], ...]:
        """The summaries, apart where the sets to report are others, though those to choose on are the same."""
        sets = {id(one): tuple(held_out for *_, held_out in one.first.setup.increments) for one in self.summaries}
        whole = longest_by_chain(sets.values())
        found: dict[tuple[str | None, ...], list[Summary]] = {}
        for one in self.summaries:
            found.setdefault(whole[sets[id(one)]], []).append(one)
        return tuple(map(tuple, found.values()))


@dataclass(frozen=True, kw_only=True)
class StudyComparison:
    """What studies, taken together, say of their releases.

    Args:
        plans: Plans of each study, oldest first.
        runs: Runs of each study's ledger.
        series: The series of all plans.
        outcomes: The outcome of every release of every series, made or not.
    """

    plans: Mapping[Study, tuple[Plan, ...]]
    runs: Mapping[Study, tuple[Run, ...]]
    series: tuple[Series, ...]
    outcomes: tuple[Outcome, ...]

    @classmethod
    def read(cls, *studies: Study) -> "StudyComparison":
        """Read studies from disk.

        Raises:
            StateError: If a plan, a ledger or a table of evaluations was altered.
            PlanError: If a plan cannot be read.
        """
        plans = {study: tuple(plans_by_id(study).values()) for study in studies}
        series = series_of(plans)
        return cls(
            plans=plans,
            runs={study: tuple(study.ledger.runs()) for study in studies},
            series=series,
            outcomes=outcomes_of(series),
        )

    @property
    def studies(self) -> tuple[Study, ...]:
        """The studies, in the order in which they were named."""
        return tuple(self.plans)

    @cached_property
    def summaries(self) -> tuple[Summary, ...]:
        """Every version of every setting over its seeds."""
        return summarise(self.outcomes)

    @cached_property
    def groups(self) -> tuple[ComparableGroup, ...]:
        """The series, apart where they were evaluated on other held-out tokens."""
        chain_of = _evaluated_on(self.outcomes)
        whole = longest_by_chain(chain_of.values())
        members: dict[tuple[str, ...], list[Series]] = {}
        for series in self.series:
            members.setdefault(whole[chain_of[series.label]], []).append(series)
        names = _names_of_groups(list(members.values()))
        return tuple(
            ComparableGroup(
                name=name,
                series=tuple(found),
                outcomes=tuple(one for one in self.outcomes if one.series in found),
                summaries=tuple(one for one in self.summaries if one.first.series in found),
            )
            for name, found in zip(names, members.values(), strict=True)
        )

    @cached_property
    def fronts(self) -> tuple[tuple[Summary, ...], ...]:
        """The Pareto-optimal settings, one front for each group that may be compared."""
        return pareto_fronts(self.summaries)

    @cached_property
    def paper_orders(self) -> tuple[PaperOrder, ...]:
        """Whether the order of arXiv 2410.04103 is seen, once for each group that holds its three paradigms."""
        return paper_orders(self.outcomes)

    @cached_property
    def executions(self) -> tuple[Execution, ...]:
        """The ledger of each study against its plans."""
        return tuple(executed(self.plans[study], self.runs[study]) for study in self.studies)


def _evaluated_on(outcomes: Iterable[Outcome]) -> dict[str, tuple[str, ...]]:
    """Return, by the series' label, a digest of the held-out tokens of each version that it was evaluated on.

    A series that was not evaluated yet is taken to be judged as others on text of the same source.
    """
    found: dict[str, tuple[str, ...]] = {}
    by_data: dict[str, tuple[str, ...]] = {}
    for outcome in outcomes:
        chain, series = outcome.setup.evaluated_on, outcome.series
        if outcome.headline is not None and len(chain) > len(found.get(series.label, ())):
            found[series.label] = chain
            by_data[canonical(series.recipe.data)] = chain
    for outcome in outcomes:
        data = canonical(outcome.series.recipe.data)
        found.setdefault(outcome.series.label, by_data.get(data, (content_id(data),)))
    return found


def _names_of_groups(groups: list[list[Series]]) -> list[str]:
    """Name groups by what differs in their data, else by their studies, else by number."""
    if len(groups) == 1:
        return [""]
    settings = [group[0].settings for group in groups]
    fields = [
        field
        for field in differing_fields(settings)
        if field.startswith("data.") or field in ("text", "model.vocab_size")
    ]
    data = [labelled("", {field: one[field] for field in fields if field in one}).strip(" ()") for one in settings]
    studies = [", ".join(dict.fromkeys(series.study.name for series in group)) for group in groups]
    numbers = [f"held-out text {number}" for number in range(1, len(groups) + 1)]
    return next(names for names in (data, studies, numbers) if len(set(names)) == len(groups) and all(names))
