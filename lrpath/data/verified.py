"""What was verified of token files, remembered beside the store: 400 GB take four minutes to hash, at every start.

    <store>/verified.json   {"<file>": [inode, size, times of the last changes [ns], SHA-256]}

A file that has changed since has other times or another size, and is hashed again. Bits that rot on the disk change
none of these: `lrpath.verify` hashes everything, and this file may be removed at any time.
"""

import contextlib
import pathlib
from collections.abc import Callable
from typing import Any

from lrpath.errors import StateError
from lrpath.records.file_memory import fingerprint_of
from lrpath.records.files import file_system_time, read_json, write_json

VERIFIED_FILE = "verified.json"
_SECOND_SECONDS = 2.0
"""A file that was changed so shortly before it was hashed may have changed again, at the same time of its clock [s]."""


class VerifiedFiles:
    """The files of a store whose digests were compared, and how they looked then."""

    def __init__(self, store: pathlib.Path) -> None:
        """Read what is remembered; nothing is, if it cannot be read."""
        self._file = store / VERIFIED_FILE
        self._known: dict[str, Any] = {}
        with contextlib.suppress(StateError, OSError):
            record = read_json(self._file)
            self._known = record if isinstance(record, dict) else {}

    def check(self, files: tuple[pathlib.Path, ...], *, sha256: str, hash_again: Callable[[], None]) -> None:
        """Hash files whose joint digest is to be `sha256`, unless that was done and they look as they did.

        Args:
            files: The files, whose content in turn has the digest.
            sha256: The digest.
            hash_again: Compares the digest; raises if it is another.
        """
        prints = [list(fingerprint_of(file)) for file in files]
        name, looks = str(files[0].absolute()), [sha256, *prints]
        if self._known.get(name) == looks:
            return
        hash_again()
        newest = max(max(times) for _, _, *times in prints) / 1e9
        with contextlib.suppress(OSError, StateError):  # a store that cannot be written to is hashed at every start
            if file_system_time(self._file.parent) - newest > _SECOND_SECONDS:
                self._known[name] = looks
                write_json(self._file, self._known)
