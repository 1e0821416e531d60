"""Promise 7: a state is whole or absent; an incomplete or altered one is named and never loaded."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lrpath.errors import StateError
from tests.integration.lab import Lab, states_of, tables_of
from tests.refusals import refused

pytestmark = pytest.mark.slow


def shard_of(state: Path) -> Path:
    (shard,) = state.glob("*.safetensors")
    return shard


def flip_a_byte(state: Path) -> None:
    with shard_of(state).open("r+b") as file:
        file.seek(-5, 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))


def cut_the_shard(state: Path) -> None:
    shard_of(state).write_bytes(shard_of(state).read_bytes()[:-1])


def remove_the_shard(state: Path) -> None:
    shard_of(state).unlink()


def link_the_shard(state: Path) -> None:
    shard = shard_of(state)
    elsewhere = state.parents[3] / "elsewhere"
    shard.rename(elsewhere)
    shard.symlink_to(elsewhere)


def add_a_file(state: Path) -> None:
    (state / "extra.safetensors").write_bytes(b"")


def change_manifest(state: Path, field: str, value: object) -> None:
    record = json.loads((state / "state.json").read_text())
    (state / "state.json").write_text(json.dumps(record | {field: value}))


def move_the_position(state: Path) -> None:
    change_manifest(state, "position", 5)


def claim_another_path(state: Path) -> None:
    change_manifest(state, "path_id", "0123456789ab")


def claim_another_format(state: Path) -> None:
    change_manifest(state, "format", 2)


def tear_the_manifest(state: Path) -> None:
    text = (state / "state.json").read_text()
    (state / "state.json").write_text(text[: len(text) // 2])


DAMAGES: dict[Callable[[Path], None], str] = {
    flip_a_byte: r"000000004/shard.*\.safetensors was altered: its SHA-256 is not the one in state\.json",
    cut_the_shard: r"000000004/shard.*\.safetensors has [\d,]+ bytes, state\.json says [\d,]+",
    remove_the_shard: r"000000004: shard.*\.safetensors missing or not listed",
    link_the_shard: r"000000004/shard.*\.safetensors is a link, folder or device, not a file",
    add_a_file: r"000000004: extra\.safetensors missing or not listed",
    move_the_position: r"000000004 says it is state \('[0-9a-f]{12}', 5\), not \([0-9a-f]{12}, 4\)",
    claim_another_path: r"000000004 says it is state \('0123456789ab', 4\), not",
    claim_another_format: r"000000004 has state format 2; this lrpath reads 1",
    tear_the_manifest: r"000000004/state\.json is not JSON",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_state_is_named_and_never_loaded(lab: Lab, damage: Callable[[Path], None]) -> None:
    lab.run()
    before, tables = states_of(lab.study()), tables_of(lab.study())
    (state,) = (lab.study().folder / "paths").glob("*main*/states/000000004")
    branch = next((lab.study().folder / "paths").glob("*.v1-*"))
    shutil.rmtree(branch)
    damage(state)

    with refused(StateError):
        lab.run()
    assert not list(branch.glob("states/*"))
    shutil.rmtree(state)  # which the message advises
    lab.run()

    assert states_of(lab.study()) == before
    assert tables_of(lab.study()) == tables


def test_the_remedy_of_a_message_is_to_remove_the_folder_and_run_again(lab: Lab) -> None:
    lab.run()
    (state,) = (lab.study().folder / "paths").glob("*main*/states/000000014")
    flip_a_byte(state)

    with refused(StateError):
        lab.run("versions=3")


@pytest.mark.parametrize("moment", ["shards:6", "rename:6"])
def test_a_half_written_state_is_not_loaded_and_is_removed_by_the_next_run(lab: Lab, moment: str) -> None:
    """The sixth save is the main path's at 6: before it is renamed, and after it but before its manifest."""
    killed = lab.train(moments=(moment,))
    main = lab.project().plan.tree.paths[0]
    folder = lab.study().find(main.id)
    assert folder is not None
    left = [state.name for state in (folder.folder / "states").iterdir() if state.name != "000000004"]
    positions = folder.positions()

    updates = lab.run()

    assert killed.codes == [-9]
    assert len(left) == 1
    assert left[0].startswith(".tmp-" if moment.startswith("shards") else "000000006")
    assert positions == [4]
    assert updates == 26 - 4 - 6
    assert sorted(state.name for state in (folder.folder / "states").iterdir()) == ["000000004", "000000014"]
