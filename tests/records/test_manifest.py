import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from lrpath.errors import StateError
from lrpath.planning.paths import StateKey
from lrpath.records import manifest as module
from lrpath.records.files import digest_file
from lrpath.records.manifest import MANIFEST, check_state, read_manifest
from lrpath.records.path_folder import PathFolder
from tests.records.lab import NO_JSON, save
from tests.refusals import refused

KEY = StateKey("p", 30)


@pytest.fixture
def state(tmp_path: pathlib.Path) -> pathlib.Path:
    """Return the folder of a whole state."""
    return save(PathFolder(tmp_path), KEY.position)


def rewrite(state: pathlib.Path, change: Callable[[Any], Any]) -> None:
    """Write the manifest anew after a change, in place or by the value returned."""
    record = json.loads((state / MANIFEST).read_text())
    changed = change(record)
    (state / MANIFEST).write_text(json.dumps(record if changed is None else changed))


def test_a_whole_state_passes(state: pathlib.Path) -> None:
    manifest = check_state(state, key=KEY)

    assert manifest == read_manifest(state)
    assert sorted(manifest["files"]) == ["model-1.safetensors", "model-2.safetensors"]


FILES = ("model-1.safetensors", "model-2.safetensors")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(state: pathlib.Path, name: str) -> None:
    (state / name).unlink()

    with refused(StateError):
        check_state(state, key=KEY)


@pytest.mark.parametrize("name", ["extra.safetensors", "model-3.safetensors", "config.pkl", ".hidden"])
def test_an_extra_file_is_named(state: pathlib.Path, name: str) -> None:
    (state / name).write_bytes(b"")

    with refused(StateError):
        check_state(state, key=KEY)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("length", [0, 6, 8])
def test_a_file_of_another_size_is_named(state: pathlib.Path, name: str, length: int) -> None:
    content = (state / name).read_bytes()
    (state / name).write_bytes((content * 2)[:length])

    with refused(StateError):
        check_state(state, key=KEY)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("at", range(7))
def test_an_altered_byte_is_found_in_each_file(state: pathlib.Path, name: str, at: int) -> None:
    content = bytearray((state / name).read_bytes())
    content[at] ^= 1
    (state / name).write_bytes(content)

    with refused(StateError):
        check_state(state, key=KEY)


@pytest.mark.parametrize("key", [StateKey("p", 31), StateKey("q", 30)])
def test_a_state_of_another_position_or_path_is_refused(state: pathlib.Path, key: StateKey) -> None:
    with refused(StateError):
        check_state(state, key=key)


def test_a_folder_without_manifest_holds_no_state(state: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (state / MANIFEST).unlink()

    for folder in (state, tmp_path / "nowhere"):
        with refused(StateError):
            check_state(folder, key=KEY)


@pytest.mark.parametrize("content", NO_JSON.values(), ids=NO_JSON)
def test_a_manifest_that_is_no_json_is_refused(state: pathlib.Path, content: bytes) -> None:
    (state / MANIFEST).write_bytes(content)

    with refused(StateError):
        check_state(state, key=KEY)


ENTRY = {"bytes": 7, "sha256": "0" * 64}


@pytest.mark.parametrize(
    "manifest",
    [
        [],
        "state",
        None,
        {},
        {"format": 1},
        {"files": {}},
        {"format": 1, "files": []},
        {"format": 1, "files": {"a": None}},
        {"format": 1, "files": {"a": []}},
        {"format": 1, "files": {"a": {}}},
        {"format": 1, "files": {"a": ENTRY | {"bytes": "7"}}},
        {"format": 1, "files": {"a": ENTRY | {"bytes": 7.0}}},
        {"format": 1, "files": {"a": ENTRY | {"bytes": True}}},
        {"format": 1, "files": {"a": ENTRY | {"bytes": float("inf")}}},
        {"format": 1, "files": {"a": {"bytes": 7}}},
        {"format": 1, "files": {"a": ENTRY | {"sha256": 7}}},
    ],
)
def test_what_is_no_manifest_is_refused(state: pathlib.Path, manifest: Any) -> None:
    rewrite(state, lambda _: manifest if manifest is not None else 0)

    with refused(StateError):
        check_state(state, key=KEY)


@pytest.mark.parametrize("manifest", [{"format": 2, "shards": []}, {"format": None, "files": {}}])
def test_another_format_is_refused_and_not_to_be_removed(state: pathlib.Path, manifest: Any) -> None:
    rewrite(state, lambda _: manifest)

    with refused(StateError):
        check_state(state, key=KEY)


@pytest.mark.parametrize("size", [-1, 0, 8, 10**30])
def test_an_absurd_size_is_refused(state: pathlib.Path, size: int) -> None:
    rewrite(state, lambda record: record["files"]["model-1.safetensors"].update(bytes=size))

    with refused(StateError):
        check_state(state, key=KEY)


@pytest.mark.parametrize(
    "form", ["../outside", "../../outside", "{root}/outside", "./model-3", "a/b", "..", ".", "", "~"]
)
def test_a_name_that_climbs_out_is_never_followed(
    state: pathlib.Path, tmp_path: pathlib.Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = form.format(root=tmp_path)
    for folder in (tmp_path, state.parent, state.parent.parent):
        (folder / "outside").write_bytes(b"weights")
    entry = {"bytes": 7, "sha256": digest_file(state / "model-1.safetensors")}
    rewrite(state, lambda record: record["files"].update({name: entry}))
    opened: list[pathlib.Path] = []
    monkeypatch.setattr(module, "digest_file", opened.append)

    with refused(StateError):
        check_state(state, key=KEY)
    assert opened == []


def test_the_manifest_cannot_list_itself(state: pathlib.Path) -> None:
    rewrite(state, lambda record: record["files"].update({MANIFEST: ENTRY}))

    with refused(StateError):
        check_state(state, key=KEY)


def test_a_link_folder_or_pipe_in_place_of_a_file_is_refused(state: pathlib.Path, tmp_path: pathlib.Path) -> None:
    name = state / "model-1.safetensors"
    name.rename(tmp_path / "outside")
    substitutes: list[Callable[[], None]] = [
        lambda: name.symlink_to(tmp_path / "outside"),
        lambda: name.symlink_to(tmp_path / "nowhere"),
        lambda: os.mkfifo(name),
        name.mkdir,
    ]

    for number, substitute in enumerate(substitutes):
        substitute()
        with refused(StateError):
            check_state(state, key=KEY)
        name.rename(tmp_path / f"used-{number}")


def test_contents_are_compared_by_the_digest_that_is_asked_for_or_by_none(tmp_path: pathlib.Path) -> None:
    place = save(PathFolder(tmp_path), 3)
    known = {"model-1.safetensors": digest_file(place / "model-1.safetensors")}
    (place / "model-1.safetensors").write_bytes(b"weightz")

    assert check_state(place, key=StateKey("p", 3), digest=None)["position"] == 3
    with refused(StateError):
        check_state(place, key=StateKey("p", 3), digest=lambda file: known.get(file.name, ""))


def test_a_manifest_that_is_absurdly_large_or_no_file_is_not_read(state: pathlib.Path) -> None:
    manifest = state / MANIFEST
    with manifest.open("r+b") as file:
        file.truncate(1 << 32)
    with refused(StateError):
        check_state(state, key=KEY)
    manifest.unlink()
    os.mkfifo(manifest)
    with refused(StateError):
        check_state(state, key=KEY)
    manifest.unlink()
    manifest.symlink_to("/dev/zero")
    with refused(StateError):
        check_state(state, key=KEY)


@pytest.mark.parametrize("name", ["optimizer.pt", ".metadata", "code.py", "model.safetensors.index.json"])
def test_a_listed_file_that_is_no_shard_is_refused(
    state: pathlib.Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (state / name).write_bytes(b"weights")
    entry = {"bytes": 7, "sha256": digest_file(state / "model-1.safetensors")}
    rewrite(state, lambda record: record.update(files={name: entry} | record["files"]))
    opened: list[pathlib.Path] = []
    monkeypatch.setattr(module, "digest_file", opened.append)

    with refused(StateError):
        check_state(state, key=KEY)
    assert opened == []


@pytest.mark.parametrize("name", ["a\0b", "a\nerror: all is well", "\x1b[2J", "/etc/passwd", "a/../../b"])
def test_a_strange_name_is_shown_on_one_line_and_never_followed(state: pathlib.Path, name: str) -> None:
    rewrite(state, lambda record: record["files"].update({name: ENTRY}))

    with refused(StateError) as caught:
        check_state(state, key=KEY)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("field", ["format", "path_id", "position"])
def test_a_field_of_many_lines_is_shown_on_one(state: pathlib.Path, field: str) -> None:
    rewrite(state, lambda record: record.update({field: "x\n" * 10_000}))

    with refused(StateError) as caught:
        check_state(state, key=KEY)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
