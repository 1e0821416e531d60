from collections import Counter
from pathlib import Path

import pytest

from lrpath.data.sources import Arrival, Document, PythonSource
from lrpath.data.sources.python_source import is_generated, near_fingerprints
from lrpath.errors import ConfigError, DataError
from tests.data.making import NO_HELDOUT, held, python_source
from tests.refusals import refused


def source_of(tree: Path, **fields: object) -> PythonSource:
    roots = {"stdlib": str(tree / "stdlib"), "packages": str(tree / "packages")}
    return python_source(**{"bytes_per_version": 10_000, "heldout": NO_HELDOUT, **roots, **fields})


def collect(source: PythonSource, versions: int) -> list[list[Document]]:
    increments: list[list[Document]] = []
    used: set[bytes] = set()
    for number in range(versions):
        increments.append(list(source.documents(Arrival(version=f"v{number + 1}", number=number, used=used))))
        used |= {fingerprint for document in increments[-1] for fingerprint in document.fingerprints}
    return increments


def size_of(documents: list[Document], domain: str) -> int:
    return sum(len(document.text.encode()) for document in documents if document.domain == domain)


def test_an_increment_has_its_bytes_and_its_share_of_the_library(python_tree: Path) -> None:
    for documents in collect(source_of(python_tree), 3):
        assert 2_500 <= size_of(documents, "stdlib") < 2_500 + 2_000
        assert 7_500 <= size_of(documents, "packages") < 7_500 + 2_000


def test_no_document_is_in_two_increments(python_tree: Path) -> None:
    texts = [document.text for documents in collect(source_of(python_tree), 4) for document in documents]

    assert len(set(texts)) == len(texts)


def test_increments_may_differ_in_size(python_tree: Path) -> None:
    first, second = collect(source_of(python_tree, bytes_per_version=(4_000, 12_000), stdlib_share=0), 2)

    assert size_of(second, "packages") > 2 * size_of(first, "packages")


def test_increments_may_differ_in_domain(python_tree: Path) -> None:
    source = source_of(python_tree, bytes_per_version=4_000, stdlib_share=(1.0, 0.0))

    first, second = collect(source, 2)

    assert {document.domain for document in first} == {"stdlib"}
    assert {document.domain for document in second} == {"packages"}
    assert [source.increment_spec(number)["stdlib_share"] for number in (0, 1)] == [1.0, 0.0]
    assert source.spec() == source_of(python_tree, bytes_per_version=4_000, stdlib_share=(1.0, 0.0, 1.0)).spec()


def test_a_list_of_sizes_that_is_too_short_is_refused(python_tree: Path) -> None:
    with refused(ConfigError, field="data.source.bytes_per_version", value=(4_000,)):
        collect(source_of(python_tree, bytes_per_version=(4_000,)), 2)


def test_the_same_files_give_the_same_documents(python_tree: Path) -> None:
    assert collect(source_of(python_tree), 2) == collect(source_of(python_tree), 2)
    assert collect(source_of(python_tree), 2) != collect(source_of(python_tree, seed=1), 2)


def test_new_packages_never_bring_a_used_document_again(python_tree: Path) -> None:
    source = source_of(python_tree)
    before = collect(source, 2)
    used = {fingerprint for documents in before for document in documents for fingerprint in document.fingerprints}
    for path in sorted(python_tree.glob("packages/package_1/*.py")):
        path.rename(path.with_name(f"renamed_{path.name}"))

    after = list(source.documents(Arrival(version="v3", number=2, used=used)))

    assert {document.text for document in after}.isdisjoint(doc.text for documents in before for doc in documents)


@pytest.mark.parametrize(("old", "new"), [("\n", "  \n"), ("return value", "return value + 1")], ids=["space", "edit"])
def test_a_duplicate_and_a_near_duplicate_are_left_out(tmp_path: Path, python_tree: Path, old: str, new: str) -> None:
    text = (python_tree / "packages/package_0/module_0.py").read_text()
    for number, copy in enumerate((text, text.replace(old, new, 1))):
        (tmp_path / f"copies/package_{number}.py").parent.mkdir(exist_ok=True)
        (tmp_path / f"copies/package_{number}.py").write_text(copy)
    source = python_source(
        bytes_per_version=2 * len(text), stdlib_share=0, packages=str(tmp_path / "copies"), heldout=NO_HELDOUT
    )

    with refused(DataError):
        collect(source, 1)


def test_a_whole_package_belongs_to_one_increment(python_tree: Path) -> None:
    increments = collect(source_of(python_tree, split="package", bytes_per_version=6_000, stdlib_share=0), 3)
    names = [{document.fingerprints[-1] for document in documents} for documents in increments]

    assert names[0].isdisjoint(names[1] | names[2])
    assert names[1].isdisjoint(names[2])


def test_held_out_documents_come_on_top_and_never_return(python_tree: Path) -> None:
    increments = collect(source_of(python_tree, heldout=held(share=0.1)), 2)
    trained = sum(len(d.text.encode()) for d in increments[0] if d.declared == "train" and d.domain == "packages")

    for documents in increments:
        sizes = Counter((document.declared, document.domain) for document in documents)
        assert {place: sizes[place] for place in sizes if place[0] != "train"} == {
            ("valid", "stdlib"): 2, ("test", "stdlib"): 1, ("valid", "packages"): 3, ("test", "packages"): 3,
        }  # fmt: skip
    assert trained >= 7_500


def test_no_more_documents_are_held_out_than_asked_for(python_tree: Path) -> None:
    (documents,) = collect(source_of(python_tree, heldout=held(share=0.5, documents=2)), 1)

    assert Counter(document.declared for document in documents if document.domain == "packages")["test"] == 2


def test_a_large_file_is_not_held_out(python_tree: Path) -> None:
    large = "".join(f"def name_{number}(value):\n    return value\n" for number in range(900))
    for path in (python_tree / "packages").glob("*/*.py"):
        path.write_text(large.replace("name", path.stem))

    (documents,) = collect(source_of(python_tree, heldout=held(share=0.5)), 1)

    assert {document.declared for document in documents if document.domain == "packages"} == {"train"}


def test_too_little_text_is_refused_with_how_much_there_is(python_tree: Path) -> None:
    source = source_of(python_tree, bytes_per_version=1_000_000)

    with refused(DataError):
        collect(source, 1)


def test_tests_are_read_only_when_asked_for(python_tree: Path) -> None:
    (python_tree / "packages").rename(python_tree / "tests")
    (python_tree / "packages").mkdir()
    (python_tree / "tests").rename(python_tree / "packages" / "tests")

    with refused(DataError):
        collect(source_of(python_tree), 1)
    assert collect(source_of(python_tree, include_tests=True), 1)


def test_files_that_are_not_utf8_or_too_short_are_left_out(python_tree: Path) -> None:
    (python_tree / "packages/latin.py").write_bytes(b"# caf\xe9 " * 100)
    (python_tree / "packages/short.py").write_text("x = 1\n")

    (documents,) = collect(source_of(python_tree, bytes_per_version=50_000, stdlib_share=0), 1)

    assert not any("caf" in document.text or document.text == "x = 1\n" for document in documents)


PROSE = b"".join(b"def name_%s(value):\n    return value\n" % bytes([97 + n % 26, 97 + n // 26]) for n in range(40))


@pytest.mark.parametrize(
    "data",
    [
        b"# Generated by a tool, do not edit\n" + PROSE,
        PROSE + b"x = '" + b"word " * 300 + b"'\n",
        b"\n".join(b"table(%d, %d, %d)" % (n, n * 7919, n * 104729) for n in range(100)),
        b"\n".join(b"a = {'%c': [({})]}" % (97 + n % 26) for n in range(100)),
        b"\n".join([b"value = other_value"] * 50 + [b"other_value = value"]),
    ],
    ids=["note", "long line", "digits", "punctuation", "repetition"],
)
def test_generated_code_and_tables_are_recognised(data: bytes) -> None:
    assert is_generated(data)


def test_ordinary_code_is_not_taken_for_generated() -> None:
    lines = dict.fromkeys(PROSE.splitlines())

    assert not is_generated(b"\n".join(lines))


def test_near_duplicates_share_a_fingerprint_and_others_do_not() -> None:
    lines = [b"the line with number %d of the text" % n for n in range(200)]
    same = near_fingerprints(b"\n".join(lines))

    assert set(same) & set(
        near_fingerprints(b"\n".join([*lines[:195], *[b"another line of the text, %d" % n for n in range(5)]]))
    )
    assert not set(same) & set(near_fingerprints(b"\n".join(b"no such line is there, %d" % n for n in range(200))))
    assert near_fingerprints(b"short\nlines\n") == ()


@pytest.mark.parametrize(
    "fields",
    [
        {"bytes_per_version": 0},
        {"bytes_per_version": ()},
        {"stdlib_share": 1.5},
        {"stdlib_share": (0.5, -1.0)},
        {"stdlib_share": ()},
        {"split": "line"},
    ],
)
def test_fields_out_of_range_are_refused(fields: dict[str, object]) -> None:
    ((field, value),) = fields.items()

    with refused(ConfigError, field=f"data.source.{field}", value=value):
        python_source(**{"heldout": NO_HELDOUT, **fields})


@pytest.mark.parametrize(
    ("field", "value"), [("share", 1.0), ("share", -0.1), ("documents", -1), ("passage_characters", 10)]
)
def test_a_held_out_rule_out_of_range_is_refused(field: str, value: float) -> None:
    with refused(ConfigError, field=f"data.source.heldout.{field}", value=value):
        held(**{field: value})


@pytest.mark.slow
def test_the_running_python_has_text_of_its_own() -> None:
    source = python_source(bytes_per_version=100_000, heldout=held(documents=5))
    documents = list(source.documents(Arrival(version="v1", number=0)))

    assert {document.domain for document in documents} == {"stdlib", "packages"}
    assert sum(len(document.text.encode()) for document in documents if document.declared == "train") >= 100_000
