import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lrpath.data.sources.files import files_below, format_of, version_entries
from lrpath.errors import DataError
from tests.refusals import refused

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return a function that makes a folder of empty files; a name that ends in a slash is an empty folder."""

    def made(*names: str) -> Path:
        for name in names:
            path = tmp_path / "in" / name
            (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
            if not name.endswith("/"):
                path.write_text(name)
        return tmp_path / "in"

    return made


def names_of(entries: list[Path], folder: Path) -> list[str]:
    return [entry.relative_to(folder).as_posix() for entry in entries]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("V1.jsonl", ("jsonl", "")),
        ("C.JSONL", ("jsonl", "")),
        ("V2.jsonl.gz", ("jsonl", "gz")),
        ("V2.Json.ZST", ("json", "zst")),
        ("a.b.txt.gz", ("txt", "gz")),
        ("x.csv", ("csv", "")),
        ("x.parquet", ("parquet", "")),
        ("x.parquet.gz", None),
        ("x.gz", None),
        ("x.tsv", None),
        ("LICENSE", None),
        ("jsonl", None),
    ],
)
def test_the_format_of_a_file_is_in_its_name(name: str, found: tuple[str, str] | None) -> None:
    assert format_of(Path(name)) == found


def test_compressed_files_are_versions_like_others(make: Make) -> None:
    folder = make("V1.jsonl", "V3.jsonl", "V2.jsonl.gz", "V10.JSONL", *(f"V{n}.txt.zst" for n in range(4, 10)))

    assert [entry.name.split(".")[0] for entry in version_entries(folder)] == [f"V{n}" for n in range(1, 11)]


def test_hidden_entries_are_left_out_at_every_depth(make: Make) -> None:
    folder = make(
        "V1/a.jsonl", "V1/.ipynb_checkpoints/a-checkpoint.jsonl", "V1/deep/.git/x", ".DS_Store", "V1/.b.jsonl"
    )

    assert names_of(version_entries(folder), folder) == ["V1"]
    assert names_of(files_below(folder / "V1"), folder) == ["V1/a.jsonl"]


def test_links_to_files_and_folders_are_followed(make: Make, tmp_path: Path) -> None:
    folder = make("V1/a.txt", "V2/")
    (tmp_path / "elsewhere/deep").mkdir(parents=True)
    (tmp_path / "elsewhere/deep/b.txt").write_text("b")
    (folder / "V1/part").symlink_to(tmp_path / "elsewhere")
    (folder / "V2/c.txt").symlink_to(tmp_path / "elsewhere/deep/b.txt")

    assert names_of(files_below(folder / "V1"), folder) == ["V1/a.txt", "V1/part/deep/b.txt"]
    assert names_of(files_below(folder / "V2"), folder) == ["V2/c.txt"]


@pytest.mark.parametrize(
    "names",
    [
        ("V1/", "LICENSE.txt"),
        ("V1.txt", "V2/"),
        ("V1.txt", "README.md"),
        ("V1.txt", "V2.zip"),
        ("V1.jsonl", "LICENSE.txt"),
        ("V1.jsonl", "V3.jsonl"),
        ("V2.jsonl", "V3.jsonl"),
        ("V1.jsonl", "V1.txt"),
        ("V1.jsonl", "V01.jsonl"),
        ("2019.jsonl", "2021.jsonl"),
        ("V1.jsonl", "V2-old.jsonl"),
        (".hidden.txt",),
    ],
    ids=" ".join,
)
def test_entries_that_cannot_all_be_versions_are_refused_by_name(make: Make, names: tuple[str, ...]) -> None:
    with refused(DataError) as caught:
        version_entries(make(*names))

    assert all(name.rstrip("/") in str(caught.value) or name in ("V1/", "V2/", ".hidden.txt") for name in names[1:])


@pytest.mark.parametrize(
    "names",
    [("V0.txt", "V1.txt"), ("2019.txt", "2020.txt"), ("2017-03.txt", "2017-09.txt"), ("may.txt", "june.txt")],
    ids=" ".join,
)
def test_numbers_from_nought_years_dates_and_words_are_versions_too(make: Make, names: tuple[str, ...]) -> None:
    folder = make(*names)

    assert names_of(version_entries(folder), folder) == sorted(names)


@pytest.mark.parametrize("name", ["LICENSE", "data.tsv", "deep/archive.zip", "a.jsonl.bz2", "_SUCCESS"])
def test_what_is_not_read_inside_a_version_is_refused_by_name(make: Make, name: str) -> None:
    with refused(DataError) as caught:
        files_below(make("a.txt", name))

    assert name in str(caught.value)


def test_a_link_without_a_target_and_a_pipe_are_refused_by_name(make: Make) -> None:
    folder = make("V1/a.txt", "V2/a.txt")
    (folder / "V1/b.txt").symlink_to(folder / "gone.txt")
    os.mkfifo(folder / "V2/c.txt")

    for version in ("V1", "V2"):
        with refused(DataError):
            files_below(folder / version)


def test_a_link_that_leads_back_is_refused(make: Make) -> None:
    folder = make("V1/a.txt")
    (folder / "V1/again").symlink_to(folder)

    with refused(DataError):
        files_below(folder / "V1")


def test_a_file_that_two_names_lead_to_is_refused_since_its_text_would_count_twice(make: Make) -> None:
    folder = make("a.txt")
    (folder / "b.txt").symlink_to(folder / "a.txt")

    with refused(DataError):
        files_below(folder)
