"""Text at a URL gives the documents that it gives on a disk, and a plan reads none of it."""

import gzip
import json
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest
import zstandard
from pyarrow import parquet

from lrpath.data.sources import Arrival
from lrpath.errors import ConfigError, DataError
from tests.data.making import text_source, tokens_source
from tests.refusals import refused

LINES = "".join(json.dumps({"text": f"text {number}"}) + "\n" for number in range(20)).encode()


@pytest.fixture
def corpus(tmp_path: Path) -> tuple[Path, str]:
    """Return a folder with a version of every format, and the URL of the same folder."""
    folder, url = tmp_path / "corpus", f"memory://{tmp_path.name}/corpus"
    (folder / "V5").mkdir(parents=True)
    (folder / "V1.jsonl").write_bytes(LINES)
    (folder / "V2.jsonl.gz").write_bytes(gzip.compress(LINES))
    (folder / "V3.jsonl.zst").write_bytes(zstandard.ZstdCompressor().compress(LINES))
    parquet.write_table(pa.table({"text": ["one", "two"]}), folder / "V4.parquet")
    (folder / "V5" / "a.txt").write_text("a text")
    (folder / "V5" / "b.csv").write_text("text\none\ntwo\n")
    (folder / "V6.json").write_text(json.dumps([{"text": "one"}, {"text": "two"}]))
    fsspec.filesystem("memory").put(str(folder), url, recursive=True)
    return folder, url


NAMES = ("V1.jsonl", "V2.jsonl.gz", "V3.jsonl.zst", "V4.parquet", "V5", "V6.json")


def documents_at(*paths: str, number: int = 0) -> list[str]:
    return [document.text for document in text_source(paths=paths).documents(Arrival(version="v", number=number))]


@pytest.mark.parametrize("name", NAMES)
def test_text_at_a_url_gives_the_documents_that_it_gives_on_a_disk(corpus: tuple[Path, str], name: str) -> None:
    here, there = (documents_at(f"{place}/{name}") for place in corpus)

    assert there == here
    assert there


def test_the_entries_of_a_folder_at_a_url_are_its_versions(corpus: tuple[Path, str]) -> None:
    fsspec.filesystem("memory").rm(f"{corpus[1]}/V5", recursive=True)
    fsspec.filesystem("memory").mv(f"{corpus[1]}/V6.json", f"{corpus[1]}/V5.json")

    assert documents_at(corpus[1], number=4) == ["one", "two"]


def test_a_file_that_changes_at_a_url_is_another_and_telling_so_reads_nothing(
    corpus: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, url = corpus
    system = fsspec.filesystem("memory")
    with monkeypatch.context() as closed:
        closed.setattr(type(system), "_open", None)
        first, again = (text_source(paths=(f"{url}/V1.jsonl",)).increment_spec(0) for _ in range(2))
    system.pipe_file(f"{url}/V1.jsonl", LINES.replace(b"text 3", b"text 4"))

    changed = text_source(paths=(f"{url}/V1.jsonl",)).increment_spec(0)

    assert first == again
    assert first != changed


def test_text_that_is_not_at_its_url_is_refused(corpus: tuple[Path, str]) -> None:
    with refused(DataError):
        text_source(paths=(f"{corpus[1]}/V9.jsonl",)).increment_spec(0)


@pytest.mark.parametrize("place", ["nope://bucket/corpus", "memory://"])
def test_a_url_that_names_no_place_is_refused(place: str) -> None:
    with refused(ConfigError, field="data.source.paths", value=place):
        text_source(paths=(place,))


@pytest.mark.parametrize(("protocol", "reason"), [("s3", "Install s3fs to access S3"), ("abfs", "Install adlfs")])
def test_a_file_system_that_is_not_installed_is_refused_with_what_to_install(
    protocol: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(_: str) -> None:
        raise ImportError(reason)

    monkeypatch.setattr(fsspec, "get_filesystem_class", find)

    with refused(ConfigError, field="data.source.paths", value=f"{protocol}://bucket/corpus"):
        text_source(paths=(f"{protocol}://bucket/corpus",))


def test_ids_at_a_url_are_refused_since_they_are_mapped() -> None:
    with refused(ConfigError, field="data.source.files"):
        tokens_source(files=(("a.bin", "s3://bucket/b.bin"),), vocab_size=10)
