from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest

from lrpath.config.laws import fit_settings, objective_from
from lrpath.errors import ConfigError, LawError
from lrpath.laws.advice import Adviser, WeightedFit
from lrpath.laws.candidates import Objective, candidates_of
from lrpath.laws.continual import ContinualLaw, Domain
from lrpath.laws.fit import Fit
from lrpath.laws.law import AnnealingLaw
from lrpath.laws.path_fit import PathFit
from lrpath.laws.turning import critical_area, turning_area
from lrpath.laws.validity import ValidityRange
from lrpath.planning.decay import Decay
from lrpath.planning.paradigms import Setting
from lrpath.planning.schedule import Shape
from tests.analysis.studies import MERGED, plan_of
from tests.laws.law_studies import TRUE
from tests.planning.strategies import build_continual, build_switching
from tests.refusals import refused

COSINE = Decay(shape=Shape.COSINE, floor=0.1)
SWITCHING = build_switching(peak=1.0, warmup=10, decay=COSINE, alpha=0.6)
WIDE = ValidityRange(
    peak=1.0, least_area=1.0, most_area=1e4, idle=1, decay=200, low=0.0, has_drop=True,
    potential=(0.0, 1.0), replay=(0.0, 0.5), parameters=None,
)  # fmt: skip
OLD = {"L0": 2.0, "A": 5.0, "alpha": 0.5, "C1": 0.01, "C2": 0.01, "lambda": 0.9, "B": 0.4, "E": 0.05, "beta": 0.3,
       "a1": 0.1, "a2": 2.0}  # fmt: skip
NEW = OLD | {"B": -0.4, "a2": 0.5}


def weighted_fit(
    law, values: dict[str, float], name: str = "train", weight: float = 1.0, validity: ValidityRange = WIDE
) -> WeightedFit:
    fit = Fit(
        law=law, curves=(), names=("main",), values=values, fixed=(), steps_BF=np.zeros((4, len(values))), cost=1.0,
        residuals_N=np.zeros(40), memory=1.0, condition=1.0, not_identified={}, validity=validity,
    )  # fmt: skip
    return WeightedFit(fitted=PathFit(fit=fit, second=None, set=name, recipe=None, path_ids=frozenset()), weight=weight)


LAW = weighted_fit(AnnealingLaw(), TRUE)
DOMAINS = (
    weighted_fit(ContinualLaw(domain=Domain.OLD, replay=True), OLD, "v1", 0.5),
    weighted_fit(ContinualLaw(domain=Domain.NEW, replay=True), NEW, "v2", 0.5),
)


def setting_of(label: str = "path_switching", *updates: int) -> Setting:
    plan = plan_of(*(updates or (100, 200)))
    recipe = plan.tree.paths[0].recipe
    return Setting(label=label, recipe=recipe, increments=plan.increments, parse=lambda length, _: int(length))


def asked(
    objective: Objective, numbers: tuple[int, ...] = (0, 1), weighted: WeightedFit = LAW, *, extrapolate: bool = False
):
    candidates = candidates_of(SWITCHING, setting_of(), objective, numbers)
    settings = fit_settings(margin=0.0, gain_margin=0.0, extrapolate=extrapolate)
    return Adviser(fits=(weighted,), objective=objective, settings=settings).advise(*candidates)


def test_the_cheapest_that_is_near_enough_to_the_best_is_chosen() -> None:
    objective = objective_from(within=0.01)

    advice = asked(objective)

    for choice in advice.choices:
        rows = [row for row in advice.evaluated if row.candidate.version == choice.evaluated.candidate.version]
        best = min(row.loss for row in rows)
        assert best < choice.evaluated.loss <= best + 0.01
        same = [row for row in rows if row.candidate.shared == choice.evaluated.candidate.shared]
        assert all(row.loss > best + 0.01 for row in same if row.candidate.updates < choice.evaluated.candidate.updates)
        assert choice.interval == (choice.evaluated.candidate.fields["alpha"],) * 2  # all bootstrap samples are alike
        assert choice.is_identified
        assert (choice.low, choice.high) == pytest.approx((choice.evaluated.loss,) * 2)
        assert choice.marginal > 0
    assert len({choice.evaluated.candidate.shared for choice in advice.choices}) == 1
    assert {row.candidate.fields["alpha"] for row in advice.configured} == {0.6}


def test_without_a_price_the_best_predicted_is_chosen_with_one_shape_for_all_versions() -> None:
    advice = asked(objective_from())

    by_shared: dict[object, dict[str, float]] = {}
    for row in advice.evaluated:
        losses = by_shared.setdefault(row.candidate.shared, {})
        losses[row.candidate.version] = min(row.loss, losses.get(row.candidate.version, row.loss))
    assert sum(choice.evaluated.loss for choice in advice.choices) == min(
        sum(one.values()) for one in by_shared.values()
    )
    for choice in advice.choices:
        assert choice.evaluated is choice.best
        assert choice.best.loss < choice.shortest.loss <= choice.best.loss + 0.005
        assert choice.shortest.candidate.updates < choice.best.candidate.updates


def test_a_predicted_loss_is_the_laws_at_the_end_of_the_planned_branch() -> None:
    advice = asked(objective_from())
    row = advice.choices[1].evaluated

    rates = [min(1.0, (k + 1) / 10) for k in range(row.candidate.path.path.start)]
    rates += [row.candidate.path.path.schedule.rate(k) for k in range(row.candidate.path.path.start, 300)]
    curve = replace(row.candidate.curve(None), rates_U=np.array(rates))
    assert row.loss == pytest.approx(AnnealingLaw().predict(TRUE, curve=curve)[0], abs=1e-12)


def test_the_least_loss_within_a_budget_is_that_of_all_combinations() -> None:
    objective = objective_from(budget=70, alphas=(0.1, 0.2, 0.3, 0.5))

    advice = asked(objective)

    by_shared: dict[object, dict[str, list]] = {}
    for row in advice.evaluated:
        by_shared.setdefault(row.candidate.shared, {}).setdefault(row.candidate.version, []).append(row)
    best = min(
        one.loss + other.loss
        for found in by_shared.values()
        for one, other in product(found["v1"], found["v2"])
        if one.candidate.updates + other.candidate.updates <= 70
    )
    assert sum(choice.evaluated.loss for choice in advice.choices) == pytest.approx(best)
    assert sum(choice.evaluated.candidate.updates for choice in advice.choices) <= 70


def test_a_wanted_loss_is_attained_at_the_least_price() -> None:
    losses = {
        row.candidate.updates: row.loss
        for row in asked(objective_from(shapes=(Shape.LINEAR,), floors=(0.0,)), (1,)).evaluated
    }
    wanted = sorted(losses.values())[len(losses) // 2]

    advice = asked(objective_from(loss=wanted, shapes=(Shape.LINEAR,), floors=(0.0,)), (1,))

    assert advice.choices[0].evaluated.candidate.updates == min(
        price for price, loss in losses.items() if loss <= wanted
    )


def test_the_frontier_falls_with_the_price() -> None:
    rows = asked(objective_from()).frontier("v2")

    assert [row.candidate.updates for row in rows] == sorted({row.candidate.updates for row in rows})
    assert all(after.loss < before.loss for before, after in pairwise(rows))


@pytest.mark.parametrize(
    "objective",
    [
        objective_from(loss=1.0),
        objective_from(budget=3),
        objective_from(alphas=(0.95,)),
    ],
)
def test_what_cannot_be_attained_is_refused(objective: Objective) -> None:
    with refused(LawError):
        asked(objective)


def test_candidates_outside_the_fitted_range_are_left_out_and_counted() -> None:
    narrow = replace(WIDE, idle=-1)  # not even the last update may have rate 0
    weighted = weighted_fit(AnnealingLaw(), TRUE, validity=narrow)

    advice = asked(objective_from(), weighted=weighted)

    assert {choice.evaluated.candidate.fields["floor"] for choice in advice.choices} == {0.1}
    assert sum(advice.excluded.values()) == len([row for row in advice.evaluated if row.candidate.fields["floor"] == 0])
    with refused(LawError):
        asked(objective_from(floors=(0.0,)), weighted=weighted)
    assert (
        asked(objective_from(floors=(0.0,)), weighted=weighted, extrapolate=True)
        .choices[0]
        .cautions[0]
        .endswith("have rate 0")
    )


def test_replay_is_chosen_by_the_weight_of_the_new_data() -> None:
    paradigm = build_continual(peak=1.0, warmup=10, decay=COSINE)
    setting = setting_of("continual")

    def chosen(weight: float) -> float:
        objective = objective_from(replays=(0.0, 0.1, 0.5), within=0.0, weight=weight)
        fits = [replace(DOMAINS[0], weight=1 - weight), replace(DOMAINS[1], weight=weight)]
        adviser = Adviser(fits=tuple(fits), objective=objective, settings=fit_settings(), old=frozenset(["v1"]))
        advice = adviser.advise(*candidates_of(paradigm, setting, objective, [1]))
        assert advice.choices[0].evaluated.losses.keys() == {"v1", "v2"}
        return float(advice.choices[0].evaluated.candidate.fields["replay"])

    assert (chosen(0.0), chosen(1.0)) == (0.5, 0.0)


def test_an_alpha_whose_bootstrap_interval_is_wide_is_not_identified() -> None:
    fit = LAW.fitted.fit
    steps = np.zeros((8, len(fit.free_names)))
    steps[:, fit.free_names.index("C")] = [-3.0, 3.0] * 4  # a twentieth of the fall with S2, or twenty times it
    weighted = replace(LAW, fitted=replace(LAW.fitted, fit=replace(fit, steps_BF=steps)))

    choice = asked(objective_from(), (1,), weighted).choices[0]

    assert choice.interval[1] - choice.interval[0] > 0.5
    assert not choice.is_identified


def test_turning_length_critical_point_and_loss_potential_are_those_of_the_old_datas_law() -> None:
    objective = objective_from(replays=(0.0,))
    paradigm = build_continual(peak=1.0, warmup=10, decay=COSINE)

    adviser = Adviser(fits=DOMAINS, objective=objective, settings=fit_settings(), old=frozenset(["v1"]))
    advice = adviser.advise(*candidates_of(paradigm, setting_of("continual"), objective, [1]))

    curve = advice.choices[0].evaluated.candidate.curve(frozenset(["v1"]))
    before = float(curve.rates_U[:100].sum())
    area = turning_area(OLD, before=before)
    assert advice.shift.before == 100
    assert advice.shift.potential == pytest.approx(0.1)
    assert advice.shift.critical == pytest.approx(critical_area(OLD))
    assert advice.shift.turning == (None if area is None else pytest.approx(area / curve.rates_U[100]))


@pytest.mark.parametrize(
    ("paradigm", "numbers"),
    [
        (MERGED, [0]),
        (build_continual(peak=1.0, warmup=10, decay=COSINE), [0]),
    ],
)
def test_paradigms_without_a_choice_are_refused(paradigm, numbers: list[int]) -> None:
    with refused(LawError):
        candidates_of(paradigm, setting_of("it"), objective_from(), numbers)


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": 3.0, "budget": 100}, {"loss": -1.0}, {"shapes": ()}, {"shapes": (Shape.KNEE,)}, {"within": -0.1},
        {"weight": 1.5}, {"alphas": (0.0,)}, {"alphas": ()},
    ],
)  # fmt: skip
def test_an_objective_that_makes_no_sense_is_refused(changes: dict[str, object]) -> None:
    with refused(ConfigError):
        objective_from(**changes)
