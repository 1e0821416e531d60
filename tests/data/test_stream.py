import json
from collections.abc import Callable

import numpy as np
import pytest

from lrpath.data.store import TokenStore
from lrpath.data.stream import TokenBatches, compare_readings, held_out_documents, held_out_windows
from lrpath.errors import ConfigError, DataError, PlanError
from lrpath.planning.streams import Increment, Stream, mixture, sequential, union
from lrpath.records.read_segments import folded
from tests.refusals import refused

MakeStore = Callable[..., TokenStore]
ONE, TWO, THREE = (Increment(version=f"v{n}", updates=5) for n in (1, 2, 3))


def batches_of(store: TokenStore, stream: Stream, *, seed: int = 0, length: int = 8) -> TokenBatches:
    return TokenBatches.of(store, stream=stream, sequences=8, length=length, seed=seed)


@pytest.fixture
def store(make_store: MakeStore) -> TokenStore:
    return make_store(400, 400, 400, heldout=85)


def test_a_batch_holds_the_windows_that_the_order_names(store: TokenStore) -> None:
    batches = batches_of(store, mixture((ONE, TWO), replay=0.5))
    versions, windows = batches.order.windows_of(7)

    ids = batches.batch(7)

    assert ids.dtype == np.int64
    expected = [store.window(str(v), int(n), 8).tolist() for v, n in zip(versions, windows, strict=True)]
    assert ids.tolist() == expected


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_the_ranks_read_the_same_windows_together(store: TokenStore, ranks: int) -> None:
    batches = batches_of(store, union((ONE, TWO)))
    shared = np.empty((8, 9), dtype=np.int64)

    for rank in range(ranks):
        shared[rank::ranks] = batches.batch(3, rank=rank, ranks=ranks)

    assert np.array_equal(shared, batches.batch(3))


def test_a_reading_names_what_was_read_in_plain_data(store: TokenStore) -> None:
    reading = batches_of(store, mixture((ONE, TWO), replay=0.5)).reading(6, 9)

    assert json.loads(json.dumps(reading)) == reading
    assert [(part["first"], part["updates"]) for part in reading["segments"]] == [(1, 3)]
    assert reading["segments"][0]["increments"]["v2"] == {"digest": store.digest("v2"), "windows": 49}


def test_a_reading_of_two_segments_has_the_last_and_digests_of_the_one_before(store: TokenStore) -> None:
    batches = batches_of(store, sequential((ONE, TWO)))
    first, both = batches.reading(3, 5), batches.reading(3, 7)
    as_before = both | {"segments": first["segments"] + both["segments"]}
    del as_before["before"]

    assert [(part["first"], part["updates"]) for part in both["segments"]] == [(0, 2)]
    assert folded(as_before) == both  # what a version before has written
    as_before["segments"][0]["increments"]["v1"]["digest"] = "0" * 64
    (line,) = compare_readings(both, as_before)
    assert line.startswith("before.contents: ")


def test_readings_of_the_states_of_a_path_are_each_made_from_the_one_before(store: TokenStore) -> None:
    batches, ends = batches_of(store, sequential((ONE, TWO, THREE))), (2, 5, 5, 6, 10, 13, 15)
    readings = batches.readings(1)

    assert [readings.until(end) for end in ends] == [batches.reading(1, end) for end in ends]


def test_a_reading_does_not_change_when_the_stream_is_extended(store: TokenStore) -> None:
    short = batches_of(store, sequential((ONE, TWO))).reading(0, 7)
    long = batches_of(store, sequential((ONE, TWO, THREE))).reading(0, 7)

    assert compare_readings(short, long) == []


def test_readings_that_differ_are_compared_field_by_field(store: TokenStore) -> None:
    ours = batches_of(store, sequential((ONE,))).reading(0, 4)
    other_seed = batches_of(store, sequential((ONE,)), seed=1).reading(0, 4)
    changed = json.loads(json.dumps(ours))
    changed["segments"][0]["increments"]["v1"]["digest"] = "0" * 64

    assert compare_readings(other_seed, ours) == ["seed: 0 → 1"]
    (line,) = compare_readings(ours, changed)
    assert line.startswith("segments[0].increments.v1.digest: 000")
    assert "→" in line


def test_a_reading_outside_the_stream_is_refused(store: TokenStore) -> None:
    with refused(PlanError):
        batches_of(store, sequential((ONE,))).reading(0, 6)


def test_a_store_that_is_too_small_is_refused(make_store: MakeStore) -> None:
    with refused(DataError):
        batches_of(make_store(320), sequential((ONE,)))


def test_a_store_that_is_just_large_enough_is_read_to_its_last_token(make_store: MakeStore) -> None:
    batches = batches_of(make_store(321), sequential((ONE,)))

    read = np.concatenate([batches.batch(update)[:, 1:].ravel() for update in range(5)])

    assert sorted(read.tolist()) == sorted(batches.store.tokens("v1")[1:].tolist())


def test_a_length_below_one_is_refused(store: TokenStore) -> None:
    with refused(ConfigError):
        batches_of(store, sequential((ONE,)), length=0)


def test_held_out_windows_are_all_of_them_or_evenly_spaced(store: TokenStore) -> None:
    tokens = store.heldout("v2")["web"]
    every = held_out_windows(store, version="v2", domain="web", length=8)
    some = held_out_windows(store, version="v2", domain="web", length=8, limit=3)

    assert every.tolist() == [tokens[n * 8 : n * 8 + 9].tolist() for n in range(10)]
    assert some.tolist() == every[[0, 3, 6]].tolist()
    assert held_out_windows(store, version="v2", domain="web", length=8, limit=99).tolist() == every.tolist()


def test_a_held_out_set_that_is_smaller_than_a_window_is_one_shorter_window(store: TokenStore) -> None:
    windows = held_out_windows(store, version="v1", domain="web", length=1000)

    assert windows.tolist() == [store.heldout("v1")["web"].tolist()]


def test_every_predicted_token_belongs_to_a_document(store: TokenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = np.array([0, 9, 10, 60])
    monkeypatch.setattr(TokenStore, "document_starts", lambda *_: starts)

    found = held_out_documents(store, version="v1", domain="web", length=8, limit=3)

    expected = [[int(np.flatnonzero(starts <= n * 8 + 1 + k)[-1]) for k in range(8)] for n in (0, 3, 6)]
    assert found.tolist() == expected


def test_without_a_tokenizer_a_held_out_set_is_one_document(store: TokenStore) -> None:
    assert set(held_out_documents(store, version="v1", domain="web", length=8).flat) == {0}


def test_refusals_of_held_out_windows(store: TokenStore) -> None:
    with refused(DataError):
        held_out_windows(store, version="v1", domain="law", length=8)
    with refused(DataError):
        held_out_windows(store, version="v1", domain="web", length=8, split="test")
    with refused(ConfigError):
        held_out_windows(store, version="v1", domain="web", length=8, limit=0)
