from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrpath.data.order import WindowOrder, derive_key, permuted
from lrpath.errors import ConfigError, DataError, PlanError
from lrpath.planning.streams import Component, Increment, Segment, Stream, again, mixture, sequential, union
from tests.refusals import refused

B = 8


def increments(*updates: int) -> tuple[Increment, ...]:
    return tuple(Increment(version=f"v{n}", updates=count) for n, count in enumerate(updates, start=1))


def order_of(stream: Stream, *, seed: int = 0, held: int = 1000, **fields: object) -> WindowOrder:
    windows = {f"v{n}": held for n in range(1, 9)}
    return WindowOrder(**{"stream": stream, "sequences": B, "length": 16, "seed": seed, "windows": windows, **fields})


def read(order: WindowOrder, start: int, end: int) -> list[tuple[str, int]]:
    pairs = []
    for update in range(start, end):
        versions, windows = order.windows_of(update)
        pairs += zip(versions.tolist(), windows.tolist(), strict=True)
    return pairs


@given(size=st.integers(1, 5000), seed=st.integers(), word=st.text(max_size=5))
@settings(deadline=None, max_examples=150)
def test_a_permutation_reaches_every_place_once(size: int, seed: int, word: str) -> None:
    places = permuted(np.arange(size), size=size, key=derive_key(seed, word))

    assert np.array_equal(np.sort(places), np.arange(size))


@given(size=st.integers(1, 2**62), data=st.data())
@settings(deadline=None)
def test_a_permutation_of_a_huge_range_stays_inside_and_keeps_places_apart(size: int, data: st.DataObject) -> None:
    indices = data.draw(st.lists(st.integers(0, size - 1), unique=True, min_size=1, max_size=50))

    places = permuted(indices, size=size, key=derive_key(1, "huge"))

    assert ((places >= 0) & (places < size)).all()
    assert len(np.unique(places)) == len(indices)


def test_a_place_does_not_depend_on_what_is_asked_with_it() -> None:
    key = derive_key(3, "x")

    whole = permuted(np.arange(997).reshape(1, -1), size=997, key=key)[0]

    assert [int(permuted([n], size=997, key=key)[0]) for n in range(0, 997, 83)] == whole[::83].tolist()


def test_the_permutation_is_pinned_so_that_no_release_can_change_it_unseen() -> None:
    assert permuted(range(10), size=10, key=derive_key(0, "pinned")).tolist() == [2, 4, 5, 8, 7, 1, 0, 9, 3, 6]


@pytest.mark.slow
def test_all_orders_of_four_places_are_about_equally_frequent() -> None:
    counts = Counter(tuple(permuted(range(4), size=4, key=derive_key(seed, "small")).tolist()) for seed in range(4800))

    # 24 orders, 200 each expected; chi-square of 23 degrees exceeds 60 once in 30,000 draws, and the draws are fixed.
    statistic = sum((counts[order] - 200) ** 2 / 200 for order in permutations(range(4)))
    assert statistic < 60


@pytest.mark.parametrize(("size", "index"), [(0, 0), (2**62 + 1, 0), (5, 5), (5, -1)])
def test_an_index_or_a_size_out_of_range_is_refused(size: int, index: int) -> None:
    with pytest.raises(ValueError, match="must lie in"):
        permuted([index], size=size, key=derive_key(0))


@given(
    counts=st.lists(st.integers(1, 6), min_size=1, max_size=4), seed=st.integers(0, 99), spare=st.sampled_from([0, 50])
)
@settings(deadline=None, max_examples=40)
def test_sequential_and_union_read_the_same_windows_once_each(counts: list[int], seed: int, spare: int) -> None:
    windows = {f"v{n}": count * B + spare for n, count in enumerate(counts, start=1)}
    one, other = (
        read(order_of(make(increments(*counts)), seed=seed, windows=windows), 0, sum(counts))
        for make in (sequential, union)
    )

    assert len(set(one)) == len(one) == sum(counts) * B
    assert set(one) == set(other)


def test_every_window_is_read_when_the_increment_fills_the_plan_exactly() -> None:
    pairs = read(order_of(union(increments(3, 2)), windows={"v1": 3 * B, "v2": 2 * B}), 0, 5)

    assert Counter(pairs) == Counter([("v1", n) for n in range(3 * B)] + [("v2", n) for n in range(2 * B)])


def test_union_of_one_increment_is_sequential() -> None:
    assert read(order_of(union(increments(7))), 0, 7) == read(order_of(sequential(increments(7))), 0, 7)


def test_a_stream_that_is_extended_reads_the_same_before() -> None:
    for make in (sequential, lambda arrived: mixture(arrived, replay=0.25)):
        short, long = order_of(make(increments(4, 5))), order_of(make(increments(4, 5, 6)))
        assert read(short, 0, 9) == read(long, 0, 9)


def test_an_increment_that_is_planned_longer_begins_with_the_same_windows() -> None:
    assert read(order_of(sequential(increments(4))), 0, 4) == read(order_of(sequential(increments(9))), 0, 4)


def test_another_seed_is_another_order() -> None:
    assert read(order_of(sequential(increments(4))), 0, 4) != read(order_of(sequential(increments(4)), seed=1), 0, 4)


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_the_ranks_share_the_slots_whatever_their_number(ranks: int) -> None:
    order = order_of(mixture(increments(5, 5), replay=0.5))
    versions, windows = order.windows_of(7)
    shared = np.empty_like(windows)

    for rank in range(ranks):
        slots = order.rank_slots(rank, ranks)
        their_versions, shared[slots] = order.windows_of(7, slots=slots)
        assert their_versions.tolist() == versions[slots].tolist()

    assert shared.tolist() == windows.tolist()


@pytest.mark.parametrize("replay", [0.001, 0.2, 0.333, 0.5, 0.999])
def test_every_thousand_windows_hold_exactly_the_mixture(replay: float) -> None:
    order = order_of(mixture(increments(500, 500), replay=replay), held=4000)
    new = np.array([version == "v2" for version, _ in read(order, 500, 1000)])

    assert new.reshape(4, 1000).sum(axis=1).tolist() == [round(1000 * (1 - replay))] * 4


def test_a_mixture_is_spread_evenly() -> None:
    order = order_of(mixture(increments(500, 500), replay=0.25), held=4000)
    old = np.array([version == "v1" for version, _ in read(order, 500, 1000)])

    # A quarter of the windows: each run of four holds one.
    assert set(old.reshape(-1, 4).sum(axis=1).tolist()) == {1}


def test_three_components_keep_their_parts_and_draw_without_replacement() -> None:
    one, two, three = increments(200, 200, 200)
    parts = zip((one, two, three), (123, 400, 477), strict=True)
    segment = Segment(updates=250, components=tuple(Component(increments=(inc,), parts=p) for inc, p in parts))
    pairs = read(order_of(Stream(segments=(segment,)), held=1600), 0, 250)

    for block in (pairs[:1000], pairs[1000:]):
        assert Counter(version for version, _ in block) == {"v1": 123, "v2": 400, "v3": 477}
    assert len(set(pairs)) == 2000


def test_a_second_pass_reads_the_same_windows_in_another_order() -> None:
    (increment,) = increments(20)
    first = read(order_of(sequential((increment,))), 0, 20)
    second = read(order_of(again(increment, start=20, updates=20)), 20, 40)

    assert set(first) == set(second)
    assert first != second


def test_a_pool_that_is_drawn_out_begins_a_new_pass_of_all_its_windows() -> None:
    segment = Segment(updates=5, components=(Component(increments=increments(1, 1)),))
    pairs = read(order_of(Stream(segments=(segment,))), 0, 5)

    assert set(pairs[: 2 * B]) == set(pairs[2 * B : 4 * B])
    assert pairs[: 2 * B] != pairs[2 * B : 4 * B]


def test_a_digest_tells_updates_apart_and_does_not_change() -> None:
    order = order_of(sequential(increments(4)))

    assert order.digest(2) == order_of(sequential(increments(4))).digest(2)
    assert len({order.digest(update) for update in range(4)}) == 4


def test_too_small_an_increment_is_refused_with_what_to_do() -> None:
    with refused(DataError):
        order_of(sequential(increments(4, 5)), windows={"v1": 32, "v2": 39})


def test_an_increment_of_less_than_one_update_is_refused_without_a_number_of_updates() -> None:
    with refused(DataError, field="increment", value=5) as caught:
        order_of(sequential(increments(4, 5)), windows={"v1": 32, "v2": 7})

    assert "data.repeat=true" in str(caught.value)
    order_of(sequential(increments(4, 5)), windows={"v1": 32, "v2": 7}, repeat=True)


def test_an_increment_that_fits_to_the_last_window_is_accepted() -> None:
    order_of(sequential(increments(5)), windows={"v1": 40})


def test_a_version_that_is_not_in_the_store_is_refused() -> None:
    with refused(DataError):
        order_of(sequential(increments(1, 1)), windows={"v1": 8})


def test_a_small_increment_may_be_repeated_epoch_by_epoch() -> None:
    order = order_of(sequential(increments(4)), windows={"v1": 16}, repeat=True)
    pairs = read(order, 0, 4)

    assert sorted(pairs[:16]) == sorted(pairs[16:]) == [("v1", n) for n in range(16)]
    assert pairs[:16] != pairs[16:]


def test_an_increment_without_windows_cannot_be_repeated() -> None:
    with refused(DataError):
        order_of(sequential(increments(1)), windows={"v1": 0}, repeat=True)


def test_an_update_outside_the_stream_is_refused() -> None:
    with refused(PlanError):
        order_of(sequential(increments(3))).windows_of(3)


def test_ranks_that_do_not_divide_the_sequences_are_refused() -> None:
    order = order_of(sequential(increments(3)))

    with refused(ConfigError):
        order.rank_slots(0, 3)
    with refused(ConfigError):
        order.rank_slots(4, 4)


@pytest.mark.parametrize("field", ["sequences", "length"])
def test_sizes_below_one_are_refused(field: str) -> None:
    with refused(ConfigError):
        order_of(sequential(increments(3)), **{field: 0})
