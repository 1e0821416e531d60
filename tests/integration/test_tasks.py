"""Releases are given tasks of EleutherAI's harness: its own figures, each evaluated once."""

import ast
import json
import random
import re
import shlex
import sys
import textwrap
from pathlib import Path

import pytest

from lrpath import entry, evaluate, export, train
from lrpath.analysis.verify.study import verify_study
from lrpath.errors import ConfigError
from lrpath.records.task_scores import path_task_file, task_scores_of_path
from lrpath.reporting.report import write_report
from lrpath.training.tasks.python_pairs import pairs
from tests.integration.lab import REPOSITORY, WORDS, Lab
from tests.refusals import ended

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # the harness and what it imports have warnings of their own
]
pytest.importorskip("lm_eval")


PAGE = (REPOSITORY / "docs" / "evaluation.md").read_text(encoding="utf-8")


def write_task(folder: Path, *, seed: int = 1) -> None:
    """Write the task file of the page, and 20 documents with two answers each."""
    folder.mkdir(exist_ok=True)
    (file,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (folder / "mine.yaml").write_text(file)
    chance = random.Random(seed)
    lines = [{"question": chance.choice(WORDS), "choices": chance.sample(WORDS, 2), "answer": 0} for _ in range(20)]
    (folder / "mine.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def given(lab: Lab, *changes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the releases of a study tasks, as it is typed in the folder of the studies."""
    monkeypatch.chdir(lab.folder)
    own = [f"outputs={lab.folder}", "strategy.accelerator=cpu", "strategy.threads=1"]
    monkeypatch.setattr(sys, "argv", ["lrpath.evaluate", *own, *changes])
    entry.run(evaluate.evaluate, config_name="evaluate")


def test_releases_get_the_harness_figures_once_by_the_commands_of_the_page(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import lm_eval

    monkeypatch.setenv("HF_DATASETS_CACHE", str(lab.folder / "cache"))
    lab.run("study=quickstart", "logger=tensorboard")
    study = lab.study("quickstart")
    write_task(lab.folder / "tasks")
    commands = [line.partition("  #")[0] for line in PAGE.splitlines() if "tasks=[mine]" in line]
    every, one, states, limited = (shlex.split(line.replace("v4", "v2"))[3:] for line in commands)

    kept = sum(len(list(folder.positions())) for folder in study.folders())
    for words, done in ((every, "2 of 2"), (one, "0 of 1"), (states, f"{kept - 2} of {kept}"), (limited, "2 of 2")):
        given(lab, *words, monkeypatch=monkeypatch)
        assert f"{done} states were evaluated" in capsys.readouterr().out

    (folder,) = [folder for folder in study.folders() if ".v2-" in folder.folder.name]
    score, same = path_task_file(folder.folder, 20).scores()
    words = [f"outputs={lab.folder}", "study=quickstart", "release=v2", f"folder={lab.folder}/out"]
    monkeypatch.setattr(sys, "argv", ["lrpath.export", *words])
    entry.run(export.export, config_name="export")
    found = lm_eval.simple_evaluate(
        "hf",
        {"pretrained": f"{lab.folder}/out"},
        ["mine"],
        batch_size=8,
        device="cpu",
        task_manager=lm_eval.tasks.TaskManager(include_path="tasks", include_defaults=False),
    )["results"]["mine"]
    assert (score.value, score.standard_error) == (found["acc,none"], found["acc_stderr,none"])
    assert (same.value, score.documents, same.documents) == (score.value, 20, 20)

    report = write_report(study)
    assert {"tasks.md", "tasks.csv"} <= {file.name for file in report.files}
    assert "Scores on tasks, last version" in (study.report / "index.html").read_text()
    assert [finding.text for check in verify_study(study) for finding in check.findings] == []

    write_task(lab.folder / "tasks", seed=2)  # other documents under the same name
    given(lab, *one, monkeypatch=monkeypatch)
    assert "1 of 1 states were evaluated" in capsys.readouterr().out
    assert len({score.digest for score in path_task_file(folder.folder, 20).scores()}) == 3


def test_a_task_or_folder_that_is_not_there_is_refused(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.run()
    write_task(lab.folder / "tasks")

    for field, value, changes in (
        ("tasks", "minee", ["tasks=[blimp,arc_easy,minee]", "harness.folders=[tasks]"]),
        ("harness.folders", "nowhere", ["tasks=[mine]", "harness.folders=[nowhere]"]),
    ):
        with ended(ConfigError, capsys=capsys, field=field, value=value):
            given(lab, "study=study", *changes, monkeypatch=monkeypatch)


def trained(lab: Lab, *changes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["lrpath.train", *lab.overrides("harness.tasks=[python_pairs]", *changes)])
    entry.run(train.train, config_name="config")


def test_training_gives_every_release_its_tasks_once(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")

    for asked in (2, 0):
        trained(lab, "harness.limit=20", "batch.tokens_per_sequence=64", monkeypatch=monkeypatch)
        assert capsys.readouterr().out.count(": python_pairs\n") == asked

    scores = [
        score
        for folder in lab.study().folders()
        for found in task_scores_of_path(folder.folder).values()
        for score in found
    ]
    assert [(score.task, score.metric, score.documents) for score in scores] == [("python_pairs", "acc", 20)] * 2
    assert "python_pairs" in (lab.study().report / "tasks.csv").read_text()


def test_without_the_harness_training_says_how_to_give_the_tasks_later(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.delitem(sys.modules, "lrpath.training.task_harness", raising=False)

    trained(lab, monkeypatch=monkeypatch)

    printed = capsys.readouterr().out
    assert "26 updates were run" in printed
    (line,) = [line for line in printed.splitlines() if "python_pairs" in line]
    assert "pip install 'lrpath[eval]'" in line
    assert f"python -m lrpath.evaluate outputs={lab.folder} study=study 'tasks=[python_pairs]'" in line


def test_of_every_pair_of_python_one_can_be_parsed() -> None:
    for document in pairs():
        ast.parse(within_a_function(document["valid"]))
        with pytest.raises(SyntaxError):
            ast.parse(within_a_function(document["invalid"]))


def within_a_function(text: str) -> str:
    return "def function():\n" + textwrap.indent(text, "    ")
