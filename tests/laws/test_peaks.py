import pytest

from lrpath.errors import LawError
from lrpath.laws.peaks import best_peaks, choose_peak
from lrpath.planning.paradigms import FromScratch
from lrpath.records.study import Study
from lrpath.reporting.peak_report import peaks_text
from tests.analysis.studies import LINEAR, evaluate, plan_of
from tests.refusals import refused


def losses_of(best: float, *, noise: float = 0.0) -> dict[float, dict[int, float]]:
    """Return losses of a parabola in the octave of the peak, with a shift of the best by seed."""
    peaks = (0.25, 0.5, 1.0, 2.0)
    return {
        peak: {seed: 3.0 + 0.1 * (peaks.index(peak) - 2 * best + noise * (seed - 2)) ** 2 for seed in (1, 2, 3)}
        for peak in peaks
    }


def test_the_peak_is_that_of_the_parabola_and_its_interval_that_of_the_seeds() -> None:
    found = choose_peak("it", "v1", losses_of(1.0, noise=0.1), seeds=(1, 2, 3))

    assert found.best == 1.0
    assert found.peak == pytest.approx(1.0, rel=0.01)
    assert found.interval[0] < 1.0 < found.interval[1]
    assert found.interval[1] / found.interval[0] < 1.5
    assert found.is_inside
    assert found.lead[0] > found.lead[1] > 0


def test_a_best_peak_at_the_end_of_what_was_tried_is_said() -> None:
    found = choose_peak("it", "v1", losses_of(1.6), seeds=(1, 2, 3))

    assert (found.best, found.peak, found.is_inside, found.interval) == (2.0, 2.0, False, None)
    assert "highest tried; try higher ones" in peaks_text([found])


def test_a_study_that_swept_the_peak_gives_one_for_each_paradigm(tmp_path) -> None:
    study = Study(tmp_path / "peaks")
    for peak, loss in ((0.5, 3.1), (1.0, 3.0), (2.0, 3.2)):
        plan = plan_of(20, paradigms={"scratch": FromScratch(peak=peak, warmup=2, decay=LINEAR)})
        study.save_plan(plan.as_record())
        evaluate(study, plan, plan.tree.releases[0], {("v1", "a"): (loss, 1)})

    (found,) = best_peaks(study)

    assert (found.paradigm, found.version, found.best) == ("scratch", "v1", 1.0)
    assert 0.5 < found.peak < 1.0  # the lower neighbour is the better one
    assert found.interval is None
    assert "one seed" in peaks_text([found])


def test_a_study_with_one_peak_is_refused_with_what_to_run(tmp_path) -> None:
    study = Study(tmp_path / "peaks")
    plan = plan_of(20, paradigms={"scratch": FromScratch(peak=1.0, warmup=2, decay=LINEAR)})
    study.save_plan(plan.as_record())

    with refused(LawError, field="study", value="peaks"):
        best_peaks(study)


def test_runs_that_differ_in_more_than_peak_and_seed_are_not_mixed(tmp_path) -> None:
    study = Study(tmp_path / "peaks")
    for warmup, shift in ((2, 0.0), (4, 1.0)):
        for peak, loss in ((0.5, 3.1), (1.0, 3.0 + shift), (2.0, 3.2)):
            plan = plan_of(20, paradigms={"scratch": FromScratch(peak=peak, warmup=warmup, decay=LINEAR)})
            study.save_plan(plan.as_record())
            evaluate(study, plan, plan.tree.releases[0], {("v1", "a"): (loss, 1)})

    found = {one.paradigm: one for one in best_peaks(study)}

    assert {name: one.best for name, one in found.items()} == {"scratch (warmup=2)": 1.0, "scratch (warmup=4)": 0.5}
    assert found["scratch (warmup=2)"].tried == {0.5: 3.1, 1.0: 3.0, 2.0: 3.2}


def test_peaks_that_were_judged_on_other_text_are_not_compared(tmp_path) -> None:
    study = Study(tmp_path / "peaks")
    for peak, text in ((0.5, "one"), (1.0, "one"), (2.0, "other")):
        plan = plan_of(20, paradigms={"scratch": FromScratch(peak=peak, warmup=2, decay=LINEAR)}, texts={"v1": text})
        study.save_plan(plan.as_record())
        evaluate(study, plan, plan.tree.releases[0], {("v1", "a"): (3.0 + peak, 1)})

    (found,) = best_peaks(study)

    assert list(found.tried) == [0.5, 1.0]
