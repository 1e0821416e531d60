"""The memory of what text has become: what is known without reading text, and what is not."""

import pathlib
import shutil
from collections.abc import Callable

import pytest

from lrpath.data.catalog import CATALOG_FILE, Catalog, StoredData
from lrpath.data.prepare import prepare
from lrpath.data.sources import Source, TokensSource
from lrpath.data.sources.division import Division
from lrpath.data.store import TokenStore
from lrpath.data.tokenizer import TokenizerSettings
from tests.data.making import python_source, text_source, tokenizer_of
from tests.data.test_prepare import SMALL, source_of

FOUR = ["v1", "v2", "v3", "v4"]


def found(source: Source, folder: pathlib.Path, *, tokenizer: TokenizerSettings | None = SMALL) -> list[str]:
    stored = Catalog(folder).find(source, tokenizer=tokenizer, count=4)
    return [increment.manifest.content for increment in stored.increments]


def contents(store: TokenStore) -> list[str]:
    return [store.digest(version) for version in store.versions]


def test_what_was_prepared_is_known_by_its_content(texts: pathlib.Path, tmp_path: pathlib.Path) -> None:
    store = prepare(source_of(texts), tokenizer=SMALL, versions=FOUR[:3], folder=tmp_path / "data")

    stored = Catalog(tmp_path / "data").find(source_of(texts), tokenizer=SMALL, count=4)

    assert [increment.manifest.content for increment in stored.increments] == contents(store)
    assert [increment.manifest.held_out for increment in stored.increments] == [
        store.manifest(version).held_out for version in store.versions
    ]
    assert (stored.store, stored.tokenizer) == (store.folder, store.tokenizer)


def test_nothing_is_known_of_what_was_never_prepared(texts: pathlib.Path, tmp_path: pathlib.Path) -> None:
    assert Catalog(tmp_path / "data").find(source_of(texts), tokenizer=SMALL, count=4) == StoredData()
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": 99}', '{"format": 1, "stores": {"x": 3}}'])
def test_a_damaged_catalog_costs_a_preparation_and_nothing_else(
    texts: pathlib.Path, tmp_path: pathlib.Path, text: str
) -> None:
    before = contents(prepare(source_of(texts), tokenizer=SMALL, versions=FOUR, folder=tmp_path / "data"))
    (tmp_path / "data" / CATALOG_FILE).write_text(text)

    assert found(source_of(texts), tmp_path / "data") == []
    assert contents(prepare(source_of(texts), tokenizer=SMALL, versions=FOUR, folder=tmp_path / "data")) == before
    assert found(source_of(texts), tmp_path / "data") == before
    assert len(list((tmp_path / "data").glob("store-*/*/train.bin"))) == 4


def test_an_increment_that_was_removed_and_those_after_it_are_not_known(
    texts: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    store = prepare(source_of(texts), tokenizer=SMALL, versions=FOUR, folder=tmp_path / "data")
    shutil.rmtree(store.place("v2"))

    assert found(source_of(texts), tmp_path / "data") == [store.digest("v1")]


@pytest.mark.parametrize("change", ["swap", "rename", "move"])
def test_names_and_places_do_not_count_and_the_order_does(
    texts: pathlib.Path, tmp_path: pathlib.Path, change: str
) -> None:
    before = contents(prepare(source_of(texts), tokenizer=SMALL, versions=FOUR, folder=tmp_path / "data"))
    files = [texts / f"V{number}.jsonl" for number in (1, 2, 3, 4)]
    if change == "swap":
        files[2].rename(texts / "x")
        files[3].rename(files[2])
        (texts / "x").rename(files[3])
    elif change == "rename":
        for number, file in enumerate(files):
            file.rename(texts / f"month-{number:02d}.jsonl")
    else:
        texts = pathlib.Path(shutil.move(texts, tmp_path / "elsewhere"))

    assert found(source_of(texts), tmp_path / "data") == before[: 2 if change == "swap" else 4]


def test_files_that_are_gone_keep_their_places_before_those_that_came(
    texts: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    last = (texts / "V4.jsonl").read_bytes()
    (texts / "V4.jsonl").unlink()
    before = contents(prepare(source_of(texts), tokenizer=SMALL, versions=FOUR[:3], folder=tmp_path / "data"))
    for number in (1, 2, 3):
        (texts / f"V{number}.jsonl").unlink()
    assert found(source_of(texts), tmp_path / "data") == before
    (texts / "V4.jsonl").write_bytes(last)

    assert found(source_of(texts), tmp_path / "data") == before
    after = contents(prepare(source_of(texts), tokenizer=SMALL, versions=FOUR, folder=tmp_path / "data"))
    assert after[:3] == before


def test_text_in_place_of_a_file_that_is_remembered_is_another_text(
    texts: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    before = contents(prepare(source_of(texts), tokenizer=SMALL, versions=FOUR, folder=tmp_path / "data"))
    (texts / "V3.jsonl").write_bytes((texts / "V1.jsonl").read_bytes())

    assert found(source_of(texts), tmp_path / "data") == before[:2]


def test_every_record_of_a_divided_text_counts(
    write_jsonl: Callable[..., pathlib.Path], tmp_path: pathlib.Path
) -> None:
    records = [{"text": f"text of {year}, " * 30, "date": str(year)} for year in range(2000, 2030)]
    file = write_jsonl("all.jsonl", records)
    source = text_source(paths=(str(file),), versions=Division(by="date", boundaries=("2010", "2020")))
    small = tokenizer_of(vocab_size=260)
    before = contents(prepare(source, tokenizer=small, versions=FOUR[:2], folder=tmp_path / "data"))
    assert found(source, tmp_path / "data", tokenizer=small) == before
    write_jsonl("all.jsonl", [*records, {"text": "of later", "date": "2030"}])

    assert found(source, tmp_path / "data", tokenizer=small) == []
    assert contents(prepare(source, tokenizer=small, versions=FOUR[:2], folder=tmp_path / "data")) == before


def test_ids_are_known_by_their_files_wherever_they_lie(tmp_path: pathlib.Path) -> None:
    ids = tmp_path / "ids.bin"
    ids.write_bytes(bytes(range(200)))
    source = TokensSource(files=(str(ids),), vocab_size=1 << 16, bits=16, heldout={})
    before = contents(prepare(source, tokenizer=None, versions=["v1"], folder=tmp_path / "data"))
    moved = TokensSource(files=(str(ids.rename(tmp_path / "others.bin")),), vocab_size=1 << 16, bits=16, heldout={})

    assert found(moved, tmp_path / "data", tokenizer=None) == before
    assert found(source, tmp_path / "data", tokenizer=None) == before  # it is gone, and its tokens are stored


def test_code_is_known_by_the_settings_it_was_read_with(python_tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    places = {"stdlib": str(python_tree / "stdlib"), "packages": str(python_tree / "packages")}
    source = python_source(bytes_per_version=8_000, **places)
    before = contents(prepare(source, tokenizer=SMALL, versions=FOUR[:2], folder=tmp_path / "data"))

    assert found(source, tmp_path / "data") == before
    assert found(python_source(bytes_per_version=9_000, **places), tmp_path / "data") == []
    moved = places | {"stdlib": str(shutil.copytree(places["stdlib"], tmp_path / "moved"))}
    assert found(python_source(bytes_per_version=8_000, **moved), tmp_path / "data") == []  # it may be other code
    again = prepare(
        python_source(bytes_per_version=8_000, **moved), tokenizer=SMALL, versions=FOUR[:2], folder=tmp_path / "data"
    )
    assert contents(again) == before


def test_other_settings_give_other_tokens_beside_the_first(texts: pathlib.Path, tmp_path: pathlib.Path) -> None:
    one = prepare(source_of(texts), tokenizer=SMALL, versions=FOUR, folder=tmp_path / "data")
    other = prepare(source_of(texts), tokenizer=tokenizer_of(vocab_size=310), versions=FOUR, folder=tmp_path / "data")

    assert one.folder != other.folder
    assert found(source_of(texts), tmp_path / "data") == contents(one)
