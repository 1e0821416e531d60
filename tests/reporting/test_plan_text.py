import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from lrpath.errors import ConfigError
from lrpath.planning.cost import flops_per_token, state_bytes
from lrpath.planning.decay import Decay
from lrpath.planning.optimizers import AdamW
from lrpath.planning.paradigms import Anchor, FromScratch, Paradigm, Setting
from lrpath.planning.plan import Plan
from lrpath.planning.recipe import Recipe
from lrpath.planning.schedule import Shape
from lrpath.planning.shape import ModelShape
from lrpath.planning.shared_paths import unite
from lrpath.planning.streams import Increment
from lrpath.reporting.plan_text import plan_json, plan_text
from tests.analysis.studies import LINEAR, MERGED, THREE, plan_of
from tests.planning.strategies import SIZES, build_continual, build_merged, build_switching
from tests.refusals import refused

GOLDEN = Path(__file__).parent / "golden_main_plan.txt"
SHAPE = ModelShape(
    family="llama", vocab_size=32_000, hidden_size=2048, layers=24, heads=16, ffn_size=5504, context=2048, **SIZES
)
COSINE = Decay(shape=Shape.COSINE, floor=0.1)


@dataclass(frozen=True)
class Cluster:
    device: str = "H200"
    count: int = 8
    mfu: float = 0.4


def main_plan() -> Plan:
    """The paper's case: 4 increments of 10,000 updates of 512 × 2,048 = 1,048,576 tokens, α = 0.6."""
    recipe = Recipe(
        model=SHAPE.as_record(),
        data={"source": "toy"},
        optimizer=AdamW(beta1=0.9, beta2=0.95, eps=1e-8, weight_decay=0.1, clip_norm=1.0),
        precision="bf16",
        seed=0,
        sequences_per_update=512,
        tokens_per_sequence=2048,
    )
    increments = tuple(Increment(version=f"v{number}", updates=10_000) for number in range(1, 5))
    paradigms: dict[str, Paradigm] = {
        "from_scratch": FromScratch(peak=3e-4, warmup=2000, decay=COSINE),
        "continual": build_continual(peak=3e-4, warmup=2000, decay=COSINE),
        "path_switching": build_switching(peak=3e-4, warmup=2000, decay=COSINE, alpha=0.6),
    }
    trees = [
        paradigm.plan(Setting(label=label, recipe=recipe, increments=increments, parse=lambda length, _: int(length)))
        for label, paradigm in paradigms.items()
    ]
    return Plan(
        increments=increments,
        paradigms=dict(paradigms),
        tree=unite(trees),
        model_name="llama 1.2B",
        parameters=SHAPE.parameters,
        flops_per_token=flops_per_token(SHAPE, sequence_length=2048),
        state_bytes=state_bytes(SHAPE, optimizer=recipe.optimizer),
    )


def test_the_papers_plan_reads_as_its_golden_text() -> None:
    """To renew the file after a change meant to move it: `python -m tests.reporting.test_plan_text`."""
    assert plan_text(main_plan(), cluster=Cluster(), shape=SHAPE) + "\n" == GOLDEN.read_text(encoding="utf-8")


def test_the_papers_plan_costs_what_the_paper_says() -> None:
    figures = plan_json(main_plan(), cluster=Cluster())

    costs = {row["paradigm"]: (row["updates"], row["relative_cost"]) for row in figures["cost"]}

    assert costs["from_scratch"] == (100_000, 1.0)
    assert costs["continual"] == (40_000, 0.4)
    assert costs["path_switching"] == (58_000, 0.58)
    # 18,000 updates read what another path of the paradigm has read: three branches of 6,000
    assert [row["tokens_again"] for row in figures["cost"]][2] == 18_000 * 1_048_576


def test_the_rates_of_a_branch_stand_where_they_are_run() -> None:
    figures = plan_json(plan_of(10, 10), cluster=Cluster())

    (row,) = [row for row in figures["rates"] if row["path"] == "path_switching.v2"]

    # 6 updates from 1 to .1, in a line: update k runs at 1 − .9 (k + 1) / 6; quarters after 1, 3 and 4 updates
    assert row["before_fork"] == 1.0
    assert row["warmup_end"] is None
    rates = [row["first"], row["decay_quarter"], row["decay_half"], row["decay_three_quarters"], row["last"]]
    assert rates == pytest.approx([0.85, 0.85, 0.55, 0.4, 0.1])


def test_json_holds_plain_data_and_every_path_once() -> None:
    plan = plan_of(10, 10)

    figures = json.loads(json.dumps(plan_json(plan, cluster=Cluster()), allow_nan=False))

    assert [row["id"] for row in figures["paths"]] == [path.id for path in plan.tree.paths]
    (branch,) = [row for row in figures["paths"] if row["path"] == "path_switching.v1"]
    assert (branch["parent"], branch["start"], branch["end"]) == ("path_switching.main", 4, 10)
    assert branch["updates_first"] == {"v1": 6.0}
    assert branch["releases"] == ["path_switching/v1"]


def lines_of(plan: Plan) -> list[str]:
    return [" ".join(line.split()) for line in plan_text(plan, cluster=Cluster()).splitlines()]


def test_data_read_a_second_time_is_said_to_be() -> None:
    replay = build_continual(peak=1.0, warmup=2, decay=LINEAR, replay=0.5)
    started = build_switching(peak=1.0, warmup=2, decay=LINEAR, alpha=0.5, anchor=Anchor.START)

    lines = lines_of(plan_of(10, 10, paradigms={"replay": replay, "started": started}))

    assert "↓ v2 10 → 20 1.00e+00 → 1.00e-01 linear release v2 reads 50 % of v2, 50 % of v1 again" in lines
    assert "├─ v1 10 → 15 1.00e+00 → 1.00e-01 linear release v1 reads 50 % of v1 again" in lines


def test_merged_releases_are_listed_on_their_path() -> None:
    lines = lines_of(plan_of(10, 10, paradigms={"merged": MERGED}))

    expected = "main 0 → 20 1.00e+00 warm-up 2, constant releases v1–v2, each the mean of 3 states reads v1–v2"
    assert expected in lines


def test_a_lone_merged_release_has_no_each() -> None:
    lines = lines_of(plan_of(10, paradigms={"merged": build_merged(peak=1.0, warmup=2, states=3, spacing=2)}))

    assert any("release v1, the mean of 3 states" in line for line in lines)


def test_many_versions_are_shortened_in_the_tree_but_not_in_the_costs() -> None:
    lines = lines_of(plan_of(*[10] * 30))

    assert lines.count("⋮ 18 more paths") == 2  # 30 of from_scratch and of continual, 8 + 4 shown
    assert lines.count("⋮ 19 more paths") == 1  # and a main path
    assert any(line.startswith("v17 1,530 1.00") for line in lines)


def test_unequal_increments_are_listed_one_by_one() -> None:
    assert "increments v1 10 updates (80 tokens), v2–v3 20 updates (160 tokens) each" in lines_of(plan_of(10, 20, 20))


def test_what_only_torch_could_count_is_left_open() -> None:
    lines = lines_of(plan_of(10, paradigms={"continual": THREE["continual"]}, flops_per_token=None))

    assert "continual 10 80 80 0 – 1 1.2 KB – – 1.00" in lines


def test_an_unknown_device_is_refused() -> None:
    with refused(ConfigError):
        plan_text(main_plan(), cluster=Cluster(device="abacus"))


def test_text_needs_neither_torch_nor_matplotlib() -> None:
    modules = "reporting.plan_text, reporting.findings, analysis.execution, analysis.comparison"
    imports = ", ".join(f"lrpath.{module.strip()}" for module in modules.split(","))
    code = f"import sys, {imports}; print(*{{name.split('.')[0] for name in sys.modules}})"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert not {"torch", "matplotlib", "numpy", "rich", "hydra"} & set(done.stdout.split())


if __name__ == "__main__":
    GOLDEN.write_text(plan_text(main_plan(), cluster=Cluster(), shape=SHAPE) + "\n", encoding="utf-8")
