import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrpath.errors import ConfigError, PlanError
from lrpath.planning.decay import Decay
from lrpath.planning.schedule import (
    Piece,
    Schedule,
    Shape,
    as_record,
    constant,
    from_record,
    inverse_sqrt,
    progress_weight,
    ramp,
    warmup,
)
from tests.planning.strategies import decays, peaks
from tests.refusals import refused

AFFINE = [Shape.LINEAR, Shape.COSINE, Shape.ONE_MINUS_SQRT, Shape.SQUARE, Shape.POWER]


def rates_of(decay: Decay, *, updates: int, peak: float = 1.0) -> list[float]:
    schedule = Schedule(pieces=decay.pieces(updates=updates, peak=peak))
    return [schedule.rate(update) for update in range(updates)]


# Worked by hand: four updates from rate 1 to rate 0 (0.1 where 0 is out of reach) reach p = 1/4, 1/2, 3/4, 1.
@pytest.mark.parametrize(
    ("decay", "rates"),
    [
        (Decay(shape=Shape.LINEAR, floor=0.0), [0.75, 0.5, 0.25, 0.0]),
        (Decay(shape=Shape.COSINE, floor=0.0), [(1 + 2**-0.5) / 2, 0.5, (1 - 2**-0.5) / 2, 0.0]),
        (Decay(shape=Shape.ONE_MINUS_SQRT, floor=0.0), [0.5, 1 - 2**-0.5, 1 - 3**0.5 / 2, 0.0]),
        (Decay(shape=Shape.SQUARE, floor=0.0), [15 / 16, 3 / 4, 7 / 16, 0.0]),
        (Decay(shape=Shape.POWER, floor=0.0, exponent=2.0), [9 / 16, 1 / 4, 1 / 16, 0.0]),
        (Decay(shape=Shape.POWER, floor=0.0, exponent=1.0), [0.75, 0.5, 0.25, 0.0]),
        (Decay(shape=Shape.EXPONENTIAL, floor=0.0625), [0.5, 0.25, 0.125, 0.0625]),
        (Decay(shape=Shape.HARMONIC, floor=0.2), [1 / 2, 1 / 3, 1 / 4, 1 / 5]),
        (Decay(shape=Shape.KNEE, floor=0.0, hold=0.5), [1.0, 1.0, 0.5, 0.0]),
        (Decay(shape=Shape.KNEE, hold=0.75, floor=0.2), [1.0, 1.0, 1.0, 0.2]),
        (Decay(shape=Shape.ONE_MINUS_SQRT, floor=0.0, hold=0.5), [1.0, 1.0, 1.0 - math.sqrt(0.5), 0.0]),
        (Decay(shape=Shape.LINEAR, floor=0.2), [0.8, 0.6, 0.4, 0.2]),
    ],
)
def test_a_decay_of_four_updates_is_the_hand_worked_one(decay: Decay, rates: list[float]) -> None:
    found = rates_of(decay, updates=4)

    # 1e-15: one rounding of a product and a sum near 1; the last update is exact
    assert found == pytest.approx(rates, abs=1e-15)
    assert found[-1] == decay.floor


def test_a_stair_of_80_10_10_has_levels_1_and_root_of_a_tenth_and_a_tenth() -> None:
    decay = Decay(shape=Shape.STAIR, floor=0.1, shares=(0.8, 0.1, 0.1))

    rates = rates_of(decay, updates=20, peak=3e-4)

    assert rates[:16] == [3e-4] * 16
    assert rates[16:18] == [math.sqrt(0.1) * 3e-4] * 2
    assert rates[18:] == [0.1 * 3e-4] * 2
    assert round(rates[16] / 3e-4, 3) == 0.316


def test_a_stair_takes_levels_of_its_own_down_to_0() -> None:
    decay = Decay(shape=Shape.STAIR, floor=0.0, shares=(0.5, 0.25, 0.125, 0.125), levels=(1.0, 0.5, 0.5, 0.0))

    assert rates_of(decay, updates=8) == [1.0] * 4 + [0.5] * 3 + [0.0]


def test_the_steps_of_a_stair_fill_updates_that_its_shares_do_not_divide() -> None:
    decay = Decay(shape=Shape.STAIR, floor=0.01, shares=(1 / 3, 1 / 3, 1 / 3))

    assert rates_of(decay, updates=10) == [1.0] * 3 + [0.1] * 4 + [0.01] * 3  # edges at 3.3 and 6.7


def test_warm_up_wastes_no_update_at_0_and_ends_at_the_peak() -> None:
    schedule = Schedule(pieces=(*warmup(0.8, updates=4), constant(0.8)))

    rates = [schedule.rate(update) for update in range(6)]

    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8, 0.8], abs=2e-16)  # two roundings of 0.8 − 0.8 · w
    assert rates[3:] == [0.8] * 3


@given(updates=st.integers(1, 10_000), peak=peaks)
def test_warm_up_over_w_updates_runs_update_0_at_peak_over_w(updates: int, peak: float) -> None:
    schedule = Schedule(pieces=warmup(peak, updates=updates))

    # peak − peak · (1 − 1/W) loses digits of a small peak/W: one rounding of the peak, 2^-53, twice
    assert schedule.rate(0) == pytest.approx(peak / updates, abs=peak * 2**-52)
    assert schedule.rate(updates - 1) == peak


def test_no_warm_up_is_no_piece() -> None:
    assert warmup(1.0, updates=0) == ()


@given(shape=st.sampled_from(AFFINE), updates=st.integers(1, 1000), data=st.data())
def test_the_rate_of_an_update_is_the_curve_at_the_position_it_reaches(
    shape: Shape, updates: int, data: st.DataObject
) -> None:
    update = data.draw(st.integers(0, updates - 1))
    schedule = Schedule(pieces=(Piece(shape=shape, updates=updates, first=1.0, last=0.0, exponent=2.0),))

    curve = progress_weight(shape, (update + 1) / updates, exponent=2.0)

    assert schedule.rate(update) == (curve if update + 1 < updates else 0.0)


@pytest.mark.parametrize("shape", AFFINE)
def test_an_affine_weight_goes_from_1_to_0(shape: Shape) -> None:
    assert progress_weight(shape, 0.0, exponent=3.0) == 1.0
    assert progress_weight(shape, 1.0, exponent=3.0) == 0.0


def test_a_constant_weight_stays_1() -> None:
    assert [progress_weight(Shape.CONSTANT, p) for p in (0.0, 0.5, 1.0)] == [1.0, 1.0, 1.0]


@given(decay=decays(), updates=st.integers(20, 3000), peak=peaks)
def test_a_decay_never_rises_and_stays_between_floor_and_peak(decay: Decay, updates: int, peak: float) -> None:
    rates = rates_of(decay, updates=updates, peak=peak)

    # 4 roundings of a rate, 2^-53 each: where a curve is flat, neighbours may differ by them in either direction
    slack = 4 * 2**-53 * peak
    assert all(after <= before + slack for before, after in pairwise(rates))
    assert max(rates) <= peak + slack
    assert min(rates) >= decay.floor * peak - slack


@given(decay=decays(), updates=st.integers(20, 10**9), peak=peaks)
def test_the_last_update_of_a_decay_runs_exactly_at_the_floor(decay: Decay, updates: int, peak: float) -> None:
    schedule = Schedule(pieces=decay.pieces(updates=updates, peak=peak))

    assert schedule.end == updates
    assert schedule.rate(updates - 1) == decay.floor * peak


@given(decay=decays(), updates=st.integers(20, 500), start=st.integers(0, 10**9))
def test_a_schedule_that_starts_later_has_the_same_rates(decay: Decay, updates: int, start: int) -> None:
    pieces = decay.pieces(updates=updates, peak=1.0)
    here, there = Schedule(pieces=pieces), Schedule(start=start, pieces=pieces)

    assert [there.rate(start + update) for update in range(updates)] == [here.rate(k) for k in range(updates)]


@given(decay=decays(), updates=st.integers(20, 500), exponent=st.integers(-20, 3))
def test_rates_are_proportional_to_the_peak(decay: Decay, updates: int, exponent: int) -> None:
    peak = 2.0**exponent  # a power of two scales without rounding
    scaled = [rate * peak for rate in rates_of(decay, updates=updates)]

    # harmonic and exponential round a quotient or a root besides
    assert rates_of(decay, updates=updates, peak=peak) == pytest.approx(scaled, rel=1e-14)


def test_pieces_follow_each_other_without_a_gap() -> None:
    schedule = Schedule(start=10, pieces=(constant(1.0, updates=2), constant(2.0, updates=1), constant(3.0)))

    assert schedule.end is None
    assert [schedule.rate(update) for update in (10, 11, 12, 13, 10**12)] == [1.0, 1.0, 2.0, 3.0, 3.0]


def test_a_schedule_refuses_updates_outside_it() -> None:
    schedule = Schedule(start=5, pieces=(ramp(1.0, 0.0, updates=3),))

    assert schedule.end == 8
    for update in (-1, 4, 8, 9):
        with refused(PlanError):
            schedule.rate(update)


@pytest.mark.parametrize(
    "fields",
    [
        {"first": -1.0},
        {"first": math.inf},
        {"last": math.nan},
        {"updates": 0},
        {"updates": -5},
        {"updates": None},
        {"shape": Shape.CONSTANT},
        {"shape": Shape.EXPONENTIAL, "last": 0.0},
        {"shape": Shape.HARMONIC, "first": 0.0},
        {"shape": Shape.POWER, "exponent": 0.0},
        {"shape": Shape.POWER, "exponent": math.nan},
        {"shape": Shape.POWER, "exponent": math.inf},
    ],
)
def test_an_impossible_piece_is_refused(fields: dict[str, Any]) -> None:
    with refused(PlanError):
        replace(Piece(shape=Shape.LINEAR, updates=4, first=1.0, last=0.5), **fields)


def test_a_schedule_without_pieces_is_refused() -> None:
    with refused(PlanError):
        Schedule(pieces=())


def test_only_the_last_piece_may_be_without_an_end() -> None:
    with refused(PlanError):
        Schedule(pieces=(constant(1.0), ramp(1.0, 0.0, updates=3)))


@pytest.mark.parametrize("peak", [0.0, -1e-3, math.nan, math.inf])
def test_a_peak_that_is_no_positive_rate_is_refused(peak: float) -> None:
    with refused(PlanError):
        warmup(peak, updates=0)


STAIR = {"shape": Shape.STAIR, "floor": 0.1}


@pytest.mark.parametrize(
    "fields",
    [
        {"shape": Shape.LINEAR, "floor": 1.0},
        {"shape": Shape.LINEAR, "floor": -0.1},
        {"shape": Shape.LINEAR, "floor": math.nan},
        {"shape": Shape.EXPONENTIAL},
        {"shape": Shape.HARMONIC},
        {"shape": Shape.STAIR, "hold": 0.5, "shares": (0.5, 0.5)},
        {"shape": Shape.LINEAR, "exponent": 2.0},
        {"shape": Shape.LINEAR, "shares": (1.0,)},
        {"shape": Shape.KNEE, "hold": 0.5, "levels": (1.0,)},
        {"shape": Shape.KNEE},
        {"shape": Shape.POWER},
        {"shape": Shape.STAIR},
        {"shape": Shape.KNEE, "hold": 0.0},
        {"shape": Shape.KNEE, "hold": 1.0},
        {"shape": Shape.POWER, "exponent": -1.0},
        {"shape": Shape.POWER, "exponent": math.nan},
        {**STAIR, "shares": ()},
        {**STAIR, "shares": (0.5, 0.4)},
        {**STAIR, "shares": (1.5, -0.5)},
        {**STAIR, "shares": (math.nan, 1.0)},
        {**STAIR, "shares": (0.5, 0.5)},
        {**STAIR, "shares": (0.8, 0.1, 0.1), "floor": 0.0},
        {**STAIR, "shares": (0.5, 0.5), "levels": (0.1,)},
        {**STAIR, "shares": (0.5, 0.5), "levels": (1.0, 0.2)},
        {**STAIR, "shares": (0.5, 0.5), "levels": (2.0, 0.1)},
        {**STAIR, "shares": (0.4, 0.3, 0.3), "levels": (0.5, 1.0, 0.1)},
        {**STAIR, "shares": (0.4, 0.3, 0.3), "levels": (1.0, -0.1, 0.1)},
        {**STAIR, "shares": (0.4, 0.3, 0.3), "levels": (1.0, math.nan, 0.1)},
    ],
)
def test_an_impossible_decay_is_refused(fields: dict[str, Any]) -> None:
    with refused(ConfigError):
        Decay(**({"floor": 0.0} | fields))


@pytest.mark.parametrize(
    ("decay", "updates"),
    [
        (Decay(shape=Shape.KNEE, floor=0.0, hold=0.1), 4),
        (Decay(shape=Shape.KNEE, floor=0.0, hold=0.9), 4),
        (Decay(shape=Shape.STAIR, floor=0.1, shares=(0.8, 0.1, 0.1)), 4),
        (Decay(shape=Shape.LINEAR, floor=0.0), 0),
    ],
)
def test_a_decay_without_room_for_its_parts_is_refused(decay: Decay, updates: int) -> None:
    with refused(PlanError):
        decay.pieces(updates=updates, peak=1.0)


@pytest.mark.parametrize("shape", [Shape.CONSTANT, Shape.INVERSE_SQRT])
def test_a_curve_without_an_end_is_not_a_decay(shape: Shape) -> None:
    with refused(ConfigError, field="shape", value=shape):
        Decay(shape=shape, floor=0.5)


@given(begins=st.integers(1, 10_000), update=st.integers(0, 100_000), at=st.integers(0, 100_000))
def test_an_inverse_square_root_falls_with_the_position(begins: int, update: int, at: int) -> None:
    schedule = Schedule(start=begins, pieces=(inverse_sqrt(0.5, begins=begins),))

    assert schedule.rate(begins + update) == 0.5 * math.sqrt(begins / (begins + update + 1))
    assert schedule.after(begins + at).rate(begins + at + update) == schedule.rate(begins + at + update)
    assert from_record(as_record(schedule)) == schedule


def test_an_inverse_square_root_has_no_end_and_knows_its_position() -> None:
    falling = inverse_sqrt(1.0, begins=4)

    assert [falling.rate(k) for k in (11, 59)] == [0.5, 0.25]
    for fields in ({"begins": 0}, {"updates": 9}, {"last": 0.5}, {"shape": Shape.CONSTANT, "last": 1.0}):
        with refused(PlanError):
            replace(falling, **fields)


@pytest.mark.parametrize("shape", [Shape.STAIR, Shape.KNEE])
def test_a_composed_shape_is_not_a_single_piece(shape: Shape) -> None:
    with refused(PlanError):
        Piece(shape=shape, updates=4, first=1.0, last=0.0)


@given(decay=decays(), updates=st.integers(20, 500), start=st.integers(0, 1000))
def test_a_schedule_reads_back_equal_from_its_record(decay: Decay, updates: int, start: int) -> None:
    schedule = Schedule(start=start, pieces=(*warmup(1.0, updates=3), *decay.pieces(updates=updates, peak=1.0)))

    assert from_record(as_record(schedule)) == schedule


def test_only_a_power_writes_its_exponent() -> None:
    power = Piece(shape=Shape.POWER, updates=2, first=1.0, last=0.0, exponent=2.0)

    records = as_record(Schedule(pieces=(power, replace(power, shape=Shape.LINEAR), constant(0.0))))["pieces"]

    assert [record.get("exponent") for record in records] == [2.0, None, None]
    assert records[2] == {"shape": "constant", "updates": None, "first": 0.0, "last": 0.0}
