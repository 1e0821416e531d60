"""A batch that grows: how many sequences lie where, what an increment then is, and what all of it costs."""

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrpath.errors import ConfigError, LrpathError, PlanError
from lrpath.planning import recipe as recipes
from lrpath.planning.continuation import leave_where_data_differ
from lrpath.planning.global_batch import GlobalBatch
from lrpath.planning.paradigms import Anchor, FromScratch, Paradigm, Reads, Setting
from lrpath.planning.paths import StateKey, Tree
from lrpath.planning.plan import Plan, from_record
from lrpath.planning.readings import Readings, domain_tokens
from lrpath.planning.recipe import Recipe
from lrpath.planning.shared_paths import unite
from lrpath.planning.streams import Increment, mixture
from tests.planning.strategies import LINEAR, RECIPE, build_continual, build_merged, build_switching
from tests.refusals import refused

BATCH = GlobalBatch(sequences=4, growth=((15, 8), (25, 16)))
GROWN = replace(RECIPE, growth=BATCH.growth)
"""Windows of 16 tokens. With increments of 10 updates, v1 has 40 windows, v2 60 and v3 120."""

PARADIGMS: dict[str, Paradigm] = {
    "scratch": FromScratch(peak=1.0, warmup=2, decay=LINEAR),
    "in order": FromScratch(peak=1.0, warmup=2, decay=LINEAR, reads=Reads.IN_ORDER),
    "continual": build_continual(peak=1.0, warmup=2, decay=LINEAR),
    "switching": build_switching(peak=1.0, warmup=2, decay=LINEAR, alpha=0.6),
    "union": build_switching(peak=1.0, warmup=2, decay=LINEAR, alpha=0.6, reads="union"),
    "merged": build_merged(peak=1.0, warmup=2, states=3, spacing=2),
}


@st.composite
def batches(draw: st.DrawFn) -> GlobalBatch:
    """Draw a batch that grows up to three times."""
    count = draw(st.integers(0, 3))
    steps = list(accumulate(draw(st.lists(st.integers(1, 20), min_size=count, max_size=count))))
    sizes = list(accumulate(draw(st.lists(st.integers(1, 9), min_size=count + 1, max_size=count + 1))))
    return GlobalBatch(sequences=sizes[0], growth=tuple(zip(steps, sizes[1:], strict=True)))


def increments_in(batch: GlobalBatch, *updates: int, **fields: Any) -> tuple[Increment, ...]:
    ends = list(accumulate(updates))
    return tuple(
        Increment(
            version=f"v{number}",
            updates=size,
            windows=batch.between(end - size, end) if batch.grows_before(end) else None,
            **fields,
        )
        for number, (size, end) in enumerate(zip(updates, ends, strict=True), start=1)
    )


def setting_in(recipe: Recipe, *updates: int, label: str = "path", **fields: Any) -> Setting:
    increments = increments_in(recipe.batch, *updates, **fields)
    return Setting(label=label, recipe=recipe, increments=increments, parse=lambda length, _: int(length))


def plan_in(recipe: Recipe, *updates: int, paradigms: dict[str, Paradigm] = PARADIGMS) -> Plan:
    return Plan(
        increments=increments_in(recipe.batch, *updates),
        paradigms=paradigms,
        tree=unite(one.plan(setting_in(recipe, *updates, label=label)) for label, one in paradigms.items()),
        model_name="tiny",
        parameters=1000,
        flops_per_token=6000,
        state_bytes=12_000,
    )


@given(batch=batches(), begin=st.integers(0, 70), length=st.integers(0, 70))
def test_what_lies_between_two_positions_is_the_sum_of_the_updates(batch: GlobalBatch, begin: int, length: int) -> None:
    every = [batch.at(position) for position in range(begin, begin + length)]

    assert batch.between(begin, begin + length) == sum(every)
    assert batch.before(begin) == sum(batch.at(position) for position in range(begin))
    assert [n for first, last, n in batch.stretches(begin, begin + length) for _ in range(first, last)] == every
    assert batch.updates_of(sum(every), start=begin) == length
    assert batch.until(begin).before(begin) == batch.before(begin)
    assert batch.grows_before(begin) == (begin > 0 and batch.at(begin - 1) > batch.sequences)


def test_the_update_from_a_position_on_is_the_first_with_its_batch() -> None:
    assert [BATCH.at(position) for position in (0, 14, 15, 24, 25, 1000)] == [4, 4, 8, 8, 16, 16]
    assert [BATCH.before(position) for position in (0, 15, 16, 25, 26)] == [0, 60, 68, 140, 156]


@pytest.mark.parametrize(
    ("text", "start", "updates"),
    [
        ("640 tokens", 0, 10),  # 640 ÷ (4 · 16)
        ("640 tokens", 12, 6),  # 3 updates of 64, and 448 ÷ 128 = 3.5, rounded to even: 6.5 → 6
        ("640 tokens", 15, 5),
        ("2_560 tokens", 20, 12),  # 5 of 128, and 1,920 ÷ 256 = 7.5: 12.5 → 12
        ("7 updates", 12, 7),
        (7, 12, 7),
    ],
)
def test_tokens_are_counted_with_the_batches_where_a_length_lies(text: int | str, start: int, updates: int) -> None:
    assert BATCH.parse_updates(text, tokens_per_sequence=16, field="increment", start=start) == updates


@pytest.mark.parametrize(
    ("growth", "field", "value"),
    [
        (((0, 8),), "batch.growth[0].position", 0),
        (((10, 8), (10, 16)), "batch.growth[1].position", 10),
        (((10, 8), (5, 16)), "batch.growth[1].position", 5),
        (((10, 4),), "batch.growth[0].sequences_per_update", 4),
        (((10, 8), (20, 6)), "batch.growth[1].sequences_per_update", 6),
        (((10, 0),), "batch.growth[0].sequences_per_update", 0),
    ],
)
def test_a_batch_that_does_not_grow_at_later_and_later_positions_is_refused(
    growth: tuple[tuple[int, int], ...], field: str, value: int
) -> None:
    with refused(ConfigError, field=field, value=value):
        GlobalBatch(sequences=4, growth=growth)


def test_a_length_in_tokens_that_is_no_update_of_its_batch_is_refused() -> None:
    with refused(ConfigError, field="increment", value="100 tokens"):
        BATCH.parse_updates("100 tokens", tokens_per_sequence=16, field="increment", start=30)


def test_a_recipe_counts_tokens_and_reads_back_equal() -> None:
    record = json.loads(json.dumps(GROWN.as_record()))

    assert (GROWN.sequences_at(20), GROWN.tokens_before(16), GROWN.tokens_between(14, 16)) == (8, 68 * 16, 12 * 16)
    assert recipes.from_record(record) == GROWN
    assert record["growth"] == [[15, 8], [25, 16]]
    assert GROWN.as_record(until=25)["growth"] == [[15, 8]]
    assert GROWN.as_record(until=15) == RECIPE.as_record()
    assert "growth" not in RECIPE.as_record()


def test_what_begins_before_the_batch_grows_has_the_id_that_it_had_and_the_rest_has_another() -> None:
    before, after = plan_in(RECIPE, 10, 10, 10), plan_in(GROWN, 10, 10, 10)
    old, new = ({path.name: path.id for path in plan.tree.paths} for plan in (before, after))

    # v1 ends at 10, and the main paths begin with it; v2 and v3 have other batches
    same = [name for name in old if old[name] == new[name]]
    assert same == ["scratch.v1", "in order.v2", "in order.v3", "switching.main", "switching.v1"]
    # of those in order the first segment is that of v1 alone: what differs later is compared with what was read


def test_a_plan_reads_back_equal_from_json() -> None:
    plan = plan_in(GROWN, 10, 10, 10)

    assert from_record(json.loads(json.dumps(plan.as_record()))) == plan


def test_at_one_position_every_paradigm_has_read_as_many_tokens() -> None:
    plan = plan_in(GROWN, 10, 10, 10)

    for paradigm in PARADIGMS:
        for version, position in (("v1", 10), ("v2", 20), ("v3", 30)):
            key = plan.release(paradigm, version).last
            line = plan.tree.line(key.path_id)
            ends = [*(path.start for path in line[1:]), key.position]
            read = sum(sum(domain_tokens(path, path.start, end).values()) for path, end in zip(line, ends, strict=True))
            assert key.position == position
            assert read == GROWN.tokens_before(position) == plan.tree.path(key.path_id).recipe.tokens_before(position)


def test_a_cost_is_counted_in_tokens() -> None:
    plan = plan_in(GROWN, 10, 10, 10)

    # From scratch: 40 + 100 + 220 windows. Switching: main to 24 (4 · 15 + 8 · 9), branches of 6 updates: v1 24, v2
    # 4 + 5 · 8 = 44, v3 8 + 5 · 16 = 88; so 132 + 24 + 44 + 88 = 288 of 360.
    assert [plan.tokens_from_scratch(versions=n) for n in (1, 2, 3)] == [640, 2_240, 5_760]
    assert plan.relative_cost("scratch") == 1.0
    assert plan.relative_cost("switching") == 288 / 360
    assert plan.relative_cost("continual") == 220 / 360
    assert plan.updates_from_scratch() == 60
    cost = plan.costs("switching")[-1]
    assert (cost.updates, cost.tokens, cost.flops) == (42, 288 * 16, 288 * 16 * 6000)
    assert cost.tokens_first == 220 * 16  # every increment once
    tree = plan.part("switching")
    assert sum(tree.tokens(path.id) for path in tree.paths) == cost.tokens


@pytest.mark.parametrize("name", PARADIGMS)
@given(batch=batches(), sizes=st.lists(st.integers(4, 30), min_size=2, max_size=4))
def test_shares_of_increments_make_up_the_tokens_that_paths_read(
    name: str, batch: GlobalBatch, sizes: list[int]
) -> None:
    recipe = replace(RECIPE, sequences_per_update=batch.sequences, growth=batch.growth)
    increments = {one.version: one for one in increments_in(batch, *sizes)}
    try:
        tree = PARADIGMS[name].plan(setting_in(recipe, *sizes))
    except PlanError:  # lengths that do not fit these sizes
        return
    readings = Readings(tree)

    for path in tree.paths:
        read = sum(
            (one.first + one.again) * increments[version].count_windows(sequences=batch.sequences)
            for version, one in readings.of_path(path).items()
        )
        assert read == batch.between(path.start, tree.end(path.id))
    if name not in ("union", "merged"):
        last = tree.releases[-1].last
        shares = {version: readings.share(last, version) for version in increments}
        assert all(0 < share <= 1 for share in shares.values())
        assert name == "switching" or shares == dict.fromkeys(increments, Fraction(1))


def test_a_union_weighs_increments_by_their_windows() -> None:
    increments = increments_in(BATCH, 10, 10, 10)

    second, third = mixture(increments, replay="union", sequences=4).segments[1:]

    assert [component.parts for component in second.components] == [600, 400]  # 60 of 100 windows
    assert [component.parts for component in third.components] == [545, 455]  # 120 of 220
    with refused(PlanError):
        mixture(increments, replay="union")


@pytest.mark.parametrize(
    "paradigm",
    [
        FromScratch(peak=1.0, warmup=2, decay=LINEAR, reads=Reads.OWN),
        build_continual(peak=1.0, warmup=2, decay=LINEAR, leave_after=5),
    ],
)
def test_an_increment_that_would_be_read_in_part_without_a_word_is_refused(paradigm: Paradigm) -> None:
    with refused(PlanError, field="batch.growth"):
        paradigm.plan(setting_in(GROWN, 10, 10, 10))


def test_a_branch_that_begins_where_its_increment_ends_has_the_batch_of_its_own_positions() -> None:
    paradigm = build_switching(peak=1.0, warmup=2, decay=LINEAR, alpha=0.6, anchor=Anchor.START)

    tree = paradigm.plan(setting_in(GROWN, 10, 10, 10))

    branch = next(path for path in tree.paths if path.name == "path.v2")
    assert (branch.start, tree.end(branch.id)) == (20, 26)
    assert tree.tokens(branch.id) == (5 * 8 + 16) * 16
    assert Readings(tree).of_path(branch)["v2"].again == Fraction(56, 60)


def growing(*growth: tuple[int, int]) -> Callable[[int], Tree]:
    recipe = replace(RECIPE, growth=growth)
    return lambda count: PARADIGMS["switching"].plan(setting_in(recipe, *[10] * count, content="text"))


NEVER = growing()


@pytest.mark.parametrize("position", [30, 35, 100])
def test_a_batch_that_grows_behind_what_was_planned_keeps_every_path(position: int) -> None:
    known = {path.id: path for path in NEVER(3).paths}

    tree = leave_where_data_differ(growing((position, 8))(4), known)

    assert set(NEVER(3).releases) <= set(tree.releases)
    assert [path.name for path in tree.paths] == ["path.main", "path.v1", "path.v2", "path.v3", "path.v4"]
    assert unite([NEVER(3), tree]).end(tree.paths[0].id) == 34


@pytest.mark.parametrize(("position", "leaves"), [(10, 10), (15, 10), (20, 20), (29, 20)])
def test_a_batch_that_grows_where_another_was_planned_leaves_the_path_where_the_increment_begins(
    position: int, leaves: int
) -> None:
    known = {path.id: path for path in NEVER(3).paths}

    tree = leave_where_data_differ(growing((position, 8))(3), known)

    main, rest = tree.paths[0], next(path for path in tree.paths if path.name == f"path.main_from_{leaves}")
    assert main.id in known
    assert rest.parent == StateKey(main.id, leaves)
    assert not set(NEVER(3).releases) <= set(tree.releases)
    with refused(PlanError):
        unite([NEVER(3), growing((position, 8))(3)])


def test_two_growths_of_equal_windows_are_told_apart() -> None:
    # both give v2 100 windows: 5 · 4 + 5 · 16, and 10 · 10
    one, other = growing((15, 16))(2), growing((10, 10))(2)

    assert {
        increment.windows for tree in (one, other) for increment in tree.paths[0].stream.segments[1].increments
    } == {100}
    with refused(PlanError):
        unite([one, other])


def test_a_batch_that_would_shrink_is_refused_where_the_recipe_is_made() -> None:
    with refused(LrpathError, field="batch.growth[0].sequences_per_update", value=2):
        replace(RECIPE, growth=((10, 2),))
