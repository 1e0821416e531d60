"""Compares what releases score on tasks with what they cost, over seeds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from lrpath.analysis.compare import Outcome
from lrpath.analysis.scores import release_folder
from lrpath.analysis.seeds import Interval, Summary, interval_of
from lrpath.planning.paths import Release
from lrpath.records.study import Study
from lrpath.records.task_scores import TaskScore, merged_task_file, path_task_file


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSummary:
    """One version of one setting on one figure of one task, over its seeds.

    Args:
        summary: The version and setting.
        score: The figure of one of its seeds; task, metric and digest are those of all.
        value: The figure over seeds.
        standard_error: Standard error over the task's documents, the mean of the seeds': they answer the same
            documents, so that more seeds do not make it smaller. None where the harness has none.
        on_front: Whether no other setting of this version is as cheap and as good, and better in one of the two.
    """

    summary: Summary
    score: TaskScore
    value: Interval
    standard_error: float | None
    on_front: bool


def release_task_scores(study: Study, *, release: Release) -> tuple[TaskScore, ...]:
    """Return the scores of a release on tasks; none if it was given no task.

    Raises:
        StateError: If a file of scores was altered.
    """
    if len(release.parts) > 1:
        return merged_task_file(release_folder(study, release=release)).scores()
    folder = study.find(release.last.path_id)
    return () if folder is None else path_task_file(folder.folder, release.last.position).scores()


def outcome_task_scores(outcome: Outcome) -> tuple[TaskScore, ...]:
    """Return the scores of an outcome's release; raises as `release_task_scores`."""
    series = outcome.series
    return release_task_scores(series.study, release=series.plan.release(series.paradigm, outcome.version))


def summarise_tasks(summaries: Iterable[Summary]) -> tuple[TaskSummary, ...]:
    """Return every figure of every version and setting: by task and version, and then the best first.

    Raises:
        StateError: If a file of scores was altered.
    """
    found = [one for summary in summaries for one in _of(summary)]
    marked = [replace(one, on_front=_is_on_front(one, found)) for one in found]
    return tuple(sorted(marked, key=lambda one: (*_figure(one.score), one.summary.first.number, -_goodness(one))))


def _of(summary: Summary) -> list[TaskSummary]:
    figures: dict[tuple[str, ...], list[TaskScore]] = {}
    for outcome in summary.outcomes.values():
        for score in outcome_task_scores(outcome):
            figures.setdefault(_figure(score), []).append(score)
    return [
        TaskSummary(
            summary=summary,
            score=scores[0],
            value=interval_of([score.value for score in scores]),
            standard_error=_mean_error(scores),
            on_front=False,
        )
        for scores in figures.values()
    ]


def _mean_error(scores: Sequence[TaskScore]) -> float | None:
    errors = [score.standard_error for score in scores]
    return None if None in errors else fmean(error for error in errors if error is not None)


def _figure(score: TaskScore) -> tuple[str, str, str, str]:
    return score.task, score.metric, score.filter, score.digest


def _goodness(one: TaskSummary) -> float:
    return -one.value.mean if one.score.higher_is_better is False else one.value.mean


def _is_on_front(one: TaskSummary, others: Sequence[TaskSummary]) -> bool:
    if one.score.higher_is_better is None:
        return False
    alike = [other for other in others if _figure(other.score) == _figure(one.score)]
    rivals = [other for other in alike if other.summary.first.setup == one.summary.first.setup]
    cost, good = one.summary.first.relative_cost, _goodness(one)
    return not any(
        other.summary.first.relative_cost <= cost
        and _goodness(other) >= good
        and (other.summary.first.relative_cost, _goodness(other)) != (cost, good)
        for other in rivals
    )
