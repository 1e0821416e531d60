from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize

from lrpath.errors import LawError
from lrpath.laws.continual import ContinualLaw, Domain, ShiftedLastIterateLaw
from lrpath.laws.curves import Curve, rates_of
from lrpath.laws.fit import DELTA, PredictionErrors, fit_law
from lrpath.laws.last_iterate import LastIterateLaw
from lrpath.laws.law import AnnealingLaw, ChinchillaLaw, Law
from lrpath.laws.multi_power import MultiPowerLaw
from lrpath.laws.solver import FitProblem
from lrpath.planning.schedule import Piece, Schedule, Shape, constant, ramp, warmup
from tests.refusals import refused

Array = NDArray[np.float64]
PEAK, UPDATES = 3e-3, 1500
RISE = warmup(PEAK, updates=50)
FLAT = constant(PEAK, updates=750)
SCHEDULES = {
    "constant": Schedule(pieces=(*RISE, constant(PEAK))),
    "cosine": Schedule(pieces=(*RISE, Piece(shape=Shape.COSINE, updates=UPDATES - 50, first=PEAK, last=PEAK / 10))),
    "drop": Schedule(pieces=(*RISE, FLAT, constant(PEAK / 10))),
    "half": Schedule(pieces=(*RISE, FLAT, constant(PEAK / 2))),
    "decay": Schedule(pieces=(*RISE, FLAT, ramp(PEAK, PEAK / 20, updates=700))),
}
ANNEALING = {"L0": 3.0, "A": 0.5, "alpha": 0.5, "C": 0.2, "lambda": 0.99}
POWER = {"L0": 3.0, "A": 0.5, "alpha": 0.5, "B": 40.0, "C": 1.0, "beta": 0.5, "gamma": 0.5}
OLD = {"L0": 3.0, "A": 0.5, "alpha": 0.5, "C1": 0.2, "C2": 0.25, "lambda": 0.99, "B": 0.4, "E": 28.0, "beta": 0.4}
NEW = OLD | {"B": -0.6, "E": 200.0}
LAST = {"L0": 3.0, "A": 0.5, "alpha": 0.5, "B": 10.0, "rho": 0.8, "zeta": 0.05}
SHIFTED = {name: LAST[name] for name in ("L0", "A", "alpha", "rho", "zeta")} | {
    "N": 10.0,
    "B": 0.4,
    "E": 28.0,
    "beta": 0.4,
}
PLANTED: list[tuple[Law, dict[str, float], tuple[str, ...]]] = [
    (ChinchillaLaw(), {"L0": 3.0, "B": 5.0, "beta": 0.5}, ()),
    (AnnealingLaw(), ANNEALING, ()),
    (AnnealingLaw(), ANNEALING, ("lambda",)),
    (MultiPowerLaw(), POWER, ("beta", "gamma")),
    (LastIterateLaw(), LAST, ("rho", "zeta")),
    (LastIterateLaw(), LAST, ()),
    (ShiftedLastIterateLaw(domain=Domain.OLD), SHIFTED, ("rho", "zeta")),
    (ShiftedLastIterateLaw(domain=Domain.NEW), SHIFTED | {"B": -0.6, "E": 200.0}, ("rho", "zeta")),
    (ContinualLaw(domain=Domain.OLD), OLD, ("C1", "lambda")),
    (ContinualLaw(domain=Domain.NEW), NEW, ("C1", "lambda")),
]


def planted(
    law: Law, true: dict[str, float], *names: str, noise: float = 1e-3, seed: int = 0, **given: object
) -> list[Curve]:
    """Return curves of a law with independent noise of log loss."""
    rng = np.random.default_rng(seed)
    found = []
    for name in names or ("constant", "drop", "half", "decay"):
        rates = rates_of(SCHEDULES[name], updates=UPDATES)
        curve = Curve(name=name, rates_U=rates, positions_P=np.arange(60, UPDATES + 1, 20), **given)
        losses = law.predict(true, curve=curve) * np.exp(rng.normal(0, noise, curve.positions_P.size))
        found.append(replace(curve, losses_P=losses))
    return found


@pytest.mark.parametrize(("law", "true", "fixed"), PLANTED, ids=lambda part: getattr(part, "name", ""))
def test_planted_parameters_are_found_again(law: Law, true: dict[str, float], fixed: tuple[str, ...]) -> None:
    boundary = {"boundary": 500} if isinstance(law, ContinualLaw | ShiftedLastIterateLaw) else {}
    curves = planted(law, true, noise=1e-5, **boundary)

    fit = fit_law(law, curves, fixed={name: true[name] for name in fixed})

    for name in law.names:
        assert fit.values[name] == pytest.approx(true[name], rel=0.05), name
    assert np.abs(fit.residuals_N).max() < 6e-5
    assert fit.fixed == fixed


def test_one_parameter_alone_is_found_in_losses_without_noise() -> None:
    curves = planted(AnnealingLaw(), ANNEALING, "drop", noise=0.0)

    fit = fit_law(AnnealingLaw(), curves, fixed={name: true for name, true in ANNEALING.items() if name != "alpha"})

    assert fit.values["alpha"] == pytest.approx(0.5, abs=1e-9)
    assert fit.not_identified == {}


def test_what_is_flat_identifies_next_to_nothing() -> None:
    flat = [
        replace(curve, losses_P=np.full(curve.positions_P.size, 3.0)) for curve in planted(AnnealingLaw(), ANNEALING)
    ]

    fit = fit_law(AnnealingLaw(), flat)

    assert {"A", "alpha", "C", "lambda"} <= set(fit.not_identified)


@pytest.mark.slow
def test_replay_and_size_are_found_again() -> None:
    law = ContinualLaw(domain=Domain.OLD, replay=True, sizes=True)
    true = OLD | {"a1": 0.3, "a2": 1.5, "gamma1": 0.1, "gamma2": 0.05, "F": 2.0, "gamma3": 0.4}
    curves = [
        curve
        for size in (5e7, 2e8, 8e8)
        for replay in (0.0, 0.3, 0.6)
        for curve in planted(law, true, "drop", "decay", noise=1e-5, boundary=500, replay=replay, parameters=size)
    ]
    held = ("L0", "C1", "gamma1", "lambda", "B")

    fit = fit_law(law, curves, fixed={name: true[name] for name in held})

    for name in ("C2", "a1", "a2", "gamma2", "F", "gamma3", "E", "beta"):
        assert fit.values[name] == pytest.approx(true[name], rel=0.05), name


def test_the_fit_is_where_lbfgs_stops_from_the_truth() -> None:
    curves = planted(AnnealingLaw(), ANNEALING)
    problem = FitProblem(law=AnnealingLaw(), prepared=AnnealingLaw().prepare(curves), fixed={}, delta=DELTA)
    observed = np.concatenate([np.log(curve.observed()) for curve in curves])

    def cost(u: Array) -> tuple[float, Array]:
        log_losses, slopes = problem.log_losses(u[None])
        residuals = observed - log_losses[0]
        return 1e4 * float(problem.cost(residuals)), -1e4 * np.clip(residuals, -DELTA, DELTA) @ slopes[0]

    start = problem.on_scale(AnnealingLaw().values(ANNEALING)[None])[0]
    other = minimize(cost, start, jac=True, method="L-BFGS-B", options={"maxiter": 2000, "ftol": 1e-15, "gtol": 1e-9})

    fit = fit_law(AnnealingLaw(), curves)

    # least_squares stops when a step gains less than 1e-10 of the cost; over a last flat stretch that adds up
    assert fit.cost * 1e4 <= other.fun * (1 + 1e-5)


def test_outliers_hardly_move_a_fit() -> None:
    curves = planted(AnnealingLaw(), ANNEALING, noise=1e-4)
    spiked = [replace(curve, losses_P=curve.observed() + 2.0 * (curve.positions_P % 400 == 0)) for curve in curves]

    fit = fit_law(AnnealingLaw(), spiked)

    assert fit.values["C"] == pytest.approx(0.2, rel=0.05)
    assert fit.values["alpha"] == pytest.approx(0.5, rel=0.02)


@pytest.mark.slow
def test_intervals_hold_planted_parameters_about_as_often_as_they_say() -> None:
    inside = []
    for seed in range(10):
        fit = fit_law(AnnealingLaw(), planted(AnnealingLaw(), ANNEALING, seed=seed), bootstrap_samples=50, seed=seed)
        for name, true in ANNEALING.items():
            low, high = fit.interval(name)
            inside.append(low <= true <= high)

    # 50 intervals of 90 %, but five at a time from one set of curves; the experiment 07_laws counts more of them
    assert 35 <= sum(inside) < 50


def test_the_same_seed_gives_the_same_intervals() -> None:
    curves = planted(AnnealingLaw(), ANNEALING)

    one, two, other = (fit_law(AnnealingLaw(), curves, bootstrap_samples=20, seed=seed) for seed in (1, 1, 2))

    assert one.interval("C") == two.interval("C") != other.interval("C")


def test_lambda_is_not_identified_by_constant_and_cosine_and_the_fit_says_so() -> None:
    curves = planted(AnnealingLaw(), ANNEALING, "constant", "cosine", noise=5e-4)

    fit = fit_law(AnnealingLaw(), curves)

    assert set(fit.not_identified) == {"C", "lambda"}
    assert "not identified by these curves: C" in fit.warnings[0]
    assert "such as an abrupt drop" in fit.describe()


def test_lambda_is_identified_by_an_abrupt_drop() -> None:
    fit = fit_law(AnnealingLaw(), planted(AnnealingLaw(), ANNEALING, "constant", "cosine", "drop", noise=5e-4))

    assert (fit.not_identified, fit.warnings) == ({}, ())


def test_a_term_that_is_not_there_is_not_identified() -> None:
    curves = planted(AnnealingLaw(), ANNEALING | {"C": 0.0}, noise=1e-4)

    assert {"C", "lambda"} <= set(fit_law(AnnealingLaw(), curves).not_identified)


def test_a_held_parameter_lets_the_others_be_identified() -> None:
    curves = planted(AnnealingLaw(), ANNEALING, "constant", "cosine", noise=5e-4)

    assert fit_law(AnnealingLaw(), curves, fixed={"lambda": 0.99}).not_identified == {}


@pytest.fixture(scope="module")
def fit():
    return fit_law(AnnealingLaw(), planted(AnnealingLaw(), ANNEALING), bootstrap_samples=30)


def asked(rates: Array, **given: object) -> Curve:
    return Curve(name="new", rates_U=rates, positions_P=np.arange(60, rates.size + 1), **given)


@pytest.mark.parametrize(
    "curve",
    [
        asked(np.full(1500, 4e-3)),
        asked(np.repeat([3e-3, 0.0], [1400, 100])),
        asked(np.full(7000, 3e-3)),
        asked(np.full(1500, 3e-4)),
        asked(np.full(1500, 3e-3), boundary=800),
    ],
)
def test_extrapolation_is_refused_unless_asked_for(fit, curve: Curve) -> None:
    with refused(LawError):
        fit.predict(curve)

    assert np.isfinite(fit.predict(curve, extrapolate=True).losses_P).all()


def test_far_lower_rates_are_an_extrapolation_though_their_sum_is_fitted(fit) -> None:
    curve = fit.validity.covered(asked(np.full(9000, 3e-4)))

    with refused(LawError, field="extrapolate"):
        fit.predict(curve)


def test_a_decay_that_ends_at_zero_is_no_extrapolation(fit) -> None:
    schedule = Schedule(pieces=(*RISE, constant(PEAK, updates=950), ramp(PEAK, 0.0, updates=500)))

    assert fit.predict(asked(rates_of(schedule, updates=1500))).losses_P[-1] < 3.4


def test_other_replay_and_sizes_than_fitted_are_refused() -> None:
    law, true = ContinualLaw(domain=Domain.OLD), OLD
    curves = planted(law, true, boundary=500, replay=0.2, parameters=1e8)
    fit = fit_law(law, curves, fixed={"C1": 0.2, "lambda": 0.99})

    with refused(LawError):
        fit.predict(replace(curves[0], replay=0.5))
    with refused(LawError):
        fit.predict(replace(curves[0], parameters=1e9))


def test_a_prediction_lies_within_its_interval_which_widens_away_from_the_data(fit) -> None:
    known = fit.predict(fit.curves[1])
    further = fit.predict(asked(np.full(5500, PEAK)))

    assert (known.low_P <= known.losses_P).all()
    assert (known.losses_P <= known.high_P).all()
    assert (further.high_P - further.low_P)[-1] > 2 * (known.high_P - known.low_P).mean()


def test_errors_are_those_worked_by_hand() -> None:
    errors = PredictionErrors.of(observed=np.array([2.0, 4.0]), predicted=np.array([2.5, 4.0]))

    assert (errors.mae, errors.worst, errors.relative, errors.last) == (0.25, 0.25, 0.125, 0.0)
    assert errors.rmse == pytest.approx(0.25 * 2**0.5)
    assert errors.r2 == pytest.approx(1 - 0.25 / 2)


def test_a_fit_without_bootstrap_samples_has_no_intervals() -> None:
    fit = fit_law(ChinchillaLaw(), planted(ChinchillaLaw(), PLANTED[0][1]))

    assert fit.predict(fit.curves[0]).low_P is None
    with refused(LawError):
        fit.interval("L0")


@pytest.mark.parametrize(
    ("curves", "fixed"),
    [
        ([], {}),
        (planted(AnnealingLaw(), ANNEALING, "drop"), {"gamma": 1.0}),
        (planted(AnnealingLaw(), ANNEALING, "drop"), {"lambda": 1.0}),
        (planted(AnnealingLaw(), ANNEALING, "drop"), ANNEALING),
        ([asked(np.full(100, 3e-3))], {}),
    ],
)
def test_an_impossible_fit_is_refused(curves: list[Curve], fixed: dict[str, float]) -> None:
    with refused(LawError):
        fit_law(AnnealingLaw(), curves, fixed=fixed)
