"""A kept state can be evaluated again: with the losses of its run, and on the text of a version that came later."""

import shutil
import sys
from pathlib import Path

import pytest

from lrpath import entry, evaluate
from lrpath.analysis.comparison import StudyComparison
from lrpath.analysis.verify.study import verify_study
from lrpath.errors import MismatchError
from lrpath.records.rows import EvaluationRow
from lrpath.records.study import Study
from tests.integration.lab import Lab

pytestmark = pytest.mark.slow


def evaluated(lab: Lab, *changes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = [word for word in changes if word.startswith("states=")]
    overrides = lab.overrides(*(word for word in changes if word not in own))
    monkeypatch.setattr(sys, "argv", ["lrpath.evaluate", *overrides, *own])
    entry.run(evaluate.evaluate, config_name="evaluate")


def rows_of(study: Study) -> dict[tuple[str, EvaluationRow], None]:
    return {(folder.path_id, row): None for folder in study.folders() for row in folder.evaluations()}


def tables_of(study: Study) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in study.folder.rglob("evaluation.csv")}


def test_a_state_evaluated_later_has_the_losses_that_its_run_found(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.trained()
    study = lab.study()
    before = rows_of(study)
    kept = {
        (folder.path_id, position) for folder in study.folders() for position in folder.positions()
    }  # rolling states, between which the runs evaluated too, are gone
    for file in tables_of(study):
        file.unlink()

    evaluated(lab, "states=all", monkeypatch=monkeypatch)

    assert f"{len(kept)} states were evaluated" in capsys.readouterr().out
    found = rows_of(study).keys()
    assert {(path_id, row.position) for path_id, row in found} == kept
    assert {key for key in before if (key[0], key[1].position) in kept} <= found  # to the last bit


def test_old_releases_are_evaluated_on_the_text_of_a_version_that_came_later_and_once(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.trained()
    study = lab.study()
    tables = tables_of(study)

    evaluated(lab, "versions=3", monkeypatch=monkeypatch)

    assert "2 states were evaluated" in capsys.readouterr().out
    assert tables_of(study) == tables
    scores = [outcome.scores or {} for outcome in StudyComparison.read(study).outcomes]
    assert [sorted({version for version, _ in found}) for found in scores] == [["v1", "v2", "v3"]] * 2
    assert all(score.text_bytes for found in scores for score in found.values())
    assert [finding.text for check in verify_study(study) for finding in check.findings] == []

    evaluated(lab, "versions=3", monkeypatch=monkeypatch)
    assert "0 states were evaluated" in capsys.readouterr().out
    file = next(study.folder.glob("paths/*/later_evaluation.csv"))
    file.write_text(file.read_text().replace("1", "2", 1))
    assert [str(file) in finding.text for check in verify_study(study) for finding in check.findings] == [True]


def test_a_text_that_was_changed_since_is_not_taken_for_the_one_that_was_evaluated(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.trained()
    evaluated(lab, "versions=3", monkeypatch=monkeypatch)
    texts = lab.folder / "changed"
    shutil.copytree(lab.texts, texts)
    shutil.copy(texts / "V4.jsonl", texts / "V3.jsonl")

    with pytest.raises(SystemExit) as ended:
        evaluated(lab, "versions=3", f"data.source.paths=[{texts}]", monkeypatch=monkeypatch)

    assert ended.value.code == MismatchError.exit_code
    assert "held-out tokens of v3" in capsys.readouterr().err


def test_several_ranks_are_refused(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = lab.project()
    project.prepare()
    project.keep_plan()

    with pytest.raises(SystemExit) as ended:
        evaluated(lab, "strategy=ddp", monkeypatch=monkeypatch)

    assert ended.value.code == 2
    assert "strategy" in capsys.readouterr().err
