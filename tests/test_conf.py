"""Every file of conf/: it composes and plans, its keys are explained and used, experiments keep to their golden text.

A golden text is the resolved configuration and plan of a file of conf/exp. A change of it shows in review. To write
them anew after a change that was meant:

    LRPATH_WRITE_GOLDEN=1 pytest tests/test_conf.py

Each has two: as it is, and with scale=mini, in the folder `mini`.
"""

import contextlib
import json
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from lrpath.assembly.project import Project
from lrpath.config import schema
from lrpath.planning.plain import as_plain
from lrpath.planning.schedule import Piece
from lrpath.planning.shared_paths import unite
from tests import composing
from tests.composing import composed
from tests.zero_weights import write_zero_weights

CONF = schema.conf_folder()
GOLDEN = Path(__file__).parent / "golden"
EXPERIMENTS = sorted(
    file.relative_to(CONF / "exp").with_suffix("").as_posix() for file in (CONF / "exp").rglob("*.yaml")
)
SCALES = {"": [], "mini/": ["scale=mini"]}
LADDERS = {name for name in EXPERIMENTS if "/rung:" in (CONF / "exp" / f"{name}.yaml").read_text(encoding="utf-8")}
"""Experiments that have rungs, rung=0.04m, in place of the two scales."""
SCALED = [name for name in EXPERIMENTS if name not in LADDERS]
PLANNED = [("", name) for name in EXPERIMENTS] + [("mini/", name) for name in SCALED]
GROUPS = ("model", "data", "paradigm", "schedule", "schedule@branch", "optimizer", "strategy", "engine", "logger")
OPTIONS = {group: [file.stem for file in sorted((CONF / group.partition("@")[0]).glob("*.yaml"))] for group in GROUPS}
OTHERS = [group for group in GROUPS if group != "paradigm"]
CHOICES = [{"paradigm": option} for option in OPTIONS["paradigm"]] + [
    {group: option for group, option in zip(OTHERS, row, strict=True) if option is not None}
    for row in zip_longest(*(OPTIONS[group] for group in OTHERS))
]
"""Paradigms alone, for not each of them uses the schedules; of the other groups the n-th options together."""
project_of = lru_cache(composing.project_of)
FILES = sorted(CONF.rglob("*.yaml"))


@pytest.fixture(autouse=True, scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Work where there is a folder of months, of which exp/next_version takes the first one's digest into its ids."""
    folder = tmp_path_factory.mktemp("here")
    for number in range(1, 5):
        (folder / f"months/v{number}").mkdir(parents=True)
        (folder / f"months/v{number}/text.txt").write_text("text")
    for name in ("EleutherAI/pythia-410m", "EleutherAI/pythia-160m", "outputs/checkpoints/gpt_neox"):
        write_zero_weights(folder / name)
    with contextlib.chdir(folder):
        yield


def golden_text(project: Project) -> str:
    """Return what an experiment resolves to: fields, paths with their rates, releases, and cost."""
    plan = project.plan
    fields = dict(_flat(as_plain(project.config)))
    if not fields["batch.growth"]:  # no part of any id either
        del fields["batch.growth"]
    lines = [f"{name}: {json.dumps(value)}" for name, value in fields.items()]
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


@pytest.mark.parametrize(("scale", "name"), PLANNED)
def test_an_experiment_plans_what_its_golden_text_says(scale: str, name: str) -> None:
    file = GOLDEN / f"{scale}{name}.txt"
    text = golden_text(project_of(f"+exp={name}", *SCALES[scale]))
    if os.environ.get("LRPATH_WRITE_GOLDEN") == "1":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    assert file.is_file(), f"write it with LRPATH_WRITE_GOLDEN=1, and review it: {file}"
    assert text == file.read_text(encoding="utf-8")


def test_every_golden_text_belongs_to_an_experiment() -> None:
    found = sorted(file.relative_to(GOLDEN).with_suffix("").as_posix() for file in GOLDEN.rglob("*.txt"))

    assert found == sorted(f"{scale}{name}" for scale, name in PLANNED)


@pytest.mark.parametrize(("scale", "name"), PLANNED)
def test_an_experiment_says_in_its_head_how_many_updates_it_takes(scale: str, name: str) -> None:
    head = re.match(r"(#.*\n)+", (CONF / "exp" / f"{name}.yaml").read_text(encoding="utf-8"))
    plan = project_of(f"+exp={name}", *SCALES[scale]).plan

    assert head
    assert f"{plan.cost(plan.tree).updates:,} updates" in head[0]


@pytest.mark.parametrize("name", SCALED)
def test_a_mini_twin_reads_9_to_38_tokens_per_parameter_and_does_not_share_its_study(name: str) -> None:
    full, mini = project_of(f"+exp={name}"), project_of(f"+exp={name}", "scale=mini")

    tokens = sum(part.updates for part in mini.increments) * mini.recipe.tokens_between(0, 1)
    assert 9 <= tokens / (mini.plan.parameters or 0) <= 38
    assert list(mini.config.paradigms) == list(full.config.paradigms)
    assert full.config.study != mini.config.study or name == "quickstart"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sweeps"),
    [
        ("paper/architectures", [[f"model.family={family}"] for family in ("llama", "qwen2", "internlm")]),
        ("paper/sizes", [[f"model={size}"] for size in ("203m", "1.2b", "3.1b")]),
        ("paper/sizes", [["scale=mini", f"model.layers={layers}"] for layers in (1, 2, 5)]),
        ("paper/data_scale", [[f"increment={updates}"] for updates in ("10_000", "20_000", "30_000")]),
        ("paper/uneven_increments", [["increment=[5_000,40_000]"], ["increment=[40_000,5_000]"]]),
        ("paper/uneven_increments", [["scale=mini", f"increment=[{ab}]"] for ab in ("100,800", "450,450", "800,100")]),
        ("paper/alpha", [[f"alpha={alpha}"] for alpha in (0.2, 0.4, 0.6, 0.8)]),
        ("rivals", [[f"alpha={alpha}"] for alpha in (0.2, 0.4, 0.6)]),
        ("rivals", [["scale=mini", f"alpha={alpha}"] for alpha in (0.2, 0.4, 0.6)]),
    ],
)
def test_the_jobs_of_a_sweep_in_the_head_of_an_experiment_share_one_study(name: str, sweeps: list[list[str]]) -> None:
    projects = [project_of(f"+exp={name}", *sweep) for sweep in sweeps]

    tree = unite(project.plan.tree for project in projects)

    assert len({project.config.study for project in projects}) == 1
    assert len(tree.paths) > len(projects[0].plan.tree.paths)


def test_a_sweep_of_alpha_takes_the_main_path_once_and_all_branches() -> None:
    tree = unite(project_of("+exp=paper/alpha", f"alpha={alpha}").plan.tree for alpha in (0.2, 0.4, 0.6, 0.8))

    assert sum(tree.updates(path.id) for path in tree.paths) == 118_000  # 11.8 increments, 22 apart


@pytest.mark.parametrize(
    ("jobs", "increments"),
    [
        (["schedule@branch=cosine", "schedule@branch=linear"], 3.4 + 2 * 4 * 0.6),
        (["floor=0", "floor=0.1", "floor=0.5"], 3.4 + 3 * 4 * 0.6),
        (["versions=2", "versions=3", "versions=5"], 4.4 + 5 * 0.6),
    ],
    ids=["shape", "floor", "versions"],
)
def test_a_sweep_of_branches_or_versions_takes_the_main_path_once(jobs: list[str], increments: float) -> None:
    trees = [project_of("+exp=paper/alpha", job).plan.tree for job in jobs]

    tree = unite(trees)

    assert [path.name for path in tree.paths if path.parent is None] == ["path_switching.main"]
    assert sum(tree.updates(path.id) for path in tree.paths) == pytest.approx(increments * 10_000)


@pytest.mark.parametrize("chosen", CHOICES, ids=lambda chosen: " ".join(f"{g}={o}" for g, o in chosen.items()))
def test_every_option_composes_with_the_root_and_plans(chosen: dict[str, str], tmp_path: Path) -> None:
    words = [f"{group}=[{option}]" if group == "paradigm" else f"{group}={option}" for group, option in chosen.items()]

    project = project_of(*words, *_needed(chosen, tmp_path))

    assert project.plan.tree.releases
    assert project.plan.increments[0].updates == 300


@pytest.mark.slow
@pytest.mark.parametrize("experiment", [[], *([f"+exp={name}"] for name in EXPERIMENTS)], ids=str)
def test_all_paradigms_can_be_compared_at_once_on_text_of_your_own(experiment: list[str], tmp_path: Path) -> None:
    labels = OPTIONS["paradigm"]
    for version in range(1, 5):
        (tmp_path / f"V{version}.txt").write_text("text")
    text = ("data=text", f"data.source.paths=[{tmp_path}]")

    # `constant` stays at the floor, which must then be above 0; an uneven first increment has room for a short branch
    plan = project_of(*experiment, *text, f"paradigm=[{','.join(labels)}]", "floor=0.1", "alpha=0.4").plan

    assert set(labels) <= set(plan.paradigms)
    assert len(plan.tree.releases) == len(plan.paradigms) * len(plan.versions)


def _needed(chosen: dict[str, str], folder: Path) -> list[str]:
    """Return the values that the options leave to the user."""
    ids, texts, sizes, tokenizer = folder / "ids.bin", folder / "texts", folder / "config.json", folder / "tok.json"
    texts.mkdir()
    (texts / "V1.txt").write_text("text")
    ids.write_bytes(bytes(100))
    tokenizer.write_text("{}")
    shape = {"model_type": "gpt2", "vocab_size": 512, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 128}
    sizes.write_text(json.dumps(shape))
    values = {
        ("data", "text"): [f"data.source.paths=[{texts}]"],
        ("data", "tokens"): [
            f"data.source.files=[{ids}]",
            "data.tokenizer.vocab_size=512",
            f"data.tokenizer.file={tokenizer}",
        ],
        ("data", "hf"): ["data.source.dataset=some/data", "data.source.revision=0123456"],
        ("model", "hf_file"): [f"model.file={sizes}"],
        ("model", "own"): ["model.kind=tests.own_code:MeanModel"],
        ("data", "own"): ["data.source.kind=tests.own_code:texts"],
        ("optimizer", "own"): ["optimizer.kind=tests.own_code:Lion"],
        ("schedule", "own"): ["schedule.shape=tests.own_code:wave"],
        ("schedule@branch", "own"): ["branch.shape=tests.own_code:wave"],
        ("schedule", "table"): ["schedule.table=[0.5,0.1]"],
        ("schedule@branch", "table"): ["branch.table=[0.5,0.1]"],
        ("engine", "command"): ["engine.name=mine", "engine.run='train {stretch}'", "strategy.name=single"],
        ("model", "weights"): ["model.weights=outputs/checkpoints/gpt_neox"],
    }
    return [value for choice in chosen.items() for value in values.get(choice, [])]


def test_every_group_that_has_a_folder_is_tested() -> None:
    folders = {folder.name for folder in CONF.iterdir() if folder.is_dir()}

    assert folders == {group.partition("@")[0] for group in GROUPS} | {"exp", "hydra", "recipe", "rung", "scale"}


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

    unused = {name for name in schema.SHARED if f"${{{name}}}" not in texts}

    assert unused == {"description"}  # for people


def test_every_field_of_the_schema_has_a_value_in_conf() -> None:
    given = set(composed())

    assert given == {*schema.Config.__dataclass_fields__, *schema.SHARED}


def test_no_file_sets_the_mode_of_hydra() -> None:
    """`lrpath.entry` composes once where no other file could set it."""
    roots = [yaml.safe_load(file.read_text(encoding="utf-8")) or {} for file in FILES]

    assert [root for root in roots if "mode" in (root.get("hydra") or {}) or "mode" in root] == []
