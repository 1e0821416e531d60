"""What was verified of token files is remembered until they change."""

import json
import os
from pathlib import Path

from lrpath.data.verified import VERIFIED_FILE, VerifiedFiles

LONG_AGO_NS = 1_000_000_000_000_000_000
"""In 2001: no clock of a file system counts so coarsely that a change could have this time."""


def test_a_file_is_hashed_again_only_when_it_has_changed(tmp_path: Path) -> None:
    file, hashed = tmp_path / "train.bin", []
    file.write_bytes(b"tokens")

    def check(digest: str = "digest") -> int:
        VerifiedFiles(tmp_path).check((file,), sha256=digest, hash_again=lambda: hashed.append(digest))
        return len(hashed)

    assert (check(), check()) == (1, 2)  # it was changed just now, and may be changed at the same time again

    (tmp_path / VERIFIED_FILE).write_text("no JSON")
    assert check() == 3


def test_a_file_whose_time_or_expected_digest_is_another_is_not_taken_for_verified(tmp_path: Path) -> None:
    file = tmp_path / "train.bin"
    file.write_bytes(b"tokens")
    status, hashed = file.stat(), []
    looks = ["digest", [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]]
    (tmp_path / VERIFIED_FILE).write_text(json.dumps({str(file): looks}))

    def check(digest: str = "digest") -> int:
        VerifiedFiles(tmp_path).check((file,), sha256=digest, hash_again=lambda: hashed.append(digest))
        return len(hashed)

    assert check() == 0
    assert check("other") == 1
    os.utime(file, ns=(LONG_AGO_NS, LONG_AGO_NS))
    assert check() == 2
