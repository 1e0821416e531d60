import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrpath.errors import PlanError
from lrpath.planning.stream_record import as_record, from_record
from lrpath.planning.streams import (
    WEIGHT_PARTS,
    Component,
    Increment,
    Segment,
    Stream,
    again,
    mixture,
    sequential,
    union,
)
from tests.planning.strategies import coverage, increments_of, sizes
from tests.refusals import refused

replays = st.integers(0, 999).map(lambda parts: parts / 1000)


def test_increments_are_read_one_after_another() -> None:
    v1, v2, v3 = increments_of(3, 1, 2)

    stream = sequential((v1, v2, v3))

    assert [(part.updates, part.components) for part in stream.segments] == [
        (3, (Component(increments=(v1,)),)),
        (1, (Component(increments=(v2,)),)),
        (2, (Component(increments=(v3,)),)),
    ]
    assert (stream.start, stream.end) == (0, 6)


def test_a_union_is_one_pool_as_long_as_its_increments() -> None:
    increments = increments_of(3, 1, 2)

    stream = union(increments)

    assert stream.segments == (Segment(updates=6, components=(Component(increments=increments),)),)


def test_the_union_of_one_increment_is_the_increment() -> None:
    assert union(increments_of(7)) == sequential(increments_of(7)) == mixture(increments_of(7), replay=0.5)


def test_a_mixture_draws_its_share_from_all_earlier_increments() -> None:
    v1, v2, v3 = increments_of(4, 4, 8)

    stream = mixture((v1, v2, v3), replay=0.25)

    assert [part.updates for part in stream.segments] == [4, 4, 8]
    assert stream.segments[0].components == (Component(increments=(v1,)),)
    assert stream.segments[1].components == (
        Component(increments=(v2,), parts=750),
        Component(increments=(v1,), parts=250),
    )
    assert stream.segments[2].components == (
        Component(increments=(v3,), parts=750),
        Component(increments=(v1, v2), parts=250),
    )


@given(sizes=sizes)
def test_a_mixture_without_replay_is_sequential(sizes: list[int]) -> None:
    increments = increments_of(*sizes)

    assert mixture(increments, replay=0.0) == sequential(increments)


@given(sizes=sizes, replay=replays)
def test_no_stream_reads_more_or_less_than_its_increments_together(sizes: list[int], replay: float) -> None:
    increments = increments_of(*sizes)

    ends = {stream.end for stream in (sequential(increments), union(increments), mixture(increments, replay=replay))}

    assert ends == {sum(sizes)}


@given(sizes=sizes, replay=replays)
def test_weights_of_every_segment_add_up(sizes: list[int], replay: float) -> None:
    for segment in mixture(increments_of(*sizes), replay=replay).segments:
        assert sum(component.parts for component in segment.components) == WEIGHT_PARTS


@given(sizes=sizes, replay=replays)
def test_an_appended_increment_changes_nothing_before_it(sizes: list[int], replay: float) -> None:
    longer, shorter = increments_of(*sizes, 9), increments_of(*sizes)

    assert sequential(longer).segments[:-1] == sequential(shorter).segments
    assert mixture(longer, replay=replay).segments[:-1] == mixture(shorter, replay=replay).segments


def test_an_increment_read_again_has_an_order_of_its_own() -> None:
    (v1,) = increments_of(10)

    stream = again(v1, start=10, updates=6)

    assert (stream.start, stream.end) == (10, 16)
    assert stream.segments == (Segment(updates=6, components=(Component(increments=(v1,), first_pass=1),)),)


@pytest.mark.parametrize(
    ("end", "kept"),
    [(0, 0), (1, 1), (3, 1), (4, 2), (5, 3), (6, 3), (7, 3), (100, 3)],  # segments begin at 0, 3 and 4
)
def test_a_stream_until_an_end_keeps_the_segments_that_begin_before_it(end: int, kept: int) -> None:
    stream = sequential(increments_of(3, 1, 2))

    assert stream.until(end) == Stream(segments=stream.segments[:kept])


@pytest.mark.parametrize(
    ("begin", "end", "spans"),
    [
        (10, 10, []),
        (10, 11, [(0, 0, 1)]),  # first
        (12, 13, [(0, 2, 3)]),  # last of the first segment
        (13, 14, [(1, 0, 1)]),
        (12, 15, [(0, 2, 3), (1, 0, 1), (2, 0, 1)]),
        (15, 16, [(2, 1, 2)]),  # last
        (10, 16, [(0, 0, 3), (1, 0, 1), (2, 0, 2)]),
        (16, 16, []),
    ],
)
def test_spans_name_the_updates_inside_each_segment(begin: int, end: int, spans: list[tuple[int, int, int]]) -> None:
    segments = sequential(increments_of(3, 1, 2)).segments
    stream = Stream(start=10, segments=segments)

    assert stream.spans(begin, end) == [(segments[number], first, last) for number, first, last in spans]


@pytest.mark.parametrize(("begin", "end"), [(9, 11), (9, 9), (16, 17), (10, 17), (12, 11)])
def test_updates_outside_a_stream_are_refused(begin: int, end: int) -> None:
    stream = Stream(start=10, segments=sequential(increments_of(3, 1, 2)).segments)

    with refused(PlanError):
        stream.spans(begin, end)


@given(sizes=sizes, data=st.data())
def test_spans_conserve_updates(sizes: list[int], data: st.DataObject) -> None:
    stream = sequential(increments_of(*sizes))
    begin = data.draw(st.integers(0, stream.end))
    end = data.draw(st.integers(begin, stream.end))

    assert sum(last - first for _, first, last in stream.spans(begin, end)) == end - begin


def test_an_increment_without_updates_is_refused() -> None:
    with refused(PlanError):
        Increment(version="v1", updates=0)


def test_a_segment_without_updates_is_refused() -> None:
    with refused(PlanError):
        Segment(updates=0, components=(Component(increments=increments_of(1)),))


@pytest.mark.parametrize("parts", [(), (999,), (1001,), (1000, 0), (1500, -500)])
def test_weights_that_are_no_shares_are_refused(parts: tuple[int, ...]) -> None:
    components = tuple(Component(increments=increments_of(1), parts=part) for part in parts)

    with refused(PlanError):
        Segment(updates=1, components=components)


@pytest.mark.parametrize("increments", [(), (*increments_of(1), *increments_of(2))])
def test_a_pool_without_increments_or_with_one_twice_is_refused(increments: tuple[Increment, ...]) -> None:
    with refused(PlanError):
        Component(increments=increments)


@pytest.mark.parametrize("replay", [-0.1, 1.0, 1.5, float("nan")])
def test_a_replay_that_is_no_share_is_refused(replay: float) -> None:
    with refused(PlanError):
        mixture(increments_of(1, 1), replay=replay)


def test_a_replay_that_rounds_to_everything_is_refused() -> None:
    with refused(PlanError):
        mixture(increments_of(1, 1), replay=0.9996)


def test_a_replay_is_rounded_to_thousandths() -> None:
    (_, second) = mixture(increments_of(5, 5), replay=1 / 3).segments

    assert [component.parts for component in second.components] == [667, 333]


# Worked by hand. v1 = 4, v2 = 4, v3 = 8 updates.
def test_coverage_counts_what_has_been_read_once() -> None:
    first, second, third = mixture(increments_of(4, 4, 8), replay=0.25).segments

    seen = coverage([(first, 4), (second, 4), (third, 4)])

    # v1 whole; v2 3/4 of it, then 1 update of its pool of 8: 3/4 + 1/4 · 1/8; v3: 3 of 8
    assert seen == {"v1": Fraction(1), "v2": Fraction(25, 32), "v3": Fraction(3, 8)}


def test_coverage_of_a_union_read_in_part_is_the_expected_share() -> None:
    (segment,) = union(increments_of(4, 12)).segments

    assert coverage([(segment, 4)]) == {"v1": Fraction(1, 4), "v2": Fraction(1, 4)}
    assert coverage([(segment, 16)]) == {"v1": Fraction(1), "v2": Fraction(1)}


def test_what_is_read_again_is_not_covered_twice() -> None:
    (v1,) = increments_of(10)
    reads = [(sequential((v1,)).segments[0], 10), (again(v1, start=10, updates=6).segments[0], 6)]

    assert coverage(reads) == {"v1": Fraction(1)}


def test_more_passes_than_one_cover_everything_once() -> None:
    (v1,) = increments_of(10)
    segment = Segment(updates=25, components=(Component(increments=(v1,)),))

    assert coverage([(segment, 25)]) == {"v1": Fraction(1)}


def test_nothing_read_covers_nothing() -> None:
    assert coverage([]) == {}


@given(sizes=sizes, replay=replays)
def test_coverage_is_a_share(sizes: list[int], replay: float) -> None:
    segments = mixture(increments_of(*sizes), replay=replay).segments

    seen = coverage([(segment, segment.updates) for segment in segments])

    assert list(seen) == [f"v{number}" for number in range(1, len(sizes) + 1)]
    assert all(0 < share <= 1 for share in seen.values())


@given(sizes=sizes, replay=replays)
def test_a_segment_reads_back_equal_from_json(sizes: list[int], replay: float) -> None:
    increments = increments_of(*sizes)
    segments = (*mixture(increments, replay=replay).segments, *union(increments).segments)

    for segment in (*segments, *again(increments[-1], start=3, updates=2).segments):
        assert from_record(json.loads(json.dumps(as_record(segment)))) == segment
