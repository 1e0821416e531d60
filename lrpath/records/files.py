"""Files and folders that are whole or absent, whatever kill or power cut comes between, and how they are read.

A rename within one folder is atomic, so what is being made is written under a temporary name in the folder of its
place, flushed to the disk, and renamed. The rename itself is an entry of that folder and survives a power cut only when
the folder is flushed too.
"""

import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from lrpath.errors import LrpathError, StateError

_BLOCK = 1 << 22
_TEMPORARY = "tmp-"
_MAX_JSON_BYTES = 1 << 30  # a plan of 300 versions in eight paradigms has 71 MB


@contextmanager
def atomic_file(place: pathlib.Path) -> Iterator[pathlib.Path]:
    """Write a file under a temporary name; when the block has ended without an error, the file is in its place.

    Folders above it are made. After an error nothing is left, and what was in the place before is still there.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(place)
    try:
        yield temporary
        flush_file(temporary)
        move_into_place(temporary, place)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_folder(place: pathlib.Path) -> Iterator[pathlib.Path]:
    """Fill a folder under a temporary name; when the block has ended without an error, the folder is in its place.

    As `atomic_file`, but a folder that holds files is in no case replaced: that is an error.
    """
    temporary = temporary_name(place)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for file in temporary.rglob("*"):
            flush_folder(file) if file.is_dir() else flush_file(file)
        flush_folder(temporary)
        move_into_place(temporary, place)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def temporary_name(place: pathlib.Path) -> pathlib.Path:
    """Return a name in the folder of a place that nobody else uses: several processes may be making the same file.

    Of the place's name it keeps the suffix alone: TensorBoard would read any file whose name contains `tfevents`,
    finished or not.
    """
    return place.with_name(f".{_TEMPORARY}{uuid4().hex[:12]}{place.suffix}")


def is_temporary(file: pathlib.Path) -> bool:
    """Say whether a file or folder was being made, by this or another process, perhaps one that was killed."""
    return file.name.startswith(f".{_TEMPORARY}")


def remove_temporaries(folder: pathlib.Path) -> None:
    """Remove what killed processes were making in a folder; for its owner, since what living ones make looks alike."""
    for temporary in filter(is_temporary, folder.iterdir()):
        shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink()


def move_into_place(temporary: pathlib.Path, place: pathlib.Path) -> None:
    """Rename what was written and flushed, and flush the folder that now has it."""
    temporary.replace(place)
    flush_folder(place.parent)


@contextmanager
def locked(folder: pathlib.Path) -> Iterator[None]:
    """Let one process at a time work in a folder, which is made; others wait here and then find the work done."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def flush_file(file: pathlib.Path) -> None:
    """Flush a file's bytes to the disk."""
    with file.open("rb") as handle:
        os.fsync(handle.fileno())


def flush_folder(folder: pathlib.Path) -> None:
    """Flush a folder's entries to the disk, so that a rename in it survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(file: pathlib.Path, content: str | bytes) -> None:
    """Write a file, whole or not at all; text becomes UTF-8."""
    with atomic_file(file) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(file: pathlib.Path, record: Any) -> None:
    """Write plain data as indented JSON, whole or not at all."""
    write_whole(file, json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(
    file: pathlib.Path,
    *,
    at_most: int = _MAX_JSON_BYTES,
    remedy: str = "restore it from a copy",
    kind: type[LrpathError] = StateError,
) -> Any:
    """Return the plain data in a JSON file.

    Args:
        file: The file.
        at_most: Largest size that is read [bytes].
        remedy: What the error tells people to do.
        kind: The error that is raised.

    Raises:
        LrpathError: Of the given kind, if the file is missing, larger, not a regular file, or not JSON.
    """
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise kind(f"{file} is not a regular file, so it is not read; {remedy}")
        if status.st_size > at_most:
            raise kind(f"{file} has {status.st_size:,} bytes, and at most {at_most:,} are read; {remedy}")
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise kind(f"{file} is missing; {remedy}") from None
    except (ValueError, RecursionError) as error:
        raise kind(f"{file} is not JSON ({error}); {remedy}") from None


def digest_file(file: pathlib.Path, *, seen: Callable[[int], None] | None = None) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal; `seen` is called with the size of each block read."""
    digest = hashlib.sha256()
    with file.open("rb") as handle:
        while block := handle.read(_BLOCK):
            digest.update(block)
            if seen is not None:
                seen(len(block))
    return digest.hexdigest()


def complete_lines(file: pathlib.Path) -> list[str]:
    """Return the lines of a text file, none if it is missing; a last line that a kill left incomplete is left out."""
    if not file.exists():
        return []
    content = file.read_bytes()
    try:
        return content[: content.rfind(b"\n") + 1].decode().split("\n")[:-1]
    except UnicodeDecodeError as error:
        raise StateError(f"{file} is not UTF-8 text ({error}); restore it from a copy") from None
