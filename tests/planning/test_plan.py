import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrpath.errors import PlanError
from lrpath.planning.cost import Cost
from lrpath.planning.lineage import canonical, content_id
from lrpath.planning.paradigms import Anchor, FromScratch, Paradigm
from lrpath.planning.plan import Plan, from_record
from lrpath.planning.shared_paths import unite
from tests.planning.strategies import (
    LINEAR,
    TOKENS_PER_UPDATE,
    build_continual,
    build_merged,
    build_switching,
    increments_of,
    setting_of,
)
from tests.refusals import refused

SCRATCH = FromScratch(peak=1.0, warmup=2, decay=LINEAR)
CONTINUAL = build_continual(peak=1.0, warmup=2, decay=LINEAR)
SWITCHING = build_switching(peak=1.0, warmup=2, decay=LINEAR, alpha=0.6)
MERGED = build_merged(peak=1.0, warmup=2, states=3, spacing=2)
ALL: dict[str, Paradigm] = {"scratch": SCRATCH, "continual": CONTINUAL, "switching": SWITCHING, "merged": MERGED}


def plan_of(*updates: int, paradigms: dict[str, Paradigm] = ALL) -> Plan:
    return Plan(
        increments=increments_of(*updates),
        paradigms=paradigms,
        tree=unite(paradigm.plan(setting_of(*updates, label=label)) for label, paradigm in paradigms.items()),
        model_name="tiny",
        parameters=1000,
        flops_per_token=6000,
        state_bytes=12_000,
    )


def test_a_plan_names_its_versions_in_order_of_arrival() -> None:
    plan = plan_of(*[10] * 11, paradigms={"continual": CONTINUAL})

    assert plan.versions == ("v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11")
    assert plan.recipe.tokens_between(0, 1) == TOKENS_PER_UPDATE


def test_replay_that_replays_nothing_is_noted() -> None:
    paradigms: dict[str, Paradigm] = {
        "replayed": build_continual(peak=1.0, warmup=2, decay=LINEAR, replay=0.3),
        "union": build_switching(peak=1.0, warmup=2, decay=LINEAR, alpha=0.6, replay="union"),
    }

    notes = plan_of(10, paradigms={**ALL, **paradigms}).notes

    assert [label for label in (*ALL, *paradigms) if any(note.startswith(f"note: {label} ") for note in notes)] == [
        "replayed",
        "union",
    ]
    assert plan_of(10, 10, paradigms=paradigms).notes == ()


def test_a_release_is_found_by_paradigm_and_version() -> None:
    release = plan_of(10, 10).release("switching", "v2")

    assert (release.paradigm, release.version, release.last.position) == ("switching", "v2", 20)


@pytest.mark.parametrize(("paradigm", "version"), [("switching", "v3"), ("other", "v1")])
def test_a_release_that_is_not_planned_is_refused(paradigm: str, version: str) -> None:
    with refused(PlanError):
        plan_of(10, 10).release(paradigm, version)


def test_a_part_is_the_tree_of_one_paradigm() -> None:
    plan = plan_of(10, 10)

    assert plan.part("switching") == SWITCHING.plan(setting_of(10, 10, label="switching"))
    assert plan.part("switching", versions=1).releases == (plan.release("switching", "v1"),)
    assert plan.part("switching", versions=5) == plan.part("switching")


def test_a_part_that_is_not_planned_is_refused() -> None:
    with refused(PlanError):
        plan_of(10, 10).part("other")


@pytest.mark.parametrize("label", ALL)
def test_a_plan_with_one_version_more_extends_the_shorter_one(label: str) -> None:
    short, long = (plan_of(*sizes, paradigms={label: ALL[label]}) for sizes in ([10, 10], [10, 10, 10]))

    assert long.extends(short)
    assert not short.extends(long)


def test_a_plan_whose_old_releases_would_be_others_extends_nothing() -> None:
    old = plan_of(10, 10, paradigms={"switching": SWITCHING})

    for other in (replace(SWITCHING, alpha=0.4), replace(SWITCHING, peak=2.0)):
        assert not plan_of(10, 10, 10, paradigms={"switching": other}).extends(old)


def test_the_cost_is_the_hand_worked_one() -> None:
    plan = plan_of(10, 10)  # branches of 6 updates from 4 and 14

    assert plan.cost(plan.part("switching")) == Cost(
        updates=14 + 6 + 6,
        tokens=26 * 64,
        tokens_first=20 * 64,
        flops=26 * 64 * 6000,
        states=5,  # two forks, two releases, and where the first increment ends
        state_bytes=5 * 12_000,
    )


def test_paths_that_paradigms_share_are_counted_once() -> None:
    plan = plan_of(10, 10)  # scratch v1 is continual v1; the main path is switching's and merged's

    costs = {label: plan.cost(plan.part(label)).updates for label in ALL}

    assert costs == {"scratch": 30, "continual": 20, "switching": 26, "merged": 20}
    assert plan.cost(plan.tree).updates == 30 + 10 + (20 + 6 + 6)


def test_costs_that_only_torch_could_count_are_unknown() -> None:
    plan = replace(plan_of(10, 10), parameters=None, flops_per_token=None, state_bytes=None)

    cost = plan.cost(plan.tree)

    assert (cost.flops, cost.state_bytes) == (None, None)
    assert cost.updates == 72


@given(sizes=st.lists(st.integers(10, 300), min_size=1, max_size=6), data=st.data())
def test_relative_costs_follow_the_formulas(sizes: list[int], data: st.DataObject) -> None:
    plan = plan_of(*sizes)
    count = data.draw(st.integers(1, len(sizes)))
    scratch = sum(sum(sizes[: n + 1]) for n in range(count))
    branches = sum(round(0.6 * size) for size in sizes[: count - 1])

    assert plan.updates_from_scratch(versions=count) == scratch
    assert plan.relative_cost("scratch", versions=count) == 1.0
    assert plan.relative_cost("continual", versions=count) == sum(sizes[:count]) / scratch
    assert plan.relative_cost("merged", versions=count) == sum(sizes[:count]) / scratch
    assert plan.relative_cost("switching", versions=count) == (sum(sizes[:count]) + branches) / scratch


def test_four_versions_cost_58_hundredths_of_training_from_scratch() -> None:
    plan = plan_of(10, 10, 10, 10)

    assert plan.relative_cost("switching") == 0.58
    assert plan.updates_from_scratch() == 100
    assert [plan.relative_cost("switching", versions=n) for n in (1, 2, 3)] == [10 / 10, 26 / 30, 42 / 60]


@given(sizes=st.lists(st.integers(10, 300), min_size=1, max_size=5))
def test_every_paradigm_reads_every_increment_and_no_token_first_twice(sizes: list[int]) -> None:
    plan = plan_of(*sizes)

    for tree in (plan.tree, *(plan.part(label) for label in ALL)):
        cost = plan.cost(tree)
        assert cost.tokens_first == sum(sizes) * TOKENS_PER_UPDATE <= cost.tokens


def test_tokens_read_from_the_ends_of_increments_are_read_again() -> None:
    plan = plan_of(10, 10, paradigms={"late": replace(SWITCHING, anchor=Anchor.START)})

    cost = plan.cost(plan.tree)

    assert (cost.tokens, cost.tokens_first) == ((20 + 6 + 6) * 64, 20 * 64)


def test_replay_leaves_a_share_of_new_tokens_unread() -> None:
    plan = plan_of(10, 10, paradigms={"replayed": replace(CONTINUAL, replay=0.25)})

    cost = plan.cost(plan.tree)

    assert (cost.tokens, cost.tokens_first) == (20 * 64, round((10 + Fraction(3, 4) * 10) * 64))


@pytest.mark.parametrize("order", [1, -1])
def test_a_token_that_one_path_leaves_unread_may_be_read_by_another(order: int) -> None:
    paradigms: dict[str, Paradigm] = {"scratch": SCRATCH, "replayed": replace(CONTINUAL, replay=0.25)}

    plan = plan_of(10, 10, paradigms=dict(list(paradigms.items())[::order]))

    assert plan.cost(plan.tree).tokens_first == 20 * 64


def test_a_plan_reads_back_equal_from_json() -> None:
    plan = plan_of(10, 20, 30)

    found = from_record(json.loads(json.dumps(plan.as_record())))

    assert found == plan
    assert found.id == plan.id == content_id(plan.as_record())


def test_the_id_of_a_plan_holds_everything_in_it() -> None:
    plan = plan_of(10, 10)
    others = [
        plan_of(10, 11),
        plan_of(10, 10, paradigms={"scratch": SCRATCH}),
        plan_of(10, 10, paradigms=ALL | {"switching": replace(SWITCHING, alpha=0.5)}),
        replace(plan, model_name="other"),
        replace(plan, parameters=None),
        replace(plan, flops_per_token=1),
        replace(plan, state_bytes=1),
        replace(plan, paradigms={}),
    ]

    assert len({plan.id, *(other.id for other in others)}) == 1 + len(others)


def remove(*place: Any) -> Callable[[Any], None]:
    def alter(record: Any) -> None:
        for key in place[:-1]:
            record = record[key]
        del record[place[-1]]

    return alter


def put(value: Any, *place: Any) -> Callable[[Any], None]:
    def alter(record: Any) -> None:
        for key in place[:-1]:
            record = record[key]
        record[place[-1]] = value

    return alter


_READ = "the plan cannot be read"


@pytest.mark.parametrize(
    "alter",
    [
        put(99, "format"),
        remove("format"),
        remove("model"),
        remove("tree", "recipes", 0, "seed"),
        put([], "increments"),
        put({"v1": "ten"}, "increments"),
        put("cubic", "tree", "paths", 0, "schedule", "pieces", 0, "shape"),
        put(7, "tree", "paths"),
        put([["x"]], "tree", "releases", 0, "parts"),
        put(0, "increments", "v1"),
        put(1, "tree", "recipes", 0, "seed"),
        put(9, "tree", "paths", 0, "recipe"),
        put([[0, 9]], "tree", "paths", 0, "stream", "segments"),
        put([[1, 1]], "tree", "segments", 0, "components", 0, "increments"),
        put(0.5, "tree", "releases", 0, "parts", 0, 2),
        put(9, "tree", "releases", 0, "parts", 0, 1),
        remove("states", 0),
        put(["0" * 12, 5], "states", 0),
    ],
)
def test_an_altered_plan_is_refused(alter: Callable[[Any], None]) -> None:
    record = json.loads(json.dumps(plan_of(10, 20).as_record()))
    alter(record)

    with refused(PlanError):
        from_record(record)


@pytest.mark.parametrize("record", [[], None, "plan", 7])
def test_what_is_no_plan_is_refused(record: Any) -> None:
    with refused(PlanError):
        from_record(record)


def test_a_plan_is_plain_data() -> None:
    record = plan_of(10, 20).as_record()

    assert canonical(json.loads(json.dumps(record))) == canonical(record)
    assert sorted(record["states"]) == sorted({tuple(key): list(key) for key in record["states"]}.values())
