import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrpath.data.manifest import token_dtype
from lrpath.data.store import TokenStore
from lrpath.errors import DataError
from lrpath.records.manifest import seal_manifest
from tests.refusals import refused

MakeStore = Callable[..., TokenStore]


def reopened(store: TokenStore) -> TokenStore:
    return TokenStore.open(store.folder, increments=store.increments)


def change_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a manifest as somebody would who means it: with its digest."""
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(seal_manifest(record)))


def test_windows_overlap_by_one_token_and_predict_every_other_token_once(make_store: MakeStore) -> None:
    store = make_store(33)
    tokens = store.tokens("v1")

    assert store.windows("v1", 8) == 4
    targets = np.concatenate([store.window("v1", n, 8)[1:] for n in range(4)])
    assert targets.tolist() == tokens[1:].tolist()
    assert store.window("v1", 3, 8).tolist() == tokens[24:33].tolist()


@pytest.mark.parametrize(("tokens", "windows"), [(8, 0), (9, 1), (16, 1), (17, 2)])
def test_a_window_needs_one_token_more_than_its_length(make_store: MakeStore, tokens: int, windows: int) -> None:
    assert make_store(tokens).windows("v1", 8) == windows


def test_gathering_equals_reading_one_by_one(make_store: MakeStore) -> None:
    store = make_store(100)
    wanted = [5, 0, 11, 5]

    gathered = store.gather("v1", wanted, 8)

    assert gathered.tolist() == [store.window("v1", n, 8).tolist() for n in wanted]
    assert store.gather("v1", [], 8).shape == (0, 9)


@pytest.mark.parametrize("index", [-1, 4])
def test_a_window_that_is_not_there_is_refused(make_store: MakeStore, index: int) -> None:
    with refused(DataError):
        make_store(33).window("v1", index, 8)


@pytest.mark.parametrize(("vocab_size", "dtype"), [(65_535, "<u2"), (65_536, "<u4")])
def test_ids_are_as_narrow_as_the_vocabulary_allows(vocab_size: int, dtype: str) -> None:
    assert token_dtype(vocab_size) == dtype


def test_a_store_that_was_sent_to_another_process_reads_the_same(make_store: MakeStore) -> None:
    store = make_store(100)
    data = pickle.dumps(store)

    assert len(data) < 3000
    assert pickle.loads(data).window("v1", 3, 8).tolist() == store.window("v1", 3, 8).tolist()


def test_versions_stand_in_the_order_of_arrival(make_store: MakeStore) -> None:
    assert make_store(*[10] * 11).versions == tuple(f"v{n}" for n in range(1, 12))


def test_the_digest_is_that_of_the_tokens(make_store: MakeStore) -> None:
    store = make_store(50, 50)

    assert store.digest("v1") != store.digest("v2")
    assert store.digest("v1") == reopened(store).digest("v1")


def test_reading_cannot_change_the_store(make_store: MakeStore) -> None:
    with pytest.raises(ValueError, match="read-only"):
        make_store(50).tokens("v1")[0] = 1


@pytest.mark.parametrize("name", ["../store.json", "increment.json", "train.bin", "heldout/web.bin"])
def test_a_missing_file_is_named(make_store: MakeStore, name: str) -> None:
    store = make_store(50, heldout=20)
    (store.place("v1") / name).unlink()

    with refused(DataError):
        reopened(store)


def test_a_missing_store_is_named(tmp_path: Path) -> None:
    with refused(DataError):
        TokenStore.open(tmp_path / "nothing", increments={})


@pytest.mark.parametrize("name", ["train.bin", "heldout/web.bin"])
@pytest.mark.parametrize("cut", [-2, 2])
def test_a_file_of_another_size_is_refused_when_the_store_is_opened(make_store: MakeStore, name: str, cut: int) -> None:
    store = make_store(50, heldout=20)
    path = store.place("v1") / name
    data = path.read_bytes()
    path.write_bytes(data[:cut] if cut < 0 else data + b"\0" * cut)

    with refused(DataError):
        reopened(store)


@pytest.mark.parametrize("size", [0, 3])
def test_a_file_that_is_no_whole_number_of_ids_is_refused(make_store: MakeStore, size: int) -> None:
    store = make_store(50, heldout=20)
    (store.place("v1") / "heldout/web.bin").write_bytes(b"\0" * size)
    change_json(store.place("v1") / "increment.json", lambda r: r["files"]["heldout/web.bin"].update(bytes=size))

    with refused(DataError):
        reopened(store)


def test_an_altered_file_is_found_when_contents_are_checked(make_store: MakeStore) -> None:
    store = make_store(50)
    path = store.place("v1") / "train.bin"
    path.write_bytes(b"\1" + path.read_bytes()[1:] if path.read_bytes()[:1] != b"\1" else b"\2" + path.read_bytes()[1:])

    store.check("v1")
    with refused(DataError):
        store.check("v1", contents=True)


HOSTILE_NAMES = ["../secret.bin", "/etc/passwd", "heldout/../../x.bin", "heldout/a/b.bin", "heldout/.bin", "x.pkl", ""]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_file_name_that_climbs_out_is_refused(make_store: MakeStore, name: str) -> None:
    store = make_store(50)
    change_json(
        store.place("v1") / "increment.json", lambda r: r["files"].update({name: {"bytes": 1, "sha256": "0" * 64}})
    )

    with refused(DataError):
        reopened(store)


def test_a_link_that_leaves_the_store_is_refused(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store(50)
    (store.place("v1") / "train.bin").rename(tmp_path / "elsewhere.bin")
    (store.place("v1") / "train.bin").symlink_to(tmp_path / "elsewhere.bin")

    with refused(DataError):
        reopened(store)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tokens", "50"),
        ("tokens", None),
        ("dtype", "object"),
        ("dtype", ["<u2"]),
        ("documents", 1.5),
        ("source", []),
        ("files", []),
        ("files", {"train.bin": 3}),
        ("files", {"train.bin": {"bytes": 100, "sha256": "zz"}}),
        ("files", {"train.bin": {"bytes": -1, "sha256": "0" * 64}}),
    ],
)
def test_a_field_of_the_wrong_kind_is_refused(make_store: MakeStore, field: str, value: object) -> None:
    store = make_store(50)
    change_json(store.place("v1") / "increment.json", lambda record: record.update({field: value}))

    with refused(DataError):
        reopened(store)


def test_an_absurd_size_is_refused_before_anything_is_mapped(make_store: MakeStore) -> None:
    store = make_store(50)
    change_json(store.place("v1") / "increment.json", lambda record: record.update(tokens=10**15))

    with refused(DataError):
        reopened(store)


def test_a_manifest_without_training_tokens_is_refused(make_store: MakeStore) -> None:
    store = make_store(50)
    change_json(store.place("v1") / "increment.json", lambda record: record["files"].pop("train.bin"))

    with refused(DataError):
        reopened(store)


def test_ids_that_are_wider_than_the_vocabulary_needs_are_refused(make_store: MakeStore) -> None:
    store = make_store(50)
    change_json(store.place("v1") / "increment.json", lambda record: record.update(dtype="<u4", tokens=25))

    with refused(DataError):
        reopened(store)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "[]", "3", '{"format": 99}', "\xff"])
def test_json_that_is_torn_or_strange_is_refused(make_store: MakeStore, text: str) -> None:
    store = make_store(50)
    (store.folder / "store.json").write_bytes(text.encode("latin-1"))

    with refused(DataError):
        reopened(store)


def test_json_that_is_absurdly_large_is_not_read(make_store: MakeStore) -> None:
    store = make_store(50)
    with (store.folder / "store.json").open("r+b") as file:
        file.truncate(1 << 32)

    with refused(DataError):
        reopened(store)


@pytest.mark.parametrize(("field", "value"), [("vocab_size", 0), ("vocab_size", 2**40), ("end_id", 1000)])
def test_a_strange_store_record_is_refused(make_store: MakeStore, field: str, value: object) -> None:
    store = make_store(50)
    change_json(store.folder / "store.json", lambda record: record.update({field: value}))

    with refused(DataError):
        reopened(store)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("increment.json", '"documents": ', '"documents": 1'),  # a count that nothing is computed from
        ("increment.json", '"sha256": "', '"sha257": "'),  # the name of the digest itself
        ("../store.json", '"vocab_size": ', '"vocab_size": 1'),
    ],
)
def test_a_changed_character_of_a_manifest_is_found(make_store: MakeStore, name: str, old: str, new: str) -> None:
    store = make_store(50)
    file = store.place("v1") / name
    before, found, after = file.read_text().rpartition(old)
    assert found
    file.write_text(before + new + after)

    with refused(DataError):
        reopened(store)


def test_manifests_of_earlier_versions_have_no_digest_of_their_own(make_store: MakeStore) -> None:
    store = make_store(50)
    for file in (store.place("v1") / "increment.json", store.folder / "store.json"):
        record = json.loads(file.read_text())
        del record["sha256"]
        file.write_text(json.dumps(record))

    assert reopened(store).digest("v1") == store.digest("v1")


def test_a_version_that_is_not_there_is_refused(make_store: MakeStore) -> None:
    with refused(DataError):
        make_store(50).tokens("v7")
