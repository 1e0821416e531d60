"""What a verification prints: a line for every check, then what is wrong and what is unfinished."""

import json
from pathlib import Path

import pytest

from lrpath.analysis.verify.finding import Check, Finding
from lrpath.records.study import Study
from lrpath.reporting.verify_text import MOST_LISTED, verify_json, verify_text
from tests.analysis.studies import keep, plan_of

FORKS = Check(name="forks", statement="branches begin as planned", count=1_000, details=("v1 leaves main at 4",))
ROWS = Check(
    name="rows",
    statement="rows are as planned",
    count=20,
    findings=(Finding(path="main", position=9, text="main: the row at 9 is wrong; restore it"),),
    notes=("main is unfinished; run the plan again to go on",),
)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.chdir(tmp_path)
    made = Study(Path("outputs/toy"))
    keep(made, plan_of(10, 10))
    return made


def test_checks_findings_and_notes_are_one_line_each(study: Study) -> None:
    assert verify_text(study, [FORKS, ROWS]).splitlines() == [
        "study outputs/toy: 1 plan",
        "",
        "  ok        forks  1,000  branches begin as planned",
        "  1 wrong   rows      20  rows are as planned",
        "",
        "forks",
        "  v1 leaves main at 4",
        "",
        "wrong",
        "  rows: main: the row at 9 is wrong; restore it",
        "",
        "unfinished or left over, and nothing wrong",
        "  main is unfinished; run the plan again to go on",
        "",
        "1 finding",
    ]


def test_a_study_without_findings_is_said_to_be_well(study: Study) -> None:
    keep(study, plan_of(10, 10, 10))
    unfinished = Check(name="rows", statement="rows are as planned", count=0, notes=ROWS.notes)

    assert verify_text(study, [FORKS]).splitlines()[0] == "study outputs/toy: 2 plans"
    assert verify_text(study, [FORKS]).splitlines()[-1] == "everything is as it should be"
    assert (
        verify_text(study, [FORKS, unfinished]).splitlines()[-1]
        == "everything is as it should be, as far as it is made"
    )


def test_of_many_findings_the_first_are_listed_and_all_are_in_the_json(study: Study) -> None:
    many = Check(name="rows", statement="…", count=1, findings=ROWS.findings * (MOST_LISTED + 5))

    lines = verify_text(study, [many]).splitlines()
    record = json.loads(json.dumps(verify_json(study, [many])))

    assert lines.count("  rows: main: the row at 9 is wrong; restore it") == MOST_LISTED
    assert "  rows: and 5 more; format=json lists all" in lines
    assert lines[-1] == f"{MOST_LISTED + 5} findings"
    assert (record["study"], record["findings"]) == ("toy", MOST_LISTED + 5)
    assert record["checks"][0]["findings"][-1] == {
        "path": "main",
        "position": 9,
        "text": "main: the row at 9 is wrong; restore it",
    }
