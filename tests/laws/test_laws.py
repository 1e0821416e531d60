import math
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lrpath.errors import LawError
from lrpath.laws.areas import annealing_area, annealing_slope, forward_area, rate_drops, warmup_updates
from lrpath.laws.continual import ContinualLaw, Domain, ShiftedLastIterateLaw
from lrpath.laws.curves import Curve, rates_of
from lrpath.laws.last_iterate import LastIterateLaw, last_iterate_noise
from lrpath.laws.law import AnnealingLaw, ChinchillaLaw, Law
from lrpath.laws.mixture import fit_mixture
from lrpath.laws.multi_power import MultiPowerLaw
from lrpath.laws.turning import (
    critical_area,
    loss_potential,
    rise_of,
    shift_of,
    turning_area,
)
from lrpath.planning.schedule import Piece, Schedule, Shape, constant, ramp, warmup
from tests.refusals import refused

Array = NDArray[np.float64]

# arXiv 2505.07796, FineWeb → Knowledge-Pile at 106M; S2 in the paper's λ = .999
OLD = {
    "L0": 3.057,
    "A": 0.490,
    "alpha": 0.497,
    "C1": 0.299,
    "C2": 0.298,
    "lambda": 0.999,
    "B": 0.366,
    "E": 28.0,
    "beta": 0.189,
}
NEW = {
    "L0": 3.024,
    "A": 0.412,
    "alpha": 0.677,
    "C1": 0.278,
    "C2": 0.324,
    "lambda": 0.999,
    "B": -0.666,
    "E": 5662.0,
    "beta": 0.146,
}
LAST = {"L0": 2.6, "A": 0.5, "alpha": 0.5, "B": 20.0, "rho": 0.8, "zeta": 0.05}
SHIFTED = {name: LAST[name] for name in ("L0", "A", "alpha", "rho", "zeta")} | {
    "N": 20.0,
    "B": 0.4,
    "E": 28.0,
    "beta": 0.2,
}
TRUE: list[tuple[Law, dict[str, float]]] = [
    (ChinchillaLaw(), {"L0": 3.0, "B": 5.0, "beta": 0.5}),
    (AnnealingLaw(), {"L0": 3.0, "A": 0.5, "alpha": 0.5, "C": 0.3, "lambda": 0.99}),
    (MultiPowerLaw(), {"L0": 3.0, "A": 0.5, "alpha": 0.5, "B": 400.0, "C": 2.0, "beta": 0.6, "gamma": 0.6}),
    (LastIterateLaw(), LAST),
    (ShiftedLastIterateLaw(domain=Domain.OLD), SHIFTED),
    (ShiftedLastIterateLaw(domain=Domain.NEW, replay=True), SHIFTED | {"B": -0.7, "a2": 2.0}),
    (ContinualLaw(domain=Domain.OLD), OLD),
    (ContinualLaw(domain=Domain.NEW, replay=True), NEW | {"a1": 0.3, "a2": 2.0}),
    (
        ContinualLaw(domain=Domain.OLD, replay=True, sizes=True),
        OLD | {"a1": 0.3, "a2": 2.0, "gamma1": 0.1, "gamma2": -0.1, "F": 2.0, "gamma3": 0.3},
    ),
]  # fmt: skip

pieces = st.lists(
    st.tuples(st.sampled_from(["flat", "ramp", "jump"]), st.integers(1, 40), st.floats(0.0, 1.0)),
    min_size=1,
    max_size=5,
)


def rates_from(drawn: list[tuple[str, int, float]]) -> Array:
    """Return 5 updates of warm-up to a rate of 1e-3, and the drawn pieces."""
    parts, rate = [np.arange(1, 6) / 5], 1.0
    for kind, updates, to in drawn:
        part = (
            np.linspace(rate, to, updates + 1)[1:]
            if kind == "ramp"
            else np.full(updates, rate if kind == "flat" else to)
        )
        rate = float(part[-1])
        parts.append(part)
    return 1e-3 * np.concatenate(parts)


def curve_of(rates: Array, **given: object) -> Curve:
    return Curve(name="x", rates_U=rates, positions_P=np.arange(1, rates.size + 1), **given)


def cosine(updates: int) -> Array:
    fall = Piece(shape=Shape.COSINE, updates=updates - 50, first=3e-4, last=3e-5)
    return rates_of(Schedule(pieces=(*warmup(3e-4, updates=50), fall)), updates=updates)


@settings(max_examples=40, deadline=None)
@given(pieces)
def test_the_areas_are_those_of_the_double_loop(drawn: list[tuple[str, int, float]]) -> None:
    rates, momentum = rates_from(drawn), 0.9
    rising = warmup_updates(rates)
    memory = forward = annealing = 0.0
    forwards, annealings = [0.0], [0.0]
    for k, rate in enumerate(rates):
        memory = momentum * memory + (rates[k - 1] - rate if k > rising else 0.0)
        forward, annealing = forward + rate, annealing + memory
        forwards.append(forward)
        annealings.append(annealing)

    drops = rate_drops(rates)

    np.testing.assert_allclose(forward_area(rates), forwards, rtol=1e-12)
    np.testing.assert_allclose(annealing_area(drops, momentum=momentum), annealings, rtol=1e-9, atol=1e-15)
    at = np.arange(1, rates.size + 1)
    area, _ = annealing_slope(drops, momentum=momentum, positions_P=at)
    np.testing.assert_allclose(area, annealings[1:], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("rates", [cosine(400), np.repeat([1.0, 0.5, 0.2], 100)])
def test_the_slope_of_s2_is_its_derivative(rates: Array) -> None:
    drops, at, h = rate_drops(rates), np.array([60, 120, 300]), 1e-6

    _, slope = annealing_slope(drops, momentum=0.98, positions_P=at)

    high, low = (annealing_area(drops, momentum=0.98 + move)[at] for move in (h, -h))
    np.testing.assert_allclose(slope, (high - low) / (2 * h), rtol=1e-5)


def noise_by_the_bound(rates: Array, position: int) -> float:
    """Return Γ as the bound of arXiv 2310.07831 has it, every area and square summed by itself."""

    def area(first: int, last: int) -> float:  # of updates first … last, from 1
        return math.fsum(rates[first - 1 : last])

    def squares(first: int, last: int) -> float:
        return math.fsum(rate * rate for rate in rates[first - 1 : last])

    p = position
    terms = [rates[k - 1] / area(k + 1, p) * squares(k, p) / area(k, p) for k in range(1, p)]
    return squares(1, p) / area(1, p) + math.fsum(terms)


@settings(max_examples=40, deadline=None)
@given(pieces)
def test_the_noise_is_that_of_the_bounds_double_sum(drawn: list[tuple[str, int, float]]) -> None:
    rates = np.maximum(rates_from(drawn), 1e-7)
    positions = np.array(sorted({1, 3, rates.size // 2, rates.size - 1, rates.size}))

    found = last_iterate_noise(rates, positions)

    np.testing.assert_allclose(found, [noise_by_the_bound(rates, int(p)) for p in positions], rtol=1e-12)


def test_the_noise_after_a_million_updates_is_exact_to_a_trillionth() -> None:
    rates = np.concatenate([np.arange(1, 2001) / 2000, np.ones(900_000), np.linspace(1, 0, 98_000)]) * 3e-4
    last = rates.size - 1  # the update before the one at rate 0
    areas = np.cumsum(rates[:last][::-1].astype(np.longdouble))
    exact = rates[last - 1] + (rates[: last - 1][::-1].astype(np.longdouble) ** 2 / areas[:-1]).sum()

    found = last_iterate_noise(rates, np.array([last, last + 1]))

    np.testing.assert_allclose(found, [float(exact)] * 2, rtol=1e-12)  # an update at rate 0 changes nothing


def double_sum(curve: Curve, given: Mapping[str, float], *, warmup: int | None) -> Array:
    """Return B·Σ Δη·G with every term; training at rate 0 releases nothing."""
    drops, area = rate_drops(curve.rates_U, warmup=warmup), forward_area(curve.rates_U)
    speed = np.maximum(curve.rates_U, 1e-30) ** -given["gamma"]
    released = [
        drops[:p] * (1 - (1 + given["C"] * speed[:p] * (area[p] - area[:p])) ** -given["beta"])
        for p in curve.positions_P
    ]
    return given["B"] * np.array([part.sum() for part in released])


@settings(max_examples=40, deadline=None)
@given(pieces, st.booleans())
@example([("flat", 1, 0.0), ("ramp", 28, 0.0), ("ramp", 22, 1.0)], False)
def test_the_multi_power_sum_is_that_of_the_double_loop(drawn: list[tuple[str, int, float]], counts: bool) -> None:
    rates, given = rates_from(drawn), TRUE[2][1] | {"L0": 0.0, "A": 0.0}

    found = MultiPowerLaw(counts_warmup=counts).predict(given, curve=curve_of(rates))

    exact = double_sum(curve_of(rates), given, warmup=0 if counts else None)
    np.testing.assert_allclose(-found, exact, atol=1e-4)  # as the module says


def test_the_multi_power_sum_over_a_long_cosine_is_right_to_a_ten_thousandth_of_a_nat() -> None:
    given = TRUE[2][1] | {"L0": 0.0, "A": 0.0}
    curve = Curve(name="x", rates_U=cosine(20_000), positions_P=np.arange(37, 20_001, 97))

    found = MultiPowerLaw().predict(given, curve=curve)

    np.testing.assert_allclose(-found, double_sum(curve, given, warmup=0), atol=1e-4)


def test_a_long_curve_takes_far_fewer_terms_than_the_double_sum() -> None:
    curve = Curve(name="x", rates_U=cosine(40_000), positions_P=np.arange(100, 40_001, 100))

    terms = MultiPowerLaw().prepare([curve]).at_M.size

    assert terms < 400 * curve.positions_P.size  # the double sum has 20,000 for each position


@pytest.mark.parametrize(("law", "true"), TRUE, ids=lambda part: getattr(part, "name", ""))
def test_a_laws_derivatives_are_those_of_its_losses(law: Law, true: dict[str, float]) -> None:
    rates = np.concatenate([cosine(300), np.full(100, 2e-4), np.full(100, 5e-5)])
    curves = [curve_of(rates, boundary=320, replay=0.25, parameters=7e7).between(20)]
    prepared, values = law.prepare(curves), law.values(true)

    _, slopes = law.losses(values[None], prepared)

    for number, name in enumerate(law.names):
        h = 1e-6 * abs(values[number]) * (1e-2 if name == "lambda" else 1)
        up, down = values.copy(), values.copy()
        up[number], down[number] = values[number] + h, values[number] - h
        numeric = (law.losses(up[None], prepared)[0] - law.losses(down[None], prepared)[0]) / (2 * h)
        np.testing.assert_allclose(
            slopes[0, :, number], numeric[0], rtol=2e-4, atol=2e-5 * np.abs(numeric).max() + 1e-12
        )


@pytest.mark.parametrize(("law", "true"), TRUE, ids=lambda part: getattr(part, "name", ""))
def test_many_sets_of_parameters_give_what_each_gives_alone(law: Law, true: dict[str, float]) -> None:
    prepared = law.prepare([curve_of(cosine(300), boundary=200, parameters=7e7)])
    values = law.values(true) * np.linspace(0.9, 0.99, 9)[:, None]

    together, _ = law.losses(values, prepared)

    alone = np.concatenate([law.losses(row[None], prepared)[0] for row in values])
    np.testing.assert_allclose(together, alone, rtol=1e-6)


def test_unknown_parameters_are_refused() -> None:
    with refused(LawError):
        AnnealingLaw().values({"L0": 1.0})


def test_without_shift_and_with_equal_c_the_continual_law_is_the_annealing_law() -> None:
    rates = np.concatenate([cosine(300), np.full(100, 2e-4), np.full(100, 5e-5)])
    same = OLD | {"B": 0.0, "C2": OLD["C1"]}
    annealing = {name: OLD[name] for name in ("L0", "A", "alpha", "lambda")} | {"C": OLD["C1"]}

    found = ContinualLaw(domain=Domain.OLD).predict(same, curve=curve_of(rates, boundary=280))

    np.testing.assert_allclose(found, AnnealingLaw().predict(annealing, curve=curve_of(rates)), rtol=1e-12)


def test_memory_that_does_not_cross_the_boundary_stops_there() -> None:
    rates = np.repeat([2e-4, 1e-4], [50, 100])
    values = OLD | {"A": 0.0, "B": 0.0}

    carried = ContinualLaw(domain=Domain.OLD).predict(values, curve=curve_of(rates, boundary=60))
    stopped = ContinualLaw(domain=Domain.OLD, carries=False).predict(values, curve=curve_of(rates, boundary=60))

    assert carried[59] == stopped[59] == stopped[-1]
    assert carried[-1] < carried[59]


def test_the_papers_fits_give_the_papers_shifts() -> None:
    # 30,000 updates at 2e-4 are an area of 6 [arXiv 2505.07796, FineWeb → Knowledge-Pile]
    assert shift_of(OLD, area=6.0) == pytest.approx(0.227, abs=5e-4)
    assert shift_of(NEW, area=6.0) == pytest.approx(-0.521, abs=5e-4)


def test_eq_4_with_the_papers_fit_worked_by_hand() -> None:
    rates = np.full(60_000, 2e-4)
    curve = Curve(name="x", rates_U=rates, positions_P=np.array([30_000, 60_000]), boundary=30_000)

    before, after = ContinualLaw(domain=Domain.OLD).predict(OLD, curve=curve)

    assert before == pytest.approx(3.057 + 0.490 * 6**-0.497)
    assert after == pytest.approx(3.057 + 0.490 * 12**-0.497 + 0.366 * (1 - 169**-0.189))


def test_replay_is_that_of_eq_8_worked_by_hand() -> None:
    rates, replay = np.repeat([2e-4, 1e-4], 100), {"a1": 0.3, "a2": 2.0}
    curve = curve_of(rates, boundary=100, replay=0.25)
    area = annealing_area(rate_drops(rates), momentum=0.999)[200]
    falls = {"old": 0.298 * area * np.exp(0.3 * 0.25), "new": 0.324 * area * np.exp(0.3 * 0.75)}
    shift = {
        "old": shift_of(OLD, area=0.01) * (1 - np.exp(-2.0 * 0.75)),
        "new": shift_of(NEW, area=0.01) * (np.exp(2.0 * 0.75) - 1),
    }

    for domain, fit in ((Domain.OLD, OLD), (Domain.NEW, NEW)):
        last = ContinualLaw(domain=domain, replay=True).predict(fit | replay, curve=curve)[-1]

        base = fit["L0"] + fit["A"] * 0.03 ** -fit["alpha"]
        assert last == pytest.approx(base - falls[domain.value] + shift[domain.value])


def test_size_is_that_of_eq_7_worked_by_hand() -> None:
    rates = np.concatenate([np.repeat([2e-4, 1e-4], 100), np.repeat([5e-5], 100)])
    curve = curve_of(rates, boundary=200, parameters=50e6)
    drops, sizes = rate_drops(rates), {"gamma1": 0.2, "gamma2": -0.3, "F": 0.7, "gamma3": 0.4}
    before, since = np.where(np.arange(drops.size) < 200, drops, 0), np.where(np.arange(drops.size) < 200, 0, drops)

    last = ContinualLaw(domain=Domain.OLD, sizes=True).predict(OLD | sizes, curve=curve)[-1]

    areas = [annealing_area(falls, momentum=0.999)[300] for falls in (before, since)]
    fall = 0.299 * areas[0] * 50**0.2 + 0.298 * areas[1] * 50**-0.3
    base = OLD["L0"] + OLD["A"] * 0.035 ** -OLD["alpha"] + 0.7 * 50**-0.4
    assert last == pytest.approx(base - fall + shift_of(OLD, area=0.005))


def test_the_turning_length_is_where_the_old_loss_is_back() -> None:
    area = turning_area(OLD, before=1.0)

    assert area == pytest.approx(1.6839, abs=1e-3)  # 8,420 updates at 2e-4
    assert rise_of(OLD, before=1.0, area=area) == pytest.approx(0.0, abs=1e-9)
    assert all(rise_of(OLD, before=1.0, area=share * area) > 0 for share in (1e-3, 0.1, 0.5, 0.99))
    assert turning_area(OLD, before=0.1) == 0.0  # never rises
    assert turning_area(OLD, before=6.0) is None  # never comes back


def test_the_critical_point_parts_losses_that_come_back_from_those_that_do_not() -> None:
    assert critical_area(OLD | {"B": 1e-9, "alpha": 0.01}) == math.inf
    area = critical_area(OLD)

    assert area == pytest.approx(2.242, abs=1e-3)
    assert turning_area(OLD, before=0.999 * area) is not None
    assert turning_area(OLD, before=1.001 * area) is None
    with refused(LawError):
        critical_area(NEW)


def test_the_loss_potential_is_the_last_rate_over_the_peak() -> None:
    schedule = Schedule(pieces=(constant(2e-4, updates=10), ramp(2e-4, 5e-5, updates=10), constant(2e-4)))

    assert loss_potential(curve_of(rates_of(schedule, updates=30), boundary=20)) == pytest.approx(0.25)


@pytest.mark.parametrize("shares", [(0.7, 0.4), (-0.546, 1.853)])  # five of the paper's eight domains have one below 0
def test_a_third_domain_is_a_mixture_of_two(shares: tuple[float, float]) -> None:
    old, new = np.array([3.0, 3.1, 3.3]), np.array([3.0, 2.7, 2.2])
    other = shares[0] * old + shares[1] * new

    mixture = fit_mixture(old=old, new=new, other=other)

    assert (mixture.old, mixture.new, mixture.r2) == (*map(pytest.approx, shares), pytest.approx(1.0))
    np.testing.assert_allclose(mixture.losses(old=old, new=new), other)


def test_a_law_with_sizes_asks_for_the_size() -> None:
    with refused(LawError):
        ContinualLaw(domain=Domain.OLD, sizes=True).prepare([curve_of(cosine(100))])
