"""What stops a run without killing it: an interrupt, a full disk, a loss that is not finite. Nothing saved is lost."""

import errno
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from lrpath.errors import StoppedError, TrainingError
from lrpath.planning.paths import StateKey
from lrpath.records import files
from lrpath.records.ledger import RunningCount
from lrpath.records.manifest import check_state
from lrpath.records.study import Study
from lrpath.training.checkpoints import states
from lrpath.training.distributed.signals import STOPPING
from tests.integration.lab import Lab, states_of, tables_of
from tests.refusals import refused

pytestmark = pytest.mark.slow


def check_all_states(study: Study) -> None:
    """Check everything that counts as a state."""
    for file in (study.folder / "paths").glob("*/states/*/state.json"):
        key = StateKey(file.parents[2].name.split("-")[-1], int(file.parent.name))
        check_state(file.parent, key=key)


def test_an_interrupted_or_terminated_run_says_how_to_go_on_and_goes_on(lab: Lab, undisturbed: Study) -> None:
    # the 15th count is position 6 of the second run of the main path, which stops with the next update;
    # neither 7 nor 11 is a fork or a multiple of save_every, so their states are there for the signals alone
    ended = lab.train("study=stopped", moments=("interrupt:15", "terminate:4", "end"))

    assert ended.codes == [75, 75, 0], ended.err
    assert "error: path_switching.main was stopped at position 7 of 14 by SIGINT; its state is saved: run" in ended.err
    assert "error: path_switching.main was stopped at position 11 of 14 by SIGTERM; its state is saved" in ended.err
    assert ended.err.count("run the same command again") == 2
    assert "Traceback" not in ended.err
    stopped = [run for run in lab.study("stopped").ledger.runs() if run.outcome != "done"]
    assert {run.outcome for run in stopped} == {"stopped"}
    assert [(run.begin, run.end, run.repeated) for run in stopped] == [(4, 7, 0), (7, 11, 0)]
    assert states_of(lab.study("stopped")) == states_of(undisturbed)
    assert tables_of(lab.study("stopped")) == tables_of(undisturbed)


def interrupt_at(position: int, monkeypatch: pytest.MonkeyPatch, *, times: int = 1) -> None:
    """Let this process be sent interrupts when the first path has counted to a position."""
    reach = RunningCount.reach

    def interrupt(count: RunningCount, reached: int) -> None:
        reach(count, reached)
        for _ in range(times if reached == position else 0):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(RunningCount, "reach", interrupt)


def test_an_interrupt_leaves_the_handlers_of_signals_as_they_were(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    handlers = {number: signal.getsignal(number) for number in STOPPING}
    interrupt_at(1, monkeypatch)

    with refused(StoppedError):
        lab.run()

    assert {number: signal.getsignal(number) for number in handlers} == handlers
    (main,) = lab.study().folders()
    assert main.positions() == [2]


def test_a_second_interrupt_does_not_wait_for_the_state(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_at(1, monkeypatch, times=2)

    with refused(StoppedError):
        lab.run()

    (main,) = lab.study().folders()
    assert main.positions() == []
    assert [(run.end, run.outcome) for run in lab.study().ledger.runs()] == [(1, "stopped")]


def test_an_interrupt_in_the_last_update_of_a_path_keeps_the_next_from_beginning(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_at(4, monkeypatch)

    with refused(StoppedError):
        lab.run()

    assert [(run.end, run.outcome) for run in lab.study().ledger.runs()] == [(4, "done")]


@pytest.fixture(scope="module")
def undisturbed(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Return the small study, made by one run."""
    lab = Lab(folder=tmp_path_factory.mktemp("whole"), texts=corpus / "texts", stores=corpus / "stores")
    lab.run()
    return lab.study()


@pytest.mark.parametrize("writes", [1, 9, 23, 61])
def test_a_full_disk_is_explained_and_loses_no_state(
    lab: Lab, undisturbed: Study, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    runner = lab.runner()
    flush, calls = os.fsync, itertools.count()

    def fsync(handle: int) -> None:
        # Not those of the threads that flush rows: how many they are depends on how fast the disk is.
        if not threading.current_thread().name.startswith("flush") and next(calls) >= writes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(handle)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fsync)
        with refused(TrainingError):
            runner.run()
    check_all_states(lab.study())
    lab.run()

    assert states_of(lab.study()) == states_of(undisturbed)
    assert tables_of(lab.study()) == tables_of(undisturbed)


def test_the_rows_up_to_a_state_are_on_the_disk_before_it_is(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    flush, move, on_disk, published = files.flush_file, states.move_into_place, dict[str, str](), []

    def flush_and_note(file: Path) -> None:
        text = file.read_text() if file.suffix == ".csv" else ""
        flush(file)
        on_disk[str(file)] = text

    def move_and_compare(temporary: Path, place: Path) -> None:
        manifest = json.loads((temporary / "state.json").read_text())
        lines = on_disk[str(place.parents[1] / "metrics.csv")].splitlines(keepends=True)[1:]
        rows = manifest["tables"]["metrics"]["rows"]
        published.append(sha256("".join(lines[:rows]).encode()).hexdigest() == manifest["tables"]["metrics"]["sha256"])
        move(temporary, place)

    monkeypatch.setattr("lrpath.records.flush_behind.flush_file", flush_and_note)
    monkeypatch.setattr(states, "move_into_place", move_and_compare)
    lab.run()

    assert published
    assert all(published)


def test_rows_that_the_disk_has_not_taken_end_the_run_before_their_state(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr("lrpath.records.flush_behind.flush_file", refuse)
        with refused(TrainingError):
            lab.run()

    assert not list((lab.study().folder / "paths").glob("*/states/*"))


@pytest.mark.parametrize("log_every", [1, 4])
def test_a_loss_that_is_not_finite_stops_the_run_and_no_state_from_there_on_is_saved(lab: Lab, log_every: int) -> None:
    absurd = ("paradigm=[rewarm]", "paradigms.rewarm.rewarm_peak=1e6", f"cadence.log_every={log_every}")
    message = r"rewarm\.v2: .* at position (\d+) is not finite; no state from there on .* Lower the peak rate"

    with refused(TrainingError, stable=False) as first:  # the sentence holds a loss
        lab.run(*absurd)
    states = states_of(lab.study())
    with refused(TrainingError, stable=False) as second:
        lab.run(*absurd)

    position = int(re.search(message, str(first.value))[1])
    first_path, second_path = lab.project(*absurd).plan.tree.paths
    folder = lab.study().find(second_path.id)
    assert folder is not None
    assert [row.position for row in folder.metrics.rows()] == list(range(11, position))
    check_all_states(lab.study())
    assert (first_path.id, 10) in states
    assert all(saved < position for _, saved in states)
    assert str(second.value) == str(first.value)
    assert states_of(lab.study()) == states


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of its own; the test is left out where that is not allowed."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as handle:
        while True:
            handle.write(bytes(4096))


def test_a_disk_that_is_really_full_is_explained_and_the_same_command_goes_on_when_there_is_space(
    lab: Lab, undisturbed: Study, small_disk: Path
) -> None:
    changes, ballast = (f"outputs={small_disk}", "study=full"), small_disk / "ballast"

    filling = lab.start(*changes, moments=("wait:9",))
    assert filling.stdout is not None
    while "waiting" not in (line := filling.stdout.readline()):
        assert line, filling.communicate()[1]  # or the process has ended
    with pytest.raises(OSError, match="No space left"):
        fill(ballast)
    out, err = filling.communicate()
    check_all_states(Study(small_disk / "full"))
    made = len(states_of(Study(small_disk / "full")))
    again = lab.train(*changes)
    ballast.unlink()
    freed = lab.train(*changes)

    assert out.endswith("[4]\n"), err
    assert "error: the disk is full" in err
    assert "Traceback" not in err
    assert made > 0
    assert again.code == 4, again.err
    assert "error:" in again.err
    assert "updates were run" not in again.out + again.err  # refused before the first
    assert freed.code == 0, freed.err
    assert states_of(Study(small_disk / "full")) == states_of(undisturbed)
    assert tables_of(Study(small_disk / "full")) == tables_of(undisturbed)
