from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lrpath.analysis.scores import release_folder
from lrpath.config.laws import fit_settings
from lrpath.errors import LawError
from lrpath.laws.curves import Curve
from lrpath.laws.fit import fit_law
from lrpath.laws.intervals import IntervalRule, conformal_width
from lrpath.laws.last_iterate import LastIterateLaw
from lrpath.laws.loss_view import LossView
from lrpath.laws.multi_power import MultiPowerLaw
from lrpath.laws.path_curves import paths_of
from lrpath.laws.path_fit import PathFit, fit_paths
from lrpath.laws.prediction import predict_paths
from lrpath.laws.probes import averages, fit_parabola, observed_branches, parabolas
from lrpath.planning.decay import Decay
from lrpath.planning.schedule import Shape
from lrpath.records.rows import EvaluationRow
from lrpath.records.study import Study
from lrpath.records.tables import Table
from tests.analysis.studies import plan_of
from tests.laws.law_studies import study_in, write_evaluations, write_metrics
from tests.planning.strategies import build_merged, build_switching
from tests.refusals import refused

LAST = {"L0": 2.6, "A": 0.9, "alpha": 0.5, "B": 0.02, "rho": 0.8, "zeta": 0.05}
GIVEN = {"rho": 0.8, "zeta": 0.05}
RATES = np.concatenate([np.linspace(0.1, 1, 10), np.ones(290), np.linspace(1, 0.05, 100)])


def curve_of(rates: np.ndarray, *, noise: float = 0.0) -> Curve:
    curve = Curve(name="x", rates_U=rates, positions_P=np.arange(21, rates.size + 1, 5))
    losses = LastIterateLaw().predict(LAST, curve=curve)
    return replace(curve, losses_P=losses * np.exp(np.random.default_rng(0).normal(0, noise, losses.size)))


@pytest.fixture(scope="module")
def fits():
    curves = [curve_of(RATES, noise=1e-3), curve_of(RATES[:300], noise=1e-3)]
    first = fit_law(LastIterateLaw(), curves, fixed=GIVEN, bootstrap_samples=30)
    return first, fit_law(MultiPowerLaw(), curves, fixed={"beta": 0.5, "gamma": 0.5})


def test_an_interval_holds_both_laws_and_the_margin(fits) -> None:
    asked = curve_of(np.concatenate([RATES[:300], np.ones(200), np.linspace(1, 0, 50)]))

    rule = IntervalRule(second=fits[1], margin=0.01, gain_margin=0.0, level=0.9)
    losses, low, high = rule.around(fits[0], asked)

    both = np.stack([fit.predict(asked, extrapolate=True).losses_P for fit in fits])
    assert (low <= both.min(axis=0) - 0.01).all()
    assert (both.max(axis=0) + 0.01 <= high).all()
    assert np.array_equal(losses, both[0])


def test_an_interval_widens_with_what_annealing_is_predicted_to_gain(fits) -> None:
    asked = curve_of(np.concatenate([RATES[:300], np.linspace(1, 0.01, 100)]))
    plain, wide = (IntervalRule(second=None, margin=0.01, gain_margin=share, level=0.9) for share in (0.0, 0.5))

    _, low, high = plain.around(fits[0], asked)
    _, lower, higher = wide.around(fits[0], asked)

    held = replace(asked, rates_U=np.concatenate([RATES[:300], np.ones(100)]), losses_P=None)
    gain = fits[0].predict(held).losses_P - fits[0].predict(asked, extrapolate=True).losses_P
    assert gain[-1] > 0.01
    np.testing.assert_allclose(higher - high, 0.5 * np.maximum(gain, 0), atol=1e-12)
    np.testing.assert_allclose(low - lower, higher - high, atol=1e-12)
    assert higher[0] == high[0]  # where no rate has fallen yet


def test_a_conformal_interval_is_as_wide_as_the_errors_of_finished_paths(fits) -> None:
    scores = tuple(0.01 * k for k in range(1, 20))

    losses, low, high = IntervalRule(second=None, margin=0.5, gain_margin=0.5, level=0.9, scores=scores).around(
        fits[0], curve_of(RATES)
    )

    np.testing.assert_allclose(high - losses, 0.18)  # the ⌈20 × .9⌉-th of 19
    np.testing.assert_allclose(losses - low, 0.18)
    with refused(LawError, field="interval"):
        conformal_width(scores[:8], level=0.9)


@pytest.mark.parametrize(
    ("curves", "word"),
    [
        ([RATES[:300]], "fast fall"),
        ([np.concatenate([RATES[:10], 0.55 + 0.45 * np.cos(np.linspace(0, np.pi, 390))]), RATES[:300]], "fast fall"),
        ([RATES[:300], RATES], None),
    ],
    ids=["constant", "cosine and constant", "a drop"],
)
def test_a_fit_that_saw_no_fast_fall_of_the_rate_has_reasons_against_advice(curves, word: str | None) -> None:
    fit = fit_law(LastIterateLaw(), [curve_of(rates, noise=1e-4) for rates in curves], fixed=GIVEN)

    reasons = PathFit(fit=fit, second=None, set="train", recipe=None, path_ids=frozenset()).reasons_against_advice

    assert any("fast fall" in reason for reason in reasons) == (word is not None)


def changed(change) -> PathFit:
    """Return a fit to a curve with a drop whose losses were changed."""
    curve = curve_of(RATES, noise=1e-3)
    losses = curve.observed().copy()
    change(losses)
    fit = fit_law(LastIterateLaw(), [replace(curve, losses_P=losses)], fixed=GIVEN)
    return PathFit(fit=fit, second=None, set="train", recipe=None, path_ids=frozenset())


def test_losses_of_a_path_that_diverged_are_a_reason_against_advice() -> None:
    def diverge(losses: np.ndarray) -> None:
        losses[losses.size // 3 :: 2] *= 2

    assert any("misses the losses" in reason for reason in changed(diverge).reasons_against_advice)
    assert changed(lambda _: None).reasons_against_advice == ()


def test_losses_in_a_spike_are_counted_and_warned_of() -> None:
    def spike(losses: np.ndarray) -> None:
        losses[40:43] += 2

    found = changed(spike).fit

    assert found.outliers == 3
    assert any("as in a spike" in text for text in found.warnings)
    assert changed(lambda _: None).fit.warnings == ()


PARADIGMS = {
    f"alpha_{alpha}": build_switching(peak=1.0, warmup=10, decay=Decay(shape=Shape.LINEAR, floor=0.0), alpha=alpha / 10)
    for alpha in (1, 2, 3, 5, 8)
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    plan = plan_of(200, 200, paradigms=PARADIGMS | {"merged": build_merged(peak=1.0, warmup=10, states=3, spacing=20)})
    found = study_in(tmp_path_factory.mktemp("studies"), plan)
    names = [path.name for path in plan.tree.paths]
    write_metrics(found, plan, names, law=LastIterateLaw(), values=LAST)
    write_evaluations(found, plan, names, sets={("v1", "a"): (LastIterateLaw(), LAST)})
    for release in plan.tree.releases:
        if len(release.parts) > 1:
            folder = release_folder(found, release=release)
            folder.mkdir(parents=True)
            row = EvaluationRow(release.last.position, "v1", "a", 270.0, 100)
            Table(folder / "evaluation.csv", EvaluationRow).append([row])
    return found


@pytest.mark.slow
def test_intervals_of_a_study_come_from_its_finished_branches_each_left_out(study: Study) -> None:
    settings = fit_settings(interval="finished", fit=("*main", "alpha_2.*"), bootstrap_samples=0)
    view = LossView.of(study, settings)
    asked = [path for path in paths_of(study) if path.name == "alpha_8.v2"]

    found = predict_paths(fit_paths(view, settings, patterns=settings.fit), view, asked, settings)

    assert len(found.rule.scores) == 10  # ten branches
    (one,) = found.predictions
    _, predicted, low, high = one.final
    assert low < predicted < high
    assert high - low < 0.01  # the study follows the law but for noise of 2e-4
    assert low <= one.observed_final <= high


def test_three_branches_of_a_version_give_a_best_alpha_without_a_law(study: Study) -> None:
    view = LossView.of(study, fit_settings())

    branches = observed_branches(view, {"v2": 200})

    assert sorted(one.alpha for one in branches) == [0.1, 0.2, 0.3, 0.5, 0.8]
    assert {(one.shape, one.floor) for one in branches} == {("linear", 0.0)}
    (found,) = parabolas(branches)
    assert 0.1 <= found.alpha <= 0.8
    assert found.loss <= min(one.loss for one in branches) + 0.01


@pytest.mark.parametrize(
    ("losses", "best"),
    [([2.0, 1.9, 2.0], 0.4), ([2.0, 1.95, 1.93], 0.8), ([1.93, 1.95, 2.0], 0.2), ([2, 2.1, 2], None)],
)
def test_a_parabola_stays_within_what_was_run(losses: list[float], best: float | None) -> None:
    found = fit_parabola([0.2, 0.4, 0.8], losses)

    assert (None if found is None else found[0]) == pytest.approx(best)


def test_averages_of_states_are_those_that_were_evaluated_by_window(study: Study) -> None:
    found = averages(LossView.of(study, fit_settings(set="v1")))

    assert [(one.version, one.window, one.loss) for one in found] == [("v1", 0.2, 2.7), ("v2", 0.1, 2.7)]
    assert averages(LossView.of(study, fit_settings())) == ()  # a training loss has no average


def test_a_law_file_names_what_it_was_fitted_with(tmp_path: Path) -> None:
    record = fit_settings(fixed={"rho": 1.0}).as_record()

    assert record["fixed"] == {"rho": 1.0}
    assert {"law", "set", "fit", "files", "skip", "bins", "interval", "margin", "level"} <= record.keys()
