from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrpath.errors import ConfigError
from lrpath.planning.global_batch import GlobalBatch
from lrpath.planning.mixture import (
    MIXTURE_PARTS,
    WHOLE,
    counts_before,
    domain_reads,
    parse_mixture,
    pool_by_domain,
    windows_by_domain,
)
from lrpath.planning.stream_record import as_record, from_record
from lrpath.planning.streams import Increment, Stream, again, mixture, sequential, union
from tests.refusals import refused

WEB_CODE = (("web", 700_000), ("code", 300_000))
SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=6).map(lambda sizes: tuple(sorted(sizes, reverse=True)))


def mixed(version: str, updates: int, **weights: float) -> Increment:
    return Increment(version=version, updates=updates, mixture=parse_mixture(weights, field="data.mixture"))


@given(sizes=SIZES)
def test_every_window_is_of_one_domain_and_all_windows_of_each_are_given_out(sizes: tuple[int, ...]) -> None:
    counts = [counts_before(window, sizes) for window in range(sum(sizes) + 1)]

    steps = [[b - a for a, b in zip(before, after, strict=True)] for before, after in pairwise(counts)]
    assert all(sorted(step) == [0] * (len(sizes) - 1) + [1] for step in steps)
    assert counts[-1] == list(sizes)


@given(sizes=SIZES)
def test_no_count_is_far_from_its_share(sizes: tuple[int, ...]) -> None:
    total = sum(sizes)
    bound = (1 + sum((Fraction(1, k) for k in range(1, len(sizes) - 1)), Fraction(0))) / 2

    for window in range(total + 1):
        for size, count in zip(sizes, counts_before(window, sizes), strict=True):
            assert abs(count - Fraction(window * size, total)) <= bound


@given(weights=st.lists(st.integers(1, 1000), min_size=1, max_size=7))
def test_weights_become_parts_that_add_up(weights: list[int]) -> None:
    given_weights = {f"d{number}": weight for number, weight in enumerate(weights)}

    parts = dict(parse_mixture(given_weights, field="data.mixture"))

    assert sum(parts.values()) == MIXTURE_PARTS
    for name, weight in given_weights.items():
        assert abs(parts[name] - Fraction(weight * MIXTURE_PARTS, sum(weights))) < 1


def test_weights_are_relative_and_their_order_does_not_count() -> None:
    one = parse_mixture({"web": 7, "code": 3, "law": 0}, field="data.mixture")

    assert one == parse_mixture({"code": 0.3, "web": 0.7}, field="data.mixture") == WEB_CODE


@pytest.mark.parametrize("weights", [{}, {"web": 0.0}, {"web": 1.0, "code": -0.1}, {"web": 1.0, "code": 1e-9}])
def test_weights_that_mix_nothing_are_refused(weights: dict[str, float]) -> None:
    with refused(ConfigError):
        parse_mixture(weights, field="data.mixture")


def test_an_increment_takes_its_windows_from_its_domains() -> None:
    assert windows_by_domain(mixed("v1", 10, web=7, code=3), sequences=4) == {"web": 28, "code": 12}
    assert windows_by_domain(Increment(version="v1", updates=10), sequences=4) == {WHOLE: 40}
    pool = (mixed("v1", 10, web=7, code=3), mixed("v2", 10, code=1), Increment(version="v3", updates=1))
    assert pool_by_domain(pool, sequences=4) == {"code": 52, "web": 28, WHOLE: 4}


def test_a_mixture_is_in_the_record_of_a_segment_and_absent_without_one() -> None:
    plain, web = (
        sequential((increment,)).segments[0]
        for increment in (Increment(version="v1", updates=3), mixed("v1", 3, web=1))
    )

    assert as_record(plain, content=True)["components"][0]["increments"] == [["v1", 3]]
    assert as_record(web, content=True)["components"][0]["increments"] == [["v1", 3, {"web": MIXTURE_PARTS}]]
    assert from_record(as_record(web)) == web
    assert not plain.may_be(web)


@pytest.mark.parametrize(
    "stream",
    [
        sequential((mixed("v1", 7, web=7, code=3), mixed("v2", 5, web=1, code=2, law=3))),
        union((mixed("v1", 7, web=7, code=3), Increment(version="v2", updates=5))),
        mixture((mixed("v1", 7, web=7, code=3), mixed("v2", 5, code=1)), replay=0.25),
        again(mixed("v1", 7, web=7, code=3), start=0, updates=12),
    ],
)
@given(ends=st.tuples(st.integers(0, 12), st.integers(0, 12)).map(sorted))
@settings(max_examples=30)
def test_what_two_stretches_read_adds_up(stream: Stream, ends: list[int]) -> None:
    begin, end = ends

    def reads(first: int, last: int) -> dict[str, int]:
        return domain_reads(stream.window_spans(first, last, batch=GlobalBatch(sequences=8)), sequences=8)

    parts = [reads(0, begin), reads(begin, end), reads(end, 12)]
    names = {name for part in parts for name in part}
    assert sum(sum(part.values()) for part in parts) == 12 * 8
    assert {name: sum(part.get(name, 0) for part in parts) for name in names} == reads(0, 12)
