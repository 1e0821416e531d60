from dataclasses import replace
from pathlib import Path

import pytest

from lrpath.errors import MismatchError, StateError
from lrpath.records.held_out import HeldOutFile, HeldOutSet
from tests.refusals import refused

ONE = HeldOutSet(sha256="1" * 64, tokens=100, text_bytes=400, documents=3)
TWO = HeldOutSet(sha256="2" * 64, tokens=50, text_bytes=None, documents=None)


def test_sets_are_read_back_by_path_and_a_later_version_is_added(tmp_path: Path) -> None:
    file = HeldOutFile(tmp_path)

    file.add(["a", "b"], {("v1", "web"): ONE})
    file.add(["a"], {("v1", "web"): ONE, ("v2", "web"): TWO})

    assert HeldOutFile(tmp_path).read() == {
        "a": {("v1", "web"): ONE, ("v2", "web"): TWO},
        "b": {("v1", "web"): ONE},
    }


def test_a_study_of_an_older_lrpath_has_none(tmp_path: Path) -> None:
    assert HeldOutFile(tmp_path).read() == {}


def test_what_is_known_is_not_written_again(tmp_path: Path) -> None:
    file = HeldOutFile(tmp_path)
    file.add(["a"], {("v1", "web"): ONE})
    before = (tmp_path / "held_out.json").stat().st_mtime_ns

    file.add(["a"], {("v1", "web"): ONE})

    assert (tmp_path / "held_out.json").stat().st_mtime_ns == before


def test_other_tokens_under_the_same_name_are_refused(tmp_path: Path) -> None:
    file = HeldOutFile(tmp_path)
    file.add(["a"], {("v1", "web"): ONE})

    with refused(MismatchError):
        file.add(["a"], {("v1", "web"): replace(ONE, sha256="3" * 64)})


@pytest.mark.parametrize("text", ["[]", '{"collections": {}, "paths": {"a": "b"}}', '{"collections": 1, "paths": 2}'])
def test_an_altered_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "held_out.json").write_text(text)

    with refused(StateError):
        HeldOutFile(tmp_path).read()


@pytest.mark.parametrize(
    ("old", "new"), [('"tokens": 100', '"tokens": 101'), ('"a": ', '"c": '), ('"sha256": "', '"sha257": "')]
)
def test_a_changed_character_is_found(tmp_path: Path, old: str, new: str) -> None:
    file = HeldOutFile(tmp_path)
    file.add(["a"], {("v1", "web"): ONE})
    before, found, after = (tmp_path / "held_out.json").read_text().rpartition(old)
    assert found
    (tmp_path / "held_out.json").write_text(before + new + after)

    with refused(StateError):
        file.read()
