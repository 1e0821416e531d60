import math
from dataclasses import replace
from pathlib import Path

import pytest

from lrpath.analysis.compare import read_outcomes, read_series
from lrpath.analysis.scores import Score, release_folder, total
from lrpath.errors import StateError
from lrpath.planning.paradigms import Anytime, PathSwitching
from lrpath.planning.paths import StateKey, Tree
from lrpath.planning.plan import Plan
from lrpath.records.rows import EvaluationRow
from lrpath.records.study import Study
from lrpath.records.tables import Table
from tests.analysis.studies import (
    CONTINUAL,
    LINEAR,
    MERGED,
    SCRATCH,
    THREE,
    evaluate,
    evaluate_evenly,
    keep,
    plan_of,
)
from tests.planning.strategies import ADAMW, build_switching
from tests.refusals import refused


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path / "toy")


def switching(alpha: float) -> PathSwitching:
    return build_switching(peak=1.0, warmup=2, decay=LINEAR, alpha=alpha)


def test_scores_add_up_over_tokens_not_over_sets() -> None:
    score = total([Score(nll=30.0, tokens=10), Score(nll=10.0, tokens=30)])

    assert score.loss == 1.0
    assert score.perplexity == math.e


def test_a_perplexity_that_no_float_holds_is_infinite() -> None:
    assert Score(nll=1e6, tokens=1).perplexity == math.inf


def test_a_headline_pools_the_sets_of_this_and_all_earlier_versions(study: Study) -> None:
    plan = plan_of(10, 10, paradigms={"continual": CONTINUAL})
    keep(study, plan)
    sets = {("v1", "web"): (30.0, 10), ("v1", "code"): (10.0, 10), ("v2", "web"): (20.0, 20)}
    for release in plan.tree.releases:
        evaluate(study, plan, release, sets)

    first, second = read_outcomes(study)

    assert first.headline == Score(nll=40.0, tokens=20)
    assert second.headline == Score(nll=60.0, tokens=40)
    assert second.score(versions=("v2",)) == Score(nll=20.0, tokens=20)
    assert second.score(versions=("v1", "v2"), domain="web") == Score(nll=50.0, tokens=30)


def test_a_score_on_sets_that_were_not_all_evaluated_is_none(study: Study) -> None:
    plan = plan_of(10, 10, paradigms={"continual": CONTINUAL})
    keep(study, plan)
    evaluate(study, plan, plan.release("continual", "v2"), {("v1", "web"): (30.0, 10)})

    _, second = read_outcomes(study)

    assert second.headline is None
    assert second.score(versions=("v1",)) == Score(nll=30.0, tokens=10)
    assert second.score(versions=("v1", "v2"), domain="web") is None


def test_a_release_that_was_not_made_has_a_cost_and_no_score(study: Study) -> None:
    keep(study, plan_of(10, 10, 10, 10))

    outcomes = {(outcome.series.paradigm, outcome.version): outcome for outcome in read_outcomes(study)}

    assert all(outcome.scores is None and outcome.headline is None for outcome in outcomes.values())
    # 10 + 20 + 30 + 40 from scratch; 40 continual; 40 + 3 × 6 by path switching
    assert outcomes["from_scratch", "v4"].cost.updates == 100
    assert outcomes["continual", "v4"].cost.updates == 40
    assert outcomes["path_switching", "v4"].cost.updates == 58
    assert outcomes["path_switching", "v4"].relative_cost == 0.58
    assert outcomes["path_switching", "v1"].relative_cost == 1.0
    assert outcomes["path_switching", "v2"].cost.tokens == (20 + 6) * 8
    assert outcomes["path_switching", "v2"].cost.tokens_first == 20 * 8
    assert outcomes["path_switching", "v2"].cost.flops == (20 + 6) * 8 * 10


def test_a_later_position_on_the_path_is_not_the_release(study: Study) -> None:
    plan = plan_of(10, 10, paradigms={"path_switching": switching(0.6)})
    keep(study, plan)
    release = plan.release("path_switching", "v1")
    folder = study.open(plan.tree.path(release.last.path_id))
    folder.evaluation.append([EvaluationRow(release.last.position - 1, "v1", "web", 99.0, 1)])

    assert read_outcomes(study)[0].scores is None


def test_a_merged_release_is_read_from_its_own_folder(study: Study) -> None:
    plan = plan_of(10, paradigms={"merged": MERGED})
    keep(study, plan)
    release = plan.release("merged", "v1")
    place = release_folder(study, release=release)
    table = Table(place / "evaluation.csv", EvaluationRow)
    table.append([EvaluationRow(release.last.position, "v1", "web", 20.0, 10)])
    evaluate(study, plan, release, {("v1", "web"): (99.0, 1)})  # the last state alone, which is not the release

    (outcome,) = read_outcomes(study)

    assert place.parent == study.folder / "releases"
    assert place.name.startswith("merged-v1-")
    assert outcome.headline == Score(nll=20.0, tokens=10)


def test_folders_of_merges_with_other_weights_differ(study: Study) -> None:
    longer = plan_of(10, paradigms={"merged": MERGED}).release("merged", "v1")
    other = plan_of(12, paradigms={"merged": MERGED}).release("merged", "v1")

    assert release_folder(study, release=longer) != release_folder(study, release=other)


def test_an_alpha_sweep_shares_its_baselines_and_names_alpha(study: Study) -> None:
    for alpha in (0.8, 0.2):
        keep(study, plan_of(10, 10, paradigms={"continual": CONTINUAL, "path_switching": switching(alpha)}))

    labels = [series.label for series in read_series(study)]

    assert labels == ["continual", "path_switching (alpha=0.2)", "path_switching (alpha=0.8)"]


def test_a_version_added_later_goes_on_with_the_same_series(study: Study) -> None:
    keep(study, plan_of(10, 10))
    keep(study, plan_of(10, 10, 10))

    outcomes = read_outcomes(study)

    assert [series.label for series in read_series(study)] == list(THREE)
    assert [outcome.version for outcome in outcomes] == ["v1", "v2", "v3"] * 3


def test_the_order_of_plans_does_not_matter(study: Study) -> None:
    keep(study, plan_of(10, 10, 10))
    keep(study, plan_of(10, 10))

    assert [outcome.version for outcome in read_outcomes(study)] == ["v1", "v2", "v3"] * 3


def test_seeds_are_named_in_labels_but_not_in_groups(study: Study) -> None:
    for seed in (1, 0):
        keep(study, plan_of(10, paradigms={"from_scratch": SCRATCH}, seed=seed))

    found = read_series(study)

    assert [series.label for series in found] == ["from_scratch (seed=0)", "from_scratch (seed=1)"]
    assert {series.group for series in found} == {"from_scratch"}


def test_increments_of_other_sizes_are_another_series(study: Study) -> None:
    keep(study, plan_of(10, 10, paradigms={"continual": CONTINUAL}))
    keep(study, plan_of(20, 20, paradigms={"continual": CONTINUAL}))

    labels = [series.label for series in read_series(study)]

    assert labels == ["continual (10 updates an increment)", "continual (20 updates an increment)"]


def test_models_are_named_by_their_parameters_and_by_sizes_only_where_these_are_equal(study: Study) -> None:
    for layers, parameters in ((2, 268_000_000), (1, 30_000_000)):
        keep(study, sized(layers=layers, parameters=parameters))

    assert [series.label for series in read_series(study)] == [
        "continual (30M parameters)",
        "continual (268M parameters)",
    ]

    keep(study, sized(layers=4, parameters=30_000_000))

    assert [series.label for series in read_series(study)] == [
        "continual (30M parameters, layers=1)",
        "continual (30M parameters, layers=4)",
        "continual (268M parameters, layers=2)",
    ]


def test_models_that_were_run_with_one_seed_each_are_not_seeds_of_one(study: Study) -> None:
    for number, parameters in enumerate((30_000_000, 268_000_000), start=1):
        keep(study, sized(layers=number, parameters=parameters, seed=number))

    assert [series.group for series in read_series(study)] == [
        "continual (30M parameters)",
        "continual (268M parameters)",
    ]


def sized(*, layers: int, parameters: int, seed: int = 0) -> Plan:
    plan = plan_of(10, paradigms={"continual": CONTINUAL})
    (path,) = plan.tree.paths
    recipe = replace(path.recipe, model=path.recipe.model | {"layers": layers}, seed=seed)
    other = replace(path, recipe=recipe)
    (release,) = plan.tree.releases
    parts = ((StateKey(other.id, release.last.position), 1.0),)
    return replace(plan, parameters=parameters, tree=Tree(paths=(other,), releases=(replace(release, parts=parts),)))


def test_of_equal_series_of_two_studies_the_one_with_more_evaluated_releases_is_read(tmp_path: Path) -> None:
    begun, finished = Study(tmp_path / "begun"), Study(tmp_path / "finished")
    plan = plan_of(10, 10)
    for study, last in ((begun, None), (finished, 2.0)):
        keep(study, plan)
        evaluate_evenly(study, plan, {kind: [3.0, last] for kind in THREE})

    for studies in ((begun, finished), (finished, begun)):
        outcomes = read_outcomes(*studies)
        assert {outcome.series.study.name for outcome in outcomes} == {"finished"}
        assert all(outcome.headline is not None for outcome in outcomes)


def evaluated(folder: Path, name: str, plan: Plan, loss: float) -> Study:
    study = Study(folder / name)
    keep(study, plan)
    evaluate_evenly(study, plan, {kind: [loss, loss] for kind in plan.paradigms})
    return study


def anytime(replay: float | None = None) -> Anytime:
    return Anytime(peak=1.0, warmup=2, optimizer=ADAMW, alpha=0.0, reads="own", replay=replay)


def test_paths_of_two_studies_that_go_on_with_other_text_are_two_series(tmp_path: Path) -> None:
    # The id of a main path holds the text of v1 alone, so the three studies have one id for it, and one for v2.
    texts = [{"v1": "a" * 64, "v2": letter * 64} for letter in "bcd"]
    plans = [plan_of(10, 10, paradigms={"anytime": anytime()}, texts=text) for text in texts]
    studies = [evaluated(tmp_path, f"with_{n}", plan, loss=float(n)) for n, plan in enumerate(plans, start=1)]

    outcomes = read_outcomes(*studies)

    assert len({plan.tree.paths[0].id for plan in plans}) == 1
    assert len({outcome.series.label for outcome in outcomes}) == 3
    assert len({outcome.series.group for outcome in outcomes}) == 3
    losses = {one.series.study.name: one.headline.loss for one in outcomes if one.version == "v2" and one.headline}
    assert losses == {"with_1": 1.0, "with_2": 2.0, "with_3": 3.0}


def test_a_path_that_replays_in_another_study_is_another_series(tmp_path: Path) -> None:
    plans = [plan_of(10, 10, paradigms={"anytime": anytime(replay)}) for replay in (None, 0.5)]
    studies = [evaluated(tmp_path, f"with_{n}", plan, loss=float(n)) for n, plan in enumerate(plans, start=1)]

    labels = {series.study.name: series.label for series in read_series(*studies)}

    assert labels["with_2"] == "anytime (replay=0.5)"
    assert len(set(labels.values())) == 2


def test_text_whose_tokens_are_not_known_is_named_so(tmp_path: Path) -> None:
    """A plan that was kept before ids followed from tokens says nothing of them."""
    texts: list[dict[str, str]] = [{}, {"v1": "a" * 64}]
    plans = [plan_of(10, paradigms={"from_scratch": SCRATCH}, texts=text) for text in texts]
    studies = [evaluated(tmp_path, f"with_{n}", plan, loss=float(n)) for n, plan in enumerate(plans, start=1)]

    labels = {series.study.name: series.label for series in read_series(*studies)}

    assert labels == {"with_1": "from_scratch (text unknown)", "with_2": "from_scratch (text aaaaaa)"}


def test_a_study_that_goes_on_in_another_is_one_series(tmp_path: Path) -> None:
    texts = {f"v{n}": str(n) * 64 for n in (1, 2, 3)}
    for name, updates in (("july", (10, 10)), ("august", (10, 10, 10))):
        keep(Study(tmp_path / name), plan_of(*updates, paradigms={"anytime": anytime()}, texts=texts))

    (series,) = read_series(Study(tmp_path / "july"), Study(tmp_path / "august"))

    assert (series.study.name, series.label) == ("august", "anytime")


def test_a_longer_plan_that_was_not_run_hides_no_results_of_another_study(tmp_path: Path) -> None:
    planned = Study(tmp_path / "planned")
    keep(planned, plan_of(10, 10, 10))
    finished = evaluated(tmp_path, "finished", plan_of(10, 10), loss=2.0)

    for studies in ((planned, finished), (finished, planned)):
        outcomes = read_outcomes(*studies)
        made = [one for one in outcomes if one.headline is not None]
        assert {(one.series.study.name, one.series.paradigm, one.version) for one in made} == {
            ("finished", kind, version) for kind in THREE for version in ("v1", "v2")
        }
        assert len({one.series.label for one in outcomes}) == 2 * len(THREE)


@pytest.mark.parametrize(
    "row", [(10, "v1", "web", "many", 10), (10, "v1", "web", 20.0, 0), (10, "v1", "web", "nan", 1)]
)
def test_an_altered_evaluation_is_refused(study: Study, row: tuple[object, ...]) -> None:
    plan = plan_of(10, paradigms={"continual": CONTINUAL})
    keep(study, plan)
    study.open(plan.tree.paths[0]).evaluation.append([row])

    with refused(StateError):
        read_outcomes(study)


def test_equal_paths_of_two_paradigms_have_one_evaluation(study: Study) -> None:
    plan = plan_of(10, 10)
    keep(study, plan)
    evaluate_evenly(study, plan, {"from_scratch": [3.0, 2.0], "continual": [9.9, 2.5], "path_switching": [3.1, 2.2]})

    v1 = {outcome.series.paradigm: outcome.headline for outcome in read_outcomes(study) if outcome.version == "v1"}

    assert v1["continual"] == v1["from_scratch"] == Score(nll=300.0, tokens=100)
