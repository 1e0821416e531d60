import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lrpath.data.prepare import prepare
from lrpath.data.sources import Arrival, HfSource, TokensSource
from lrpath.data.sources.division import Division
from lrpath.errors import ConfigError, DataError
from tests.data.making import NO_HELDOUT, tokens_source
from tests.refusals import refused

FIRST = Arrival(version="v1", number=0)


def hf(**fields: Any) -> HfSource:
    """Return a source with the settings of conf/data/hf.yaml, but nothing held out, and with some changes."""
    settings = {"revision": None, "config": None, "splits": ("train",), "text_field": "text"}
    return HfSource(**settings | {"versions": Division(by="split"), "heldout": NO_HELDOUT} | fields)


def tokens(**fields: Any) -> TokensSource:
    """Return a source with the settings of conf/data/tokens.yaml, and with some changes."""
    return TokensSource(**{"bits": 16, "heldout": {}} | fields)


@pytest.fixture
def fake_hub(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Put a stand-in for the datasets library in place; return the list of its calls."""
    calls: list[dict[str, object]] = []

    class Records(list[dict[str, object]]):
        num_shards = 1

    def load_dataset(path: str, name: str | None, **options: object) -> Records:
        calls.append({"path": path, "name": name, **options})
        if path == "missing":
            raise ValueError("no such dataset")
        return Records({"body": f"{options['split']} {n}", "split": "strange"} for n in range(3))

    log = SimpleNamespace(get_verbosity=lambda: 30, set_verbosity=lambda _: None, CRITICAL=50)
    library = SimpleNamespace(load_dataset=load_dataset, utils=SimpleNamespace(logging=log))
    monkeypatch.setitem(sys.modules, "datasets", library)
    return calls


def test_the_splits_of_a_dataset_are_the_versions(fake_hub: list[dict[str, object]]) -> None:
    source = hf(dataset="d", revision="abc", splits=("y1", "y2"), text_field="body")

    texts = [document.text for document in source.documents(Arrival(version="v2", number=1))]

    assert texts == ["y2 0", "y2 1", "y2 2"]
    assert fake_hub == [{"path": "d", "name": None, "split": "y2", "revision": "abc", "streaming": True}]


def test_a_dataset_that_cannot_be_read_is_named(fake_hub: list[dict[str, object]]) -> None:
    with refused(DataError):
        list(hf(dataset="missing", revision="abc").documents(FIRST))
    assert len(fake_hub) == 1


@pytest.mark.usefixtures("fake_hub")
def test_a_dataset_without_its_text_field_is_refused() -> None:
    with refused(DataError):
        list(hf(dataset="d", revision="abc").documents(FIRST))


def test_without_the_library_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)

    with refused(DataError):
        list(hf(dataset="d", revision="abc").documents(FIRST))


def test_refusals_of_a_dataset() -> None:
    with refused(ConfigError):
        hf(dataset="d", revision="abc", splits=())
    with refused(ConfigError):
        hf(dataset="d", revision="abc", versions=Division(by="file"))
    with refused(ConfigError):
        hf(dataset="d", revision="abc").increment_spec(1)
    with refused(ConfigError, field="data.source.revision"):
        hf(dataset="d")


def local_dataset(folder: Path, **files: Sequence[object]) -> str:
    """Write a folder of files of JSON lines, named by split and number; text stands for a line that is no record."""
    pytest.importorskip("datasets")
    folder.mkdir()
    for name, records in files.items():
        lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
        (folder / f"{name.replace('_', '-')}.jsonl").write_text("\n".join(lines) + "\n")
    return str(folder)


def test_a_field_that_the_library_fills_with_null_is_absent(tmp_path: Path) -> None:
    folder = local_dataset(tmp_path / "d", train=[{"text": "a", "domain": "web"}, {"text": "b"}])

    documents = list(hf(dataset=folder).documents(FIRST))

    assert [(document.text, document.domain) for document in documents] == [("a", "web"), ("b", "text")]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([{"text": "a"}], [{"text": "b", "meta": {"a": 1}}]),  # another column
        ([{"text": "a"}], ['{"text": "b']),  # cut
        (['{"text": "a'], [{"text": "b"}]),
    ],
)
def test_a_file_of_a_dataset_that_cannot_be_read_is_named(
    tmp_path: Path, first: list[object], second: list[object]
) -> None:
    folder = local_dataset(tmp_path / "d", train_00000=first, train_00001=second)
    wrong = "train-00000" if isinstance(first[0], str) else "train-00001"

    with refused(DataError, field="data.source.dataset", value=folder, stable=False) as caught:
        list(hf(dataset=folder).documents(FIRST))
    assert f"{wrong}.jsonl cannot be read" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_local_dataset_is_known_by_its_files(tmp_path: Path) -> None:
    folder = local_dataset(tmp_path / "d", train=[{"text": "a"}], test=[{"text": "b"}])
    source = hf(dataset=folder, splits=("train", "test"))
    before = [source.increment_spec(number) for number in range(2)]
    renamed = hf(dataset=str((tmp_path / "d").rename(tmp_path / "e")), splits=("train", "test"))

    assert [renamed.increment_spec(number) for number in range(2)] == before
    assert renamed.spec() == source.spec() | {"dataset": None, "revision": None}
    (tmp_path / "e" / "test.jsonl").write_text('{"text": "c"}\n')
    assert renamed.increment_spec(0) == before[0]
    assert renamed.increment_spec(1) != before[1]


def test_a_revision_of_a_folder_is_refused(tmp_path: Path) -> None:
    folder = local_dataset(tmp_path / "d", train=[{"text": "a"}])

    with refused(ConfigError, field="data.source.revision", value="3f2a"):
        hf(dataset=folder, revision="3f2a")
    assert hf(dataset=folder, revision="main").is_local


def test_a_folder_that_is_not_a_dataset_is_refused(tmp_path: Path) -> None:
    folder = local_dataset(tmp_path / "d")

    with refused(DataError, field="data.source.dataset", value=folder, stable=False):
        hf(dataset=folder).increment_spec(0)


def write_ids(path: Path, ids: list[int], dtype: str) -> str:
    np.array(ids).astype(dtype).tofile(path)
    return str(path)


@pytest.mark.parametrize("bits", [16, 32])
def test_ids_are_kept_as_they_are(tmp_path: Path, bits: int) -> None:
    dtype = f"<u{bits // 8}"
    file, heldout = write_ids(tmp_path / "a.bin", [5, 0, 9], dtype), write_ids(tmp_path / "h.bin", [1, 2], dtype)
    source = tokens(files=(file,), heldout={"web": (heldout,)}, vocab_size=10, bits=bits)

    store = prepare(source, tokenizer=None, versions=["v1"], folder=tmp_path / "store")

    assert store.tokens("v1").tolist() == [5, 0, 9]
    assert store.heldout("v1")["web"].tolist() == [1, 2]
    assert (store.vocab_size, store.end_id, store.tokenizer_file) == (10, None, None)


def test_wide_ids_stay_wide_when_the_vocabulary_needs_it(tmp_path: Path) -> None:
    source = tokens(files=(write_ids(tmp_path / "a.bin", [70_000, 3], "<u4"),), vocab_size=70_001, bits=32)

    store = prepare(source, tokenizer=None, versions=["v1"], folder=tmp_path / "store")

    assert store.tokens("v1").tolist() == [70_000, 3]


def test_an_id_beyond_the_vocabulary_is_refused(tmp_path: Path) -> None:
    source = tokens(files=(write_ids(tmp_path / "a.bin", [5, 10, 9], "<u2"),), vocab_size=10)

    with refused(DataError):
        prepare(source, tokenizer=None, versions=["v1"], folder=tmp_path / "store")
    assert not list((tmp_path / "store").glob("*v1*"))


@pytest.mark.parametrize("size", [0, 3])
def test_a_file_of_ids_of_odd_size_is_refused(tmp_path: Path, size: int) -> None:
    (tmp_path / "a.bin").write_bytes(b"\0" * size)

    with refused(DataError):
        tokens(files=(str(tmp_path / "a.bin"),), vocab_size=10).train_ids(FIRST)


def test_refusals_of_token_files(tmp_path: Path) -> None:
    with refused(ConfigError):
        tokens(files=(), vocab_size=10)
    with refused(ConfigError):
        tokens(files=("a",), vocab_size=10, bits=64)
    with refused(ConfigError):
        tokens(files=("a",), vocab_size=70_000)
    with refused(ConfigError):
        tokens(files=("a",), vocab_size=10, heldout={"web": ("b", "c")})
    with refused(ConfigError):
        tokens(files=("a",), vocab_size=10).increment_spec(1)
    with refused(DataError):
        tokens(files=(str(tmp_path / "a.bin"),), vocab_size=10).train_ids(FIRST)


def many(path: Path, count: int, dtype: str, top: int = 50_000) -> str:
    ids_N = np.random.default_rng(0).integers(0, top, size=count)
    return write_ids(path, ids_N.tolist(), dtype)


@pytest.mark.parametrize(("dtype", "bits", "top"), [("<u4", 16, 50_000), ("<u4", 16, 150_000), ("<i8", 16, 50_000),
                                                    ("<i8", 32, 50_000), ("<i4", 16, 50_000)])  # fmt: skip
def test_ids_of_another_width_are_refused(tmp_path: Path, dtype: str, bits: int, top: int) -> None:
    file = many(tmp_path / "a.bin", 5_000, dtype, top)

    with refused(DataError, field="data.source.bits", value=bits):
        tokens(files=(file,), vocab_size=50_304, bits=bits).train_ids(FIRST)


@pytest.mark.parametrize(("dtype", "bits"), [("<u2", 32), (">u2", 16), (">u4", 32)])
def test_ids_that_are_too_large_name_the_reading_that_fits(tmp_path: Path, dtype: str, bits: int) -> None:
    file = many(tmp_path / "a.bin", 5_000, dtype, 20_000)

    with refused(DataError, field="data.source.vocab_size", value=20_000):
        tokens(files=(file,), vocab_size=20_000, bits=bits).train_ids(FIRST)


@pytest.mark.parametrize("bits", [16, 32])
@pytest.mark.parametrize("top", [2, 200, 60_000])
def test_ids_of_their_width_are_taken(tmp_path: Path, bits: int, top: int) -> None:
    file = many(tmp_path / "a.bin", 5_000, f"<u{bits // 8}", top)

    assert len(tokens(files=(file,), vocab_size=60_000, bits=bits).train_ids(FIRST)) == 5_000


def llm_c(magic: int, version: int, dtype: str) -> bytes:
    return np.array([magic, version, 9] + [0] * 253, dtype="<i4").tobytes() + np.arange(999).astype(dtype).tobytes()


FOREIGN = {
    "array.npy": b"\x93NUMPY\x01\x00v\x00{'descr': '<i4', 'fortran_order': False, 'shape': (9,), }".ljust(164),
    "arrays.npz": b"PK\x03\x04" + bytes(300),
    "corpus.idx": b"MMIDIDX\x00\x00" + bytes(300),
    "gpt2.bin": llm_c(20240520, 1, "<u2"),
    "llama3.bin": llm_c(20240801, 7, "<u4"),
    "ids.gz": b"\x1f\x8b" + bytes(300),
    "ids.zst": b"\x28\xb5\x2f\xfd" + bytes(300),
    "ids.parquet": b"PAR1" + bytes(300),
    "corpus.jsonl": b'{"text": "hello"}\n' * 20,
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_of_another_format_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FOREIGN[name])

    with refused(DataError, field="data.source.bits"):
        tokens(files=(str(tmp_path / name),), vocab_size=50_304).train_ids(FIRST)


def test_the_index_of_a_megatron_file_says_its_width(tmp_path: Path) -> None:
    file = write_ids(tmp_path / "a.bin", [7] * 500, "<i4")
    (tmp_path / "a.idx").write_bytes(b"MMIDIDX\x00\x00" + (1).to_bytes(8, "little") + b"\x04" + bytes(100))

    with refused(DataError, field="data.source.bits", value=16):
        tokens(files=(file,), vocab_size=50_304).train_ids(FIRST)
    assert len(tokens(files=(str(tmp_path),), vocab_size=50_304, bits=32).train_ids(FIRST)) == 500


@pytest.mark.parametrize("entry", ["folder", "glob", "list"])
def test_several_files_are_mapped_in_natural_order(tmp_path: Path, entry: str) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    for number, count in ((2, 70), (10, 50), (1, 33)):
        write_ids(folder / f"part-{number}.bin", [100 * number + n for n in range(count)], "<u2")
    (folder / ".hidden").write_bytes(b"x")
    whole = [base + n for base, count in ((100, 33), (200, 70), (1000, 50)) for n in range(count)]
    written = tuple(str(folder / f"part-{number}.bin") for number in (1, 2, 10))
    files = {"folder": str(folder), "glob": f"{folder}/part-*.bin", "list": written}[entry]
    one = tokens(files=(write_ids(tmp_path / "one.bin", whole, "<u2"),), vocab_size=2000)

    store = prepare(tokens(files=(files,), vocab_size=2000), tokenizer=None, versions=["v1"], folder=tmp_path / "s")
    copied = prepare(one, tokenizer=None, versions=["v1"], folder=tmp_path / "copied")

    assert store.digest("v1") == copied.digest("v1")
    assert store.tokens("v1").tolist() == whole
    assert not (tmp_path / "s" / "v1" / "train.bin").exists()
    wanted = [3, 0, 17, 9]
    assert store.gather("v1", wanted, 8).tolist() == copied.gather("v1", wanted, 8).tolist()
    store.check("v1", contents=True)
    (folder / "part-10.bin").write_bytes(bytes(100))
    with refused(DataError):
        store.check("v1", contents=True)


def test_shards_of_one_number_have_one_order_on_every_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, ids in (("part-1.bin", [1] * 8), ("part-01.bin", [2] * 8), ("part-001.bin", [3] * 8)):
        write_ids(tmp_path / name, ids, "<u2")
    listed = sorted(tmp_path.iterdir())

    def ids_if_listed(entries: list[Path]) -> Any:
        monkeypatch.setattr(Path, "iterdir", lambda _: iter(entries))
        shards = tokens(files=(str(tmp_path),), vocab_size=9).train_ids(FIRST)
        return shards.read(0, len(shards)).tolist()

    assert ids_if_listed(listed) == ids_if_listed(listed[::-1])


def test_shards_that_moved_are_found_by_their_content(tmp_path: Path) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        write_ids(tmp_path / name / "a.bin", list(range(40)), "<u4")
    sources = [tokens(files=(str(tmp_path / name),), vocab_size=40, bits=32) for name in ("here", "there")]

    first = prepare(sources[0], tokenizer=None, versions=["v1"], folder=tmp_path / "s")
    (tmp_path / "here" / "a.bin").unlink()
    second = prepare(sources[1], tokenizer=None, versions=["v1"], folder=tmp_path / "s")

    assert second.digest("v1") == first.digest("v1")
    assert second.window("v1", 0, 8).tolist() == list(range(9))


def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shards" / "deeper").mkdir(parents=True)
    for files in (str(tmp_path / "shards"), str(tmp_path / "none-*.bin")):
        with refused(DataError, field="data.source.files", value=files):
            tokens(files=(files,), vocab_size=2000).train_ids(FIRST)


def test_files_that_only_describe_ids_are_not_read_as_ids(tmp_path: Path) -> None:
    ids, ends = np.arange(300, dtype="<u2"), np.array([120, 300], dtype="<u8")
    ids.tofile(tmp_path / "00000_shuffled.ds")
    ends.tofile(tmp_path / "00000_shuffled.ds.index")
    (tmp_path / "00000_shuffled.ds.metadata").write_text("tokenizer.json|2\n300\n300 T")

    for bits in (16, 32):
        source = tokens_source(files=(str(tmp_path),), vocab_size=300, bits=bits)
        if bits == 32:
            with refused(DataError, field="data.source.bits", value=32):
                source.train_ids(FIRST)
        else:
            assert source.train_ids(FIRST).read(0, 300).tolist() == ids.tolist()


def test_ids_with_a_loss_mask_beside_them_are_refused(tmp_path: Path) -> None:
    np.arange(300, dtype="<u2").tofile(tmp_path / "a.ds")
    (tmp_path / "a.ds.loss").write_bytes(b"\x01" * 300)

    with refused(DataError):
        tokens_source(files=(str(tmp_path),), vocab_size=300).train_ids(FIRST)


def test_domains_of_ids_have_short_names(tmp_path: Path) -> None:
    with refused(ConfigError):
        tokens_source(files=({"../web": "a.bin"},), vocab_size=300)
