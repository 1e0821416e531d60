import pathlib

import pytest

from lrpath.records.path_folder import PathFolder
from tests.records.lab import save


def test_positions_are_those_of_whole_states(tmp_path: pathlib.Path) -> None:
    folder = PathFolder(tmp_path)
    assert folder.positions() == []

    for position in (20, 3, 1_000_000_000):
        save(folder, position)
    folder.state(7).mkdir()  # killed before its manifest was written
    save(folder, 9).rename(folder.folder / "states" / ".000000009.123")  # killed before its rename
    save(folder, 8).rename(folder.folder / "states" / "000000008 (copy)")
    save(folder, 6).rename(folder.folder / "states" / "6")

    assert folder.positions() == [3, 20, 1_000_000_000]


def test_clearing_removes_what_a_killed_save_left_and_nothing_else(tmp_path: pathlib.Path) -> None:
    folder = PathFolder(tmp_path)
    folder.clear_incomplete()
    save(folder, 3)
    (folder.state(7)).mkdir()
    (folder.state(7) / "model-1.safetensors").write_bytes(b"half")
    temporary = folder.folder / "states" / ".000000009.123"
    temporary.mkdir()
    (temporary / "model-1.safetensors").write_bytes(b"half")
    (folder.folder / "states" / "notes.txt").write_text("by hand")
    save(folder, 8).rename(folder.folder / "states" / "000000008 (copy)")
    losses = folder.document_losses(7).with_name(".tmp-0123456789ab.csv")  # of a killed write
    losses.parent.mkdir()
    losses.touch()

    folder.clear_incomplete()

    assert not losses.exists()
    left = sorted(file.name for file in (folder.folder / "states").iterdir())
    assert left == ["000000003", "000000008 (copy)", "notes.txt"]


def test_a_removed_state_is_gone(tmp_path: pathlib.Path) -> None:
    folder = PathFolder(tmp_path)
    save(folder, 3)
    save(folder, 5)

    folder.remove_state(3)
    folder.remove_state(4)  # not there

    assert folder.positions() == [5]
    assert not folder.state(3).exists()


def test_a_state_loses_its_manifest_before_its_files(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = PathFolder(tmp_path)
    place = save(folder, 3)
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)  # killed here

    folder.remove_state(3)

    assert sorted(file.name for file in place.iterdir()) == ["model-1.safetensors", "model-2.safetensors"]
    assert folder.positions() == []


def test_a_path_s_events_lie_in_its_folder(tmp_path: pathlib.Path) -> None:
    assert PathFolder(tmp_path).tensorboard == tmp_path / "tb"


def test_incomplete_states_are_named_and_whole_ones_are_not(tmp_path: pathlib.Path) -> None:
    folder = PathFolder(tmp_path)
    save(folder, 3)
    folder.state(6).mkdir()
    (folder.folder / "states" / ".000000009.77").mkdir()

    assert [place.name for place in folder.incomplete()] == [".000000009.77", "000000006"]
    folder.clear_incomplete()
    assert (folder.incomplete(), folder.positions()) == ([], [3])
