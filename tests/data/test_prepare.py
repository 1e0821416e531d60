import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from lrpath.data.catalog import CATALOG_FILE
from lrpath.data.prepare import prepare
from lrpath.data.sources import Arrival, Document, TextSource, TokensSource
from lrpath.data.sources.division import Division
from lrpath.data.sources.document import text_digest
from lrpath.data.tokenizer import read_tokenizer
from lrpath.errors import ConfigError, DataError
from tests.data.making import END_MARK, NO_HELDOUT, held, python_source, text_source, tokenizer_of, tokens_source
from tests.refusals import refused

WriteJsonl = Callable[..., Path]
SMALL = tokenizer_of(vocab_size=300)
FOUR = ["v1", "v2", "v3", "v4"]


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != CATALOG_FILE)
    return {path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest() for path in files}


def source_of(texts: Path, **fields: object) -> TextSource:
    return text_source(paths=(str(texts),), **{"heldout": held(share=0.1), **fields})


def test_a_store_holds_the_text_of_its_source(texts: Path, tmp_path: Path) -> None:
    store = prepare(source_of(texts), tokenizer=SMALL, versions=FOUR, folder=tmp_path / "store")
    assert store.tokenizer_file is not None
    tokenizer = read_tokenizer(store.tokenizer_file)

    for number, version in enumerate(store.versions, start=1):
        sets = [store.held_out_set(version, split)["text"].tolist() for split in ("valid", "test")]
        ids = [*store.tokens(version).tolist(), *sets[0], *sets[1]]
        decoded = tokenizer.decode(ids, skip_special_tokens=False).split(END_MARK)
        lines = (texts / f"V{number}.jsonl").read_text().splitlines()
        assert decoded.pop() == ""
        assert sorted(decoded) == sorted(json.loads(line)["text"] for line in lines)
        assert store.manifest(version).documents == 60
        store.check(version, contents=True)


def test_two_preparations_give_the_same_bytes(python_tree: Path, tmp_path: Path) -> None:
    source = python_source(
        bytes_per_version=8_000,
        stdlib=str(python_tree / "stdlib"),
        packages=str(python_tree / "packages"),
        heldout=held(share=0.05),
    )
    for name in ("one", "two"):
        prepare(source, tokenizer=SMALL, versions=FOUR, folder=tmp_path / name)

    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_four_increments_are_the_same_whether_four_or_five_are_asked_for(python_tree: Path, tmp_path: Path) -> None:
    source = python_source(
        bytes_per_version=8_000,
        stdlib=str(python_tree / "stdlib"),
        packages=str(python_tree / "packages"),
        heldout=held(share=0.05),
    )
    prepare(source, tokenizer=SMALL, versions=FOUR, folder=tmp_path / "grown")
    four = contents(tmp_path / "grown")
    prepare(source, tokenizer=SMALL, versions=[*FOUR, "v5"], folder=tmp_path / "grown")
    prepare(source, tokenizer=SMALL, versions=[*FOUR, "v5"], folder=tmp_path / "at_once")

    assert contents(tmp_path / "grown") == contents(tmp_path / "at_once")
    assert four.items() <= contents(tmp_path / "grown").items()


def test_a_finished_store_is_not_touched(texts: Path, tmp_path: Path) -> None:
    prepare(source_of(texts), tokenizer=SMALL, versions=FOUR, folder=tmp_path / "store")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*")}
    told: list[str] = []

    prepare(
        source_of(texts), tokenizer=SMALL, versions=["v1", "v2"], folder=tmp_path / "store",
        progress=lambda label, done, total: told.append(f"{label} {done} {total}"),
    )  # fmt: skip

    assert told == []
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*")} == before


def test_only_the_new_increment_is_encoded(texts: Path, tmp_path: Path) -> None:
    told: list[str] = []
    for versions in (FOUR[:3], FOUR):
        prepare(
            source_of(texts), tokenizer=SMALL, versions=versions, folder=tmp_path / "store",
            progress=lambda label, done, total: told.append(label) if done and total else None,
        )  # fmt: skip

    encoded = [label for label in told if label.endswith("encode")]
    assert encoded == ["v1: encode", "v2: encode", "v3: encode", "v4: encode"]


SCRIPT = """
import os, signal, sys
from pathlib import Path
from lrpath.data.prepare import prepare
from tests.data.making import held, text_source, tokenizer_of

texts, folder, moment = sys.argv[1:]
def progress(label, done, total):
    print(label, flush=True)
    if label == moment:
        os.kill(os.getpid(), signal.SIGKILL)
source = text_source(paths=(texts,), heldout=held())
prepare(source, tokenizer=tokenizer_of(vocab_size=300), versions=["v1", "v2"], folder=Path(folder),
        progress=progress)
"""


def start(texts: Path, folder: Path, moment: str) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", SCRIPT, str(texts), str(folder), moment]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["train the tokenizer", "v1: encode", "v2: encode"])
def test_a_preparation_that_was_killed_ends_with_the_same_bytes(texts: Path, tmp_path: Path, moment: str) -> None:
    prepare(source_of(texts), tokenizer=SMALL, versions=FOUR[:2], folder=tmp_path / "whole")
    with start(texts, tmp_path / "killed", moment) as process:
        process.communicate()

    assert process.returncode == -signal.SIGKILL
    torn = list((tmp_path / "killed").glob("*/.tmp-*"))
    assert bool(torn) == (moment != "train the tokenizer")
    said: list[str] = []
    prepare(source_of(texts), tokenizer=SMALL, versions=FOUR[:2], folder=tmp_path / "killed", notice=said.append)
    assert [line[:2] for line in said if "not again" in line] == ([moment[:2]] if torn else [])
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


@pytest.mark.slow
def test_two_processes_prepare_each_increment_once(texts: Path, tmp_path: Path) -> None:
    processes = [start(texts, tmp_path / "store", "never") for _ in range(2)]
    labels = [line for process in processes for line in process.communicate()[0].splitlines()]

    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(label for label in labels if label.endswith("encode")) == ["v1: encode", "v2: encode"]
    assert len(list((tmp_path / "store").glob("*/*/increment.json"))) == 2


def test_a_boundary_may_be_added_for_a_new_version(write_jsonl: WriteJsonl, tmp_path: Path) -> None:
    path = write_jsonl(
        "all.jsonl", [{"text": f"text of {year}, " * 30, "date": str(year)} for year in range(2000, 2030)]
    )
    for boundaries in (("2010", "2020"), ("2010", "2020", "2030")):
        store = prepare(
            text_source(paths=(str(path),), versions=Division(by="date", boundaries=boundaries), heldout=held()),
            tokenizer=tokenizer_of(vocab_size=260), versions=FOUR[: len(boundaries)], folder=tmp_path / "store",
        )  # fmt: skip

    assert store.versions == ("v1", "v2", "v3")


def test_an_increment_without_text_is_refused_before_any_is_encoded(write_jsonl: WriteJsonl, tmp_path: Path) -> None:
    path = write_jsonl("in/V1.jsonl", [{"text": "some words " * 50}])
    write_jsonl("in/V2.jsonl", [])

    with refused(DataError):
        prepare(
            source_of(path.parent, heldout=NO_HELDOUT), tokenizer=tokenizer_of(vocab_size=260),
            versions=["v1", "v2"], folder=tmp_path / "store",
        )  # fmt: skip
    assert [path.name for path in (tmp_path / "store").iterdir()] == [".preparing"]


def test_an_increment_that_lost_its_manifest_is_prepared_again(texts: Path, tmp_path: Path) -> None:
    store = prepare(source_of(texts), tokenizer=SMALL, versions=["v1"], folder=tmp_path / "data")
    (store.place("v1") / "increment.json").unlink()

    again = prepare(source_of(texts), tokenizer=SMALL, versions=["v1"], folder=tmp_path / "data")

    assert again.digest("v1") == store.digest("v1")


def test_a_tokenizer_that_was_changed_in_the_store_is_refused(texts: Path, tmp_path: Path) -> None:
    store = prepare(source_of(texts), tokenizer=SMALL, versions=["v1"], folder=tmp_path / "data")
    path = store.folder / "tokenizer.json"
    path.write_text(path.read_text().replace('"id": 0', '"id": 1'))

    with refused(DataError):
        prepare(source_of(texts), tokenizer=SMALL, versions=["v1", "v2"], folder=tmp_path / "data")


@pytest.mark.parametrize("versions", [[], ["v1", "v1"], ["../v1"], [".hidden"], ["a/b"]])
def test_versions_that_cannot_be_folders_are_refused(texts: Path, tmp_path: Path, versions: list[str]) -> None:
    with refused(ConfigError, field="versions", value=versions):
        prepare(source_of(texts), tokenizer=SMALL, versions=versions, folder=tmp_path / "store")


@pytest.mark.slow
def test_preparing_needs_no_torch() -> None:
    code = "import sys, lrpath.data.prepare, lrpath.data.stream; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0


def test_text_needs_a_tokenizer_and_ids_cannot_train_one(texts: Path, tmp_path: Path) -> None:
    with refused(ConfigError, field="data.tokenizer", value=None):
        prepare(source_of(texts), tokenizer=None, versions=["v1"], folder=tmp_path / "a")
    (tmp_path / "ids.bin").write_bytes(b"\0" * 20)
    with refused(ConfigError, field="data.tokenizer.file", value=None):
        prepare(
            TokensSource(files=(str(tmp_path / "ids.bin"),), vocab_size=9, bits=16, heldout={}),
            tokenizer=SMALL,
            versions=["v1"],
            folder=tmp_path / "b",
        )


def test_ids_may_come_with_their_tokenizer(texts: Path, tmp_path: Path) -> None:
    first = prepare(source_of(texts), tokenizer=SMALL, versions=["v1"], folder=tmp_path / "first")
    given = tokenizer_of(vocab_size=None, file=str(first.tokenizer_file))
    files = (str(first.place("v1") / "train.bin"),)

    store = prepare(
        TokensSource(files=files, vocab_size=304, bits=16, heldout={}),
        tokenizer=given,
        versions=["v1"],
        folder=tmp_path / "second",
    )

    assert store.digest("v1") == first.digest("v1")
    assert (store.vocab_size, store.end_id) == (304, 0)
    with refused(ConfigError, field="data.source.vocab_size", value=200):
        prepare(
            TokensSource(files=files, vocab_size=200, bits=16, heldout={}),
            tokenizer=given,
            versions=["v1"],
            folder=tmp_path / "third",
        )


class Changing:
    """A source whose second reading has as many documents, and others."""

    kind = "text"
    heldout = held()

    def __init__(self) -> None:
        self.readings = 0

    def spec(self) -> dict[str, object]:
        return {"kind": "text"}

    def increment_spec(self, number: int) -> dict[str, object]:
        return {"number": number}

    def documents(self, arrival: Arrival) -> Iterator[Document]:
        self.readings += 1
        for number in range(60):
            text = f"document {number} of reading {min(self.readings, 2)} " * 5
            yield Document(
                text=text, version=arrival.version, domain="text", declared=None, fingerprints=(text_digest(text),)
            )


def test_text_that_is_another_when_it_is_read_again_is_refused(tmp_path: Path) -> None:
    with refused(DataError, field="data.source", value="v1"):
        prepare(Changing(), tokenizer=SMALL, versions=["v1"], folder=tmp_path / "store")  # type: ignore[arg-type]


def ids_file(file: Path, ids_N: "np.ndarray") -> str:
    ids_N.astype("<u2").tofile(file)
    return str(file)


@pytest.mark.parametrize("is_mapped", [False, True])
def test_held_out_ids_that_are_a_part_of_training_ids_are_refused(tmp_path: Path, is_mapped: bool) -> None:
    ids_N = np.random.default_rng(0).integers(0, 1000, size=20_000)
    file = ids_file(tmp_path / "train.bin", ids_N)
    other = ids_file(tmp_path / "other.bin", ids_N[:500])
    held_out = ids_file(tmp_path / "held_out.bin", ids_N[5_000:9_000])
    source = tokens_source(files=((file, other) if is_mapped else file,), vocab_size=1000, heldout={"web": (held_out,)})

    with refused(DataError, field="data.source.heldout.web", value="v1"):
        prepare(source, tokenizer=None, versions=["v1"], folder=tmp_path / "store")


def test_held_out_ids_that_recur_in_another_increment_are_counted(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    first, second, held_out = (generator.integers(0, 1000, size=size) for size in (5_000, 5_000, 64 * 100))
    second[100:420] = held_out[:320]
    source = tokens_source(
        files=(ids_file(tmp_path / "a.bin", first), ids_file(tmp_path / "b.bin", second)),
        vocab_size=1000,
        heldout={"web": (ids_file(tmp_path / "held_out.bin", held_out),)},
    )

    store = prepare(source, tokenizer=None, versions=["v1", "v2"], folder=tmp_path / "store")

    assert [store.manifest(version).counts.get("also_trained") for version in store.versions] == [None, 10]


def test_files_without_a_record_are_counted(texts: Path, tmp_path: Path) -> None:
    (tmp_path / "in" / "V1").mkdir(parents=True)
    (texts / "V1.jsonl").rename(tmp_path / "in" / "V1" / "a.jsonl")
    (tmp_path / "in" / "V1" / "b.jsonl").touch()
    (tmp_path / "in" / "V1" / "c.csv").write_text("text\n")

    store = prepare(source_of(tmp_path / "in"), tokenizer=SMALL, versions=["v1"], folder=tmp_path / "store")

    assert store.manifest("v1").counts["empty"] == 2


def test_text_that_was_written_after_its_tokens_were_stored_is_said(texts: Path, tmp_path: Path) -> None:
    told: list[str] = []
    for later in (0.0, 10.0):
        prepare(source_of(texts), tokenizer=SMALL, versions=FOUR, folder=tmp_path / "store", notice=told.append)
        file = texts / "V2.jsonl"
        os.utime(file, times=(file.stat().st_atime, file.stat().st_mtime + later))
    before = list(told)
    prepare(source_of(texts), tokenizer=SMALL, versions=FOUR, folder=tmp_path / "store", notice=told.append)

    assert not any("written after" in line for line in before)
    assert [str(file) in line for line in told[len(before) :]] == [True]


def test_a_tokenizer_that_did_not_make_the_ids_is_said(texts: Path, tmp_path: Path) -> None:
    first = prepare(source_of(texts), tokenizer=SMALL, versions=FOUR, folder=tmp_path / "first")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "V1.txt").write_text("".join(f"{chr(97 + n % 26)}{n * 7919 % 1000}\n" for n in range(3000)))
    other = prepare(source_of(tmp_path / "other"), tokenizer=SMALL, versions=["v1"], folder=tmp_path / "second")
    source = tokens_source(files=(str(first.place("v1") / "train.bin"),), vocab_size=300)
    told: dict[str, list[str]] = {"its own": [], "another": []}

    for name, made_by in (("its own", first), ("another", other)):
        given = tokenizer_of(vocab_size=None, file=str(made_by.tokenizer_file))
        folder = tmp_path / name
        prepare(source, tokenizer=given, versions=["v1"], folder=folder, notice=told[name].append)

    assert told["its own"] == []
    assert ["data.tokenizer.file" in line for line in told["another"]] == [True]
