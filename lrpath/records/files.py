"""Files that are whole or absent, and how they are flushed, read and told apart."""

import fcntl
import hashlib
import json
import os
import pathlib
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from lrpath.errors import StateError

_BLOCK = 1 << 22
_MAX_JSON_BYTES = 1 << 30  # a plan of 300 versions in eight paradigms has 71 MB


def write_whole(file: pathlib.Path, content: str | bytes) -> None:
    """Write a file beside its place, flush it to the disk and rename it into place; text becomes UTF-8."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}.{uuid4().hex[:8]}")
    try:
        with beside.open("wb") as handle:
            handle.write(content.encode() if isinstance(content, str) else content)
            handle.flush()
            os.fsync(handle.fileno())
        beside.replace(file)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    flush_folder(file.parent)


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


def write_json(file: pathlib.Path, record: Any) -> None:
    """Write plain data as indented JSON, whole or not at all."""
    write_whole(file, json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(file: pathlib.Path, *, at_most: int = _MAX_JSON_BYTES) -> Any:
    """Return the plain data in a JSON file of so many bytes at most.

    Raises:
        StateError: If the file is missing, absurdly large, or is no JSON.
    """
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > at_most:
            raise StateError(
                f"{file} is no file of at most {at_most:,} bytes, so it is not read; restore it from a copy"
            )
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StateError(f"{file} is missing; restore it, or choose the study it belongs to") from None
    except (ValueError, RecursionError) as error:
        raise StateError(f"{file} is not JSON ({error}); restore it from a copy or remove it") from None


def digest_file(file: pathlib.Path, *, seen: Callable[[int], None] | None = None) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal; `seen` is told of the bytes, block by block."""
    digest = hashlib.sha256()
    with file.open("rb") as handle:
        while block := handle.read(_BLOCK):
            digest.update(block)
            if seen is not None:
                seen(len(block))
    return digest.hexdigest()


def whole_lines(file: pathlib.Path) -> list[str]:
    """Return the lines of a text file, none if it is not there; a last line torn by a kill is left out."""
    if not file.exists():
        return []
    whole = file.read_bytes()
    try:
        return whole[: whole.rfind(b"\n") + 1].decode().split("\n")[:-1]
    except UnicodeDecodeError as error:
        raise StateError(f"{file} is not UTF-8 text ({error}); restore it from a copy") from None
