import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from lrpath.data.sources import Arrival, TextSource
from lrpath.data.sources.division import Division
from lrpath.data.sources.document import text_digest
from lrpath.errors import ConfigError, DataError
from tests.data.making import NO_HELDOUT, held, text_source
from tests.refusals import refused

WriteJsonl = Callable[..., Path]


def texts_of(source: TextSource, number: int, version: str = "") -> list[str]:
    arrival = Arrival(version=version or f"v{number + 1}", number=number)
    return [document.text for document in source.documents(arrival) if document.declared in (None, "train")]


def source_of(*paths: Path, **fields: object) -> TextSource:
    return text_source(**{"paths": tuple(map(str, paths)), "heldout": NO_HELDOUT, **fields})


def test_the_entries_of_a_folder_are_the_versions_in_natural_order(write_jsonl: WriteJsonl, tmp_path: Path) -> None:
    for number in (1, 2, 10):
        write_jsonl(f"in/C{number}-5.jsonl", [{"text": f"text {number}"}])

    source = source_of(tmp_path / "in")

    assert [texts_of(source, n) for n in range(3)] == [["text 1"], ["text 2"], ["text 10"]]


def test_listed_paths_are_the_versions_as_listed(tmp_path: Path) -> None:
    for name in ("b/one.txt", "b/two.txt", "a.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"all of {name}")

    source = source_of(tmp_path / "b", tmp_path / "a.txt")

    assert [texts_of(source, n) for n in range(2)] == [["all of b/one.txt", "all of b/two.txt"], ["all of a.txt"]]


def test_a_version_without_a_file_is_refused(texts: Path) -> None:
    with refused(DataError):
        texts_of(source_of(texts), 4)


def test_a_document_of_an_earlier_version_is_kept_or_refused_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "v2.txt").write_text("once")
    used = {text_digest("once ")}

    kept = list(source_of(tmp_path / "v2.txt").documents(Arrival(version="v2", number=0, used=used)))
    strict = source_of(tmp_path / "v2.txt", overlap="refuse")

    assert [document.text for document in kept] == ["once"]
    assert strict.spec() == source_of(tmp_path / "v2.txt").spec()
    assert texts_of(strict, 0) == ["once"]
    with refused(DataError):
        list(strict.documents(Arrival(version="v2", number=0, used=used)))


def test_domains_have_a_path_each(write_jsonl: WriteJsonl, tmp_path: Path) -> None:
    for domain in ("law", "math"):
        for number in (1, 2):
            write_jsonl(f"{domain}/{number}.jsonl", [{"text": f"{domain} {number}", "domain": "ignored"}])
    source = text_source(domains={name: str(tmp_path / name) for name in ("law", "math")}, heldout=NO_HELDOUT)

    documents = list(source.documents(Arrival(version="v2", number=1)))

    assert [(document.domain, document.text) for document in documents] == [("law", "law 2"), ("math", "math 2")]
    files = source.increment_spec(1)["files"]
    assert [(file["name"], file["bytes"]) for file in files] == [("2.jsonl", 39), ("2.jsonl", 40)]
    assert files[0]["samples_sha256"] != files[1]["samples_sha256"]


def test_dates_divide_records_and_the_last_wait_for_another_boundary(write_jsonl: WriteJsonl) -> None:
    days = ["1999", "2016-12-31", "2017-01-01", "2017-06-30T23:59:59Z", "2018", "2018-02"]
    path = write_jsonl("all.jsonl", [{"text": day, "date": day} for day in days])
    source = source_of(path, versions=Division(by="date", boundaries=("2017", "2018-01-01")))

    assert texts_of(source, 0) == ["1999", "2016-12-31"]
    assert texts_of(source, 1) == ["2017-01-01", "2017-06-30T23:59:59Z"]


@pytest.mark.parametrize("value", [None, 2017, "soon", "2017-13-01", "20170101"])
def test_a_record_without_a_proper_date_is_refused_with_its_line(write_jsonl: WriteJsonl, value: object) -> None:
    path = write_jsonl("all.jsonl", [{"text": "a", "date": "2016"}, {"text": "b", "date": value}])

    with refused(DataError):
        texts_of(source_of(path, versions=Division(by="date", boundaries=("2017",))), 0)


def test_shares_divide_all_records_and_stay_when_a_version_is_added(write_jsonl: WriteJsonl) -> None:
    path = write_jsonl("all.jsonl", [{"text": f"text {n}"} for n in range(400)])
    short, long = (
        source_of(path, versions=Division(by="share", shares=shares)) for shares in ((0.5, 0.25), (0.5, 0.25, 0.25))
    )

    increments = [texts_of(long, n) for n in range(3)]

    assert [texts_of(short, n) for n in range(2)] == increments[:2]
    assert sorted(text for texts in increments for text in texts) == sorted(f"text {n}" for n in range(400))
    assert 170 < len(increments[0]) < 230  # 200 ± 3 standard deviations of 10


def test_a_field_names_the_version(write_jsonl: WriteJsonl) -> None:
    path = write_jsonl("all.jsonl", [{"text": "a", "version": "may"}, {"text": "b", "version": "june"}])

    assert texts_of(source_of(path, versions=Division(by="field")), 0, "june") == ["b"]


def test_a_record_that_lacks_the_dividing_field_is_refused(write_jsonl: WriteJsonl) -> None:
    path = write_jsonl("all.jsonl", [{"text": "a"}])

    with refused(DataError):
        texts_of(source_of(path, versions=Division(by="field")), 0)


def test_a_record_may_say_that_it_is_held_out(write_jsonl: WriteJsonl) -> None:
    splits = ["train", "valid", "validation", "test", "dev", "heldout"]
    path = write_jsonl("V1.jsonl", [{"text": split, "split": split} for split in splits])

    documents = list(source_of(path).documents(Arrival(version="v1", number=0)))

    assert [document.declared for document in documents] == ["train", "valid", "valid", "test", "valid", "valid"]
    assert texts_of(source_of(path, heldout=held(share=0.99)), 0) == ["train"]


def test_an_unknown_split_is_refused(write_jsonl: WriteJsonl) -> None:
    path = write_jsonl("V1.jsonl", [{"text": "a", "split": "tset"}])

    with refused(DataError):
        texts_of(source_of(path), 0)


def test_a_record_may_name_its_domain(write_jsonl: WriteJsonl) -> None:
    path = write_jsonl("V1.jsonl", [{"text": "a", "domain": "law"}, {"text": "b"}, {"text": "c", "domain": None}])

    documents = list(source_of(path).documents(Arrival(version="v1", number=0)))

    assert [document.domain for document in documents] == ["law", "text", "text"]


@pytest.mark.parametrize("domain", ["../up", "", 3])
def test_a_domain_that_cannot_be_a_file_name_is_refused(write_jsonl: WriteJsonl, domain: object) -> None:
    path = write_jsonl("V1.jsonl", [{"text": "a", "domain": domain}])

    with refused(DataError):
        texts_of(source_of(path), 0)


@pytest.mark.parametrize(
    "line",
    [
        b'{"text": "b"',
        b"[" * 100_000,
        b'["text"]',
        b'{"txt": "b"}',
        b'{"text": 3}',
        b'{"text": ""}',
        b'{"text": "\\ud800"}',
        b'{"text": "caf\xe9"}',
    ],
)
def test_a_malformed_line_is_refused_with_its_place(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "V1.jsonl"
    path.write_bytes(b'{"text": "a"}\n\n' + line + b"\n")

    with refused(DataError):
        texts_of(source_of(path), 0)


def test_a_text_file_that_is_not_utf8_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"first\nsecond\ncaf\xe9\n")

    with refused(DataError):
        texts_of(source_of(tmp_path / "a.txt"), 0)


def test_parquet_gives_the_same_documents_as_lines(tmp_path: Path) -> None:
    table = pa.table({"text": ["a", "b"], "date": [date(2016, 1, 1), date(2017, 1, 1)], "other": [1, 2]})
    parquet.write_table(table, tmp_path / "all.parquet")

    source = source_of(tmp_path / "all.parquet", versions=Division(by="date", boundaries=("2017", "2018")))

    assert [texts_of(source, n) for n in range(2)] == [["a"], ["b"]]


def test_parquet_that_is_torn_or_lacks_text_is_refused(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"body": ["a"]}), tmp_path / "no_text.parquet")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and nothing more")

    with refused(DataError):
        texts_of(source_of(tmp_path / "no_text.parquet"), 0)
    with refused(DataError):
        texts_of(source_of(tmp_path / "torn.parquet"), 0)


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with refused(DataError):
        texts_of(source_of(tmp_path / "a.parquet"), 0)


def test_paths_that_are_missing_empty_or_of_another_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.md").touch()

    for name in ("none", "a.md"):
        with refused(DataError):
            texts_of(source_of(tmp_path / name), 0)
    with refused(DataError):
        texts_of(source_of(tmp_path / "empty", versions=Division(by="field")), 0)


@pytest.mark.parametrize("fields", [{}, {"paths": ("a",), "domains": {"b": "b"}}])
def test_either_paths_or_domains_are_given(fields: dict[str, object]) -> None:
    with refused(ConfigError, field="data.source.paths", value=fields.get("paths", ())):
        text_source(**fields)


def test_other_refusals_of_the_text_source() -> None:
    with refused(ConfigError, field="data.source.domains", value="a/b"):
        text_source(domains={"a/b": "x"}, heldout=NO_HELDOUT)
    with refused(ConfigError, field="data.source.versions.by", value="split"):
        text_source(paths=("a",), versions=Division(by="split"), heldout=NO_HELDOUT)


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ({"by": "date"}, "boundaries", ()),
        ({"by": "file", "shares": (1.0,)}, "shares", (1.0,)),
        ({"by": "date", "boundaries": ("2018", "2017")}, "boundaries", ("2018", "2017")),
        ({"by": "date", "boundaries": ("May",)}, "boundaries", "May"),
        ({"by": "share", "shares": (0.7, 0.7)}, "shares", (0.7, 0.7)),
        ({"by": "share", "shares": (0.7, -0.1)}, "shares", (0.7, -0.1)),
    ],
)
def test_a_division_that_does_not_divide_is_refused(fields: dict[str, object], name: str, value: object) -> None:
    with refused(ConfigError, field=f"data.source.versions.{name}", value=value):
        Division(**fields)


def test_a_version_beyond_the_boundaries_is_refused(write_jsonl: WriteJsonl) -> None:
    source = source_of(write_jsonl("a.jsonl", []), versions=Division(by="date", boundaries=("2017",)))

    with refused(ConfigError, field="data.source.versions.boundaries", value=("2017",)):
        texts_of(source, 1)


def test_folders_inside_a_version_are_its_domains(write_jsonl: WriteJsonl, tmp_path: Path) -> None:
    for name in ("V1/web/a", "V1/web/deep/b", "V1/code/c", "V2/law/d"):
        write_jsonl(f"in/{name}.jsonl", [{"text": name}])
    source = source_of(tmp_path / "in", domains="folders")

    first, second = (list(source.documents(Arrival(version=f"v{n + 1}", number=n))) for n in range(2))

    assert [(one.domain, one.text) for one in first] == [
        ("code", "V1/code/c"),
        ("web", "V1/web/a"),
        ("web", "V1/web/deep/b"),
    ]
    assert [(one.domain, one.text) for one in second] == [("law", "V2/law/d")]
    write_jsonl("in/V2/loose.jsonl", [{"text": "of no domain"}])
    with refused(DataError, field="data.source.domains", value="folders"):
        list(source.documents(Arrival(version="v2", number=1)))
