"""Releases, and kept states of paths, are found by the names that people give them."""

from pathlib import Path

import pytest

from lrpath.analysis.release_choice import choose_path, choose_release
from lrpath.errors import PlanError, StateError
from lrpath.records.released import ExportedRelease
from lrpath.records.study import Study
from lrpath.reporting.model_card import card_text
from tests.analysis.studies import LINEAR, MERGED, SWITCHING, THREE, finish, plan_of
from tests.planning.strategies import build_switching
from tests.refusals import refused


@pytest.fixture
def study(tmp_path: Path) -> Study:
    study = Study(tmp_path / "toy")
    finish(study, plan_of(10, 10, paradigms={"path_switching": SWITCHING}))
    return study


def test_a_state_of_a_path_is_found_by_its_position_and_the_newest_without_one(study: Study) -> None:
    (main,) = [folder for folder in study.folders() if ".main-" in folder.folder.name]

    series, earlier = choose_release(study, name="path_switching.main/4")
    _, newest = choose_release(study, name="path_switching.main")
    _, by_folder = choose_release(study, name=f"{main.path_id}/4")

    assert (series.paradigm, earlier.paradigm, earlier.version) == ("path_switching", "path_switching.main", "4")
    assert newest.last.position == max(main.positions())
    assert by_folder == earlier
    assert choose_release(study, name="path_switching/v2")[1].version == "v2"


def test_a_state_that_is_not_kept_is_refused_with_those_that_are(study: Study) -> None:
    with refused(StateError, value=5):
        choose_release(study, name="path_switching.main/5")


def test_a_path_whose_name_several_have_is_asked_for_by_what_differs(study: Study) -> None:
    other = build_switching(peak=1.0, warmup=2, decay=LINEAR, alpha=0.4)
    finish(study, plan_of(10, 10, paradigms={"path_switching": other}))

    with refused(PlanError):
        choose_release(study, name="path_switching.v2/20")
    _, found = choose_release(study, name="path_switching (alpha=0.4).v2/20")

    assert found.last.position == 20


def test_a_shared_path_is_found_by_the_name_of_each_paradigm_that_has_it(tmp_path: Path) -> None:
    # Training from scratch begins as continual training does, and a mean of states has the main path of path switching.
    study = Study(tmp_path / "shared")
    finish(study, plan_of(10, 10, paradigms=THREE | {"merged": MERGED}))

    assert choose_path(study, name="continual.v1")[1] == choose_path(study, name="from_scratch.v1")[1]
    assert choose_path(study, name="merged.main")[1].name == "path_switching.main"
    assert choose_release(study, name="from_scratch.v1/10")[1] == choose_release(study, name="continual.v1/10")[1]
    with refused(PlanError, value="continual.main"):
        choose_path(study, name="continual.main")


def test_a_path_and_its_rest_are_one_by_the_name_of_their_paradigm(tmp_path: Path) -> None:
    # With replay, the path leaves the one of path switching where v2 begins.
    replaying = build_switching(peak=1.0, warmup=2, decay=LINEAR, alpha=0.6, replay=0.5)
    study = Study(tmp_path / "rests")
    finish(study, plan_of(10, 10, paradigms={"path_switching": SWITCHING, "replaying": replaying}))

    assert choose_path(study, name="replaying.main")[1].name == "replaying.main_from_10"
    assert choose_release(study, name="replaying.main/4")[1].paradigm == "path_switching.main"
    assert choose_release(study, name="replaying.main/14")[1].paradigm == "replaying.main_from_10"


def test_the_card_of_a_state_says_that_it_is_no_release(study: Study) -> None:
    made = ExportedRelease(
        dtype="fp32", files=1, bytes=1, architecture="Toy", transformers="5", end_mark=None, end_id=None, window=4,
        compared=(), notes=(),
    )  # fmt: skip
    series, state = choose_release(study, name="path_switching.main/4")

    text = card_text(study, made, series=series, release=state, command="python -m lrpath.export")

    assert "taken from path path_switching.main of a path switching study at 4; it is no release" in text
    assert "| v2 | all | 2.5000 | 100 |" in text
