"""Promise 11: a path's id follows from the tokens it reads and the rates it runs at, never from names or places."""

import gzip
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from lrpath.assembly.reuse import check_extends, read_reuse
from lrpath.errors import DataError, MismatchError, PlanError
from tests.integration.lab import Lab, states_of, write_texts
from tests.refusals import refused

pytestmark = pytest.mark.slow

WHOLE = 14 + 6 + 6
"""Updates of the small study: a main path to the last fork, and two branches."""


@pytest.fixture
def own(lab: Lab, tmp_path: Path) -> Lab:
    """Return a laboratory whose texts and stores belong to one test."""
    shutil.copytree(lab.texts, tmp_path / "own" / "texts")
    return replace(lab, texts=tmp_path / "own" / "texts", stores=tmp_path / "stores")


def records_of(file: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in file.read_text().splitlines() if line]


def renamed(lab: Lab) -> Lab:
    for number in range(1, 6):
        (lab.texts / f"V{number}.jsonl").rename(lab.texts / f"month {number}.jsonl")
    return lab


def moved(lab: Lab) -> Lab:
    shutil.move(lab.texts, lab.texts.with_name("elsewhere"))
    return replace(lab, texts=lab.texts.with_name("elsewhere"))


def touched(lab: Lab) -> Lab:
    for file in lab.texts.iterdir():
        file.touch()
    return lab


def saved_again(lab: Lab) -> Lab:
    for file in lab.texts.iterdir():
        file.write_text(
            "".join(f"{json.dumps(record, indent=None, separators=(' , ', ' : '))}\n\n" for record in records_of(file))
        )
    return lab


def with_an_empty_line(lab: Lab) -> Lab:
    with (lab.texts / "V1.jsonl").open("a") as file:
        file.write("\n")
    return lab


def named_relatively(lab: Lab) -> Lab:
    return replace(lab, texts=Path(os.path.relpath(lab.texts)))


def with_folders_for_files(lab: Lab) -> Lab:
    for file in list(lab.texts.iterdir()):
        folder = lab.texts / file.stem
        folder.mkdir()
        records = records_of(file)
        for name, part in (("1.jsonl", records[:20]), ("2.jsonl", records[20:])):
            (folder / name).write_text("".join(json.dumps(record) + "\n" for record in part))
        file.unlink()
    return lab


def compressed(lab: Lab) -> Lab:
    for file in list(lab.texts.iterdir()):
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    return lab


def in_parquet(lab: Lab) -> Lab:
    for file in list(lab.texts.iterdir()):
        parquet.write_table(pyarrow.Table.from_pylist(records_of(file)), file.with_suffix(".parquet"))
        file.unlink()
    return lab


def without_catalog(lab: Lab) -> Lab:
    (lab.stores / "catalog.json").unlink()
    return lab


def with_other_stores(lab: Lab) -> Lab:
    shutil.rmtree(lab.stores)
    return lab


@pytest.fixture(scope="module")
def begun(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Return a laboratory with a finished study of two versions."""
    folder = tmp_path_factory.mktemp("begun")
    write_texts(folder / "texts")
    lab = Lab(folder=folder / "outputs", texts=folder / "texts", stores=folder / "stores")
    assert lab.run() == WHOLE
    return lab


@pytest.fixture
def done(begun: Lab, tmp_path: Path) -> Lab:
    """Return a copy of it."""
    folder = tmp_path / "done"
    shutil.copytree(begun.folder.parent, folder)
    return Lab(folder=folder / "outputs", texts=folder / "texts", stores=folder / "stores")


@pytest.mark.parametrize(
    "change",
    [
        renamed,
        moved,
        touched,
        saved_again,
        with_an_empty_line,
        named_relatively,
        with_folders_for_files,
        compressed,
        in_parquet,
        without_catalog,
        with_other_stores,
    ],
)
def test_the_same_tokens_are_never_trained_on_again(done: Lab, change: Callable[[Lab], Lab]) -> None:
    assert change(done).run() == 0


@pytest.mark.parametrize("change", [renamed, moved, touched, named_relatively])
def test_a_plan_knows_text_by_its_fingerprint(done: Lab, change: Callable[[Lab], Lab]) -> None:
    project = change(done).project()

    assert project.plan.not_prepared == ()
    assert read_reuse(project).to_run == {}


@pytest.mark.parametrize("change", [saved_again, with_an_empty_line, without_catalog, with_other_stores])
def test_a_plan_says_what_it_does_not_know_before_preparation(done: Lab, change: Callable[[Lab], Lab]) -> None:
    project = change(done).project()

    assert project.plan.not_prepared[0] == "v1"
    assert all(path.id.startswith("~") for path in project.plan.tree.paths)
    with refused(PlanError):
        project.keep_plan()
    project.prepare()
    assert project.plan.not_prepared == ()
    assert read_reuse(project).reused == WHOLE


def test_text_may_be_thrown_away_once_its_tokens_are_stored(done: Lab) -> None:
    assert done.run() == 0  # which remembers where the files lie
    for number in (1, 2):
        (done.texts / f"V{number}.jsonl").unlink()

    assert done.project("versions=3").plan.not_prepared == ("v3",)
    assert done.run() == 0
    assert done.run("versions=3") == 10 + 6
    shutil.rmtree(done.texts)
    assert done.run("versions=3") == 0
    with refused(DataError):
        done.run("versions=4")


def test_what_a_listed_file_has_become_is_known_when_it_is_gone(done: Lab) -> None:
    files = [f"{done.texts}/V{number}.jsonl" for number in (1, 2)]
    listed = f"data.source.paths=[{','.join(files)}]"
    assert done.run(listed) == 0
    Path(files[0]).unlink()

    assert done.run(listed) == 0


def exchange(lab: Lab, number: int, *, seed: str) -> None:
    """Put other text in place of an increment's."""
    file = lab.texts / f"V{number}.jsonl"
    records = [{"text": f"{seed} {record['text'][::-1]}"} for record in records_of(file)]
    file.write_text("".join(json.dumps(record) + "\n" for record in records))


def test_two_candidates_for_a_version_share_what_is_before_it(done: Lab) -> None:
    first = (done.texts / "V2.jsonl").read_bytes()
    exchange(done, 2, seed="candidate")

    assert done.run() == 4 + 6  # the main path from the end of v1 to the fork, and the branch
    assert done.run() == 0
    assert done.run("versions=3") == 10 + 6
    (done.texts / "V2.jsonl").write_bytes(first)
    assert done.run() == 0
    assert done.run("versions=3") == 10 + 6
    exchange(done, 3, seed="another")
    assert done.run("versions=3") == 4 + 6


def test_candidates_for_a_version_lie_beside_each_other(done: Lab) -> None:
    exchange(done, 2, seed="candidate")
    before = {file.parent.name for file in done.stores.glob("*/*/train.bin")}

    done.project().prepare()

    after = {file.parent.name for file in done.stores.glob("*/*/train.bin")}
    assert len(before) == 2
    assert len(after - before) == 1


def test_a_path_that_another_one_leaves_at_the_end_of_an_increment_goes_on_bit_for_bit(done: Lab) -> None:
    exchange(done, 2, seed="candidate")
    done.run()
    done.run("study=alone")

    (alone,) = [bits for (_, position), bits in states_of(done.study("alone")).items() if position == 14]
    there = [bits for (_, position), bits in states_of(done.study()).items() if position == 14]
    assert alone in there
    assert len(there) == 2


def test_the_jobs_of_a_sweep_may_have_two_candidates(done: Lab) -> None:
    other = shutil.copytree(done.texts, done.texts.with_name("other"))
    exchange(replace(done, texts=Path(other)), 2, seed="candidate")
    ours, theirs = f"[{done.texts}]", f"[{other}]"

    words = ("-m", "lrpath.train", "-m", *done.overrides("study=swept", f"data.source.paths={ours},{theirs}"))
    ended = done.call(*words)

    assert ended.code == 0, ended.err
    study = done.study("swept")
    assert sum(run.end - run.begin for run in study.ledger.runs()) == WHOLE + 4 + 6


def test_a_preparation_that_failed_for_want_of_text_is_repeated_with_more(own: Lab) -> None:
    with refused(DataError, field="increment"):
        own.run("increment=80 updates", "versions=1")
    more = b"".join((own.texts / f"V{number}.jsonl").read_bytes() for number in (1, 2, 3, 4, 5))
    (own.texts / "V1.jsonl").write_bytes(more)

    assert own.run("increment=80 updates", "versions=1", "cadence.save_every=100") == 80


def test_a_plan_says_what_it_reuses_and_what_it_costs(done: Lab) -> None:
    project = done.project("versions=3")
    reuse = read_reuse(project)

    assert (reuse.reused, reuse.updates, reuse.to_run) == (26, 42, {"v3": 16})
    assert "reuses 26 of 42 updates of study study; v3 costs 16" in reuse.text()


@pytest.fixture
def old(tmp_path: Path) -> Lab:
    """Return a laboratory with a study of two versions that was made before ids followed from content."""
    folder = tmp_path / "old"
    shutil.copytree(Path(__file__).with_name("old_study"), folder)
    write_texts(folder / "texts")
    return Lab(folder=folder / "outputs", texts=folder / "texts", stores=folder / "stores")


@pytest.mark.parametrize("change", [lambda lab: lab, renamed, moved], ids=["as it was", "renamed", "moved"])
def test_a_study_of_before_is_gone_on_with_and_nothing_is_trained_again(old: Lab, change: Callable[[Lab], Lab]) -> None:
    lab = change(old)
    ids = {folder.path_id for folder in lab.study().folders()}

    check_extends(lab.project("versions=3"))
    assert lab.run() == 0
    assert read_reuse(lab.project("versions=3")).to_run == {"v3": 10 + 6}
    assert lab.run("versions=3") == 10 + 6
    assert ids < {folder.path_id for folder in lab.study().folders()}
    assert lab.run("versions=3") == 0


def test_a_study_of_before_needs_its_text_no_more(old: Lab) -> None:
    shutil.rmtree(old.texts)

    assert old.run() == 0


def test_another_text_for_a_study_of_before_is_refused_by_default(old: Lab) -> None:
    exchange(old, 1, seed="another")
    project = old.project()
    project.prepare()

    with refused(MismatchError, field="extend", value="auto"):
        check_extends(project)


def test_another_second_text_leaves_the_main_path_of_a_study_of_before(old: Lab) -> None:
    exchange(old, 2, seed="another")
    project = old.project()
    project.prepare()

    assert {path.name: path.start for path in project.plan.tree.paths}["path_switching.main_from_10"] == 10
    assert read_reuse(project).to_run == {"v2": 6 + 4 + 6}  # no state was kept at 10: the main path is run to it again
