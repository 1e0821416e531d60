"""The house: import contracts, and the picture of them in the README."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_import_contracts_hold() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]

    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 kept, 0 broken" in done.stdout


def test_the_readme_shows_the_floors_of_the_contracts() -> None:
    contracts = tomllib.loads((TOP / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    readme = (TOP / "README.md").read_text()

    picture = readme.split("<!-- floors -->\n```\n")[1].split("\n```")[0].splitlines()

    assert picture == contracts[0]["layers"]


def test_the_picture_in_contributing_names_the_same_floors() -> None:
    layers = tomllib.loads((TOP / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    text = (TOP / "CONTRIBUTING.md").read_text()

    drawn = text.split("## Floors")[1].split("```\n")[1].splitlines()
    named = [line.split("   ")[0].strip() for line in drawn]

    assert [set(name.replace("|", " ").split()) for name in named] == [set(row.split(" | ")) for row in layers]


def test_no_room_is_called_utils_helpers_or_common() -> None:
    names = {path.stem for path in (TOP / "lrpath").rglob("*.py")}

    assert not names & {"utils", "util", "helpers", "common", "misc"}


def test_callbacks_evaluate_the_weights_that_are_released_and_no_others() -> None:
    # Losses by document were once those of the live weights: each recorder had to think of it by itself.
    inner = {"evaluate", "evaluate_documents", "evaluation_weights"}
    files = sorted((TOP / "lrpath/training/callbacks").glob("*.py"))

    imported = {
        (file.name, name.name)
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }

    assert files
    assert not {(file, name) for file, name in imported if name in inner}
