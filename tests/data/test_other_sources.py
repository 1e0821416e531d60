import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lrpath.data.prepare import prepare
from lrpath.data.sources import Arrival, HeldOut, HfSource, TokensSource
from lrpath.data.sources.division import Division
from lrpath.errors import ConfigError, DataError

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
    source = HfSource(dataset="d", revision="abc", splits=("y1", "y2"), text_field="body", heldout=HeldOut(share=0.0))

    texts = [document.text for document in source.documents(Arrival(version="v2", number=1))]

    assert texts == ["y2 0", "y2 1", "y2 2"]
    assert fake_hub == [{"path": "d", "name": None, "split": "y2", "revision": "abc", "streaming": True}]


def test_a_dataset_that_cannot_be_read_is_named(fake_hub: list[dict[str, object]]) -> None:
    with pytest.raises(DataError, match=r"dataset missing at abc, split train, cannot be read \(no such dataset\)"):
        list(HfSource(dataset="missing", revision="abc").documents(FIRST))
    assert len(fake_hub) == 1


@pytest.mark.usefixtures("fake_hub")
def test_a_dataset_without_its_text_field_is_refused() -> None:
    with pytest.raises(DataError, match=r"d\[train\] record 0: text must be a string .* not NoneType"):
        list(HfSource(dataset="d", revision="abc").documents(FIRST))


def test_without_the_library_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)

    with pytest.raises(DataError, match=r"pip install 'lrpath\[hf\]'"):
        list(HfSource(dataset="d", revision="abc").documents(FIRST))


def test_refusals_of_a_dataset() -> None:
    with pytest.raises(ConfigError, match="splits is empty"):
        HfSource(dataset="d", revision="abc", splits=())
    with pytest.raises(ConfigError, match="by=file is for text files"):
        HfSource(dataset="d", revision="abc", versions=Division(by="file"))
    with pytest.raises(ConfigError, match="names 1 splits, but version number 2"):
        HfSource(dataset="d", revision="abc").increment_spec(1)


def write_ids(path: Path, ids: list[int], dtype: str) -> str:
    np.array(ids).astype(dtype).tofile(path)
    return str(path)


@pytest.mark.parametrize("bits", [16, 32])
def test_ids_are_kept_as_they_are(tmp_path: Path, bits: int) -> None:
    dtype = f"<u{bits // 8}"
    file, heldout = write_ids(tmp_path / "a.bin", [5, 0, 9], dtype), write_ids(tmp_path / "h.bin", [1, 2], dtype)
    source = TokensSource(files=(file,), heldout={"web": (heldout,)}, vocab_size=10, bits=bits)

    store = prepare(source, tokenizer=None, versions=["v1"], folder=tmp_path / "store")

    assert store.tokens("v1").tolist() == [5, 0, 9]
    assert store.heldout("v1")["web"].tolist() == [1, 2]
    assert (store.vocab_size, store.end_id, store.tokenizer_file) == (10, None, None)


def test_wide_ids_stay_wide_when_the_vocabulary_needs_it(tmp_path: Path) -> None:
    source = TokensSource(files=(write_ids(tmp_path / "a.bin", [70_000, 3], "<u4"),), vocab_size=70_001, bits=32)

    store = prepare(source, tokenizer=None, versions=["v1"], folder=tmp_path / "store")

    assert store.tokens("v1").tolist() == [70_000, 3]


def test_an_id_beyond_the_vocabulary_is_refused(tmp_path: Path) -> None:
    source = TokensSource(files=(write_ids(tmp_path / "a.bin", [5, 10, 9], "<u2"),), vocab_size=10)

    with pytest.raises(DataError, match=r"v1/train.bin: token ids \[5, 10\] must lie in \[0, 10\)"):
        prepare(source, tokenizer=None, versions=["v1"], folder=tmp_path / "store")
    assert not list((tmp_path / "store").glob("*v1*"))


@pytest.mark.parametrize("size", [0, 3])
def test_a_file_of_ids_of_odd_size_is_refused(tmp_path: Path, size: int) -> None:
    (tmp_path / "a.bin").write_bytes(b"\0" * size)

    with pytest.raises(DataError, match=rf"a.bin has {size} bytes, which is no whole number of 16-bit ids"):
        TokensSource(files=(str(tmp_path / "a.bin"),), vocab_size=10).train_ids(FIRST)


def test_refusals_of_token_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="files is empty"):
        TokensSource(files=(), vocab_size=10)
    with pytest.raises(ConfigError, match="bits must be 16 or 32, not 64"):
        TokensSource(files=("a",), vocab_size=10, bits=64)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"vocab_size must lie in \[1, 65536\] for ids of 16 bits, not 70000"):
        TokensSource(files=("a",), vocab_size=70_000)
    with pytest.raises(ConfigError, match="domain 'web' has 2 files"):
        TokensSource(files=("a",), vocab_size=10, heldout={"web": ("b", "c")})
    with pytest.raises(ConfigError, match="names 1 files, but version number 2"):
        TokensSource(files=("a",), vocab_size=10).increment_spec(1)
    with pytest.raises(DataError, match=r"a.bin does not exist"):
        TokensSource(files=(str(tmp_path / "a.bin"),), vocab_size=10).train_ids(FIRST)
