"""Every file of conf/: it composes and plans, its keys are explained and used, experiments keep to their golden text.

A golden text is the resolved configuration and plan of a file of conf/exp. A change of it shows in review. To write
them anew after a change that was meant:

    LRPATH_WRITE_GOLDEN=1 pytest tests/test_conf.py
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from hydra import compose, initialize_config_dir

from lrpath import config
from lrpath.build.project import Project
from lrpath.planning.schedule import Piece

CONF = config.conf_folder()
GOLDEN = Path(__file__).parent / "golden"
EXPERIMENTS = sorted(
    file.relative_to(CONF / "exp").with_suffix("").as_posix() for file in (CONF / "exp").rglob("*.yaml")
)
GROUPS = ("model", "data", "paradigm", "schedule", "schedule@branch", "optimizer", "strategy", "logger")
OPTIONS = [(group, file.stem) for group in GROUPS for file in sorted((CONF / group.partition("@")[0]).glob("*.yaml"))]
FILES = sorted(CONF.rglob("*.yaml"))


def project_of(*overrides: str) -> Project:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return Project(config.load(compose("config", overrides=list(overrides))))


def golden_text(project: Project) -> str:
    """Return what an experiment resolves to: fields, paths with their rates, releases, and cost."""
    plan = project.plan
    lines = [f"{name}: {json.dumps(value)}" for name, value in _flat(asdict(project.config))]
    lines += [f"parameters: {plan.parameters:_}", "", "paths"]
    for path in plan.tree.paths:
        parent = "initial weights" if path.parent is None else f"{path.parent.path_id} at {path.parent.position:_}"
        needed = ", ".join(f"{position:_}" for position in plan.tree.needed(path.id))
        lines.append(f"  {path.name} {path.id}: from {parent}; states at {needed}")
        lines += [f"    {_piece(piece)}" for piece in path.schedule.pieces]
    lines += ["", "releases"]
    for release in plan.tree.releases:
        parts = ", ".join(f"{weight:.6g} × {key.path_id} at {key.position:_}" for key, weight in release.parts)
        lines.append(f"  {release.paradigm}/{release.version}: {parts}")
    lines += ["", "cost"]
    for paradigm in plan.paradigms:
        updates = plan.cost(plan.part(paradigm)).updates
        lines.append(f"  {paradigm}: {updates:_} updates, {plan.relative_cost(paradigm):.4f} of from scratch")
    return "\n".join(lines) + "\n"


def _piece(piece: Piece) -> str:
    length = "without an end" if piece.updates is None else f"{piece.updates:_} updates"
    return f"{piece.shape} {length}: {piece.first:.6g} → {piece.last:.6g}"


def _flat(record: dict[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{at}{name}.")
        else:
            yield f"{at}{name}", value


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_plans_what_its_golden_text_says(name: str) -> None:
    file = GOLDEN / f"{name}.txt"
    text = golden_text(project_of(f"+exp={name}"))
    if os.environ.get("LRPATH_WRITE_GOLDEN") == "1":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    assert file.is_file(), f"write it with LRPATH_WRITE_GOLDEN=1, and review it: {file}"
    assert text == file.read_text(encoding="utf-8")


def test_every_golden_text_belongs_to_an_experiment() -> None:
    found = sorted(file.relative_to(GOLDEN).with_suffix("").as_posix() for file in GOLDEN.rglob("*.txt"))

    assert found == EXPERIMENTS


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=[f"{group}={option}" for group, option in OPTIONS])
def test_every_option_composes_with_the_root_and_plans(group: str, option: str, tmp_path: Path) -> None:
    chosen = f"{group}=[{option}]" if group == "paradigm" else f"{group}={option}"

    project = project_of(chosen, *_needed(group, option, tmp_path))

    assert project.plan.tree.releases
    assert project.plan.increments[0].updates == 300


@pytest.mark.parametrize("experiment", [[], *([f"+exp={name}"] for name in EXPERIMENTS)], ids=str)
def test_all_paradigms_can_be_compared_at_once(experiment: list[str]) -> None:
    labels = [option for group, option in OPTIONS if group == "paradigm"]

    plan = project_of(*experiment, f"paradigm=[{','.join(labels)}]").plan

    assert sorted(plan.paradigms) == labels
    assert len(plan.tree.releases) == len(labels) * len(plan.versions)


def _needed(group: str, option: str, folder: Path) -> list[str]:
    """Return the values that an option leaves to the user."""
    ids, texts, sizes, tokenizer = folder / "ids.bin", folder / "texts", folder / "config.json", folder / "tok.json"
    texts.mkdir()
    (texts / "V1.txt").write_text("text")
    ids.write_bytes(bytes(100))
    tokenizer.write_text("{}")
    shape = {"model_type": "gpt2", "vocab_size": 512, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 128}
    sizes.write_text(json.dumps(shape))
    return {
        ("data", "text"): [f"data.source.paths=[{texts}]"],
        ("data", "tokens"): [
            f"data.source.files=[{ids}]",
            "data.tokenizer.vocab_size=512",
            f"data.tokenizer.file={tokenizer}",
        ],
        ("data", "hf"): ["data.source.dataset=some/data", "data.source.revision=0123456"],
        ("model", "hf_file"): [f"model.file={sizes}"],
    }.get((group, option), [])


def test_every_group_that_has_a_folder_is_tested() -> None:
    folders = {folder.name for folder in CONF.iterdir() if folder.is_dir()}

    assert folders == {group.partition("@")[0] for group in GROUPS} | {"exp", "hydra"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(CONF).as_posix())
def test_every_file_says_in_its_first_lines_what_it_is_for(file: Path) -> None:
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("# @package")]

    assert re.match(r"# \S", lines[0])


@pytest.mark.parametrize(
    "file",
    [file for file in FILES if "exp" not in file.relative_to(CONF).parts],  # an experiment changes explained fields
    ids=lambda file: file.relative_to(CONF).as_posix(),
)
def test_every_value_has_a_comment_on_its_line(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    lines = text.splitlines()

    keys = list(_value_keys(yaml.compose(text, Loader=yaml.SafeLoader)))

    assert [lines[key.start_mark.line] for key in keys if not re.search(r"\s# \S", lines[key.start_mark.line])] == []


def _value_keys(node: yaml.Node | None) -> Iterator[yaml.Node]:
    """Yield the keys of values, at any depth; a key of further keys is explained by them, and defaults are choices."""
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        if key.value == "defaults":
            continue
        if isinstance(value, yaml.MappingNode) and value.value:
            yield from _value_keys(value)
        else:
            yield key


def test_every_shared_root_field_is_used_by_some_group() -> None:
    texts = "".join(file.read_text(encoding="utf-8") for file in FILES)

    unused = {name for name in config.SHARED if f"${{{name}}}" not in texts}

    assert unused == {"description"}  # for people


def test_every_field_of_the_schema_has_a_value_in_conf() -> None:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        given = set(compose("config"))

    assert given == {*config.Config.__dataclass_fields__, *config.SHARED}
