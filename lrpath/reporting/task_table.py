"""The scores of releases on tasks, with standard errors over the tasks' documents and intervals over seeds."""

from collections.abc import Iterable, Sequence, Set

from lrpath.analysis.comparison import ComparableGroup, StudyComparison
from lrpath.analysis.task_comparison import TaskSummary, outcome_task_scores, summarise_tasks
from lrpath.records.task_scores import TaskScore, task_scores_of_path
from lrpath.reporting.release_tables import IntervalColumn, titled, write_interval
from lrpath.reporting.tables import Align, Column, ReportTable, write_fixed, write_whole_number

_TASK = Column(key="task", title="task", align=Align.LEFT)
_METRIC = Column(key="metric", title="metric", align=Align.LEFT)
_VERSION = Column(key="version", title="version", align=Align.LEFT)
_PARADIGM = Column(key="paradigm", title="paradigm", align=Align.LEFT)
_COST = Column(key="relative_cost", title="cost", unit="× scratch", write=write_fixed(2))
_DOCUMENTS = Column(key="documents", title="documents", write=write_whole_number)
_EXAMPLES = Column(key="examples", title="examples")
_SCORE = Column(key="score", title="score")
_FILTER = Column(key="filter", title="filter")
_DIGEST = Column(key="task_digest", title="digest")
_ERROR = Column(key="standard_error", title="standard error", write=write_fixed(4))
_COLUMNS = (
    _TASK,
    _METRIC,
    _VERSION,
    _PARADIGM,
    Column(key="seeds", title="seeds"),
    _COST,
    Column(key="on_front", title="front", write=lambda on: "●" if on else ""),
    IntervalColumn(key="score", title="score", write=write_interval(4)),
    _ERROR,
    _DOCUMENTS,
    _EXAMPLES,
)
TASK_CSV = "tasks.csv"
"""File of a report: the scores of releases, for programs."""
STATE_CSV = "tasks_by_state.csv"
"""File of a report: the scores of all states on disk, those that are no release too."""
_NOTES = (
    "By EleutherAI's harness. Standard error: over the documents of a task, as the harness says; ±: 95 % interval over "
    "seeds, of one seed none.",
    "● no other setting of the same version costs as little and scores as well. These documents cannot "
    "show differences below two standard errors.",
)

_OTHER_FORMS = (
    "Scores of one task with different letters in brackets do not compare: the digest of its documents, settings or "
    "harness is another. So given:"
)


def task_tables(comparison: StudyComparison, *, last: bool = False) -> list[ReportTable]:
    """Return one table a group whose releases were given tasks, a row for each figure, version and setting.

    Args:
        comparison: The facts.
        last: Whether the rows are those of the last version alone.
    """
    tables = [_task_table(group, last=last) for group in comparison.groups]
    return [table for table in tables if table.rows]


def _task_table(group: ComparableGroup, *, last: bool) -> ReportTable:
    found = summarise_tasks(group.last_summaries if last else group.summaries)
    title = "Scores on tasks, last version" if last else "Scores on tasks"
    forms = _forms(found)
    notes = [*_NOTES, *([f"{_OTHER_FORMS} {', '.join(sorted(forms))}."] if forms else [])]
    return ReportTable(
        title=titled(title, group),
        columns=_COLUMNS,
        rows=tuple(_rows(found, forms)),
        notes=tuple(notes if found else ()),
    )


def _forms(found: Iterable[TaskSummary]) -> set[str]:
    """Return the tasks that were given in several forms: of the same name, and of other digests."""
    digests: dict[tuple[str, str, str], set[str]] = {}
    for one in found:
        score = one.score
        digests.setdefault((score.task, score.metric, score.filter), set()).add(score.digest)
    return {task for (task, *_), forms in digests.items() if len(forms) > 1}


def _rows(found: Iterable[TaskSummary], forms: Set[str]) -> Iterable[tuple[object, ...]]:
    for one in found:
        first, score = one.summary.first, one.score
        task = f"{score.task} [{score.digest[:6]}]" if score.task in forms else score.task
        name = score.metric if score.filter == "none" else f"{score.metric} ({score.filter})"
        head = (task, name, first.version, first.series.group, one.value.count, first.relative_cost)
        yield (*head, one.on_front, one.value, one.standard_error, score.documents, score.examples)


def task_csv(comparison: StudyComparison) -> str:
    """Return every figure of every release and seed for programs; empty where no release was given a task."""
    found = [
        ((outcome.version, outcome.series.label, outcome.relative_cost), score)
        for outcome in comparison.outcomes
        for score in outcome_task_scores(outcome)
    ]
    return _scores_csv("Scores on tasks", (_VERSION, Column(key="series", title="series"), _COST), found)


def state_task_csv(comparison: StudyComparison) -> str:
    """Return every figure of every state that was given a task, by path and position; empty where there is none.

    Means of states are releases, and stand in `task_csv` alone.
    """
    found = [
        ((folder.folder.name, position), score)
        for study in comparison.studies
        for folder in study.folders()
        for position, scores in task_scores_of_path(folder.folder).items()
        for score in scores
    ]
    place = (Column(key="path", title="path"), Column(key="position", title="position"))
    return _scores_csv("Scores of states on tasks", place, found)


def _scores_csv(title: str, place: tuple[Column, ...], found: Sequence[tuple[tuple[object, ...], TaskScore]]) -> str:
    """Return scores, each of what the columns of its place say; empty where there are none."""
    columns = (*place, _TASK, _METRIC, _FILTER, _SCORE, _ERROR, _DOCUMENTS, _EXAMPLES, _DIGEST)
    rows = [
        (*of, one.task, one.metric, one.filter, one.value, one.standard_error, one.documents, one.examples, one.digest)
        for of, one in found
    ]
    return ReportTable(title=title, columns=columns, rows=tuple(rows)).csv() if rows else ""
