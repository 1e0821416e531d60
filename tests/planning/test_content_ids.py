"""Ids by content: tokens and rates, provisional ids, paths that are left where data differ, and ids of before."""

import json
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrpath.errors import PlanError
from lrpath.planning.continuation import keep_old_ids, leave_where_data_differ, unite_where_data_agree
from lrpath.planning.paths import Path, Release, StateKey, Tree
from lrpath.planning.schedule import Piece, Schedule, Shape, constant, ramp
from lrpath.planning.shared_paths import unite
from lrpath.planning.streams import Increment, Stream, mixture, sequential, union
from lrpath.planning.tree_record import as_record, from_record
from tests.planning.strategies import RECIPE
from tests.refusals import refused

WARM = (ramp(0.0, 1.0, updates=2), constant(1.0))


def increments_of(*contents: str | None) -> tuple[Increment, ...]:
    return tuple(Increment(version=f"v{n}", updates=10, content=text) for n, text in enumerate(contents, start=1))


def main_of(*contents: str | None) -> Path:
    return Path(name="main", recipe=RECIPE, schedule=Schedule(pieces=WARM), stream=sequential(increments_of(*contents)))


def tree_of(main: Path, *forks: int, length: int = 6) -> Tree:
    """Return a tree of a main path and branches, the n-th of which is the release of the n-th version."""
    branches = tuple(
        Path(
            name=f"v{number}",
            recipe=RECIPE,
            schedule=Schedule(start=fork, pieces=(ramp(1.0, 0.0, updates=length),)),
            stream=main.stream,
            parent=StateKey(main.id, fork),
        )
        for number, fork in enumerate(forks, start=1)
    )
    releases = tuple(
        Release(paradigm="ours", version=branch.name, parts=((StateKey(branch.id, branch.start + length), 1.0),))
        for branch in branches
    )
    return Tree(paths=(main, *branches), releases=releases)


def test_the_tokens_that_a_path_begins_with_are_part_of_its_id_and_later_ones_are_not() -> None:
    assert main_of("a", "b").id == main_of("a", "c").id == main_of("a").id
    assert main_of("a", "b").id != main_of("b", "b").id


def test_all_tokens_of_a_union_and_a_replay_are_part_of_the_id() -> None:
    main = main_of("a", "b")
    both = [replace(main, stream=union(increments_of(*texts))) for texts in (("a", "b"), ("a", "c"))]
    fork = StateKey(main.id, 10)
    later = Schedule(start=10, pieces=(constant(1.0),))
    replayed = [
        replace(main, stream=mixture(increments_of(*texts), replay=0.5), parent=fork, schedule=later)
        for texts in (("a", "b"), ("c", "b"))
    ]

    assert both[0].id != both[1].id
    assert replayed[0].id != replayed[1].id


def test_what_is_not_prepared_gives_a_provisional_id_and_so_do_all_that_leave_it() -> None:
    tree = tree_of(main_of("source:a", "source:b"), 4, 14)
    partly = tree_of(main_of("a", "source:b"), 4, 14)

    assert [path.is_provisional for path in tree.paths] == [True, True, True]
    assert [path.is_provisional for path in partly.paths] == [False, False, True]
    assert from_record(json.loads(json.dumps(as_record(tree)))) == tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Halved(Schedule):
    """Half the rates."""

    def rate(self, update: int) -> float:
        return super(Halved, self).rate(update) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class OnceHalved(Schedule):
    """One rate of them halved."""

    def rate(self, update: int) -> float:
        return super(OnceHalved, self).rate(update) * (0.5 if update == 3 else 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Renamed(Schedule):
    """The same rates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HalvedPiece(Piece):
    """Half the rates of a piece."""

    def rate(self, update: int) -> float:
        return super(HalvedPiece, self).rate(update) / 2


@pytest.mark.parametrize("pieces", [WARM, (ramp(1.0, 0.0, updates=20),)])
def test_a_schedule_of_another_class_with_other_rates_is_another_path(pieces: tuple[Piece, ...]) -> None:
    main = replace(main_of("a", "b"), schedule=Schedule(pieces=pieces))
    halved, once = (replace(main, schedule=kind(pieces=pieces)) for kind in (Halved, OnceHalved))

    assert len({main.id, halved.id, once.id}) == 3
    assert replace(main, schedule=Renamed(pieces=pieces)).id == main.id


def test_a_piece_of_another_class_with_other_rates_is_another_path_and_reads_back_with_its_id() -> None:
    piece = HalvedPiece(shape=Shape.LINEAR, updates=20, first=1.0, last=0.0)
    main = main_of("a", "b")
    halved = replace(main, schedule=Schedule(pieces=(piece,)))
    tree = Tree(
        paths=(halved,), releases=(Release(paradigm="x", version="v1", parts=((StateKey(halved.id, 20), 1.0),)),)
    )

    assert halved.id != replace(main, schedule=Schedule(pieces=(ramp(1.0, 0.0, updates=20),))).id
    assert from_record(json.loads(json.dumps(as_record(tree)))).paths[0].id == halved.id


@given(
    at=st.integers(0, 29),
    shape=st.sampled_from([one for one in Shape if one not in (Shape.STAIR, Shape.KNEE, Shape.INVERSE_SQRT)]),
)
def test_the_rest_of_a_schedule_has_the_same_rates(at: int, shape: Shape) -> None:
    level = shape is Shape.CONSTANT
    values = (0.8, 0.3, 0.1) if shape is Shape.TABLE else ()
    curve = Piece(shape=shape, updates=17, first=1.0, last=1.0 if level else 0.1, values=values)
    whole = Schedule(pieces=(ramp(0.0, 1.0, updates=5), curve, constant(0.1)))

    rest = whole.after(at)

    assert [rest.rate(update) for update in range(at, 40)] == [whole.rate(update) for update in range(at, 40)]
    assert rest.end == whole.end


def test_a_schedule_cannot_begin_behind_its_first_piece() -> None:
    with refused(PlanError):
        Schedule(start=5, pieces=(ramp(1.0, 0.0, updates=3),), skipped=3)


def test_a_tree_leaves_a_known_path_at_the_end_of_the_last_increment_they_share() -> None:
    known = {path.id: path for path in tree_of(main_of("a", "b", "c"), 4, 14, 24).paths}

    tree = leave_where_data_differ(tree_of(main_of("a", "b", "x"), 4, 14, 24), known)

    main, rest = (path for path in tree.paths if path.name.startswith("main"))
    assert (main.id, main.stream.end) == (main_of("a").id, 20)
    assert rest.parent == StateKey(main.id, 20)
    assert [rest.schedule.rate(update) for update in range(20, 30)] == [1.0] * 10
    assert tree.needed(main.id) == (4, 14, 20)
    assert tree.needed(rest.id) == (24,)
    assert [release.last.position for release in tree.releases] == [10, 20, 30]
    assert unite([tree, tree_of(main_of("a", "b", "c"), 4, 14, 24)]).needed(main.id) == (4, 14, 20, 24)


def test_a_third_candidate_leaves_where_it_differs_from_both() -> None:
    first = tree_of(main_of("a", "b", "c"), 4, 14, 24)
    second = leave_where_data_differ(tree_of(main_of("a", "x", "c"), 4, 14, 24), {p.id: p for p in first.paths})
    known = {path.id: path for path in unite([first, second]).paths}

    third = leave_where_data_differ(tree_of(main_of("a", "x", "y"), 4, 14, 24), known)

    assert [path.start for path in third.paths if path.name.startswith("main")] == [0, 10, 20]
    assert leave_where_data_differ(tree_of(main_of("a", "x", "c"), 4, 14, 24), known) == second


def test_a_plan_that_needs_nothing_of_what_differs_has_no_continuation() -> None:
    known = {path.id: path for path in tree_of(main_of("a", "b"), 4, 14).paths}

    tree = leave_where_data_differ(tree_of(main_of("a", "x"), 4), known)

    assert [path.name for path in tree.paths] == ["main", "v1"]
    unite([tree, Tree(paths=tuple(known.values()), releases=tree_of(main_of("a", "b"), 4, 14).releases)])


def test_what_is_not_prepared_may_be_what_is_known() -> None:
    known = {path.id: path for path in tree_of(main_of("a", "b"), 4, 14).paths}
    tree = tree_of(main_of("a", "source:b"), 4, 14)

    assert leave_where_data_differ(tree, known) == tree


def test_a_state_is_kept_where_an_increment_ends_and_nothing_is_run_for_it() -> None:
    tree = tree_of(main_of("a", "b", "c"), 4, 24)
    main = tree.paths[0]

    assert tree.needed(main.id) == (4, 24)
    assert tree.increment_ends(main.id) == (10, 20)
    assert StateKey(main.id, 10) not in set(tree.states())
    assert {StateKey(main.id, 10), StateKey(main.id, 24)} <= set(tree.kept_states())


OLD = replace(RECIPE, data={"source": {"kind": "text"}, "first_increment": {"files": []}, "tokenizer": None})


def old_of(tree: Tree) -> Tree:
    """Return a tree as it was kept before ids followed from content, with the contents its states have read."""
    ids: dict[str, str] = {}
    paths = []
    for path in tree.paths:
        parent = path.parent and StateKey(ids[path.parent.path_id], path.parent.position)
        paths.append(replace(path, recipe=OLD, parent=parent))
        ids[path.id] = paths[-1].id
    releases = tuple(
        replace(one, parts=tuple((StateKey(ids[key.path_id], key.position), weight) for key, weight in one.parts))
        for one in tree.releases
    )
    return Tree(paths=tuple(paths), releases=releases)


def without_contents(stream: Stream) -> Stream:
    known = {f"v{n}": Increment(version=f"v{n}", updates=10) for n in (1, 2, 3)}
    return replace(stream, segments=tuple(segment.with_increments(known) for segment in stream.segments))


def test_paths_of_before_keep_their_ids_and_what_leaves_them_is_new() -> None:
    old = old_of(tree_of(main_of("a", "b"), 4, 14))
    new = tree_of(main_of("a", "b", "c"), 4, 14, 24)

    tree = keep_old_ids(new, old.paths)

    assert [path.id for path in tree.paths[:3]] == [path.id for path in old.paths]
    assert tree.paths[3].parent == StateKey(old.paths[0].id, 24)
    assert from_record(json.loads(json.dumps(as_record(tree)))) == tree


@pytest.mark.parametrize("contents", [("x", "b"), ("source:a", "b")])
def test_other_tokens_or_unknown_ones_do_not_take_an_old_id(contents: tuple[str, ...]) -> None:
    old = old_of(tree_of(main_of("a", "b"), 4, 14))
    new = tree_of(main_of(*contents), 4, 14)

    assert keep_old_ids(new, old.paths) == new


def test_an_old_path_of_which_no_state_says_what_was_read_is_not_taken_for_another() -> None:
    old = old_of(tree_of(main_of("a", "b"), 4, 14))
    unsaid = [replace(path, stream=without_contents(path.stream)) for path in old.paths]
    new = tree_of(main_of("a", "b"), 4, 14)

    assert [path.id for path in unsaid] == [path.id for path in old.paths]  # contents are no part of an old id
    assert keep_old_ids(new, unsaid) == new


def test_an_old_path_with_other_settings_is_not_the_same() -> None:
    old = old_of(tree_of(main_of("a", "b"), 4, 14))
    new = tree_of(main_of("a", "b"), 4, 14)
    other = [replace(path, recipe=replace(path.recipe, seed=7)) for path in old.paths[:1]]

    assert keep_old_ids(new, other) == new


def test_two_paradigms_that_begin_alike_share_the_path_until_they_read_other_data() -> None:
    plain, other = tree_of(main_of("a", "b", "c"), 4, 14, 24), tree_of(main_of("a", "x", "c"), 4, 14, 24)

    both = unite_where_data_agree([plain, other])

    known = {path.id for path in plain.paths}
    assert known < {path.id for path in both.paths}
    rest = next(path for path in both.paths if path.id not in known)
    assert (rest.parent, rest.start) == (StateKey(plain.paths[0].id, 10), 10)
    assert unite_where_data_agree([plain, plain]) == plain
