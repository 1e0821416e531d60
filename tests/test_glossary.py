"""The glossary in CONTRIBUTING has every noun that a reader meets all over the code, and no class that is gone."""

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

from lrpath import errors
from lrpath.planning.field_names import RENAMED
from tests.test_one_truth import CONF, ROOTS, values_of

TOP = Path(__file__).parent.parent
MANY = 5
"""A noun that stands in more modules than this, or a class that more import, must be in the glossary."""


@cache
def nodes() -> dict[Path, list[ast.AST]]:
    """Return the syntax of every module; parsed by the tests that ask, not by every worker that collects them."""
    files = sorted((TOP / "lrpath").rglob("*.py"))
    return {file: list(ast.walk(ast.parse(file.read_text(encoding="utf-8")))) for file in files}


def classes_of_code() -> set[str]:
    return {node.name for found in nodes().values() for node in found if isinstance(node, ast.ClassDef)}


def glossary() -> tuple[set[str], set[str]]:
    """Return the words and the classes of the glossary."""
    text = (TOP / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Words")[1].split("## Conventions")[0]
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| ")]
    words = {word.lower() for row in rows[1:] for word in re.findall(r"\w+", row[0])}
    return words, {name for row in rows[1:] for name in re.findall(r"`(\w+)`", row[2])}


def words_of(file: Path) -> set[str]:
    """Return the words in the name of a module and in those of its classes."""
    stem = file.parent.name if file.stem == "__init__" else file.stem
    names = [node.name for node in nodes()[file] if isinstance(node, ast.ClassDef)]
    parts = [part for name in names for part in re.findall(r"[A-Z][a-z0-9]+|[A-Z]+(?![a-z])", name.strip("_"))]
    return {part.lower() for part in (*stem.split("_"), *parts) if part}


def test_the_glossary_has_every_noun_that_stands_in_many_modules() -> None:
    places: dict[str, set[Path]] = defaultdict(set)
    for file in nodes():
        for word in words_of(file):
            places[word].add(file)

    words, _ = glossary()

    assert {word for word, files in places.items() if len(files) > MANY} - words - {"error", "init"} == set()


def test_the_glossary_has_every_class_that_many_modules_import() -> None:
    places: dict[str, set[Path]] = defaultdict(set)
    for file, found in nodes().items():
        for node in found:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lrpath"):
                for alias in node.names:
                    places[alias.name].add(file)

    _, classes = glossary()
    known = classes_of_code()

    used = {name for name, files in places.items() if name in known and len(files) > MANY}
    assert used - classes - set(vars(errors)) == set()


def test_every_class_of_the_glossary_is_in_the_code() -> None:
    _, classes = glossary()

    assert classes - classes_of_code() == {"Paradigm"}  # a union


def test_a_renamed_field_is_gone_and_its_new_name_is_there() -> None:
    fields = {name for root in ROOTS for name in values_of(CONF / f"{root}.yaml")}

    assert fields & set(RENAMED) == set()
    assert set(RENAMED.values()) - fields == set()
