"""The command `lrpath`, and what it says where a package is missing."""

import subprocess
import sys
from pathlib import Path

import pytest

from lrpath import __main__ as command
from lrpath import __version__
from lrpath.config.command_line import as_lrpath_error

NOT_ENTRIES = {"__init__", "__main__", "entry", "errors"}
ENTRIES = {path.stem for path in Path(command.__file__).parent.glob("*.py")} - NOT_ENTRIES


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["lrpath", *arguments])
    command.main()


def test_every_entry_is_a_command_that_help_shows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call(monkeypatch, "--help")

    shown = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")}
    assert shown == ENTRIES


def test_the_version_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    call(monkeypatch, "--version")

    assert capsys.readouterr().out == f"lrpath {__version__}\n"


def test_a_command_is_the_module_of_its_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "lrpath.plan", raising=False)  # as in a new process

    call(monkeypatch, "plan", "+exp=paper/main", "format=json")

    assert '"cost"' in capsys.readouterr().out


def test_a_slip_is_answered_with_the_command_that_was_meant(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        call(monkeypatch, "trian")

    assert (ended.value.code, "'train'" in capsys.readouterr().err) == (2, True)


def test_a_package_that_is_not_installed_is_named_with_what_brings_it() -> None:
    error = as_lrpath_error(ModuleNotFoundError("No module named 'torch'", name="torch"))

    assert error.value == "torch"
    assert "'lrpath[train]'" in str(error)


def test_an_error_without_a_text_is_named_by_its_kind() -> None:
    assert str(as_lrpath_error(AssertionError())).startswith("AssertionError")


@pytest.mark.slow
def test_training_without_torch_is_one_line(tmp_path: Path) -> None:
    lines = ["import sys", "sys.modules['torch'] = None", "sys.argv = ['lrpath', 'train', '+exp=quickstart']"]
    code = "; ".join([*lines, "from lrpath.__main__ import main", "main()"])

    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "lrpath[train]" in done.stderr
