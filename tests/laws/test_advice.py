from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest

from lrpath.errors import ConfigError, LawError
from lrpath.laws.advice import Judge, advise
from lrpath.laws.candidates import Wish, options_of
from lrpath.laws.continual import Continual as ContinualLaw
from lrpath.laws.continual import Domain, critical_area, turning_area
from lrpath.laws.fit import Fit
from lrpath.laws.law import Annealing
from lrpath.laws.path_fit import Fitted
from lrpath.laws.validity import Reach
from lrpath.planning.paradigms import Setting
from lrpath.planning.schedule import Decay, Shape
from tests.analysis.studies import MERGED, plan_of
from tests.laws.law_studies import TRUE
from tests.planning.strategies import build_continual, build_switching
from tests.refusals import refused

COSINE = Decay(shape=Shape.COSINE, floor=0.1)
SWITCHING = build_switching(peak=1.0, warmup=10, decay=COSINE, alpha=0.6)
WIDE = Reach(
    peak=1.0, least_area=1.0, most_area=1e4, idle=1, decay=200, low=0.0, potential=(0.0, 1.0), replay=(0.0, 0.5),
    parameters=None,
)  # fmt: skip
OLD = {"L0": 2.0, "A": 5.0, "alpha": 0.5, "C1": 0.01, "C2": 0.01, "lambda": 0.9, "B": 0.4, "E": 0.05, "beta": 0.3,
       "a1": 0.1, "a2": 2.0}  # fmt: skip
NEW = OLD | {"B": -0.4, "a2": 0.5}


def judge_of(law, values: dict[str, float], name: str = "train", weight: float = 1.0, reach: Reach = WIDE) -> Judge:
    draws = np.array([[values[key] for key in law.names]] * 4)
    fit = Fit(
        law=law, curves=(), names=("main",), values=values, fixed=(), draws_BQ=draws, cost=1.0,
        residuals_N=np.zeros(3), memory=1.0, condition=1.0, untold={}, reach=reach,
    )  # fmt: skip
    return Judge(fitted=Fitted(fit=fit, set=name, recipe=None, path_ids=frozenset()), weight=weight)


LAW = judge_of(Annealing(), TRUE)
DOMAINS = (
    judge_of(ContinualLaw(domain=Domain.OLD, replay=True), OLD, "v1", 0.5),
    judge_of(ContinualLaw(domain=Domain.NEW, replay=True), NEW, "v2", 0.5),
)


def setting_of(label: str = "path_switching", *updates: int) -> Setting:
    plan = plan_of(*(updates or (100, 200)))
    recipe = plan.tree.paths[0].recipe
    return Setting(label=label, recipe=recipe, increments=plan.increments, parse=lambda length, _: int(length))


def asked(wish: Wish, numbers: tuple[int, ...] = (0, 1), judge: Judge = LAW, *, beyond: bool = False):
    options = options_of(SWITCHING, setting_of(), wish, numbers)
    return advise(*options, [judge], wish, old=None, level=0.9, beyond=beyond)


def test_the_cheapest_within_reach_of_the_best_is_chosen() -> None:
    wish = Wish(within=0.01)

    advice = asked(wish)

    for choice in advice.choices:
        rows = [row for row in advice.judged if row.option.version == choice.judged.option.version]
        best = min(row.loss for row in rows)
        assert best < choice.judged.loss <= best + 0.01
        same = [row for row in rows if row.option.shared == choice.judged.option.shared]
        assert all(row.loss > best + 0.01 for row in same if row.option.updates < choice.judged.option.updates)
        assert choice.drawn == (choice.judged.option.fields["alpha"],) * 2  # all drawings are alike
        assert choice.is_told
        assert (choice.low, choice.high) == pytest.approx((choice.judged.loss,) * 2)
        assert choice.marginal > 0
    assert len({choice.judged.option.shared for choice in advice.choices}) == 1
    assert {row.option.fields["alpha"] for row in advice.configured} == {0.6}


def test_a_foretold_loss_is_the_laws_at_the_end_of_the_planned_branch() -> None:
    advice = asked(Wish())
    row = advice.choices[1].judged

    rates = [min(1.0, (k + 1) / 10) for k in range(row.option.path.path.start)]
    rates += [row.option.path.path.schedule.rate(k) for k in range(row.option.path.path.start, 300)]
    curve = replace(row.option.curve(None), rates_U=np.array(rates))
    assert row.loss == pytest.approx(Annealing().predict(TRUE, curve=curve)[0], abs=1e-12)


def test_the_least_loss_within_a_budget_is_that_of_all_combinations() -> None:
    wish = Wish(budget=70, alphas=(0.1, 0.2, 0.3, 0.5))

    advice = asked(wish)

    by_shared: dict[object, dict[str, list]] = {}
    for row in advice.judged:
        by_shared.setdefault(row.option.shared, {}).setdefault(row.option.version, []).append(row)
    best = min(
        one.loss + other.loss
        for found in by_shared.values()
        for one, other in product(found["v1"], found["v2"])
        if one.option.updates + other.option.updates <= 70
    )
    assert sum(choice.judged.loss for choice in advice.choices) == pytest.approx(best)
    assert sum(choice.judged.option.updates for choice in advice.choices) <= 70


def test_a_wanted_loss_is_reached_at_the_least_price() -> None:
    losses = {row.option.updates: row.loss for row in asked(Wish(shapes=(Shape.LINEAR,), floors=(0.0,)), (1,)).judged}
    wanted = sorted(losses.values())[len(losses) // 2]

    advice = asked(Wish(loss=wanted, shapes=(Shape.LINEAR,), floors=(0.0,)), (1,))

    assert advice.choices[0].judged.option.updates == min(price for price, loss in losses.items() if loss <= wanted)


def test_the_frontier_falls_with_the_price() -> None:
    rows = asked(Wish()).frontier("v2")

    assert [row.option.updates for row in rows] == sorted({row.option.updates for row in rows})
    assert all(after.loss < before.loss for before, after in pairwise(rows))


@pytest.mark.parametrize(
    "wish",
    [
        Wish(loss=1.0),
        Wish(budget=3),
        Wish(alphas=(0.95,)),
    ],
)
def test_what_cannot_be_reached_is_said(wish: Wish) -> None:
    with refused(LawError):
        asked(wish)


def test_options_beyond_the_reach_of_the_law_are_left_out_and_counted() -> None:
    narrow = replace(WIDE, idle=-1)  # not even the last update may have rate 0
    judge = judge_of(Annealing(), TRUE, reach=narrow)

    advice = asked(Wish(), judge=judge)

    assert {choice.judged.option.fields["floor"] for choice in advice.choices} == {0.1}
    assert sum(advice.excluded.values()) == len([row for row in advice.judged if row.option.fields["floor"] == 0])
    with refused(LawError):
        asked(Wish(floors=(0.0,)), judge=judge)
    assert asked(Wish(floors=(0.0,)), judge=judge, beyond=True).choices[0].cautions[0].endswith("have rate 0")


def test_replay_is_chosen_by_the_weight_of_the_new_data() -> None:
    paradigm = build_continual(peak=1.0, warmup=10, decay=COSINE)
    setting = setting_of("continual")

    def chosen(weight: float) -> float:
        wish = Wish(replays=(0.0, 0.1, 0.5), within=0.0, weight=weight)
        judges = [replace(DOMAINS[0], weight=1 - weight), replace(DOMAINS[1], weight=weight)]
        advice = advise(
            *options_of(paradigm, setting, wish, [1]), judges, wish, old=frozenset(["v1"]), level=0.9, beyond=False
        )
        assert advice.choices[0].judged.losses.keys() == {"v1", "v2"}
        return float(advice.choices[0].judged.option.fields["replay"])

    assert (chosen(0.0), chosen(1.0)) == (0.5, 0.0)


def test_an_alpha_that_the_drawings_put_anywhere_is_said_not_to_be_told() -> None:
    fit = LAW.fitted.fit
    short, long = [TRUE | {"lambda": value} for value in (0.9, 0.999)]
    draws = np.array([fit.law.values(short), fit.law.values(long)] * 4)
    judge = replace(LAW, fitted=replace(LAW.fitted, fit=replace(fit, draws_BQ=draws)))

    choice = asked(Wish(), (1,), judge).choices[0]

    assert choice.drawn[1] - choice.drawn[0] > 0.5
    assert not choice.is_told


def test_turning_length_critical_point_and_loss_potential_are_those_of_the_old_datas_law() -> None:
    wish = Wish(replays=(0.0,))
    paradigm = build_continual(peak=1.0, warmup=10, decay=COSINE)

    advice = advise(
        *options_of(paradigm, setting_of("continual"), wish, [1]),
        DOMAINS, wish, old=frozenset(["v1"]), level=0.9, beyond=False,
    )  # fmt: skip

    curve = advice.choices[0].judged.option.curve(frozenset(["v1"]))
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
        options_of(paradigm, setting_of("it"), Wish(), numbers)


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": 3.0, "budget": 100}, {"loss": -1.0}, {"shapes": ()}, {"shapes": (Shape.KNEE,)}, {"within": -0.1},
        {"weight": 1.5}, {"alphas": (0.0,)}, {"alphas": ()},
    ],
)  # fmt: skip
def test_a_wish_that_makes_no_sense_is_refused(changes: dict[str, object]) -> None:
    with refused(ConfigError):
        Wish(**changes)
