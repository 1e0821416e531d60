"""Files and folders that are whole or absent, whatever kill or power cut comes between, and how they are read.

A rename within one folder is atomic, so what is being made is written under a temporary name in the folder of its
place, flushed to the disk, and renamed. The rename itself is an entry of that folder and survives a power cut only when
the folder is flushed too.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import pathlib
import re
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any
from uuid import uuid4

from lrpath.errors import LrpathError, StateError

_BLOCK = 1 << 22
_TEMPORARY = "tmp-"
_OLD_TEMPORARY = re.compile(r"\.(clock-[0-9a-f]+|.+\.([0-9]+|[0-9a-f]{8,}|part)|.+\.[0-9a-f]{8}\.\w+)")
"""Names that versions before 0.2 gave to what they were making."""
_MAX_JSON_BYTES = 1 << 30  # a plan of 300 versions in eight paradigms has 71 MB

DIGEST_SUFFIX = ".sha256"
"""Of the file that holds the digest of a file beside it."""

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
"""What flock fails with on a file system that has no locks."""
_NO_FLUSH = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
STALE_SECONDS = 120.0
"""Time without a renewal after which the folder that stands for a lock belongs to a process that is gone [s]."""
_POLL_SECONDS = 0.05


@contextmanager
def atomic_file(place: pathlib.Path) -> Iterator[pathlib.Path]:
    """Write a file under a temporary name; when the block has ended without an error, the file is in its place.

    Folders above it are made. After an error nothing is left, and what was in the place before is still there.
    """
    make_folder(place.parent)
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
    make_folder(temporary.parent)
    temporary.mkdir()
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
    return file.name.startswith(f".{_TEMPORARY}") or _OLD_TEMPORARY.fullmatch(file.name) is not None


def remove_temporaries(folder: pathlib.Path, *, older_than: float = 0.0) -> None:
    """Remove what killed processes of this version or an earlier one were making in a folder, if the folder exists.

    Args:
        folder: The folder; what is in folders of it stays.
        older_than: Age from which a file counts as left behind [s]. 0 is for the folder's owner alone, since what
            living processes make looks alike.
    """
    if not folder.is_dir():
        return
    now = file_system_time(folder) if older_than else 0.0
    for temporary in filter(is_temporary, list(folder.iterdir())):
        with contextlib.suppress(FileNotFoundError):  # its process is alive and has renamed it
            if older_than and now - temporary.stat().st_mtime < older_than:
                continue
            shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink()


def make_folder(folder: pathlib.Path) -> None:
    """Make a folder and those above it that are missing, and flush every folder that has got a new entry."""
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for place in reversed(made):
        flush_folder(place.parent)


def file_system_time(folder: pathlib.Path) -> float:
    """Return the time by the clock of a folder's file system, which need not be this machine's [s since 1970]."""
    probe = temporary_name(folder / "clock")
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink()


def move_into_place(temporary: pathlib.Path, place: pathlib.Path) -> None:
    """Rename what was written and flushed, and flush the folder that now has it."""
    temporary.replace(place)
    flush_folder(place.parent)


@contextmanager
def locked(folder: pathlib.Path) -> Iterator[None]:
    """Let one process at a time work in a folder, which is made; others wait here and then find the work done."""
    make_folder(folder)
    with (folder / ".lock").open("a") as handle, exclusive(handle, folder / ".lock"):
        yield


@contextmanager
def exclusive(handle: IO[Any], file: pathlib.Path) -> Iterator[None]:
    """Let one process at a time work on an open file; others wait here.

    A file system without locks gets a folder in place of one: making it is atomic everywhere. It is renewed while the
    block runs, since nobody removes it when the process is killed.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    else:
        yield
        return
    with held_folder(file.with_name(f".{file.name.lstrip('.')}-held")):
        yield


@contextmanager
def held_folder(place: pathlib.Path) -> Iterator[None]:
    """Hold a folder that stands for a lock while the block runs; wait for another process that holds it."""
    while True:
        try:
            place.mkdir()
            break
        except FileExistsError:
            _remove_stale(place)
            time.sleep(_POLL_SECONDS)
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(STALE_SECONDS / 8):
            with contextlib.suppress(OSError):
                os.utime(place)

    thread = threading.Thread(target=renew, name=f"lock {place}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        with contextlib.suppress(FileNotFoundError):
            place.rmdir()


def _remove_stale(place: pathlib.Path) -> None:
    """Remove a folder that stands for the lock of a process that is gone."""
    with contextlib.suppress(FileNotFoundError):
        if file_system_time(place.parent) - place.stat().st_mtime < STALE_SECONDS:
            return
        aside = temporary_name(place)
        place.rename(aside)
        if file_system_time(place.parent) - aside.stat().st_mtime < STALE_SECONDS:  # another process was first
            aside.rename(place)
        else:
            aside.rmdir()


def flush_file(file: pathlib.Path) -> None:
    """Flush a file's bytes to the disk."""
    with file.open("rb") as handle:
        os.fsync(handle.fileno())


def flush_folder(folder: pathlib.Path) -> None:
    """Flush a folder's entries to the disk, so that a rename in it survives a power cut.

    Raises:
        StateError: If the file system refuses to; names it.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_FLUSH:
            raise
        raise StateError(
            f"{folder} lies on a file system, {_file_system(folder)}, that refuses to flush a folder ({error}): what "
            "is renamed there may be lost in a power cut. Choose a place on another file system"
        ) from None
    finally:
        os.close(handle)


def _file_system(folder: pathlib.Path) -> str:
    """Return type and mount point of a folder's file system, as far as this system says."""
    try:
        mounts = [line.split()[1:3] for line in os.fsdecode(pathlib.Path("/proc/mounts").read_bytes()).splitlines()]
    except OSError:
        return "of unknown type"
    place = folder.resolve()
    above = [(point, kind) for point, kind in mounts if place.is_relative_to(point)]
    point, kind = max(above, key=lambda mount: len(mount[0]), default=("/", "unknown"))
    return f"{kind} at {point}"


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


def check_digest_beside(file: pathlib.Path) -> None:
    """Raise unless a file has the digest that was written beside it; one of an earlier version has none.

    Raises:
        StateError: If it has another.
    """
    beside = file.with_suffix(DIGEST_SUFFIX)
    if beside.exists() and beside.read_bytes() != f"{digest_file(file)}\n".encode():
        raise StateError(
            f"{file} was altered: its SHA-256 is not the one in {beside}; restore it from a copy, or remove both and "
            "run the plan, or lrpath.evaluate, again"
        )


def complete_lines(file: pathlib.Path) -> list[str]:
    """Return the lines of a text file, none if it is missing; a last line that a kill left incomplete is left out."""
    if not file.exists():
        return []
    content = file.read_bytes()
    try:
        return content[: content.rfind(b"\n") + 1].decode().split("\n")[:-1]
    except UnicodeDecodeError as error:
        raise StateError(f"{file} is not UTF-8 text ({error}); restore it from a copy") from None
