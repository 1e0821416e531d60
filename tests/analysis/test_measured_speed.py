from dataclasses import replace
from pathlib import Path

from lrpath.analysis.measured_speed import measured_speed
from lrpath.planning.plan import Plan
from lrpath.records.study import Study
from lrpath.reporting.plan_tables import planned_cost_table
from tests.analysis.studies import CONTINUAL, keep, plan_of, run_all
from tests.reporting.test_plan_text import Cluster

PLAN = plan_of(10, 10, paradigms={"continual": CONTINUAL})


def trained(folder: Path, plan: Plan = PLAN) -> Study:
    study = Study(folder)
    keep(study, plan)
    run_all(study, plan)  # every run takes a second
    return study


def test_the_plan_s_own_study_is_preferred(tmp_path: Path) -> None:
    trained(tmp_path / "mine")
    trained(tmp_path / "other", plan_of(30, paradigms={"continual": CONTINUAL}))

    found = measured_speed(PLAN, outputs=tmp_path, study="mine")

    assert found is not None
    assert (found.study, found.updates, found.tokens_per_second) == ("mine", 20, 80.0)


def test_a_new_study_is_timed_by_those_beside_it(tmp_path: Path) -> None:
    trained(tmp_path / "other")

    found = measured_speed(PLAN, outputs=tmp_path, study="mine")

    assert found is not None
    assert found.study == "other"


def test_runs_of_another_model_tell_nothing(tmp_path: Path) -> None:
    trained(tmp_path / "mine", replace(PLAN, flops_per_token=20))

    assert measured_speed(PLAN, outputs=tmp_path, study="mine") is None
    assert measured_speed(PLAN, outputs=tmp_path / "nowhere", study="mine") is None
    assert measured_speed(replace(PLAN, flops_per_token=None), outputs=tmp_path, study="mine") is None


def test_a_ledger_that_cannot_be_read_stops_no_plan(tmp_path: Path) -> None:
    trained(tmp_path / "mine").ledger.file.write_text("nonsense\n")

    assert measured_speed(PLAN, outputs=tmp_path, study="mine") is None


def test_the_time_on_this_machine_stands_in_the_plan(tmp_path: Path) -> None:
    trained(tmp_path / "mine")
    speed = measured_speed(PLAN, outputs=tmp_path, study="mine")

    (row,) = planned_cost_table(PLAN, cluster=Cluster(), speed=speed).records()

    assert row["measured_seconds"] == 160 / 80.0
    assert "measured_seconds" not in planned_cost_table(PLAN, cluster=Cluster()).records()[0]
