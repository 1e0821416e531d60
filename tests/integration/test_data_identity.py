"""A state counts as made only if it has read the data that the plan says: path ids hold the first segment alone."""

import json
from pathlib import Path

import pytest

from lrpath.errors import DataError, MismatchError
from lrpath.records.manifest import seal_manifest
from tests.integration.lab import Lab
from tests.refusals import refused

pytestmark = pytest.mark.slow


def test_another_size_of_a_later_increment_leaves_the_path_and_is_not_taken_for_made(lab: Lab) -> None:
    """Both plans have a branch from 14 to 20 and a main path whose first segment is the same."""
    lab.run("versions=3", "increment=[10,10,10]", "alpha=0.6")

    assert lab.run("versions=3", "increment=[10,12,8]", "alpha=[0.6,0.5,0.75]") == (24 - 10) + 6 + 6


def test_a_made_state_that_read_other_tokens_is_refused_by_name(lab: Lab) -> None:
    lab.trained()
    file = next((lab.folder / "study" / "paths").glob("*.v2-*/states/000000020/state.json"))
    manifest = json.loads(file.read_text())
    manifest["read"]["segments"][0]["increments"]["v2"]["digest"] = "0" * 64
    file.write_text(json.dumps(seal_manifest(manifest)))

    with refused(MismatchError):
        lab.run()


def test_tokens_that_were_altered_under_the_same_size_are_never_trained_on(lab: Lab, tmp_path: Path) -> None:
    stores = tmp_path / "stores"
    lab.runner(f"data.folder={stores}")
    file = lab.project(f"data.folder={stores}").prepare().place("v2") / "train.bin"
    data = bytearray(file.read_bytes())
    data[100] ^= 1
    file.write_bytes(data)

    with refused(DataError):
        lab.run(f"data.folder={stores}")

    assert lab.study().ledger.runs() == []


def test_two_files_of_equal_name_and_size_are_two_texts(lab: Lab, tmp_path: Path) -> None:
    for number, words in enumerate((b"12345678", b"87654321")):
        (tmp_path / str(number)).mkdir()
        for name in ("v1.bin", "v2.bin"):
            (tmp_path / str(number) / name).write_bytes(words * 200)
    projects = [
        lab.project(
            "data=tokens",
            f"data.source.files=[{tmp_path}/{number}/v1.bin,{tmp_path}/{number}/v2.bin]",
            "data.source.vocab_size=65536",
            "data.tokenizer=null",
            "model.vocab_size=65536",
        )
        for number in (0, 1)
    ]

    assert projects[0].increments[0].content != projects[1].increments[0].content
    assert projects[0].plan.tree.paths[0].id != projects[1].plan.tree.paths[0].id


def test_a_study_is_evaluated_on_one_size_of_held_out_sets(lab: Lab) -> None:
    lab.trained()

    with refused(MismatchError):
        lab.run("paradigm=[path_switching,continual]", "cadence.held_out_windows=4")
    lab.run("paradigm=[path_switching,continual]")
