"""The command line's entries: what they print, what they write, and that plans and help need no torch."""

import ast
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import DictConfig

from lrpath import entry, plan, verify
from lrpath.analysis.verify.study import verify_study
from lrpath.errors import (
    BusyError,
    ConfigError,
    LrpathError,
    StateError,
    StoppedError,
    TrainingError,
    VerificationError,
)
from lrpath.records.study import Study
from lrpath.reporting.verify_text import result_line
from lrpath.training.distributed.signals import STOPPING
from tests.analysis.studies import add_run, finish, keep, plan_of, run_all
from tests.refusals import ended

PAPER = {"from_scratch": (100_000, 1.0), "path_switching": (58_000, 0.58), "continual": (40_000, 0.4)}


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "HYDRA_FULL_ERROR"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def print_plan(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["lrpath.plan", *arguments])
    entry.run(plan.plan, config_name="config")


@pytest.mark.slow
def test_the_plan_of_the_paper_costs_what_the_paper_says_and_is_printed_without_numpy(tmp_path: Path) -> None:
    code = (
        "import runpy, sys\nsys.argv = ['lrpath.plan', '+exp=paper/main']\n"
        "runpy.run_module('lrpath.plan', run_name='__main__', alter_sys=True)\n"
        "heavy = {'numpy', 'matplotlib', 'torch', 'lightning', 'transformers', 'scipy', 'pandas'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )

    done = run("-c", code, folder=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    for paradigm, (updates, cost) in PAPER.items():
        assert re.search(rf"^{paradigm}\s+{updates:,}\s.*\s{cost:.2f}$", done.stdout, flags=re.MULTILINE)
    assert done.stdout.splitlines()[-1] == "[]"
    assert list(tmp_path.iterdir()) == []


def test_the_plan_of_the_paper_as_json_has_the_same_figures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    print_plan(monkeypatch, "+exp=paper/main", "format=json")

    costs = json.loads(capsys.readouterr().out)["cost"]
    found = {
        row["paradigm"]: (row["updates"], round(row["relative_cost"], 9)) for row in costs if row["paradigm"] in PAPER
    }
    assert found == PAPER


NEED_NO_TORCH = [
    ("plan", ["+exp=paper/main", "figure=rates.png"], "config"),
    ("train", ["--help"], "config"),
    ("report", ["--help"], "report"),
    ("show", ["--help"], "show"),
    ("prune", ["--help"], "prune"),
    ("verify", ["--help"], "verify"),
    ("verify", ["study=toy", "outputs=made"], "verify"),
]


@pytest.mark.slow
def test_figures_help_and_verification_need_no_torch(tmp_path: Path) -> None:
    made = Study(tmp_path / "made" / "toy")
    keep(made, plan_of(10))
    code = (
        "import importlib, sys\nfrom lrpath import entry\nfound = []\n"
        f"for name, arguments, config_name in {NEED_NO_TORCH!r}:\n"
        "    sys.argv = [f'lrpath.{name}', *arguments]\n"
        "    task = getattr(importlib.import_module(f'lrpath.{name}'), name)\n"
        "    try: entry.run(task, config_name=config_name)\n"
        "    except SystemExit as end: assert not end.code\n"
        "    heavy = {'torch', 'lightning', 'transformers', 'scipy', 'pandas'} & sys.modules.keys()\n"
        "    found.append([name, *arguments, *sorted(heavy)])\n"
        "print(found)"
    )

    done = run("-c", code, folder=tmp_path)

    assert done.returncode == 0, done.stderr
    assert ast.literal_eval(done.stdout.splitlines()[-1]) == [[name, *words] for name, words, _ in NEED_NO_TORCH]


@pytest.mark.parametrize(("suffix", "begin"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_a_figure_is_drawn_to_the_file_that_is_named(
    suffix: str, begin: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / f"rates{suffix}"

    print_plan(monkeypatch, "paradigm=[path_switching]", "versions=2", f"figure={file}")

    assert file.read_bytes().startswith(begin)
    assert [found.name for found in tmp_path.iterdir()] == [file.name]
    assert capsys.readouterr().err == f"drawn: {file}\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "train",
            ["python -m lrpath.train +exp=quickstart", "path_switching", "model: 1.2b, 106m", "increment: 300 updates"],
        ),
        (
            "plan",
            [
                "python -m lrpath.plan +exp=quickstart",
                "exp/paper: alpha, architectures",
                "Every field is explained in the files of conf/",
            ],
        ),
        ("report", ["python -m lrpath.report study=quickstart", "study: ???"]),
        (
            "verify",
            ["python -m lrpath.verify study=quickstart", "The exit code is 0", "null_fork: null", "digests: true"],
        ),
        ("export", ["python -m lrpath.export study=quickstart release=v4", "release: ???"]),
        ("show", ["python -m lrpath.show study=quickstart", "study: ???"]),
        ("prune", ["python -m lrpath.prune study=quickstart drop=1", "ask: true"]),
    ],
)
def test_help_shows_what_an_entry_is_for_with_examples(name: str, words: list[str], tmp_path: Path) -> None:
    from tests.integration.lab import call  # here, since it needs torch

    done = call("-m", f"lrpath.{name}", "--help", folder=tmp_path)

    assert (done.code, done.err) == (0, "")
    assert [word for word in words if word not in done.out] == []
    assert "powered by Hydra" not in done.out


@pytest.mark.parametrize(
    ("error", "code"),
    [(StateError, 2), (BusyError, 3), (TrainingError, 4), (VerificationError, 5), (StoppedError, 75)],
)
def test_an_error_of_the_family_ends_the_process_with_its_code(
    error: type[LrpathError], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def task(_: DictConfig) -> None:
        raise error("what happened; what to do")

    monkeypatch.setattr(sys, "argv", ["lrpath.task"])
    with pytest.raises(SystemExit) as end:
        entry.run(task, config_name="report")

    assert end.value.code == code
    assert capsys.readouterr().err == "error: what happened; what to do\n"


def test_an_error_of_the_file_system_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "absent"

    def task(_: DictConfig) -> None:
        file.read_text()

    monkeypatch.setattr(sys, "argv", ["lrpath.task"])
    with ended(ConfigError, capsys=capsys, value=str(file)):
        entry.run(task, config_name="report")


def test_the_variable_for_full_errors_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def task(_: DictConfig) -> None:
        seen.append(os.environ.get("HYDRA_FULL_ERROR"))

    monkeypatch.setattr(sys, "argv", ["lrpath.task"])
    for value in ("0", "1"):
        monkeypatch.setenv("HYDRA_FULL_ERROR", value)
        entry.run(task, config_name="report")
        assert os.environ["HYDRA_FULL_ERROR"] == value
    monkeypatch.delenv("HYDRA_FULL_ERROR")
    entry.run(task, config_name="report")

    assert "HYDRA_FULL_ERROR" not in os.environ
    assert seen == [None, "1", None]


@pytest.mark.slow
def test_a_terminal_that_lacks_letters_shows_another_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")

    printed = run("-m", "lrpath.plan", "+exp=quickstart", f"outputs={tmp_path}", folder=tmp_path)

    assert printed.returncode == 0, printed.stderr
    assert "cost" in printed.stdout


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lrpath.plan", "versions=20"]

    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        printed = process.stderr.read()

    assert printed == ""
    assert process.returncode == 1


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_is_one_line_that_says_how_to_go_on(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def signalled(cfg: DictConfig) -> None:
        signal.raise_signal(number)

    before = [signal.getsignal(number) for number in STOPPING]
    monkeypatch.setattr(sys, "argv", ["lrpath.plan"])
    with ended(StoppedError, capsys=capsys):
        entry.run(signalled, config_name="config")

    assert [signal.getsignal(number) for number in STOPPING] == before


def print_verification(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["lrpath.verify", *arguments])
    entry.run(verify.verify, config_name="verify")


def test_a_study_is_verified_by_its_name_alone_and_what_is_unfinished_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(Study(tmp_path / "toy"), plan_of(10))

    print_verification(monkeypatch, "study=toy", f"outputs={tmp_path}")

    last = capsys.readouterr().out.splitlines()[-1]
    assert last == result_line(verify_study(Study(tmp_path / "toy")))


def test_long_reading_says_how_far_it_is_and_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(Study(tmp_path / "toy"), plan_of(10))
    monkeypatch.setattr(verify, "SECONDS_BETWEEN_LINES", 0.0)

    print_verification(monkeypatch, "study=toy", f"outputs={tmp_path}")

    printed = capsys.readouterr()
    assert re.fullmatch(r"(states: 0\.0 of 0\.0 GB read, \d+:\d\d left\n)+", printed.err)
    assert printed.out.splitlines()[-1].startswith(result_line(verify_study(Study(tmp_path / "toy"))))


@pytest.mark.parametrize("style", ["text", "json"])
def test_findings_end_with_their_own_code_after_they_are_printed(
    style: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study, toy = Study(tmp_path / "toy"), plan_of(10)
    keep(study, toy)
    run_all(study, toy)
    add_run(study, toy, toy.tree.paths[0].id, begin=0, end=3)

    with pytest.raises(SystemExit) as end:
        print_verification(monkeypatch, "study=toy", f"outputs={tmp_path}", f"format={style}")

    printed = capsys.readouterr().out
    assert end.value.code == VerificationError.exit_code
    assert style == "json" or printed.splitlines()[-1] == result_line(verify_study(study))
    assert style == "text" or json.loads(printed)["findings"] > 1


@pytest.mark.parametrize(
    ("change", "kind", "field", "value"),
    [
        ("null_fork=0", ConfigError, "null_fork", 0),
        ("study=other", StateError, None, None),
        ("null_forks=3", ConfigError, "null_forks", "3"),
        ("digests=perhaps", ConfigError, "digests", "perhaps"),
    ],
)
def test_what_verify_cannot_do_is_refused_in_one_line(
    change: str,
    kind: type[LrpathError],
    field: str | None,
    value: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    keep(Study(tmp_path / "toy"), plan_of(10))

    about = {} if field is None else {"field": field, "value": value}
    with ended(kind, capsys=capsys, **about):
        print_verification(monkeypatch, "study=toy", f"outputs={tmp_path}", change)
