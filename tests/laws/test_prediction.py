import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lrpath.config.laws import fit_settings
from lrpath.errors import ConfigError, LawError
from lrpath.laws.law import AnnealingLaw
from lrpath.laws.loss_view import LossView
from lrpath.laws.path_curves import choose_paths, paths_of, paths_of_tree
from lrpath.laws.path_fit import fit_paths, read_fitted
from lrpath.laws.prediction import predict_paths
from lrpath.laws.settings import FitSettings
from lrpath.planning.decay import Decay
from lrpath.planning.schedule import Shape
from lrpath.records.held_out import HeldOutSet
from lrpath.records.study import Study
from lrpath.reporting.prediction_report import write_law, write_predictions
from tests.analysis.studies import plan_of
from tests.laws.law_studies import TRUE, study_in, write_evaluations, write_metrics
from tests.planning.strategies import ADAMW, build_switching
from tests.refusals import refused

FULL = Decay(shape=Shape.LINEAR, floor=0.0)
PARADIGMS = {
    f"alpha_{alpha}": build_switching(peak=1.0, warmup=10, decay=Decay(shape=Shape.COSINE, floor=0.1), alpha=alpha / 10)
    for alpha in (2, 5, 8)
}
FITTED = ("alpha_2.*",)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Three values of α on one main path; all but alpha_5.v2 have been run."""
    plan = plan_of(200, 200, paradigms=PARADIGMS)
    study = study_in(tmp_path_factory.mktemp("studies"), plan)
    write_metrics(study, plan, [path.name for path in plan.tree.paths if path.name != "alpha_5.v2"])
    return study


SETTINGS = fit_settings(law="annealing", fixed={}, fit=FITTED, bootstrap_samples=20)


def fitted_view(study: Study, settings: FitSettings = SETTINGS):
    view = LossView.of(study, settings)
    return fit_paths(view, settings, patterns=settings.fit), view


def test_a_law_fitted_to_one_branch_predicts_longer_ones_that_follow_it(study: Study) -> None:
    fitted, view = fitted_view(study)
    asked = choose_paths(paths_of(study), ["alpha_5.*", "alpha_8.*"], field="predict")

    found = predict_paths(fitted, view, asked, SETTINGS)

    by_name = {one.name: one for one in found.predictions}
    assert set(by_name) == {"alpha_5.v1", "alpha_5.v2", "alpha_8.v1", "alpha_8.v2"}
    assert by_name["alpha_5.v2"].errors is None
    for name in set(by_name) - {"alpha_5.v2"}:
        assert by_name[name].errors.rmse < 5e-3  # noise of 6e-4 in a decay of 40 updates, carried on to one of 160
    assert (found.ranking.right, found.ranking.wrong) == (1, 0)  # v1 of two α; v2 has been run for one
    assert len(by_name["alpha_8.v2"].cautions) == 1  # four times as long as any decay that was fitted


def test_a_path_that_was_not_evaluated_yet_is_neither_fitted_nor_compared(tmp_path: Path) -> None:
    plan = plan_of(200, 200, paradigms=PARADIGMS)
    study = study_in(tmp_path, plan)
    write_metrics(study, plan, ["alpha_2.v1", "alpha_5.v1"])
    write_evaluations(study, plan, ["alpha_2.v1"], sets={("v1", "a"): (AnnealingLaw(), TRUE)})

    view = LossView.of(study, replace(SETTINGS, set="v1"))

    assert [path.name for path in view.chosen(None)] == ["alpha_2.v1"]
    assert len(replace(view, held_out=None).chosen(None)) == 2


def test_paths_of_two_recipes_are_refused_with_a_choice_that_can_be_predicted_from(tmp_path: Path) -> None:
    plans = [plan_of(200, 200, paradigms=PARADIGMS, optimizer=one) for one in (ADAMW, replace(ADAMW, beta1=0.8))]
    study = study_in(tmp_path, plans[0])
    study.save_plan(plans[1].as_record())
    for plan in plans:
        write_metrics(study, plan, [path.name for path in plan.tree.paths])
    with refused(LawError, field="fit") as caught:
        fitted_view(study, replace(SETTINGS, fit=None))
    (choice,) = re.findall(r"fit=\[(.*?)\]", str(caught.value))

    fitted, view = fitted_view(study, replace(SETTINGS, fit=tuple(choice.split(","))))
    left = [path for path in paths_of(study) if path.path.id not in fitted.path_ids]

    assert predict_paths(fitted, view, left, SETTINGS, leave_out=True).predictions


def test_the_first_updates_are_left_out_of_a_fit(study: Study) -> None:
    for skip, first in ((None, 19), (50, 51)):
        view = replace(fitted_view(study)[1], skip=skip, bins=10_000)
        main = choose_paths(paths_of(study), ["main"], field="fit")[0]
        assert view.observed(main).positions_P[0] == first  # twice the 9 updates after which the rate stays


def test_tens_of_thousands_of_losses_are_averaged_before_the_fit(study: Study) -> None:
    fitted, view = fitted_view(study, replace(SETTINGS, bins=30, bootstrap_samples=0))

    assert fitted.fit.residuals_N.size == 30 + 30 + 30
    assert view.bins == 30


def test_a_law_that_was_written_predicts_the_same_when_it_is_read(study: Study, tmp_path: Path) -> None:
    fitted, view = fitted_view(study)
    asked = choose_paths(paths_of(study), ["alpha_8.v2"], field="predict")
    write_law(tmp_path / "law.json", [fitted], SETTINGS.as_record())

    again, settings = read_fitted(tmp_path / "law.json", replace(SETTINGS, set="v1", skip=7, level=0.5))

    before, after = (
        predict_paths(one, view, asked, SETTINGS).predictions[0].prediction for one in (fitted, again["train"])
    )
    assert np.array_equal(before.losses_P, after.losses_P)
    assert np.array_equal(before.low_P, after.low_P)
    assert settings == replace(SETTINGS, set=("train",), old=("v1",), level=0.5)  # of which loss it is, the file says
    assert again["train"].fit.describe() == fitted.fit.describe()


@pytest.mark.parametrize("text", ["[]", '{"fits": {}}', '{"fits": {"train": {"format": 1}}}', '{"fits": {"train": 3}}'])
def test_a_file_that_holds_no_law_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "law.json"
    file.write_text(text)

    with refused(LawError):
        read_fitted(file, SETTINGS)


def test_a_report_has_a_line_for_every_path_and_leaves_all_its_files(study: Study, tmp_path: Path) -> None:
    fitted, view = fitted_view(study)
    found = predict_paths(fitted, view, paths_of(study), SETTINGS)

    text = write_predictions(found, tmp_path, settings=SETTINGS.as_record())

    assert all(path.name in text for path in paths_of(study))
    assert "Kendall's τ" in text
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "curves.csv", "law.json", "predictions.json", "predictions.png", "table.csv", "table.md"
    ]  # fmt: skip
    assert len((tmp_path / "table.csv").read_text().splitlines()) == 1 + len(paths_of(study))


def test_a_path_of_another_model_or_rate_is_refused_unless_it_is_asked_for_all_the_same(study: Study) -> None:
    fitted, view = fitted_view(study)
    other = plan_of(
        200,
        200,
        paradigms={"hot": build_switching(peak=2.0, warmup=10, decay=FULL, alpha=0.5)},
    )
    hot = paths_of_tree(other.tree)[-1:]
    strange = replace(fitted, recipe=fitted.recipe | {"precision": "bf16"})

    with refused(LawError):
        predict_paths(fitted, view, hot, SETTINGS)
    with refused(LawError):
        predict_paths(strange, view, hot, SETTINGS)
    assert len(predict_paths(strange, view, hot, replace(SETTINGS, extrapolate=True)).predictions[0].violations) == 2


@pytest.mark.parametrize(
    "settings",
    [
        fit_settings(law="anealing"),
        fit_settings(law="continual"),
        fit_settings(law="annealing", fit="alpha_5.v2"),
        fit_settings(law="annealing", fit="main", skip=359),
        fit_settings(law="annealing", fit="main", skip=5_000),
        fit_settings(law="annealing", set="v1"),
        fit_settings(law="annealing", fit="main", fixed={"gamma": 1.0}),
    ],
)
def test_what_cannot_be_fitted_is_refused(study: Study, settings: FitSettings) -> None:
    with refused(LawError):
        fitted_view(study, settings)


def test_nothing_left_to_predict_is_an_error(study: Study) -> None:
    fitted, view = fitted_view(study)

    with refused(LawError):
        predict_paths(fitted, view, (), SETTINGS)


@pytest.mark.parametrize("changes", [{"bins": 3}, {"level": 1.0}, {"bootstrap_samples": -1}, {"set": ()}])
def test_settings_out_of_range_are_refused(changes: dict[str, object]) -> None:
    with refused(ConfigError):
        fit_settings(law="annealing", **changes)


def judged_on(study: Study, names: dict[str, str]) -> None:
    """Note on what text paths were evaluated under the name v1, by the names of the paths."""
    for path in paths_of(study):
        if text := names.get(path.name):
            one = HeldOutSet(sha256=text * 64, tokens=100, text_bytes=None, documents=None)
            study.held_out.add([path.path.id], {("v1", "web"): one})


def test_losses_on_other_text_under_one_name_are_neither_fitted_together_nor_compared(tmp_path: Path) -> None:
    plan = plan_of(200, 200, paradigms=PARADIGMS)
    study = study_in(tmp_path, plan)
    write_evaluations(
        study, plan, [path.name for path in plan.tree.paths], sets={("v1", "web"): (AnnealingLaw(), TRUE)}
    )
    judged_on(study, {"alpha_2.v1": "a", "alpha_2.v2": "a", "alpha_5.v2": "b", "alpha_8.v2": "a"})
    settings = replace(SETTINGS, set=("v1",))
    fitted, view = fitted_view(study, settings)
    other, same = (choose_paths(paths_of(study), [name], field="predict") for name in ("alpha_5.v2", "alpha_8.v2"))

    with refused(LawError, field="set", value="v1"):
        fit_paths(view, settings, patterns=("alpha_2.*", "alpha_5.v2"))
    with refused(LawError, field="extrapolate"):
        predict_paths(fitted, view, other, settings)
    assert predict_paths(fitted, view, same, settings).predictions[0].violations == ()
