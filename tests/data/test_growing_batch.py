"""Which windows the updates of a batch that grows read: each once, in the order of the updates, on any ranks."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrpath.data.datamodule import MicroBatches
from lrpath.data.order import WindowOrder
from lrpath.data.store import TokenStore
from lrpath.data.stream import TokenBatches, compare_readings
from lrpath.errors import DataError
from lrpath.planning.global_batch import GlobalBatch
from lrpath.planning.streams import Stream, again, mixture, sequential, shuffled, union
from tests.planning.test_global_batch import BATCH, batches, increments_in
from tests.refusals import refused

SIZES = (10, 10, 10)
V1, V2, V3 = increments_in(BATCH, *SIZES)


def order_of(stream: Stream, *, batch: GlobalBatch = BATCH, held: int = 1000, repeat: float = False) -> WindowOrder:
    windows = {f"v{number}": held for number in range(1, 9)}
    fields = {"sequences": batch.sequences, "growth": batch.growth, "length": 16, "seed": 0}
    return WindowOrder(stream=stream, windows=windows, repeat=repeat, **fields)


def read(order: WindowOrder, begin: int, end: int) -> list[tuple[str, int]]:
    found = []
    for update in range(begin, end):
        parts, windows = order.windows_of(update)
        assert len(windows) == order.batch.at(update)
        found += zip(parts.tolist(), windows.tolist(), strict=True)
    return found


@pytest.mark.slow
@given(batch=batches(), sizes=st.lists(st.integers(1, 25), min_size=1, max_size=4))
@settings(deadline=None, max_examples=25)
def test_every_window_of_an_increment_is_read_once_in_turn_and_shuffled(batch: GlobalBatch, sizes: list[int]) -> None:
    increments = increments_in(batch, *sizes)
    held = {one.version: one.count_windows(sequences=batch.sequences) for one in increments}
    order = order_of(sequential(increments), batch=batch)

    for stream in (order, order_of(union(increments), batch=batch)):
        found = Counter(read(stream, 0, sum(sizes)))
        assert set(found.values()) == {1}
        assert Counter(version for version, _ in found) == held
    at = 0
    for one in increments:
        assert {version for version, _ in read(order, at, at + one.updates)} == {one.version}
        at += one.updates


def test_an_update_reads_on_where_all_before_it_have_ended() -> None:
    grown, small = (
        order_of(sequential((V1, V2, V3))),
        order_of(sequential((V1, V2, V3)), batch=GlobalBatch(sequences=1)),
    )

    # the windows of v2 in the order of the increment, one an update, are those of the growing batch one after another
    alone = [window for _, window in read(order_of(sequential((V2,)), batch=GlobalBatch(sequences=1)), 0, 10)]
    assert [window for _, window in read(grown, 10, 20)][:10] == alone
    assert read(grown, 0, 2)[:8] == read(small, 0, 8)


def test_a_branch_reads_what_its_main_path_reads_at_the_same_positions() -> None:
    stream = mixture((V1, V2, V3), replay=0.25)

    branch = stream.between(14, 20)

    assert read(order_of(branch), 14, 20) == read(order_of(stream), 14, 20)


def test_a_union_that_a_branch_reads_has_no_window_twice() -> None:
    found = Counter(read(order_of(shuffled((V1, V2), start=12, updates=8)), 12, 20))

    assert sum(found.values()) == 3 * 4 + 5 * 8
    assert set(found.values()) == {1}


def test_updates_of_two_batches_are_not_asked_for_at_once() -> None:
    order = order_of(sequential((V1, V2, V3)))

    with pytest.raises(ValueError, match="grows inside"):
        order.windows_between(14, 16)
    assert order.windows_between(15, 17)[1].shape == (2, 8)
    assert order.windows_between(15, 15)[1].shape == (0, 8)


def test_an_increment_that_is_smaller_than_its_growing_updates_is_refused() -> None:
    with refused(DataError, field="increment", value=10):
        order_of(sequential((V1, V2)), held=59)
    order_of(sequential((V1, V2)), held=60)
    order_of(sequential((V1, V2)), held=59, repeat=1.1)


def test_a_second_reading_that_would_begin_its_increment_again_is_refused_unless_it_may_be_repeated() -> None:
    # v2 has 60 windows; behind it, 8 updates read 5 · 8 + 3 · 16 = 88
    stream = again(V2, start=20, updates=8)

    with refused(DataError, field="batch.growth"):
        order_of(stream)
    order_of(again(V2, start=20, updates=6))
    found = Counter(read(order_of(stream, repeat=1.5), 20, 28))

    assert Counter(found.values()) == {1: 32, 2: 28}


def test_a_replay_that_would_begin_the_old_text_again_is_refused_unless_it_may_be_repeated() -> None:
    v1, v2 = increments_in(GlobalBatch(sequences=4, growth=((10, 32),)), 10, 10)
    stream = mixture((v1, v2), replay=0.5, sequences=4)  # 160 windows of v1's 40

    with refused(DataError, field="batch.growth"):
        order_of(stream, batch=GlobalBatch(sequences=4, growth=((10, 32),)))
    order_of(stream, batch=GlobalBatch(sequences=4, growth=((10, 32),)), repeat=True)


def batches_of(store: TokenStore, stream: Stream, *, batch: GlobalBatch = BATCH) -> TokenBatches:
    return TokenBatches.of(store, stream=stream, sequences=batch.sequences, growth=batch.growth, length=16, seed=0)


def test_ranks_read_the_update_between_them(make_store: Callable[..., TokenStore]) -> None:
    batches = batches_of(make_store(1000, 1000), sequential((V1, V2)))

    for update in (14, 15):
        whole = batches.batch(update)
        shared = np.empty_like(whole)
        for rank in range(2):
            shared[rank::2] = batches.batch(update, rank=rank, ranks=2)
        assert np.array_equal(shared, whole)


def test_micro_batches_are_those_of_one_batch(make_store: Callable[..., TokenStore]) -> None:
    batches = batches_of(make_store(1000, 1000), sequential((V1, V2)))

    loader = MicroBatches(batches, start=15, end=20, micro_batch=2, accumulate=4, rank=0, ranks=1)
    pieces = list(loader)

    assert len(loader) == len(pieces) == 5 * 4
    assert np.array_equal(np.concatenate(pieces[:4]), batches.batch(15))
    with pytest.raises(ValueError, match="grows inside"):
        MicroBatches(batches, start=14, end=16, micro_batch=2, accumulate=2, rank=0, ranks=1)


def test_what_was_read_says_with_which_batches_where_they_have_grown(make_store: Callable[..., TokenStore]) -> None:
    store = make_store(1000, 1000)
    plain = batches_of(
        store, sequential(increments_in(GlobalBatch(sequences=4), 10, 10)), batch=GlobalBatch(sequences=4)
    )
    grown = batches_of(store, sequential((V1, V2)))

    assert grown.reading(0, 10) == plain.reading(0, 10)
    assert grown.reading(12, 20)["segments"][0]["batch"] == [[0, 4], [5, 8]]
    assert "batch" not in grown.reading(10, 15)["segments"][0]
    lines = compare_readings(grown.reading(10, 16), plain.reading(10, 16))
    assert any("batch" in line for line in lines)
