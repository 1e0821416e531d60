import os
import pathlib
import signal

import pytest

from lrpath.errors import StateError
from lrpath.records import files
from lrpath.records.files import digest_file, read_json, write_json, write_whole
from tests.records.lab import NO_JSON, refuse_space, started
from tests.refusals import refused


def test_a_file_is_written_whole_and_leaves_nothing_beside(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "new" / "file.txt"

    write_whole(file, "first")
    write_whole(file, "zwölf α\n")

    assert file.read_bytes() == "zwölf α\n".encode()
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    file = tmp_path / "file.txt"
    write_whole(file, "old")
    if fails == "fsync":
        monkeypatch.setattr(os, "fsync", refuse_space)
    else:
        monkeypatch.setattr(pathlib.Path, "replace", refuse_space)

    with pytest.raises(OSError, match="No space left"):
        write_whole(file, "new")

    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_text_that_cannot_be_written_leaves_nothing(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        write_whole(tmp_path / "file.txt", "whole lines\n\udc80")

    assert list(tmp_path.iterdir()) == []


def test_a_write_that_is_killed_leaves_the_old_file(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "plan.json"
    write_json(file, {"old": True})
    code = """
import os, signal, sys
from pathlib import Path
from lrpath.records.files import write_json
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
write_json(Path(sys.argv[1]), {"new": True})
"""

    with started(code, file) as process:
        process.wait()

    assert process.returncode == -signal.SIGKILL
    assert read_json(file) == {"old": True}


def test_json_reads_back_equal(tmp_path: pathlib.Path) -> None:
    record = {"α": [1, 2.5, 1e-300, None, True, {"x": "y"}]}

    write_json(tmp_path / "a.json", record)

    assert read_json(tmp_path / "a.json") == record


def test_what_is_no_number_is_not_written(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))

    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize("content", NO_JSON.values(), ids=NO_JSON)
def test_what_is_no_json_is_refused(tmp_path: pathlib.Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)

    with refused(StateError):
        read_json(tmp_path / "a.json")


def test_a_missing_json_file_is_named(tmp_path: pathlib.Path) -> None:
    with refused(StateError):
        read_json(tmp_path / "a.json")


def test_a_digest_is_the_sha_256_of_all_blocks(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_BLOCK", 2)
    (tmp_path / "a").write_bytes(b"abc")

    # FIPS 180-2, appendix B.1
    assert digest_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_digest_tells_of_the_bytes_it_has_read(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_BLOCK", 4)
    (tmp_path / "file").write_bytes(b"ten bytes.")
    seen: list[int] = []

    digest_file(tmp_path / "file", seen=seen.append)

    assert seen == [4, 4, 2]
