import math
from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats

from lrpath.analysis.compare import read_outcomes
from lrpath.analysis.seeds import Summary, interval_of, pareto_fronts, summarise
from lrpath.records.study import Study
from tests.analysis.studies import CONTINUAL, SWITCHING, evaluate_evenly, keep, plan_of

BY_SEED = {
    1: {"from_scratch": [3.0, 2.0], "continual": [3.0, 2.5], "path_switching": [3.1, 2.2]},
    2: {"from_scratch": [3.2, 2.4], "continual": [3.2, 3.0], "path_switching": [3.3, 2.8]},
    3: {"from_scratch": [3.1, None], "continual": [3.1, 2.8], "path_switching": [3.2, 2.6]},
}


@pytest.fixture
def found(tmp_path: Path) -> dict[tuple[str, str], Summary]:
    study = Study(tmp_path / "toy")
    for seed, losses in BY_SEED.items():
        plan = plan_of(10, 10, seed=seed)
        keep(study, plan)
        evaluate_evenly(study, plan, losses)
    return {(one.first.version, one.first.series.group): one for one in summarise(read_outcomes(study))}


def test_an_interval_is_student_s() -> None:
    values = [2.0, 3.5, 2.5, 4.0]

    found = interval_of(values)

    low, high = stats.t.interval(0.95, 3, loc=3.0, scale=stats.sem(values))
    assert (found.mean, found.count) == (3.0, 4)
    assert found.half == pytest.approx((high - low) / 2, rel=1e-12)
    assert interval_of([1.5]).half is None


def test_means_are_over_the_seeds_that_were_evaluated(found: dict[tuple[str, str], Summary]) -> None:
    assert list(found) == [(version, kind) for version in ("v1", "v2") for kind in BY_SEED[1]]
    assert found["v2", "from_scratch"].seeds == ((1, 1), (2, 2))
    assert found["v2", "continual"].seeds == ((1, 1), (2, 2), (3, 3))
    assert found["v2", "continual"].loss.mean == pytest.approx((2.5 + 3.0 + 2.8) / 3)
    assert found["v2", "continual"].perplexity.mean == pytest.approx(math.fsum(map(math.exp, (2.5, 3.0, 2.8))) / 3)


def test_a_gap_is_taken_seed_by_seed(found: dict[tuple[str, str], Summary]) -> None:
    switching = found["v2", "path_switching"]

    assert switching.gap is not None
    assert switching.gap.mean == pytest.approx(0.3)
    assert switching.gap.count == 2  # seed 3 has no run from scratch
    assert switching.perplexity_gap is not None
    assert switching.perplexity_gap.mean == pytest.approx(
        (math.exp(2.2) - math.exp(2.0) + math.exp(2.8) - math.exp(2.4)) / 2
    )
    assert switching.reference is not None
    assert switching.reference.group == "from_scratch"
    assert (found["v2", "from_scratch"].gap, found["v2", "from_scratch"].reference) == (None, None)


def test_without_from_scratch_gaps_are_to_the_best_setting(tmp_path: Path) -> None:
    study = Study(tmp_path / "toy")
    for seed, losses in BY_SEED.items():
        plan = plan_of(10, 10, seed=seed, paradigms={"continual": CONTINUAL, "path_switching": SWITCHING})
        keep(study, plan)
        evaluate_evenly(study, plan, losses)

    gaps = {one.first.series.group: one.gap for one in summarise(read_outcomes(study)) if one.first.version == "v2"}

    assert gaps["path_switching"] is None
    assert gaps["continual"] is not None
    assert gaps["continual"].mean == pytest.approx((0.3 + 0.2 + 0.2) / 3)


@pytest.mark.parametrize(
    ("switching", "front"),
    [
        (2.3, ["continual", "path_switching", "from_scratch"]),
        (2.6, ["continual", "from_scratch"]),  # dearer than continual, and no better
        (1.9, ["continual", "path_switching"]),  # cheaper than from scratch, and better
    ],
)
def test_the_front_holds_what_is_best_at_its_cost_or_less(tmp_path: Path, switching: float, front: list[str]) -> None:
    study, plan = Study(tmp_path / "toy"), plan_of(10, 10)
    keep(study, plan)
    evaluate_evenly(
        study, plan, {"from_scratch": [3.0, 2.0], "continual": [3.0, 2.5], "path_switching": [1.0, switching]}
    )

    (found,) = pareto_fronts(summarise(read_outcomes(study)))

    assert [one.first.series.group for one in found] == front
    assert {one.first.version for one in found} == {"v2"}
    assert pareto_fronts([]) == ()


def test_settings_of_equal_cost_and_loss_are_both_on_the_front(tmp_path: Path) -> None:
    study = Study(tmp_path / "toy")
    plan = plan_of(10, 10, paradigms={"one": CONTINUAL, "two": replace(CONTINUAL, peak=2.0)})
    keep(study, plan)
    evaluate_evenly(study, plan, {"one": [3.0, 2.5], "two": [3.0, 2.5]})

    (front,) = pareto_fronts(summarise(read_outcomes(study)))

    assert [one.first.series.group for one in front] == ["one", "two"]
