import os
import pathlib
import shutil
from dataclasses import replace
from typing import Any

import pytest

from lrpath.errors import MismatchError, StateError
from lrpath.planning.lineage import content_id
from lrpath.planning.paths import StateKey
from lrpath.planning.streams import sequential
from lrpath.records import files
from lrpath.records.files import read_json, write_json
from lrpath.records.manifest import MANIFEST
from lrpath.records.path_folder import PathFolder
from lrpath.records.study import Study
from tests.planning.strategies import increments_of, recipe_with
from tests.records.lab import PATH, save
from tests.refusals import refused


def test_a_study_keeps_plans_in_the_order_in_which_they_came(tmp_path: pathlib.Path) -> None:
    study = Study(tmp_path / "july")
    assert study.plans() == {}

    first, second = ({"number": 1}, {"number": 2})
    for age, record in enumerate((first, second)):
        study.save_plan(record)
        os.utime(study.folder / "plans" / f"{content_id(record)}.json", ns=(age, age))
    study.save_plan(first)  # is there already, and keeps its age
    (study.folder / "plans" / ".c.json.12").write_text("{")  # left by a kill

    assert list(study.plans().items()) == [(content_id(first), first), (content_id(second), second)]
    assert study.name == "july"
    assert study.report == study.folder / "report"


def test_a_torn_plan_is_refused(tmp_path: pathlib.Path) -> None:
    study = Study(tmp_path)
    study.save_plan({"number": 1})
    file = next((tmp_path / "plans").iterdir())
    file.write_text('{"num')

    with refused(StateError):
        study.plans()


def test_a_plan_whose_needs_were_altered_is_refused(tmp_path: pathlib.Path) -> None:
    study = Study(tmp_path)
    study.save_plan({"states": [["abc", 1]]})
    file = next((tmp_path / "plans").iterdir())
    file.write_text('{"states": []}')

    with refused(StateError):
        study.plans()


def test_a_path_s_folder_has_a_plain_name_and_is_found_by_id(tmp_path: pathlib.Path) -> None:
    study = Study(tmp_path)
    assert study.find(PATH.id) is None

    folder = study.open(PATH)

    assert folder.folder == tmp_path / "paths" / f"switching.v1_-{PATH.id}"
    assert read_json(folder.folder / "path.json") == {"id": PATH.id, "name": PATH.name, "identity": PATH.identity()}
    for again in (study.open(PATH), study.open(replace(PATH, name="another label")), study.find(PATH.id)):
        assert again is not None
        assert again.folder == folder.folder


def test_a_path_that_is_extended_opens_its_own_folder(tmp_path: pathlib.Path) -> None:
    study = Study(tmp_path)
    longer = replace(PATH, stream=sequential(increments_of(100, 100)))

    assert study.open(PATH).folder == study.open(longer).folder


def test_a_recipe_with_tuples_opens_its_own_folder(tmp_path: pathlib.Path) -> None:
    path = replace(PATH, recipe=recipe_with(model={"sizes": (1, 2)}))
    study = Study(tmp_path)

    assert study.open(path).folder == study.open(path).folder


def test_a_folder_made_for_another_path_is_refused_field_by_field(tmp_path: pathlib.Path) -> None:
    study = Study(tmp_path)
    file = study.open(PATH).folder / "path.json"
    other = replace(PATH, recipe=recipe_with(seed=7, weight_decay=0.0))
    write_json(file, read_json(file) | {"identity": other.identity()})

    with refused(MismatchError):
        study.open(PATH)


@pytest.mark.parametrize("record", [[], None, {}, {"identity": None}, "x"])
def test_a_folder_whose_identity_was_lost_is_refused(tmp_path: pathlib.Path, record: Any) -> None:
    study = Study(tmp_path)
    write_json(study.open(PATH).folder / "path.json", record)

    with refused(MismatchError):
        study.open(PATH)


def test_a_study_has_a_state_when_it_is_whole(tmp_path: pathlib.Path) -> None:
    study = Study(tmp_path)
    key = StateKey(PATH.id, 30)
    assert not study.has_state(key)

    place = save(study.open(PATH), 30)
    assert study.has_state(key)
    assert not study.has_state(StateKey(PATH.id, 31))

    (place / MANIFEST).unlink()
    assert not study.has_state(key)


def test_a_copy_of_a_path_s_folder_is_refused_and_never_taken_for_the_path(tmp_path: pathlib.Path) -> None:
    study = Study(tmp_path)
    folder = study.open(PATH).folder
    copy = folder.with_name(f"a_backup-{PATH.id}")
    shutil.copytree(folder, copy)

    with refused(StateError):
        study.open(PATH)

    found = study.find(PATH.id)
    assert found is not None
    assert found.folder == folder
    copy.rename(tmp_path / "elsewhere")
    assert study.open(PATH).folder == folder


def test_a_path_s_owner_who_clears_leftovers_disturbs_nobody_who_opens_the_path(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two processes begin a plan at once: one owns the path and clears its folder while the other writes path.json.
    study, flush = Study(tmp_path), files.flush_file

    def clear_meanwhile(file: pathlib.Path) -> None:
        for folder in (tmp_path / "paths").glob("[!.]*-*"):
            PathFolder(folder).clear_incomplete()
        flush(file)

    monkeypatch.setattr(files, "flush_file", clear_meanwhile)

    folder = study.open(PATH).folder

    assert [file.name for file in folder.iterdir()] == ["path.json"]
    assert {file.name for file in folder.parent.iterdir()} == {".lock", folder.name}


def test_a_path_s_folder_and_those_above_it_are_flushed(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[pathlib.Path] = []
    fsync = os.fsync

    def note(handle: int) -> None:
        flushed.append(pathlib.Path(f"/proc/self/fd/{handle}").readlink())
        fsync(handle)

    monkeypatch.setattr(os, "fsync", note)

    Study(tmp_path / "outputs" / "july").open(PATH)

    assert {tmp_path, tmp_path / "outputs", tmp_path / "outputs/july", tmp_path / "outputs/july/paths"} <= {*flushed}


def test_old_leftovers_of_kills_are_cleared_from_a_study(tmp_path: pathlib.Path) -> None:
    study = Study(tmp_path)
    study.save_plan({"number": 1})
    left = [tmp_path / ".ledger.jsonl.12", tmp_path / "plans" / ".x.json.4711", study.report / ".cost.md.9b261234"]
    study.report.mkdir()
    for file in left:
        file.touch()
        os.utime(file, (1, 1))
    fresh = study.report / ".tmp-0123456789ab.md"
    fresh.touch()

    study.clear_leftovers()

    assert not any(file.exists() for file in left)
    assert fresh.exists()
    assert len(study.plans()) == 1
