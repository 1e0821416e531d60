from dataclasses import replace
from pathlib import Path

import pytest

from lrpath.analysis.compare import plans_by_id
from lrpath.analysis.inventory import read_inventory
from lrpath.analysis.path_names import path_names, plan_labels
from lrpath.analysis.verify.study_index import StudyIndex
from lrpath.records.study import Study
from lrpath.reporting.inventory_text import inventory_text
from tests.analysis.studies import SWITCHING, finish, keep, plan_of


@pytest.fixture
def sweep(tmp_path: Path) -> Study:
    study = Study(tmp_path / "toy")
    for alpha in (0.2, 0.6):
        finish(study, plan_of(10, 10, paradigms={"path_switching": replace(SWITCHING, alpha=alpha)}))
    return study


def test_branches_of_several_alphas_are_named_with_alpha_and_the_shared_path_is_not(sweep: Study) -> None:
    names = path_names(sweep, plans_by_id(sweep).values())

    assert sorted(names.values()) == [
        "path_switching (alpha=0.2).v1",
        "path_switching (alpha=0.2).v2",
        "path_switching (alpha=0.6).v1",
        "path_switching (alpha=0.6).v2",
        "path_switching.main",
    ]


def test_paths_of_one_plan_keep_their_names(tmp_path: Path) -> None:
    study, plan = Study(tmp_path / "toy"), plan_of(10, 10)
    keep(study, plan)

    assert set(path_names(study, [plan]).values()) == {path.name for path in plan.tree.paths}


def test_plans_are_told_apart_by_what_differs(sweep: Study) -> None:
    labels = plan_labels(plans_by_id(sweep))

    assert list(labels.values()) == [("path_switching (alpha=0.2)",), ("path_switching (alpha=0.6)",)]


def test_show_and_verify_say_which_alpha(sweep: Study) -> None:
    text, index = inventory_text(read_inventory(sweep)), StudyIndex.of(sweep)

    assert "release path_switching (alpha=0.6)/v2" in text
    assert "fork of path_switching (alpha=0.2).v1" in text
    assert {index.label(path) for path in index.tree.paths} == set(path_names(sweep, index.plans).values())
