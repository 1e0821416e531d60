"""Threads that work ahead change neither results nor errors, are bounded, and end with whoever uses them."""

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lrpath.data.ahead import in_order, read_ahead
from lrpath.data.prepare import prepare
from tests.data.making import held, text_source, tokenizer_of
from tests.data.test_prepare import SMALL, contents


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("ahead")}


def test_results_keep_the_order_of_the_items_though_the_first_take_longest() -> None:
    later = threading.Event()

    def wait_or_wake(number: int) -> int:
        if number == 0:
            assert later.wait(60)
        later.set()
        return number

    assert list(in_order(wait_or_wake, range(5), threads=2)) == [0, 1, 2, 3, 4]
    assert not threads()


def test_an_error_comes_where_its_item_would_have_come() -> None:
    def items() -> Iterator[int]:
        yield from (1, 2, 3)
        raise OSError("the disk is gone")

    found: list[int] = []
    with pytest.raises(OSError, match="the disk is gone"):
        found.extend(read_ahead(items(), ahead=8))

    assert found == [1, 2, 3]
    assert not threads()


def test_no_more_is_read_ahead_than_is_allowed() -> None:
    taken: list[int] = []
    third = threading.Event()

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            if len(taken) == 3:
                third.set()
            yield number

    with closing(read_ahead(items(), ahead=2)) as found:
        assert next(found) == 0
        assert third.wait(60)
        assert len(taken) == 3

    assert len(taken) == 3
    assert not threads()


def test_what_is_read_is_closed_when_the_reader_leaves() -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            yield from range(100)
        finally:
            closed.set()

    with pytest.raises(ZeroDivisionError), closing(read_ahead(items(), ahead=3)) as found:
        sum(item / 0 for item in found)

    assert closed.is_set()
    assert not threads()


@pytest.mark.parametrize(("characters", "calls"), [(64, 1), (300, 4), (10_000, 3)])
def test_a_store_is_the_same_however_its_text_is_cut_into_calls_and_whoever_is_first(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, characters: int, calls: int
) -> None:
    source = text_source(paths=(str(texts),), heldout=held(share=0.1))
    prepare(source, tokenizer=SMALL, versions=["v1", "v2"], folder=tmp_path / "usual")
    monkeypatch.setattr("lrpath.data.encoding._CALL_CHARACTERS", characters)
    monkeypatch.setattr("lrpath.data.encoding_log._CALLS_AT_A_TIME", calls)

    prepare(source, tokenizer=tokenizer_of(300), versions=["v1", "v2"], folder=tmp_path / "other")

    assert contents(tmp_path / "other") == contents(tmp_path / "usual")
