"""What the states of a path have read is recorded and compared with work and bytes that grow as the states do."""

import json
from typing import Any

import pytest

from lrpath.records.read_segments import ReadSegments, digests_in, folded, segments_of, without_contents
from lrpath.records.row_digests import ranges_of


def part(number: int) -> dict[str, Any]:
    increments = {f"v{number}": {"digest": f"{number:064d}", "windows": 100}}
    return {"segment": {"updates": 10}, "first": 0, "updates": 10, "increments": increments}


def parts_between(begin: int, end: int, asked: list[int]) -> list[dict[str, Any]]:
    found = [part(number) for number in range(begin // 10, end // 10)]
    asked.extend(range(len(found)))
    return found


@pytest.mark.parametrize("states", [50, 100, 200])
def test_each_segment_is_looked_at_twice_and_every_record_is_as_long(states: int) -> None:
    asked: list[int] = []
    read = ReadSegments({"seed": 0}, start=0, parts=lambda begin, end: parts_between(begin, end, asked))

    lengths = [len(json.dumps(read.until(10 * number))) for number in range(1, states + 1)]

    assert len(asked) == 2 * states - 1
    assert max(lengths[1:]) - min(lengths[1:]) < 10  # digits of counts


def test_a_record_of_an_earlier_version_is_folded_to_that_of_this_one() -> None:
    read = ReadSegments({"seed": 0}, start=0, parts=lambda begin, end: parts_between(begin, end, []))
    earlier = {"seed": 0, "segments": [part(0), part(1), part(2)]}

    assert folded(earlier) == read.until(30)
    assert folded(read.until(30)) == read.until(30)
    assert dict(digests_in(folded(earlier))) == {"v2": f"{2:064d}"}
    assert "contents" not in without_contents(folded(earlier))["before"]


@pytest.mark.parametrize("odd", [None, 3, "text", [], {"segments": 3}, {"segments": [3, "x"]}])
def test_what_is_no_record_is_compared_as_it_is(odd: Any) -> None:
    assert segments_of(folded(odd)) == []
    assert folded({"segments": [float("inf"), 1]})["segments"] == [float("inf"), 1]


def test_positions_in_even_steps_are_one_range() -> None:
    assert ranges_of(range(100, 10_100, 100)) == [[100, 10_000, 100]]
    assert ranges_of([7]) == [[7, 7, 0]]
    assert ranges_of([]) == []
