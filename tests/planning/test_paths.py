import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from lrpath.errors import ConfigError, PlanError
from lrpath.planning.paths import Path, Release, StateKey, Tree
from lrpath.planning.recipe import Seeds
from lrpath.planning.schedule import Piece, Schedule, Shape, constant, ramp
from lrpath.planning.shared_paths import unite
from lrpath.planning.streams import Stream, again, mixture, sequential, union
from lrpath.planning.tree_record import as_record, from_record
from tests.analysis.studies import plan_of
from tests.planning.strategies import RECIPE, increments_of, recipe_with
from tests.refusals import refused

WARM = (ramp(0.0, 1.0, updates=2), constant(1.0))
DATA = sequential(increments_of(10, 10))
MAIN = Path(name="main", recipe=RECIPE, schedule=Schedule(pieces=WARM), stream=DATA)


def branch_of(parent: Path, *, fork: int, end: int, name: str = "branch") -> Path:
    return Path(
        name=name,
        recipe=parent.recipe,
        schedule=Schedule(start=fork, pieces=(ramp(1.0, 0.0, updates=end - fork),)),
        stream=parent.stream,
        parent=StateKey(parent.id, fork),
    )


def release_of(path: Path, position: int, *, paradigm: str = "ours", version: str = "v1") -> Release:
    return Release(paradigm=paradigm, version=version, parts=((StateKey(path.id, position), 1.0),))


BRANCH = branch_of(MAIN, fork=6, end=10)
TREE = Tree(paths=(MAIN, BRANCH), releases=(release_of(BRANCH, 10),))


def test_a_path_id_is_the_same_in_every_version_of_lrpath() -> None:
    """States on disk are found by it: a change here makes every study run again."""
    assert (MAIN.id, BRANCH.id) == ("2ed31565ff1d", "3fad1c76c4ff")


@pytest.mark.parametrize(
    "change",
    [
        {"model": {**RECIPE.model, "layers": 3}},
        {"data": {**RECIPE.data, "tokenizer": "other"}},
        {"precision": "bf16"},
        {"seed": 1},
        {"sequences_per_update": 8},
        {"tokens_per_sequence": 32},
        {"beta1": 0.8},
        {"beta2": 0.99},
        {"eps": 1e-6},
        {"weight_decay": 0.0},
        {"clip_norm": None},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_field_of_the_recipe_is_part_of_the_id(change: dict[str, Any]) -> None:
    assert replace(MAIN, recipe=recipe_with(**change)).id != MAIN.id


@pytest.mark.parametrize(
    "pieces",
    [
        (ramp(0.0, 1.0, updates=3), constant(1.0)),
        (ramp(0.0, 0.5, updates=2), constant(1.0)),
        (ramp(0.1, 1.0, updates=2), constant(1.0)),
        (Piece(shape=Shape.SQUARE, updates=2, first=0.0, last=1.0), constant(1.0)),
        (Piece(shape=Shape.POWER, updates=2, first=0.0, last=1.0, exponent=1.0), constant(1.0)),
        (Piece(shape=Shape.POWER, updates=2, first=0.0, last=1.0, exponent=2.0), constant(1.0)),
        (ramp(0.0, 1.0, updates=2), constant(1.0, updates=18)),
        (ramp(0.0, 1.0, updates=2),),
        (constant(1.0),),
    ],
)
def test_every_field_of_the_schedule_is_part_of_the_id(pieces: tuple[Piece, ...]) -> None:
    assert replace(MAIN, schedule=Schedule(pieces=pieces)).id != MAIN.id


def test_the_exponent_of_a_power_is_part_of_the_id() -> None:
    ids = {
        replace(
            MAIN,
            schedule=Schedule(pieces=(Piece(shape=Shape.POWER, updates=9, first=1.0, last=0.0, exponent=exponent),)),
        ).id
        for exponent in (1.0, 2.0, 3.0)
    }

    assert len(ids) == 3


@pytest.mark.parametrize(
    "stream",
    [
        sequential(increments_of(11, 10)),
        union(increments_of(10, 10)),
        sequential(increments_of(10, 10)[1:]),
        Stream(segments=(replace(DATA.segments[0], updates=9), DATA.segments[1])),
        again(increments_of(10)[0], start=0, updates=10),
        Stream(start=-1, segments=DATA.segments),
    ],
)
def test_every_field_of_the_first_segment_is_part_of_the_id(stream: Stream) -> None:
    assert replace(MAIN, stream=stream).id != MAIN.id


def test_the_replay_of_the_first_segment_is_part_of_the_id() -> None:
    increments = increments_of(10, 10)
    parent = StateKey(MAIN.id, 10)
    schedule = Schedule(start=10, pieces=(constant(1.0),))

    ids = {
        Path(name="p", recipe=RECIPE, schedule=schedule, stream=mixture(increments, replay=replay), parent=parent).id
        for replay in (0.0, 0.1, 0.2)
    }

    assert len(ids) == 3


def test_parent_and_fork_are_part_of_the_id() -> None:
    other = replace(MAIN, recipe=recipe_with(seed=1))

    ids = {branch_of(parent, fork=fork, end=fork + 4).id for parent in (MAIN, other) for fork in (5, 6)}

    assert len(ids) == 4


@pytest.mark.parametrize(
    "change",
    [
        {"name": "another name"},
        {"stream": sequential(increments_of(10, 10, 10))},
        {"stream": sequential(increments_of(10))},
    ],
)
def test_neither_the_name_nor_later_data_is_part_of_the_id(change: dict[str, Any]) -> None:
    assert replace(MAIN, **change).id == MAIN.id


def test_a_path_reads_no_segment_past_the_end_of_its_schedule() -> None:
    assert BRANCH.stream == sequential(increments_of(10))
    assert branch_of(MAIN, fork=6, end=11).stream == DATA
    assert MAIN.stream == DATA


def test_a_schedule_must_start_where_its_path_does() -> None:
    with refused(PlanError):
        replace(BRANCH, schedule=Schedule(pieces=WARM))


def test_a_path_must_have_data_for_its_first_update() -> None:
    with refused(PlanError):
        branch_of(MAIN, fork=20, end=22)


@pytest.mark.parametrize(("path", "first", "last"), [(MAIN, 1, 20), (BRANCH, 7, 10)])
def test_a_position_must_lie_on_its_path(path: Path, first: int, last: int) -> None:
    for position in (first, last):
        path.check_position(position)
    for position in (first - 1, last + 1):
        with refused(PlanError):
            path.check_position(position)


@pytest.mark.parametrize(
    "change",
    [
        {"beta1": 1.0},
        {"beta1": -0.1},
        {"beta2": 1.0},
        {"beta2": math.nan},
        {"eps": 0.0},
        {"eps": math.inf},
        {"weight_decay": -0.1},
        {"weight_decay": math.inf},
        {"clip_norm": 0.0},
        {"clip_norm": math.nan},
        {"clip_norm": math.inf},
        {"precision": "fp16"},
        {"seed": -1},
        {"seed": 2**63},
        {"sequences_per_update": 0},
        {"tokens_per_sequence": 0},
    ],
)
def test_an_impossible_recipe_is_refused(change: dict[str, Any]) -> None:
    with refused(PlanError, ConfigError):
        recipe_with(**change)


def test_the_edges_of_a_recipe_are_allowed() -> None:
    recipe = recipe_with(beta1=0.0, weight_decay=0.0, clip_norm=None, seed=2**63 - 1, sequences_per_update=1)

    assert recipe.tokens_between(0, 1) == 16


@pytest.mark.parametrize(
    ("weights", "total"), [((), "0"), ((0.5,), "0.5"), ((0.5, 0.6), "1.1"), ((math.nan, 1.0), "nan")]
)
def test_weights_of_a_release_must_add_up_to_1(weights: tuple[float, ...], total: str) -> None:
    parts = tuple((StateKey(MAIN.id, number), weight) for number, weight in enumerate(weights, start=1))

    with refused(PlanError):
        Release(paradigm="ours", version="v1", parts=parts)


def test_a_tree_knows_what_is_needed_of_its_paths() -> None:
    early = branch_of(MAIN, fork=3, end=8, name="early")
    releases = (release_of(BRANCH, 10), release_of(early, 8, version="v2"), release_of(MAIN, 15, version="v3"))

    tree = Tree(paths=(MAIN, BRANCH, early), releases=releases)

    assert tree.needed(MAIN.id) == (3, 6, 15)
    assert [tree.end(path.id) for path in tree.paths] == [15, 10, 8]
    assert [tree.updates(path.id) for path in tree.paths] == [15, 4, 5]
    assert list(tree.states()) == [
        StateKey(MAIN.id, 3),
        StateKey(MAIN.id, 6),
        StateKey(MAIN.id, 15),
        StateKey(BRANCH.id, 10),
        StateKey(early.id, 8),
    ]
    assert tree.path(early.id) is early
    assert [path.name for path in tree.line(early.id)] == ["main", "early"]
    assert tree.line(MAIN.id) == (MAIN,)


@pytest.mark.parametrize(
    ("update", "rate"),
    [
        (0, 0.5),  # first
        (1, 1.0),
        (5, 1.0),  # the last before the fork
        (6, 0.75),  # the first after the fork
        (9, 0.0),  # last
    ],
)
def test_a_rate_before_the_fork_is_the_parent_s(update: int, rate: float) -> None:
    assert TREE.rate(BRANCH.id, update) == rate


def test_there_is_no_rate_past_the_end() -> None:
    with refused(PlanError):
        TREE.rate(BRANCH.id, 10)


def test_a_branch_that_goes_on_in_its_parent_s_segment_reads_every_window_once() -> None:
    (first, second) = DATA.segments
    late = branch_of(MAIN, fork=14, end=20)
    tree = Tree(paths=(MAIN, late), releases=(release_of(late, 20),))

    assert TREE.reads(StateKey(MAIN.id, 6)) == [(first, 6)]
    assert TREE.reads(StateKey(BRANCH.id, 7)) == [(first, 7)]
    assert TREE.reads(StateKey(BRANCH.id, 10)) == [(first, 10)]
    assert tree.reads(StateKey(MAIN.id, 14)) == [(first, 10), (second, 4)]
    assert tree.reads(StateKey(late.id, 20)) == [(first, 10), (second, 10)]


def test_a_branch_from_the_edge_of_a_segment_begins_the_next_one() -> None:
    (first, second) = DATA.segments
    edge = branch_of(MAIN, fork=10, end=12)
    tree = Tree(paths=(MAIN, edge), releases=(release_of(edge, 12),))

    assert tree.reads(StateKey(edge.id, 11)) == [(first, 10), (second, 1)]


def test_a_branch_that_reads_its_increment_again_counts_as_a_second_reading() -> None:
    (v1,) = increments_of(10)
    extra = again(v1, start=10, updates=4)
    branch = replace(branch_of(MAIN, fork=10, end=14), stream=extra)
    tree = Tree(paths=(MAIN, branch), releases=(release_of(branch, 14),))

    assert tree.reads(StateKey(branch.id, 14)) == [(DATA.segments[0], 10), (extra.segments[0], 4)]


def test_a_tree_can_be_cut_to_some_of_its_releases() -> None:
    other = branch_of(MAIN, fork=12, end=20, name="other")
    tree = Tree(paths=(MAIN, BRANCH, other), releases=(release_of(BRANCH, 10), release_of(other, 20, version="v2")))

    part = tree.only(tree.releases[:1])

    assert part == TREE
    assert part.needed(MAIN.id) == (6,)
    assert tree.only(tree.releases) == tree


_ELSEWHERE = branch_of(replace(MAIN, recipe=recipe_with(seed=1)), fork=6, end=10, name="elsewhere")


@pytest.mark.parametrize(
    ("paths", "releases"),
    [
        ((BRANCH, MAIN), (release_of(BRANCH, 10),)),
        ((MAIN, _ELSEWHERE), (release_of(_ELSEWHERE, 10),)),
        ((MAIN, replace(MAIN, name="twin")), (release_of(MAIN, 5),)),
        ((MAIN,), (release_of(MAIN, 21),)),
        ((MAIN,), (release_of(MAIN, 0),)),
        ((MAIN, BRANCH), (release_of(BRANCH, 6),)),
        ((MAIN, BRANCH), (release_of(BRANCH, 11),)),
        ((MAIN,), (release_of(BRANCH, 10),)),
        ((MAIN, BRANCH), (release_of(MAIN, 10),)),
        ((MAIN,), ()),
    ],
)
def test_a_tree_that_does_not_hold_together_is_refused(paths: tuple[Path, ...], releases: tuple[Release, ...]) -> None:
    with refused(PlanError):
        Tree(paths=paths, releases=releases)


def test_a_fork_past_the_end_of_its_parent_is_refused() -> None:
    stream = sequential(increments_of(30))
    short = Path(name="short", recipe=RECIPE, schedule=Schedule(pieces=(constant(1.0, updates=5),)), stream=stream)
    late = replace(branch_of(short, fork=6, end=10), stream=stream)

    with refused(PlanError):
        Tree(paths=(short, late), releases=(release_of(late, 10),))


def test_united_trees_need_what_each_needs() -> None:
    other = branch_of(MAIN, fork=12, end=20, name="other")
    one, two = TREE, Tree(paths=(MAIN, other), releases=(release_of(other, 20, version="v2"),))

    tree = unite([one, two])

    assert tree.paths == (MAIN, BRANCH, other)
    assert tree.releases == (*one.releases, *two.releases)
    assert set(tree.states()) == {*one.states(), *two.states()}
    assert unite([tree, one, two]) == tree
    assert unite([]) == Tree(paths=(), releases=())


def test_releases_of_one_name_are_kept_when_they_are_made_of_other_states() -> None:
    one, two = (Tree(paths=(MAIN,), releases=(release_of(MAIN, position),)) for position in (7, 9))

    assert unite([one, two]).needed(MAIN.id) == (7, 9)


@pytest.mark.parametrize("order", [1, -1])
def test_the_longer_stream_of_a_path_wins(order: int) -> None:
    longer = replace(MAIN, stream=sequential(increments_of(10, 10, 10)))
    trees = [TREE, Tree(paths=(longer,), releases=(release_of(longer, 25),))]

    tree = unite(trees[::order])

    assert tree.path(MAIN.id).stream == longer.stream
    assert tree.needed(MAIN.id) == (6, 25)


@pytest.mark.parametrize("later", [(10, 11), (10, 11, 10), (10, 9)])
def test_streams_that_go_on_differently_cannot_be_united(later: tuple[int, ...]) -> None:
    other = replace(MAIN, name="other", stream=sequential(increments_of(*later)))

    assert other.id == MAIN.id
    with refused(PlanError):
        unite([TREE, Tree(paths=(other,), releases=(release_of(other, 15),))])


def test_streams_with_another_mixture_later_cannot_be_united() -> None:
    other = replace(MAIN, name="other", stream=mixture(increments_of(10, 10), replay=0.5))

    with refused(PlanError):
        unite([TREE, Tree(paths=(other,), releases=(release_of(other, 15),))])


def round_trip(tree: Tree) -> Any:
    return json.loads(json.dumps(as_record(tree)))


def test_a_tree_reads_back_equal_from_json() -> None:
    merged = Release(
        paradigm="mean", version="v1", parts=((StateKey(MAIN.id, 8), 1 / 3), (StateKey(MAIN.id, 10), 2 / 3))
    )
    power = replace(
        MAIN,
        name="power",
        schedule=Schedule(pieces=(Piece(shape=Shape.POWER, updates=20, first=1.0, last=0.0, exponent=0.5),)),
        stream=mixture(increments_of(10, 10), replay=0.3),
    )
    tree = Tree(paths=(MAIN, BRANCH, power), releases=(*TREE.releases, merged, release_of(power, 20, version="v2")))

    assert from_record(round_trip(tree)) == tree


def in_format_two(tree: Tree) -> Any:
    """Return a tree as lrpath wrote it before format 3 of plans: every path with all that it reads."""
    record = round_trip(tree)
    recipes, segments, increments = (record.pop(name) for name in ("recipes", "segments", "increments"))
    for segment in segments:
        for part in segment["components"]:
            part["increments"] = [entry for begin, end in part["increments"] for entry in increments[begin:end]]
    for row in record["paths"]:
        row["recipe"] = recipes[row["recipe"]]
        named = row["stream"]["segments"]
        row["stream"]["segments"] = [segment for begin, end in named for segment in segments[begin:end]]
    return record


def test_a_tree_of_format_two_reads_back_equal() -> None:
    assert from_record(in_format_two(TREE)) == TREE


def test_a_tree_takes_no_more_letters_for_a_late_version_than_for_an_early_one() -> None:
    short, long = (len(json.dumps(plan_of(*[10] * versions).as_record())) for versions in (10, 40))

    assert long < 4.5 * short


def alter_seed(record: Any) -> None:
    record["recipes"][0]["seed"] = 1


def alter_rate(record: Any) -> None:
    record["paths"][1]["schedule"]["pieces"][0]["first"] = 0.9


def alter_data(record: Any) -> None:
    record["segments"][0]["components"][0]["first_pass"] = 1


def alter_id(record: Any) -> None:
    record["paths"][0]["id"] = "0" * 12


@pytest.mark.parametrize("alter", [alter_seed, alter_rate, alter_data, alter_id])
def test_an_altered_path_is_refused(alter: Callable[[Any], None]) -> None:
    record = round_trip(TREE)
    alter(record)

    with refused(PlanError):
        from_record(record)


def test_a_tree_whose_path_was_removed_is_refused() -> None:
    record = round_trip(TREE)
    del record["paths"][0]

    with refused(PlanError):
        from_record(record)


def test_one_seed_for_both_is_the_plain_number_in_the_identity() -> None:
    plain, both, apart = (
        plan_of(10, seed=seed).tree.paths[0] for seed in (3, Seeds(weights=3, order=3), Seeds(weights=3, order=4))
    )

    assert both.recipe == plain.recipe
    assert both.id == plain.id
    assert plain.recipe.as_record()["seed"] == 3
    assert apart.id != plain.id
    assert (apart.recipe.weights_seed, apart.recipe.order_seed) == (3, 4)


def test_seeds_that_are_told_apart_are_read_back_from_a_record() -> None:
    tree = plan_of(10, seed=Seeds(weights=3, order=4)).tree

    assert from_record(as_record(tree)) == tree


@pytest.mark.parametrize("order", [-1, 2**63])
def test_a_seed_out_of_range_is_refused_by_its_name(order: int) -> None:
    with refused(PlanError, field="seed.order", value=order):
        plan_of(10, seed=Seeds(weights=1, order=order))
