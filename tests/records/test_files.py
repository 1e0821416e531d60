import errno
import os
import pathlib
import signal

import pytest

from lrpath.errors import DataError, StateError
from lrpath.records import files
from lrpath.records.files import (
    atomic_file,
    atomic_folder,
    digest_file,
    make_folder,
    read_json,
    remove_temporaries,
    write_json,
    write_whole,
)
from tests.records.lab import NO_JSON, refuse_space, started
from tests.refusals import refused


def test_a_file_is_written_whole_and_leaves_nothing_else(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "new" / "file.txt"

    write_whole(file, "first")
    write_whole(file, "zwölf α\n")

    assert file.read_bytes() == "zwölf α\n".encode()
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
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


@pytest.mark.parametrize("fails", ["block", "fsync", "replace"])
def test_a_folder_is_in_its_place_whole_or_not_at_all(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    with atomic_folder(tmp_path / "whole") as temporary:
        (temporary / "below").mkdir()
        (temporary / "below" / "file").write_text("a")
    if fails == "fsync":
        monkeypatch.setattr(os, "fsync", refuse_space)
    elif fails == "replace":
        monkeypatch.setattr(pathlib.Path, "replace", refuse_space)

    with pytest.raises(OSError, match="No space left"), atomic_folder(tmp_path / "half") as temporary:  # noqa: PT012
        (temporary / "file").write_text("b")
        if fails == "block":
            refuse_space()

    assert [file.relative_to(tmp_path).as_posix() for file in sorted(tmp_path.rglob("*"))] == [
        "whole",
        "whole/below",
        "whole/below/file",
    ]


def test_a_folder_with_files_is_never_replaced(tmp_path: pathlib.Path) -> None:
    with atomic_folder(tmp_path / "place") as temporary:
        (temporary / "mine").touch()

    with pytest.raises(OSError, match="not empty"), atomic_folder(tmp_path / "place"):
        pass

    assert [file.name for file in sorted(tmp_path.rglob("*"))] == ["place", "mine"]


def test_everything_is_flushed_before_it_is_renamed_and_its_folder_after(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, pathlib.Path.replace

    def note_flush(handle: int) -> None:
        order.append(pathlib.Path(f"/proc/self/fd/{handle}").readlink().name)
        fsync(handle)

    def note_rename(self: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
        order.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", note_flush)
    monkeypatch.setattr(pathlib.Path, "replace", note_rename)

    with atomic_folder(tmp_path / "place") as folder:
        (folder / "a").touch()
    with atomic_file(tmp_path / "file") as file:
        file.touch()

    assert order == ["a", folder.name, "rename", tmp_path.name, file.name, "rename", tmp_path.name]


def test_a_temporary_file_keeps_the_suffix_and_no_more_of_the_name(tmp_path: pathlib.Path) -> None:
    with atomic_file(tmp_path / "events.out.tfevents.png") as temporary:
        temporary.touch()

    assert temporary.suffix == ".png"
    assert "tfevents" not in temporary.name


def test_what_killed_processes_were_making_is_removed_and_nothing_else(tmp_path: pathlib.Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from lrpath.records.files import atomic_file, atomic_folder
with atomic_folder(Path(sys.argv[1]) / "v1") as folder, atomic_file(Path(sys.argv[1]) / "a.csv") as file:
    (folder / "train.bin").touch()
    file.touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    (tmp_path / ".lock").touch()
    (tmp_path / "notes.txt").touch()
    with started(code, tmp_path) as process:
        process.wait()
    assert len(list(tmp_path.iterdir())) == 4

    remove_temporaries(tmp_path)

    assert sorted(file.name for file in tmp_path.iterdir()) == [".lock", "notes.txt"]


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


def test_json_that_is_too_large_is_refused_with_the_caller_s_error_and_remedy(tmp_path: pathlib.Path) -> None:
    write_json(tmp_path / "a.json", [1, 2, 3])

    with refused(DataError) as caught:
        read_json(tmp_path / "a.json", at_most=4, remedy="prepare the store again", kind=DataError)
    assert "prepare the store again" in str(caught.value)


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


OF_EARLIER_VERSIONS = (
    ".speed.csv.9b26a1f0c3d44e5f8a7b6c5d4e3f2a1b",
    ".cost.md.4711",
    ".events.0123abcd",
    ".clock-0123456789abcdef0123456789abcdef",
    ".000000009.123",
    ".v1.part",
    ".curves.0123abcd.png",
)


@pytest.mark.parametrize("name", OF_EARLIER_VERSIONS)
def test_what_killed_processes_of_earlier_versions_were_making_is_removed(tmp_path: pathlib.Path, name: str) -> None:
    (tmp_path / name).touch()
    kept = [".lock", ".tmpl.v1.json", "metrics.csv", ".gitignore"]
    for other in kept:
        (tmp_path / other).touch()

    remove_temporaries(tmp_path)

    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(kept)


def test_where_no_process_is_the_owner_only_what_is_old_is_removed(tmp_path: pathlib.Path) -> None:
    for name in (".tmp-0123456789ab.csv", ".cost.md.4711"):
        (tmp_path / name).touch()
    old = (tmp_path / ".cost.md.4711").stat().st_mtime - 100
    os.utime(tmp_path / ".cost.md.4711", (old, old))

    remove_temporaries(tmp_path, older_than=60)
    remove_temporaries(tmp_path / "missing", older_than=60)

    assert [file.name for file in tmp_path.iterdir()] == [".tmp-0123456789ab.csv"]


def test_folders_are_flushed_where_they_are_made(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    fsync = os.fsync

    def note(handle: int) -> None:
        flushed.append(pathlib.Path(f"/proc/self/fd/{handle}").readlink().name)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", note)

    make_folder(tmp_path / "study" / "paths" / "main")
    make_folder(tmp_path / "study" / "paths")  # is there

    assert flushed == [tmp_path.name, "study", "paths"]


def test_a_file_system_that_refuses_to_flush_a_folder_is_named(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", refuse)

    with refused(StateError, stable=False) as caught:
        make_folder(tmp_path / "study")

    assert str(tmp_path) in str(caught.value)
    mounts = [line.split()[1:3] for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
    assert any(f"{kind} at {point}" in str(caught.value) for point, kind in mounts)
