"""Releases are given tasks of EleutherAI's harness: its own figures, each evaluated once."""

import ast
import json
import random
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest

from lrpath import entry, evaluate, train
from lrpath.analysis.verify.study import verify_study
from lrpath.errors import ConfigError, StateError
from lrpath.records.task_scores import path_task_file, task_scores_of_path
from lrpath.reporting.report import write_report
from lrpath.training.settings import HarnessSettings
from lrpath.training.tasks.python_pairs import pairs
from tests.integration.lab import WORDS, Lab
from tests.refusals import ended, refused

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # the harness and what it imports have warnings of their own
]
pytest.importorskip("lm_eval")


def write_task(folder: Path, *, seed: int = 1) -> None:
    """Write a task of 20 documents with two answers each, and its file."""
    folder.mkdir(exist_ok=True)
    chance = random.Random(seed)
    lines = [{"good": chance.choice(WORDS), "bad": chance.choice(WORDS)} for _ in range(20)]
    (folder / "words.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "words.yaml").write_text(
        "task: words\n"
        "dataset_path: json\n"
        f"dataset_kwargs: {{data_files: {{test: {folder}/words.jsonl}}}}\n"
        "test_split: test\n"
        "output_type: multiple_choice\n"
        "doc_to_text: path\n"
        'doc_to_choice: "{{[good, bad]}}"\n'
        "doc_to_target: 0\n"
        "metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]\n"
    )


def given(lab: Lab, *changes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = [f"outputs={lab.folder}", "study=study", "strategy.accelerator=cpu", "strategy.threads=1"]
    folders = f"harness.folders=[{lab.folder / 'tasks'}]"
    monkeypatch.setattr(sys, "argv", ["lrpath.evaluate", *own, folders, *changes])
    entry.run(evaluate.evaluate, config_name="evaluate")


def test_releases_get_the_harness_figures_once_and_the_report_has_them(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import lm_eval

    monkeypatch.setenv("HF_DATASETS_CACHE", str(lab.folder / "cache"))
    lab.trained("logger=tensorboard")
    study = lab.study()
    write_task(lab.folder / "tasks")

    given(lab, "tasks=[words]", monkeypatch=monkeypatch)
    printed = capsys.readouterr()
    assert "2 of 2 states were evaluated" in printed.out
    assert "%|" not in printed.err  # no progress bars in a file
    assert (study.report / "tasks.csv").exists()
    given(lab, "tasks=[words]", monkeypatch=monkeypatch)
    assert "0 of 2 states were evaluated" in capsys.readouterr().out

    (folder,) = [folder for folder in study.folders() if ".v2-" in folder.folder.name]
    (score,) = path_task_file(folder.folder, 20).scores()
    monkeypatch.setattr(
        sys, "argv", ["lrpath.export", f"outputs={lab.folder}", "study=study", "release=v2", f"folder={lab.folder}/out"]
    )
    from lrpath import export

    entry.run(export.export, config_name="export")
    found = lm_eval.simple_evaluate(
        "hf",
        {"pretrained": f"{lab.folder}/out"},
        ["words"],
        batch_size=8,
        device="cpu",
        task_manager=lm_eval.tasks.TaskManager(include_path=str(lab.folder / "tasks"), include_defaults=False),
    )["results"]["words"]
    assert (score.value, score.standard_error) == (found["acc,none"], found["acc_stderr,none"])
    assert score.documents == 20

    given(lab, "tasks=[words]", "states=all", monkeypatch=monkeypatch)
    rows = (study.report / "tasks_by_state.csv").read_text().splitlines()
    assert [row.split(",")[1] for row in rows[1:] if row.startswith("path_switching.main-")] == ["4", "10", "12", "14"]
    assert len(rows) > 3

    report = write_report(study)
    assert {"tasks.md", "tasks.csv"} <= {file.name for file in report.files}
    assert "Scores on tasks, last version" in (study.report / "index.html").read_text()
    assert [finding.text for check in verify_study(study) for finding in check.findings] == []

    write_task(lab.folder / "tasks", seed=2)  # other documents under the same name
    given(lab, "tasks=[words]", "release=v2", monkeypatch=monkeypatch)
    assert "1 of 1 state was evaluated" in capsys.readouterr().out
    assert len({score.digest for score in path_task_file(folder.folder, 20).scores()}) == 2


def test_what_a_task_warns_of_is_seen_and_so_is_text_that_the_window_cuts(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(lab.folder / "cache"))
    lab.trained()
    tasks = lab.folder / "tasks"
    write_task(tasks)
    task = (tasks / "words.yaml").read_text()
    (tasks / "words.yaml").write_text(task.replace("doc_to_text: path", "doc_to_text: !function asking.ask"))
    (tasks / "asking.py").write_text(
        "import sys\ndef ask(doc):\n    print('the file is of last year', file=sys.stderr)\n    return 'path ' * 60\n"
    )

    given(lab, "tasks=[words]", "release=v2", monkeypatch=monkeypatch)

    told = capsys.readouterr().err
    assert "longer than the window" in told
    assert "the file is of last year" in told
    assert "%|" not in told


def test_a_group_that_adds_up_otherwise_is_another_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lrpath.training.task_harness import Harness

    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    write_task(tmp_path / "tasks")
    digests = []
    for weighs in ("true", "false", "false"):
        (tmp_path / "tasks" / "both.yaml").write_text(
            "group: both\n"
            "task: [words]\n"
            f"aggregate_metric_list: [{{metric: acc, aggregation: mean, weight_by_size: {weighs}}}]\n"
        )
        settings = HarnessSettings(
            tasks=(), folders=(str(tmp_path / "tasks"),), examples=None, limit=None, batch_size=8
        )
        harness = Harness(settings)
        digests.append((harness.digest("both"), harness.digest("words")))

    assert digests[0][0] != digests[1][0]
    assert digests[1] == digests[2]
    assert digests[0][1] == digests[1][1]


def test_a_group_with_a_member_elsewhere_is_looked_for_among_all_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lrpath.training.task_harness import Harness

    write_task(tmp_path / "tasks")
    for name, members in (("own", "[words]"), ("outer", "[own, words]"), ("mixed", "[own, arc_easy]")):
        (tmp_path / "tasks" / f"{name}.yaml").write_text(f"group: {name}\ntask: {members}\n")
    settings = HarnessSettings(tasks=(), folders=(str(tmp_path / "tasks"),), examples=None, limit=None, batch_size=8)
    monkeypatch.setattr(Harness, "_all", SimpleNamespace(all_tasks=["mixed"]))

    Harness(settings).check_known(["words", "own", "outer", "mixed"])

    monkeypatch.setattr(Harness, "_all", SimpleNamespace(all_tasks=[]))
    Harness(settings).check_known(["words", "own", "outer"])
    with refused(ConfigError, field="tasks", value="mixed"):
        Harness(settings).check_known(["mixed"])


def test_a_task_or_folder_that_is_not_there_is_refused(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.trained()
    write_task(lab.folder / "tasks")

    for field, value, changes in (
        ("tasks", "wrods", ["tasks=[wrods]"]),
        ("harness.folders", "nowhere", ["tasks=[words]", "harness.folders=[nowhere]"]),
    ):
        with ended(ConfigError, capsys=capsys, field=field, value=value):
            given(lab, *changes, monkeypatch=monkeypatch)


def test_a_release_that_is_not_trained_is_named(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.run("paths=[main,v1]")

    with ended(StateError, capsys=capsys, field="release", value="path_switching/v2"):
        given(lab, "tasks=[python_pairs]", "release=[v1,v2]", monkeypatch=monkeypatch)


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
