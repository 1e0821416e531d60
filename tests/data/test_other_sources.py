import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lrpath.data.prepare import prepare
from lrpath.data.sources import Arrival
from lrpath.data.sources.division import Division
from lrpath.errors import ConfigError, DataError
from tests.data.making import NO_HELDOUT, hf_source, tokens_source
from tests.refusals import refused

FIRST = Arrival(version="v1", number=0)


@pytest.fixture
def fake_hub(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Put a stand-in for the datasets library in place; return the list of its calls."""
    calls: list[dict[str, object]] = []

    def load_dataset(path: str, name: str | None, **options: object) -> list[dict[str, object]]:
        calls.append({"path": path, "name": name, **options})
        if path == "missing":
            raise ValueError("no such dataset")
        return [{"body": f"{options['split']} {n}", "split": "strange"} for n in range(3)]

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    return calls


def test_the_splits_of_a_dataset_are_the_versions(fake_hub: list[dict[str, object]]) -> None:
    source = hf_source(dataset="d", revision="abc", splits=("y1", "y2"), text_field="body", heldout=NO_HELDOUT)

    texts = [document.text for document in source.documents(Arrival(version="v2", number=1))]

    assert texts == ["y2 0", "y2 1", "y2 2"]
    assert fake_hub == [{"path": "d", "name": None, "split": "y2", "revision": "abc", "streaming": True}]


def test_a_dataset_that_cannot_be_read_is_named(fake_hub: list[dict[str, object]]) -> None:
    with refused(DataError):
        list(hf_source(dataset="missing", revision="abc", heldout=NO_HELDOUT).documents(FIRST))
    assert len(fake_hub) == 1


@pytest.mark.usefixtures("fake_hub")
def test_a_dataset_without_its_text_field_is_refused() -> None:
    with refused(DataError):
        list(hf_source(dataset="d", revision="abc", heldout=NO_HELDOUT).documents(FIRST))


def test_without_the_library_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)

    with refused(DataError):
        list(hf_source(dataset="d", revision="abc", heldout=NO_HELDOUT).documents(FIRST))


def test_refusals_of_a_dataset() -> None:
    with refused(ConfigError):
        hf_source(dataset="d", revision="abc", splits=(), heldout=NO_HELDOUT)
    with refused(ConfigError):
        hf_source(dataset="d", revision="abc", versions=Division(by="file"), heldout=NO_HELDOUT)
    with refused(ConfigError):
        hf_source(dataset="d", revision="abc", heldout=NO_HELDOUT).increment_spec(1)


def write_ids(path: Path, ids: list[int], dtype: str) -> str:
    np.array(ids).astype(dtype).tofile(path)
    return str(path)


@pytest.mark.parametrize("bits", [16, 32])
def test_ids_are_kept_as_they_are(tmp_path: Path, bits: int) -> None:
    dtype = f"<u{bits // 8}"
    file, heldout = write_ids(tmp_path / "a.bin", [5, 0, 9], dtype), write_ids(tmp_path / "h.bin", [1, 2], dtype)
    source = tokens_source(files=(file,), heldout={"web": (heldout,)}, vocab_size=10, bits=bits)

    store = prepare(source, tokenizer=None, versions=["v1"], folder=tmp_path / "store")

    assert store.tokens("v1").tolist() == [5, 0, 9]
    assert store.heldout("v1")["web"].tolist() == [1, 2]
    assert (store.vocab_size, store.end_id, store.tokenizer_file) == (10, None, None)


def test_wide_ids_stay_wide_when_the_vocabulary_needs_it(tmp_path: Path) -> None:
    source = tokens_source(files=(write_ids(tmp_path / "a.bin", [70_000, 3], "<u4"),), vocab_size=70_001, bits=32)

    store = prepare(source, tokenizer=None, versions=["v1"], folder=tmp_path / "store")

    assert store.tokens("v1").tolist() == [70_000, 3]


def test_an_id_beyond_the_vocabulary_is_refused(tmp_path: Path) -> None:
    source = tokens_source(files=(write_ids(tmp_path / "a.bin", [5, 10, 9], "<u2"),), vocab_size=10)

    with refused(DataError):
        prepare(source, tokenizer=None, versions=["v1"], folder=tmp_path / "store")
    assert not list((tmp_path / "store").glob("*v1*"))


@pytest.mark.parametrize("size", [0, 3])
def test_a_file_of_ids_of_odd_size_is_refused(tmp_path: Path, size: int) -> None:
    (tmp_path / "a.bin").write_bytes(b"\0" * size)

    with refused(DataError):
        tokens_source(files=(str(tmp_path / "a.bin"),), vocab_size=10).train_ids(FIRST)


def test_refusals_of_token_files(tmp_path: Path) -> None:
    with refused(ConfigError):
        tokens_source(files=(), vocab_size=10)
    with refused(ConfigError):
        tokens_source(files=("a",), vocab_size=10, bits=64)
    with refused(ConfigError):
        tokens_source(files=("a",), vocab_size=70_000)
    with refused(ConfigError):
        tokens_source(files=("a",), vocab_size=10, heldout={"web": ("b", "c")})
    with refused(ConfigError):
        tokens_source(files=("a",), vocab_size=10).increment_spec(1)
    with refused(DataError):
        tokens_source(files=(str(tmp_path / "a.bin"),), vocab_size=10).train_ids(FIRST)
