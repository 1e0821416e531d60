import errno
import fcntl
import json
import os
import pathlib
import threading

import pytest

from lrpath.errors import BusyError
from lrpath.records import lease
from lrpath.records.files import STALE_SECONDS, locked
from lrpath.records.lease import EXPIRY, owned
from lrpath.records.ledger import Ledger
from lrpath.records.path_folder import PathFolder
from tests.records.lab import RUN, started
from tests.refusals import refused

HOLD_THE_LOCK = """
import sys
from pathlib import Path
from lrpath.records.path_folder import PathFolder
with PathFolder(Path(sys.argv[1])).lock():
    print("locked", flush=True)
    sys.stdin.readline()
print("free", flush=True)
"""


def test_a_path_belongs_to_one_process_until_that_dies(tmp_path: pathlib.Path) -> None:
    folder = PathFolder(tmp_path / "main-0123456789ab")

    with started(HOLD_THE_LOCK, folder.folder) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with (
            refused(BusyError),
            folder.lock(),
        ):
            pytest.fail("two processes own the path")
        other.kill()
        other.wait()

    with folder.lock():
        assert json.loads((folder.folder / "lock").read_text())["process"] == os.getpid()


def test_a_path_is_free_when_its_owner_has_finished(tmp_path: pathlib.Path) -> None:
    folder = PathFolder(tmp_path)

    with started(HOLD_THE_LOCK, folder.folder) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == "locked\n"
        other.stdin.write("\n")
        other.stdin.flush()
        assert other.stdout.readline() == "free\n"
        with folder.lock():
            pass


def test_a_lock_is_given_back_when_its_block_raises(tmp_path: pathlib.Path) -> None:
    folder = PathFolder(tmp_path)

    with pytest.raises(KeyError), folder.lock():
        raise KeyError

    with folder.lock():
        pass


@pytest.fixture
def elsewhere(tmp_path: pathlib.Path) -> pathlib.Path:
    """Return the lock file of an owner on another machine, whose lock this one does not see."""
    file = tmp_path / "main-p" / "lock"
    file.parent.mkdir()
    file.write_text(json.dumps({"machine": "another", "host": "node7", "process": 12, "token": "t"}))
    return file


def test_an_owner_on_another_machine_that_was_heard_of_lately_keeps_the_path(elsewhere: pathlib.Path) -> None:
    before = elsewhere.read_text()

    with (
        refused(BusyError),
        owned(elsewhere),
    ):
        pytest.fail("two processes own the path")

    assert elsewhere.read_text() == before
    assert sorted(elsewhere.parent.iterdir()) == [elsewhere]


def test_the_lease_of_a_silent_owner_expires(elsewhere: pathlib.Path) -> None:
    last = elsewhere.stat().st_mtime - EXPIRY - 1
    os.utime(elsewhere, (last, last))

    with owned(elsewhere):
        assert json.loads(elsewhere.read_text())["process"] == os.getpid()
    assert elsewhere.read_text() == ""


def test_an_owner_that_stood_still_learns_that_it_was_replaced(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "main-p" / "lock"

    with owned(file) as mine:
        mine.check()
        new = json.dumps({"machine": "another", "host": "node7", "process": 12, "token": "theirs"})
        file.write_text(new)
        with refused(BusyError):
            mine.check()

    assert file.read_text() == new


def test_a_lease_is_renewed_while_it_is_held(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    renewed, utime = threading.Event(), os.utime

    def note(file: pathlib.Path) -> None:
        utime(file)
        renewed.set()

    monkeypatch.setattr(lease, "EXPIRY", 0.08)
    monkeypatch.setattr(os, "utime", note)

    with owned(tmp_path / "lock"):
        utime(tmp_path / "lock", (0, 0))
        renewed.clear()
        assert renewed.wait(30)
        assert (tmp_path / "lock").stat().st_mtime > 0


@pytest.mark.parametrize(
    "text", ["", "process 7 on node", "[1]", '{"host": 3}', "{", "[" * 200_000], ids=[*"abcde", "brackets"]
)
def test_what_a_kill_or_an_older_version_left_in_the_file_is_nobody_s(tmp_path: pathlib.Path, text: str) -> None:
    (tmp_path / "lock").write_text(text)

    with owned(tmp_path / "lock") as mine:
        mine.check()


def test_a_lock_whose_time_lies_in_the_future_is_given_up_after_the_term(elsewhere: pathlib.Path) -> None:
    future = elsewhere.stat().st_mtime + 1e6
    os.utime(elsewhere, (future, future))

    with refused(BusyError), owned(elsewhere):
        pytest.fail("two processes own the path")
    assert elsewhere.stat().st_mtime < future - 1e5  # it counts from now on
    last = elsewhere.stat().st_mtime - EXPIRY - 1
    os.utime(elsewhere, (last, last))

    with owned(elsewhere) as mine:
        mine.check()


@pytest.fixture
def without_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the file system have no locks, as some network file systems."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.usefixtures("without_flock")
def test_without_locks_of_the_file_system_the_lease_alone_keeps_two_owners_apart(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "main-p" / "lock"

    with owned(file) as first:
        with refused(BusyError), owned(file):
            pytest.fail("two owners")
        first.check()
    with owned(file) as second:
        second.check()
        with pytest.raises(BusyError):
            first.check()

    assert [place.name for place in file.parent.iterdir()] == ["lock"]


@pytest.mark.usefixtures("without_flock")
def test_without_locks_an_owner_of_this_machine_that_was_killed_is_given_up_after_the_term(
    tmp_path: pathlib.Path,
) -> None:
    file = tmp_path / "main-p" / "lock"
    file.parent.mkdir()
    file.write_text(json.dumps({"machine": lease.machine_id(), "host": "here", "process": 1, "token": "t"}))
    with refused(BusyError), owned(file):
        pytest.fail("two owners")

    last = file.stat().st_mtime - EXPIRY - 1
    os.utime(file, (last, last))

    with owned(file) as mine:
        mine.check()


@pytest.mark.usefixtures("without_flock")
def test_without_locks_processes_that_share_a_folder_wait_for_each_other(tmp_path: pathlib.Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(5):
            with locked(tmp_path):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == [1] * 15
    assert [file.name for file in tmp_path.iterdir()] == [".lock"]


@pytest.mark.usefixtures("without_flock")
def test_without_locks_a_folder_that_a_killed_process_held_is_taken_after_the_term(tmp_path: pathlib.Path) -> None:
    held = tmp_path / ".lock-held"
    held.mkdir()
    old = held.stat().st_mtime - STALE_SECONDS - 1
    os.utime(held, (old, old))

    with locked(tmp_path):
        assert held.exists()

    assert not held.exists()


@pytest.mark.usefixtures("without_flock")
def test_without_locks_a_ledger_is_written(tmp_path: pathlib.Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")

    ledger.append(RUN)
    ledger.append(RUN)

    assert ledger.runs() == [RUN]
