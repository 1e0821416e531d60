import contextlib
import fcntl
import json
import pathlib
import signal
from dataclasses import asdict, replace

import pytest

from lrpath.errors import StateError
from lrpath.records.ledger import Ledger, Run, RunningCount, reached, settle, unsettled
from lrpath.records.path_folder import PathFolder
from tests.records.lab import RUN, started
from tests.refusals import refused


def test_a_run_is_in_the_ledger_once(tmp_path: pathlib.Path) -> None:
    ledger = Ledger(tmp_path / "new" / "ledger.jsonl")
    assert ledger.runs() == []
    other = replace(RUN, id="run-2", begin=100, end=150, seconds=1.5, flops=0.1)

    for run in (RUN, other, RUN, replace(other, end=151)):
        ledger.append(run)

    assert ledger.runs() == [RUN, other]
    assert [run.updates for run in ledger.runs()] == [100, 50]


@pytest.mark.parametrize("later", [("memory_bytes",), ("memory_bytes", "skipped")])
def test_a_ledger_of_an_lrpath_without_later_fields_is_read(tmp_path: pathlib.Path, later: tuple[str, ...]) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    record = {name: value for name, value in asdict(RUN).items() if name not in later}
    ledger.file.write_text(json.dumps(record) + "\n")

    assert ledger.runs() == [RUN]


def test_skipped_updates_are_counted_once_and_only_where_the_run_was(place: tuple[PathFolder, Ledger]) -> None:
    folder, ledger = place
    rows = [(9, 3), (12, 10), (13, 11), (31, 29)]
    folder.guard.append((position, first, "rewind", "loss", "inf", "nan", 1.0) for position, first in rows)

    counted(folder, ledger, replace(RUN, begin=5), to=30)

    assert [run.skipped for run in ledger.runs()] == [4 + 4 + 2]


def test_a_row_of_the_guard_without_a_first_position_is_refused(place: tuple[PathFolder, Ledger]) -> None:
    folder, _ = place
    folder.guard.append([(9, "", "skip", "loss", "inf", "nan", 1.0)])

    with refused(StateError):
        folder.skipped()


def test_a_line_torn_anywhere_is_no_run_and_the_next_takes_its_place(tmp_path: pathlib.Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    other = replace(RUN, id="run-2", name="α")
    ledger.append(RUN)
    whole = len(ledger.file.read_bytes())
    ledger.append(other)
    both = ledger.file.read_bytes()

    for length in (whole, whole + 1, whole + 40, len(both) - 2, len(both) - 1):
        ledger.file.write_bytes(both[:length])
        assert ledger.runs() == [RUN]
        ledger.append(other)
        assert ledger.file.read_bytes() == both


@pytest.mark.parametrize(
    "line", ["garbage", "[]", "7", "{}", '{"id": 1}', "", "[" * 100_000, '{"id": "x", "color": "red"}']
)
def test_a_garbage_line_in_the_ledger_is_refused(tmp_path: pathlib.Path, line: str) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append(RUN)
    with ledger.file.open("a") as handle:
        handle.write(line + "\n")
    before = ledger.file.read_bytes()

    with refused(StateError):
        ledger.runs()
    with refused(StateError):
        ledger.append(replace(RUN, id="run-2"))
    assert ledger.file.read_bytes() == before


def test_a_ledger_is_locked_from_its_reading_to_its_writing(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    tried = []

    def read_while_another_appends(*_: object) -> list[Run]:
        with ledger.file.open("ab") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        tried.append(ledger)
        return []

    monkeypatch.setattr(Ledger, "_read", read_while_another_appends)
    ledger.append(RUN)

    assert tried == [ledger]


def counted(folder: PathFolder, ledger: Ledger, run: Run, *, to: int, error: type[BaseException] | None = None) -> None:
    """Count the updates of a run up to a position, and raise there if told."""
    with RunningCount(folder, ledger=ledger, run=run) as count:
        for position in range(run.begin + 1, to + 1):
            count.reach(position)
        if error is not None:
            raise error


KILL_AT = """
import json, os, signal, sys
from pathlib import Path
from lrpath.records.ledger import Ledger, Run, RunningCount
from lrpath.records.path_folder import PathFolder
folder, ledger = PathFolder(Path(sys.argv[1])), Ledger(Path(sys.argv[2]))
run = Run(**json.loads(sys.argv[3]))
with RunningCount(folder, ledger=ledger, run=run) as count:
    for position in range(run.begin + 1, int(sys.argv[4]) + 1):
        count.reach(position)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def place(tmp_path: pathlib.Path) -> tuple[PathFolder, Ledger]:
    folder = PathFolder(tmp_path / "main-p")
    folder.folder.mkdir()
    return folder, Ledger(tmp_path / "ledger.jsonl")


def killed(place: tuple[PathFolder, Ledger], name: str, *, begin: int, reached: int) -> None:
    """Run some updates in a process that kills itself."""
    updates = RUN.end - begin
    run = replace(RUN, id=name, begin=begin, tokens=64 * updates, flops=1e4 * updates)
    with started(KILL_AT, place[0].folder, place[1].file, json.dumps(asdict(run)), reached) as process:
        process.wait()
    assert process.returncode == -signal.SIGKILL


def test_a_run_that_is_done_is_counted_as_planned(place: tuple[PathFolder, Ledger]) -> None:
    folder, ledger = place

    counted(folder, ledger, RUN, to=100)

    (run,) = ledger.runs()
    assert replace(run, seconds=None) == replace(RUN, outcome="done")
    assert run.seconds is not None
    assert run.seconds >= 0
    assert not (folder.folder / "running.json").exists()


def test_a_run_that_raises_is_counted_to_the_last_update(place: tuple[PathFolder, Ledger]) -> None:
    folder, ledger = place

    with pytest.raises(KeyboardInterrupt):
        counted(folder, ledger, RUN, to=2, error=KeyboardInterrupt)

    assert ledger.runs() == [replace(RUN, end=2, tokens=128, flops=2e4, outcome="stopped")]


def test_a_run_that_made_no_update_is_not_counted(place: tuple[PathFolder, Ledger]) -> None:
    folder, ledger = place

    counted(folder, ledger, RUN, to=0)

    assert ledger.runs() == []
    assert not (folder.folder / "running.json").exists()


def test_a_killed_run_is_counted_to_the_last_update_and_the_next_run_repeats_some(
    place: tuple[PathFolder, Ledger],
) -> None:
    folder, ledger = place

    killed(place, "first", begin=0, reached=57)
    assert ledger.runs() == []
    settle(folder.folder, ledger=ledger)
    killed(place, "second", begin=50, reached=53)  # from a state at 50
    settle(folder.folder, ledger=ledger)
    counted(folder, ledger, replace(RUN, id="third", begin=50, tokens=3200, flops=5e5), to=100)

    rows = [(run.id, run.begin, run.end, run.repeated, run.tokens, run.flops, run.outcome) for run in ledger.runs()]
    assert rows == [
        ("first", 0, 57, 0, 57 * 64, 57e4, "killed"),
        ("second", 50, 53, 3, 3 * 64, 3e4, "killed"),
        ("third", 50, 100, 7, 50 * 64, 50e4, "done"),
    ]
    assert [run.seconds for run in ledger.runs()][:2] == [None, None]
    assert sum(run.updates - run.repeated for run in ledger.runs()) == 100


def test_a_killed_run_is_counted_by_the_next_if_nobody_settled_it(place: tuple[PathFolder, Ledger]) -> None:
    folder, ledger = place

    killed(place, "first", begin=0, reached=10)
    counted(folder, ledger, replace(RUN, id="second"), to=100)

    assert [(run.id, run.updates, run.repeated) for run in ledger.runs()] == [("first", 10, 0), ("second", 100, 10)]


def test_a_run_killed_before_its_first_update_is_not_counted(place: tuple[PathFolder, Ledger]) -> None:
    folder, ledger = place

    killed(place, "first", begin=50, reached=50)
    settle(folder.folder, ledger=ledger)

    assert ledger.runs() == []
    assert not (folder.folder / "running.json").exists()


def test_settling_twice_counts_once(place: tuple[PathFolder, Ledger]) -> None:
    folder, ledger = place
    killed(place, "first", begin=0, reached=10)
    note = (folder.folder / "running.json").read_bytes()

    settle(folder.folder, ledger=ledger)
    (folder.folder / "running.json").write_bytes(note)  # killed between the ledger's line and the note's removal
    settle(folder.folder, ledger=ledger)
    settle(folder.folder, ledger=ledger)

    assert [(run.id, run.end, run.repeated) for run in ledger.runs()] == [("first", 10, 0)]


@pytest.mark.parametrize("text", [None, "", "torn\x00", "-5", "9" * 19, "²"])
def test_a_lost_counter_counts_nothing(place: tuple[PathFolder, Ledger], text: str | None) -> None:
    folder, ledger = place
    killed(place, "first", begin=0, reached=10)
    if text is None:
        (folder.folder / "reached").unlink()
    else:
        (folder.folder / "reached").write_text(text)

    settle(folder.folder, ledger=ledger)

    assert ledger.runs() == []


@pytest.mark.parametrize("text", ["9" * 18, "101"])
def test_a_counter_beyond_the_end_of_its_run_is_refused(place: tuple[PathFolder, Ledger], text: str) -> None:
    folder, ledger = place
    killed(place, "first", begin=0, reached=10)
    (folder.folder / "reached").write_text(text)

    with refused(StateError):
        settle(folder.folder, ledger=ledger)


def test_updates_of_other_paths_are_no_repetition(place: tuple[PathFolder, Ledger]) -> None:
    folder, ledger = place
    ledger.append(replace(RUN, id="elsewhere", path_id="q"))

    counted(folder, ledger, RUN, to=100)

    assert [run.repeated for run in ledger.runs()] == [0, 0]


def test_a_run_that_is_not_in_the_ledger_yet_is_counted_without_being_settled(tmp_path: pathlib.Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append(replace(RUN, end=30))
    (tmp_path / "running.json").write_text(json.dumps(asdict(replace(RUN, id="run-2", begin=20))))
    (tmp_path / "reached").write_text("60\n")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    run = unsettled(tmp_path, ledger=ledger)

    assert run is not None
    assert (run.begin, run.end, run.repeated, run.tokens, run.outcome) == (20, 60, 10, 3200, "running")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    settle(tmp_path, ledger=ledger)
    assert ledger.runs()[-1] == replace(run, outcome="killed")
    assert unsettled(tmp_path, ledger=ledger) is None


def test_a_count_that_is_no_run_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "running.json").write_text("{}")

    with refused(StateError):
        settle(tmp_path, ledger=Ledger(tmp_path / "ledger.jsonl"))


@pytest.mark.parametrize(
    "field", ["path_id", "name", "begin", "end", "repeated", "tokens", "seconds", "outcome", "ranks"]
)
@pytest.mark.parametrize("value", [[], {}, True, 10**40, float("nan"), -5])
def test_a_hostile_field_of_a_run_is_refused_wherever_it_is_read(
    tmp_path: pathlib.Path, field: str, value: object
) -> None:
    record = json.dumps(asdict(RUN) | {field: value})
    (tmp_path / "ledger.jsonl").write_text(record + "\n")
    (tmp_path / "running.json").write_text(record)

    with refused(StateError):
        Ledger(tmp_path / "ledger.jsonl").runs()
    with refused(StateError):
        settle(tmp_path, ledger=Ledger(tmp_path / "other.jsonl"))


def test_an_owner_that_was_taken_over_does_not_book_the_new_owner_s_run(tmp_path: pathlib.Path) -> None:
    folder, ledger = PathFolder(tmp_path / "main-p"), Ledger(tmp_path / "ledger.jsonl")
    folder.folder.mkdir()

    with contextlib.ExitStack() as new_owner:
        with RunningCount(folder, ledger=ledger, run=RUN) as old:
            old.reach(10)
            new = RunningCount(folder, ledger=ledger, run=replace(RUN, id="run-2", begin=10))
            new_owner.enter_context(new)
            new.reach(20)
            old.reach(15)  # counts into a file that nobody reads any more
        assert reached(folder) == 20
        new.reach(30)

    runs = ledger.runs()
    assert [(run.id, run.end, run.outcome) for run in runs] == [("run-1", 10, "killed"), ("run-2", 30, "done")]
