import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard
from pyarrow import parquet

from lrpath.data.sources import Arrival
from lrpath.data.sources.records import read_records
from lrpath.errors import DataError
from tests.data.making import NO_HELDOUT, text_source
from tests.refusals import refused

BOM = b"\xef\xbb\xbf"
RECORDS = [{"text": "one\nline", "date": "2016"}, {"text": 'élan "漢字", x', "date": None}]
LINES = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in RECORDS).encode()
CSV = 'text,date,other\n"one\nline",2016,x\n"élan ""漢字"", x",,\n'.encode()
FOUND = [{"text": "one\nline", "date": "2016"}, {"text": 'élan "漢字", x'}]


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


def records_of(path: Path, **fields: str) -> list[dict[str, Any] | DataError]:
    return [record for _, record in read_records(path, **fields)]


def documents_of(path: Path, **fields: Any) -> list[str]:
    source = text_source(paths=(str(path),), heldout=NO_HELDOUT, **fields)
    return [document.text for document in source.documents(Arrival(version="v1", number=0))]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl", LINES),
        ("a.JSONL", BOM + LINES),
        ("a.jsonl.gz", gzip.compress(LINES)),
        ("two_members.jsonl.gz", gzip.compress(LINES[:30]) + gzip.compress(LINES[30:])),
        ("a.jsonl.zst", zstd(LINES)),
        ("two_frames.jsonl.zst", zstd(LINES[:30]) + zstd(LINES[30:])),
        ("lines.json", LINES),
        ("lines.json.gz", gzip.compress(BOM + LINES)),
        ("array.json", json.dumps(RECORDS, indent=1).encode()),
        ("array.json.zst", zstd(BOM + json.dumps(RECORDS).encode())),
        ("a.csv", CSV),
        ("a.csv.gz", gzip.compress(BOM + CSV.replace(b"\n2", b"\n2"))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_format_gives_the_same_records(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)

    assert records_of(tmp_path / name) == FOUND


def test_parquet_gives_the_same_records(tmp_path: Path) -> None:
    parquet.write_table(pa.Table.from_pylist([{**record, "other": 1} for record in RECORDS]), tmp_path / "a.parquet")

    assert records_of(tmp_path / "a.parquet") == FOUND


@pytest.mark.parametrize("name", ["one.txt", "one.txt.gz", "one.txt.zst"])
def test_a_text_file_is_one_document_without_its_byte_order_mark(tmp_path: Path, name: str) -> None:
    pack = {"gz": gzip.compress, "zst": zstd, "txt": bytes}[name.rpartition(".")[2]]
    (tmp_path / name).write_bytes(pack(BOM + b"two\nlines\n"))

    assert records_of(tmp_path / name) == [{"text": "two\nlines\n"}]


def test_a_json_object_over_several_lines_is_one_document(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(RECORDS[0], indent=2))

    assert records_of(tmp_path / "a.json") == FOUND[:1]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl", b'{"body": "x", "text": null}\n'),
        ("a.json", b'[{"body": "x"}]'),
        ("a.csv", b"body,text\nx,\n"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_another_field_may_hold_the_text(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)

    assert records_of(tmp_path / name, text_field="body") == [{"text": "x"}]


def test_a_byte_order_mark_at_the_start_of_a_text_is_no_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "\\ufeffx"}\n' + BOM + b'{"text": "y"}\n')

    assert records_of(tmp_path / "a.jsonl") == [{"text": "x"}, {"text": "y"}]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.json", "a.csv"])
def test_utf16_is_refused_with_and_without_a_mark_in_every_format(tmp_path: Path, name: str, encoding: str) -> None:
    text = {"a.txt": "hello", "a.csv": "text\nhello\n"}.get(name, '{"text": "hello"}\n')
    (tmp_path / name).write_bytes(text.encode(encoding))

    with refused(DataError):
        documents_of(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("cut.jsonl.gz", gzip.compress(LINES)[:-10]),
        ("cut.jsonl.zst", zstd(LINES)[:-4]),
        ("other.jsonl.gz", LINES),
        ("other.jsonl.zst", LINES),
        ("twice.csv", b"text,text\na,b\n"),
        ("quote.csv", b'text\n"a" b\n'),
        ("latin.csv", b"text\ncaf\xe9\n"),
        ("cut.json", b'[{"text": "a"}, '),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_that_cannot_be_read_as_a_whole_is_refused_though_bad_records_are_skipped(
    tmp_path: Path, name: str, data: bytes
) -> None:
    (tmp_path / name).write_bytes(data)

    with refused(DataError):
        documents_of(tmp_path / name, bad_records="skip")


def test_a_damaged_page_of_parquet_is_refused_with_the_file_and_row(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"text": [f"text {n} " * 20 for n in range(5000)]}), path, row_group_size=1000)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
    path.write_bytes(data)

    with pytest.raises(DataError, match=r"a\.parquet cannot be read as Parquet after row"):
        documents_of(path)


def test_all_malformed_records_of_a_file_are_listed_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "a"}\nnot json\n{"txt": "b"}\n{"text": ""}\n{"text": "c"}\n{"text": "d\\u0000"}\n')

    with refused(DataError, field="data.source.bad_records", value="refuse"):
        documents_of(path)


def test_malformed_records_may_be_left_out_and_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "a"}\nnot json\n{"text": null}\n{"text": "c"}\n')
    arrival = Arrival(version="v1", number=0)

    source = text_source(paths=(str(path),), heldout=NO_HELDOUT, bad_records="skip")

    assert [document.text for document in source.documents(arrival)] == ["a", "c"]
    assert dict(arrival.tally) == {"files": 1, "bad": 2}


def bomb(path: Path) -> None:
    if path.suffix == ".parquet":
        parquet.write_table(pa.table({"text": ["x" * 300_000] * 100}), path, compression="zstd")
    else:
        line = json.dumps({"text": "x" * 100_000}).encode() + b"\n"
        path.write_bytes({".gz": gzip.compress, ".zst": zstd}[path.suffix](line * 150))


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.parquet"])
def test_a_small_file_that_expands_without_bound_is_refused(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lrpath.data.sources.records._EXPANSION", 100)
    monkeypatch.setattr("lrpath.data.sources.records._ALLOWANCE", 1 << 20)
    bomb(tmp_path / name)

    with pytest.raises(DataError, match="expands to more than"):
        documents_of(tmp_path / name)


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_a_document_that_is_too_long_is_refused(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lrpath.data.sources.records.MAX_DOCUMENT_BYTES", 1 << 20)
    (tmp_path / name).write_text(json.dumps({"text": "x" * (1 << 20)}))

    with refused(DataError):
        documents_of(tmp_path / name)
