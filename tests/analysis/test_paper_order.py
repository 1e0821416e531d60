from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from lrpath.analysis.comparison import StudyComparison
from lrpath.analysis.paper_order import PaperOrder
from lrpath.records.study import Study
from lrpath.reporting.findings import order_sentences
from tests.analysis.studies import CONTINUAL, LINEAR, SCRATCH, evaluate_evenly, keep, plan_of
from tests.planning.strategies import build_switching

SEEN = {"from_scratch": [3.0, 2.0, 1.0], "continual": [3.0, 2.25, 1.5], "path_switching": [3.1, 2.1, 1.25]}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path / "toy")


def orders(study: Study) -> tuple[PaperOrder, ...]:
    return StudyComparison.read(study).paper_orders


def sentences(study: Study) -> list[str]:
    return order_sentences(StudyComparison.read(study))


def fill(
    study: Study, losses: Mapping[str, Sequence[float | None]], *, seed: int = 0, alpha: float = 0.6, size: int = 10
) -> None:
    switching = build_switching(peak=1.0, warmup=2, decay=LINEAR, alpha=alpha)
    paradigms = {"from_scratch": SCRATCH, "continual": CONTINUAL, "path_switching": switching}
    plan = plan_of(size, size, size, paradigms=paradigms, seed=seed)
    keep(study, plan)
    evaluate_evenly(study, plan, losses)


def test_the_order_of_the_paper_is_seen(study: Study) -> None:
    fill(study, SEEN)

    (found,) = orders(study)

    assert found.versions == ("v1", "v2", "v3")
    assert [found.mean(kind) for kind in found.best] == [1.0, 1.25, 1.5]
    assert found.holds
    assert found.gaps == (0.0, 0.25, 0.5)
    assert found.widens


def test_equal_losses_keep_the_order(study: Study) -> None:
    fill(study, {kind: [2.0, 2.0, 2.0] for kind in SEEN})

    (found,) = orders(study)

    assert found.holds
    assert found.widens is None  # gaps of exactly 0 are one release


def test_a_contradiction_is_said_plainly(study: Study) -> None:
    fill(study, SEEN | {"path_switching": [3.1, 2.1, 0.875], "continual": [3.0, 2.5, 1.25]})

    text = "\n".join(sentences(study))

    assert "is not seen at v3: path_switching is below from_scratch by 0.1250." in text
    assert "+0.0000, +0.5000, +0.2500; it does not widen with every version." in text
    assert "With one seed" in text


def test_a_version_that_is_not_made_is_not_judged(study: Study) -> None:
    fill(study, SEEN | {"continual": [3.0, 2.25, None]})

    (found,) = orders(study)

    assert found.versions == ("v1", "v2")
    assert "Left out: v3, planned but not evaluated in all three." in sentences(study)
    assert found.gaps == (0.0, 0.25)
    assert found.widens is None
    assert "Gap continual − from_scratch at v1–v2: +0.0000, +0.2500." in sentences(study)


def test_a_missing_paradigm_is_named(study: Study) -> None:
    fill(study, SEEN | {"path_switching": [None, None, None]})

    assert orders(study) == ()
    assert sentences(study) == [
        "Whether the order that arXiv 2410.04103 reports (from_scratch ≤ path_switching ≤ continual) is seen is not "
        "known: no release of path_switching was evaluated."
    ]


def test_the_best_of_several_settings_stands_and_is_said_to_be_chosen(study: Study) -> None:
    fill(study, SEEN, alpha=0.6)
    fill(study, SEEN | {"path_switching": [3.1, 2.1, 1.125]}, alpha=0.4)

    (found,) = orders(study)

    assert found.mean("path_switching") == 1.125
    assert found.best["path_switching"].tried == 2
    assert any(text.endswith("flatters it: path_switching (alpha=0.4), of 2.") for text in sentences(study))


def test_seeds_are_averaged_and_counted_one_by_one(study: Study) -> None:
    fill(study, SEEN, seed=0)
    fill(study, SEEN | {"path_switching": [3.1, 2.1, 1.75]}, seed=1)

    (found,) = orders(study)

    assert found.seeds == ((0, 0), (1, 1))
    assert found.mean("path_switching") == 1.5
    assert found.seeds_in_order == 1
    assert "Taken alone, 1 of 2 seeds show the order." in sentences(study)


def test_seeds_that_not_all_have_are_left_out(study: Study) -> None:
    fill(study, SEEN, seed=0)
    fill(study, SEEN | {"from_scratch": [None, None, None], "continual": [None, None, 9.0]}, seed=1)

    (found,) = orders(study)

    assert found.seeds == ((0, 0),)
    assert found.mean("continual") == 1.5


def test_other_increments_are_judged_apart(study: Study) -> None:
    fill(study, SEEN, size=10)
    fill(study, SEEN | {"path_switching": [3.1, 2.1, 2.0]}, size=20)

    found = orders(study)

    assert [one.holds for one in found] == [True, False]
