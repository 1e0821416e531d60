"""What was made of files and folders, remembered in this process for as long as these are as they were.

A file is known by inode, size and times. Two writes may get one time, so nothing is remembered of what was changed just
before it was read.
"""

import os
import pathlib
import time
from collections.abc import Callable
from typing import Generic, TypeVar

Made = TypeVar("Made")

Fingerprint = tuple[int, int, int, int]
"""Inode, size, time of the last change of the content and of the entry [ns]."""

TICK_SECONDS = 0.05
"""Within this time two changes of a file may look alike [s]: Linux takes times from a clock of 250 or 100 Hz."""
FOLDER_TICK_SECONDS = 2.0
"""Likewise, on file systems that count whole seconds, of a folder in which other machines make entries [s]."""


def fingerprint_of(file: pathlib.Path) -> Fingerprint:
    """Return what a file or folder is known by.

    Raises:
        FileNotFoundError: If it is not there.
    """
    status = file.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


class FileMemory(Generic[Made]):
    """Remembers what was made of files.

    Args:
        make: Makes it; called again when the file has changed.
        tick: Age of a change from which on it is remembered what was made of the file [s].
    """

    def __init__(self, make: Callable[[pathlib.Path], Made], *, tick: float = TICK_SECONDS) -> None:
        self._make = make
        self._tick = tick
        self._known: dict[str, tuple[Fingerprint, Made]] = {}

    def get(self, file: pathlib.Path) -> Made:
        """Return what `make` returns of a file, as it is at this moment.

        Raises:
            FileNotFoundError: If it is not there.
        """
        place = os.path.abspath(file)  # noqa: PTH100 (pathlib's own takes ten times as long)
        print_now, known = fingerprint_of(file), self._known.get(place)
        if known is not None and known[0] == print_now:
            return known[1]
        now = time.time()
        made = self._make(file)
        if now - max(print_now[2:]) / 1e9 > self._tick:
            self._known[place] = print_now, made
        else:
            self._known.pop(place, None)
        return made
