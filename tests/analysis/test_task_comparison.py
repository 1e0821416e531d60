"""Scores on tasks over seeds, and which settings no other beats in both cost and score."""

from dataclasses import replace
from pathlib import Path

from lrpath.analysis.comparison import StudyComparison
from lrpath.analysis.task_comparison import summarise_tasks
from lrpath.planning.plan import Plan
from lrpath.records.study import Study
from lrpath.records.task_scores import path_task_file
from lrpath.reporting.report import write_report
from lrpath.reporting.task_table import task_csv, task_tables
from tests.analysis.studies import evaluate_evenly, keep, plan_of
from tests.records.test_task_scores import score

LOSSES = {"from_scratch": [3.0, 2.0], "continual": [3.0, 2.5], "path_switching": [3.1, 2.25]}
LAST = {"from_scratch": 0.5, "continual": 0.25, "path_switching": 0.25}


def scored(study: Study, *, seed: int, more: float = 0.0) -> Plan:
    plan = plan_of(10, 10, seed=seed)
    keep(study, plan)
    evaluate_evenly(study, plan, LOSSES)
    for release in plan.tree.releases:
        if release.version == "v2":
            folder = study.find(release.last.path_id)
            assert folder is not None
            file = path_task_file(folder.folder, release.last.position)
            file.write("a" * 64, [score(LAST[release.paradigm] + more)], harness="harness 1")
    return plan


def test_scores_are_means_over_seeds_and_the_front_is_by_cost_and_score(tmp_path: Path) -> None:
    study = Study(tmp_path / "toy")
    scored(study, seed=0)
    scored(study, seed=1, more=0.125)

    found = summarise_tasks(StudyComparison.read(study).summaries)

    by_paradigm = {one.summary.first.series.paradigm: one for one in found}
    assert [one.summary.first.version for one in found] == ["v2"] * 3  # v1 was given no task
    assert by_paradigm["from_scratch"].value.mean == 0.5625
    assert by_paradigm["from_scratch"].standard_error == 0.1
    assert {name: one.on_front for name, one in by_paradigm.items()} == {
        "from_scratch": True,
        "continual": True,  # the cheapest
        "path_switching": False,  # dearer than continual and no better
    }


def test_the_report_has_tables_of_tasks_where_there_are_scores(tmp_path: Path) -> None:
    study = Study(tmp_path / "toy")
    scored(study, seed=0)
    comparison = StudyComparison.read(study)

    (table,) = task_tables(comparison)
    report = write_report(study)

    assert [row[:4] for row in table.rows] == [
        ("words", "acc", "v2", paradigm) for paradigm in ("from_scratch", "continual", "path_switching")
    ]
    assert len(task_csv(comparison).splitlines()) == 4
    assert {"tasks.md", "tasks.csv"} <= {file.name for file in report.files}


def test_a_study_without_tasks_has_no_table_of_tasks(tmp_path: Path) -> None:
    study, plan = Study(tmp_path / "toy"), plan_of(10)
    keep(study, plan)
    evaluate_evenly(study, plan, {name: [3.0] for name in LOSSES})

    assert task_tables(StudyComparison.read(study)) == []
    assert task_csv(StudyComparison.read(study)) == ""


def test_scores_on_a_task_that_was_changed_do_not_stand_under_one_name(tmp_path: Path) -> None:
    study = Study(tmp_path / "toy")
    plan = scored(study, seed=0)
    release = next(one for one in plan.tree.releases if (one.paradigm, one.version) == ("continual", "v2"))
    file = path_task_file(study.find(release.last.path_id).folder, release.last.position)
    file.write("b" * 64, [replace(score(0.75), digest="c" * 64)], harness="harness 1")

    (table,) = task_tables(StudyComparison.read(study))

    digests = {row[0] for row in table.rows}
    assert len(digests) == 2
    assert all(name.startswith("words [") for name in digests)
    assert "words" in table.notes[-1]
    assert [row[6] for row in table.rows if row[0] == "words [cccccc]"] == [True]
