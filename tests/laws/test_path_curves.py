from pathlib import Path

import pytest

from lrpath.errors import LawError, PlanError, StateError
from lrpath.laws.law import AnnealingLaw
from lrpath.laws.path_curves import EvaluationSets, choose_paths, paths_of, plan_path, read_path, with_shift
from lrpath.planning.plan import Plan
from lrpath.records.study import Study
from tests.analysis.studies import CONTINUAL, LINEAR, SCRATCH, SWITCHING, evaluate, plan_of
from tests.laws.law_studies import TRUE, study_in, write_evaluations
from tests.planning.strategies import build_continual, build_switching
from tests.refusals import refused

LAW = (AnnealingLaw(), TRUE)


def evaluated(folder: Path, *, sets: dict[tuple[str, str], tuple[object, object]]) -> tuple[Study, Plan]:
    plan = plan_of(20, 20, paradigms={"path_switching": SWITCHING})
    study = study_in(folder, plan)
    write_evaluations(study, plan, ["path_switching.main"], sets=sets)
    return study, plan


def test_held_out_sets_are_chosen_by_version_domain_or_pattern(tmp_path: Path) -> None:
    study, _ = evaluated(tmp_path, sets={(version, domain): LAW for version in ("v1", "v2") for domain in ("a", "b")})

    def chosen(*patterns: str) -> set[str]:
        return {"/".join(key) for key in EvaluationSets.choose(study, patterns).keys}

    assert chosen("v1") == {"v1/a", "v1/b"}
    assert chosen("*/a") == {"v1/a", "v2/a"}
    assert chosen("v1/a", "v2/b") == {"v1/a", "v2/b"}
    assert len(chosen("*")) == 4
    with refused(LawError):
        chosen("v1", "v9")


def test_positions_at_which_one_of_the_sets_is_missing_are_no_part_of_a_curve(tmp_path: Path) -> None:
    study, plan = evaluated(tmp_path, sets={("v1", "a"): LAW})
    folder = study.open(plan.tree.paths[0])
    folder.evaluation.append([(8, "v2", "a", 250.0, 100)])

    curve = read_path(
        study, tree=plan.tree, path_id=plan.tree.paths[0].id, held_out=EvaluationSets.choose(study, ("v1", "v2"))
    )

    assert curve.positions_P.tolist() == [8]


def test_paths_of_one_name_in_two_plans_are_named_after_what_differs(tmp_path: Path) -> None:
    study = Study(tmp_path / "toy")
    for alpha in (0.2, 0.6):
        switching = build_switching(peak=1.0, warmup=2, decay=LINEAR, alpha=alpha)
        study.save_plan(plan_of(20, 20, paradigms={"path_switching": switching}).as_record())
    paths = paths_of(study)

    names = [path.name for path in choose_paths(paths, ["v2"], field="fit")]

    assert sorted(names) == ["path_switching (alpha=0.2).v2", "path_switching (alpha=0.6).v2"]
    assert [path.name for path in choose_paths(paths, ["main"], field="fit")] == ["path_switching.main"]
    assert [path.releases for path in choose_paths(paths, ["*0.6*.v2"], field="fit")] == [("v2",)]
    with refused(PlanError):
        choose_paths(paths, ["v7"], field="fit")


def test_a_shared_path_is_meant_by_the_name_of_each_paradigm(tmp_path: Path) -> None:
    study = Study(tmp_path / "toy")
    both = {"from_scratch": SCRATCH, "continual": CONTINUAL}
    study.save_plan(plan_of(20, 20, paradigms=both).as_record())
    paths = paths_of(study)

    assert [path.name for path in choose_paths(paths, ["continual.v1"], field="fit")] == ["from_scratch.v1"]
    assert [path.name for path in choose_paths(paths, ["continual.*"], field="fit")] == ["continual.v2"]


def test_a_study_without_a_plan_has_no_paths(tmp_path: Path) -> None:
    with refused(StateError):
        paths_of(Study(tmp_path / "empty"))


def test_a_path_knows_from_its_plan_where_the_data_change_and_how_much_is_replayed() -> None:
    replaying = build_continual(peak=1.0, warmup=2, decay=LINEAR, replay=0.25)
    tree = plan_of(10, 20, paradigms={"continual": replaying}).tree
    first, second = (
        with_shift(plan_path(tree=tree, path_id=path.id), tree=tree, path_id=path.id, old=["v1"]) for path in tree.paths
    )

    assert (first.boundary, first.replay) == (None, 0.0)
    assert (second.boundary, second.replay) == (10, 0.25)


def test_a_branch_takes_the_change_of_data_from_the_middle_of_its_main_path() -> None:
    tree = plan_of(10, 20, 10, paradigms={"path_switching": SWITCHING}).tree
    branch = tree.paths[-1]

    curve = with_shift(plan_path(tree=tree, path_id=branch.id), tree=tree, path_id=branch.id, old=["v1"])

    assert curve.boundary == 10


@pytest.mark.parametrize("old", [["v1"], ["v1", "v3"]])
def test_data_that_are_mixed_from_the_start_or_change_twice_are_refused(old: list[str]) -> None:
    paradigm = SCRATCH if old == ["v1"] else CONTINUAL
    tree = plan_of(10, 10, 10, paradigms={"it": paradigm}).tree
    path = tree.paths[-1]

    with refused(LawError):
        with_shift(plan_path(tree=tree, path_id=path.id), tree=tree, path_id=path.id, old=old)


def test_a_path_that_was_never_evaluated_on_a_set_is_refused_with_what_helps(tmp_path: Path) -> None:
    study, plan = evaluated(tmp_path, sets={("v1", "a"): LAW})
    release = plan.tree.releases[0]
    evaluate(study, plan, release, {("v2", "a"): (1.0, 1)})

    with refused(LawError):
        read_path(study, tree=plan.tree, path_id=plan.tree.paths[0].id, held_out=EvaluationSets.choose(study, ("v2",)))
