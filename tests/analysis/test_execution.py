from pathlib import Path

import pytest

from lrpath.analysis.compare import read_plans
from lrpath.analysis.execution import Execution, executed
from lrpath.records.study import Study
from tests.analysis.studies import CONTINUAL, add_run, keep, plan_of, run_all


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path / "toy")


def execution_of(study: Study) -> Execution:
    return executed(read_plans(study), study.ledger.runs())


def test_an_undisturbed_run_equals_its_plan(study: Study) -> None:
    plan = plan_of(10, 10, 10, 10)
    keep(study, plan)
    run_all(study, plan)

    found = execution_of(study)

    # 100 + 40 + 58, less the 10 of v1 that from_scratch and continual share
    assert (found.planned, found.ran, found.repeated) == (188, 188, 0)
    assert found.tokens == found.tokens_planned == 188 * 8
    assert found.flops == found.flops_planned == 188 * 8 * 10
    assert found.is_as_planned
    assert found.sentence() == "ledger: 188 updates planned, 188 run, 0 of them repeated; exactly as planned"


def test_a_version_added_later_is_planned_once(study: Study) -> None:
    first, second = plan_of(10, 10), plan_of(10, 10, 10)
    keep(study, first)
    keep(study, second)

    # 10 + 20 + 30 from scratch, 20 more of continual, 24 + 3 × 6 of path switching
    assert execution_of(study).planned == 60 + 20 + 42


def test_what_has_not_run_is_named(study: Study) -> None:
    plan = plan_of(10, 10, paradigms={"continual": CONTINUAL})
    keep(study, plan)
    add_run(study, plan, plan.tree.paths[0].id, begin=0, end=7)

    found = execution_of(study)

    assert not found.is_as_planned
    assert found.sentence() == (
        "ledger: 20 updates planned, 7 run, 0 of them repeated; continual.v1 lacks 3; continual.v2 lacks 10"
    )


def test_what_only_an_earlier_plan_asks_for_is_said_to_be_of_that_one(study: Study) -> None:
    longer, shorter = (plan_of(*sizes, paradigms={"continual": CONTINUAL}) for sizes in ([10, 10, 10], [10, 10]))
    keep(study, longer)
    keep(study, shorter)
    add_run(study, shorter, shorter.tree.paths[0].id, begin=0, end=10)

    sentence = execution_of(study).sentence()
    assert sentence.endswith("continual.v2 lacks 10; continual.v3 lacks 10 of an earlier plan, with versions=3")


def test_repeated_updates_are_counted_apart(study: Study) -> None:
    plan = plan_of(10, paradigms={"continual": CONTINUAL})
    keep(study, plan)
    add_run(study, plan, plan.tree.paths[0].id, begin=0, end=7)
    add_run(study, plan, plan.tree.paths[0].id, begin=5, end=10, repeated=2)

    found = execution_of(study)

    assert not found.is_as_planned
    assert found.sentence() == "ledger: 10 updates planned, 12 run, 2 of them repeated"


def test_updates_that_no_plan_asks_for_are_named(study: Study) -> None:
    plan, other = plan_of(10, paradigms={"continual": CONTINUAL}), plan_of(12, paradigms={"continual": CONTINUAL})
    keep(study, plan)
    run_all(study, plan)
    add_run(study, other, other.tree.paths[0].id, begin=0, end=12)

    found = execution_of(study)

    assert found.paths[-1].planned == 0
    assert found.sentence().endswith("continual.v1 ran 12 that no plan asks for")


def test_flops_that_are_not_known_are_not_compared(study: Study) -> None:
    plan = plan_of(10, flops_per_token=None)
    keep(study, plan)
    run_all(study, plan)

    assert execution_of(study).flops_planned is None
    assert execution_of(study).is_as_planned
