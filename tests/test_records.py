import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path as File
from typing import Any

import pytest

from lrpath import records
from lrpath.errors import BusyError, MismatchError, StateError
from lrpath.planning.lineage import content_id
from lrpath.planning.paths import Path, StateKey
from lrpath.planning.schedule import Schedule, constant
from lrpath.planning.streams import sequential
from lrpath.records import (
    MANIFEST,
    Ledger,
    PathFolder,
    Run,
    RunningCount,
    Study,
    Table,
    check_state,
    digest_file,
    read_json,
    read_manifest,
    settle,
    write_json,
    write_whole,
)
from tests.planning.strategies import RECIPE, increments_of, recipe_with

PATH = Path(
    name="switching.v1 α/β",
    recipe=RECIPE,
    schedule=Schedule(pieces=(constant(1.0),)),
    stream=sequential(increments_of(100)),
)
RUN = Run(
    id="run-1",
    path_id="p",
    name="main",
    begin=0,
    end=100,
    repeated=0,
    tokens=6400,
    flops=1e6,
    seconds=None,
    outcome="running",
    device="cpu",
    ranks=1,
)
NO_SPACE = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def started(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start another process that talks over its pipes."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def refuse_space(*_: object) -> None:
    raise NO_SPACE


def test_a_file_is_written_whole_and_leaves_nothing_beside(tmp_path: File) -> None:
    file = tmp_path / "new" / "file.txt"

    write_whole(file, "first")
    write_whole(file, "zwölf α\n")

    assert file.read_bytes() == "zwölf α\n".encode()
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside(
    tmp_path: File, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    file = tmp_path / "file.txt"
    write_whole(file, "old")
    if fails == "fsync":
        monkeypatch.setattr(os, "fsync", refuse_space)
    else:
        monkeypatch.setattr(File, "replace", refuse_space)

    with pytest.raises(OSError, match="No space left"):
        write_whole(file, "new")

    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_text_that_cannot_be_written_leaves_nothing(tmp_path: File) -> None:
    with pytest.raises(UnicodeEncodeError):
        write_whole(tmp_path / "file.txt", "whole lines\n\udc80")

    assert list(tmp_path.iterdir()) == []


def test_a_write_that_is_killed_leaves_the_old_file(tmp_path: File) -> None:
    file = tmp_path / "plan.json"
    write_json(file, {"old": True})
    code = """
import os, signal, sys
from pathlib import Path
from lrpath import records
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
records.write_json(Path(sys.argv[1]), {"new": True})
"""

    with started(code, file) as process:
        process.wait()

    assert process.returncode == -signal.SIGKILL
    assert read_json(file) == {"old": True}


def test_json_reads_back_equal(tmp_path: File) -> None:
    record = {"α": [1, 2.5, 1e-300, None, True, {"x": "y"}]}

    write_json(tmp_path / "a.json", record)

    assert read_json(tmp_path / "a.json") == record


def test_what_is_no_number_is_not_written(tmp_path: File) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))

    assert not (tmp_path / "a.json").exists()


NO_JSON = {
    "empty": b"",
    "torn": b'{"a": 1',
    "not text": b"\xff\xfe\x00",
    "deep": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "absurd number": b"1" * 10_000,
}


@pytest.mark.parametrize("content", NO_JSON.values(), ids=NO_JSON)
def test_what_is_no_json_is_refused(tmp_path: File, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)

    with pytest.raises(StateError, match=r"a\.json is not JSON .*; restore it from a copy or remove it"):
        read_json(tmp_path / "a.json")


def test_a_missing_json_file_is_named(tmp_path: File) -> None:
    with pytest.raises(StateError, match=r"a\.json is missing; restore it"):
        read_json(tmp_path / "a.json")


def test_a_digest_is_the_sha_256_of_all_blocks(tmp_path: File, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_BLOCK", 2)
    (tmp_path / "a").write_bytes(b"abc")

    # FIPS 180-2, appendix B.1
    assert digest_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def table_in(folder: File) -> Table:
    return Table(folder / "new" / "metrics.csv", columns=("position", "loss", "name"))


def test_rows_are_appended_below_one_header(tmp_path: File) -> None:
    table = table_in(tmp_path)

    table.append([(1, 0.5, "a"), (2, 0.25, "b")])
    table.append([])
    table.append([(3, 0.125, "c")])

    assert table.file.read_text() == "position,loss,name\n1,0.5,a\n2,0.25,b\n3,0.125,c\n"
    assert table.rows()[1] == {"position": "2", "loss": "0.25", "name": "b"}


def test_no_rows_make_no_file(tmp_path: File) -> None:
    table = table_in(tmp_path)

    table.append([])
    table.cut(5)

    assert table.rows() == []
    assert not table.file.parent.exists()


@pytest.mark.parametrize("loss", [0.1, 1 / 3, 1e-300, 5e-324, 1.7976931348623157e308, 2.0, -0.0])
def test_equal_floats_give_equal_text_that_reads_back_equal(tmp_path: File, loss: float) -> None:
    table = table_in(tmp_path)

    table.append([(1, loss, "a"), (2, float(repr(loss)), "a")])

    first, second = (row["loss"] for row in table.rows())
    assert first == second
    assert float(first).hex() == loss.hex()


@pytest.mark.parametrize(
    ("position", "kept"), [(0, []), (1, [1]), (2, [1, 2, 2]), (3, [1, 2, 2]), (4, [1, 2, 2, 4]), (9, [1, 2, 2, 4])]
)
def test_a_cut_keeps_the_rows_up_to_a_position(tmp_path: File, position: int, kept: list[int]) -> None:
    table = table_in(tmp_path)
    table.append([(1, 0.5, "a"), (2, 0.1, "a"), (2, 1 / 3, "b"), (4, 0.5, "a")])

    table.cut(position)

    assert [int(row["position"]) for row in table.rows()] == kept


def test_a_cut_may_keep_rows_at_later_positions(tmp_path: File) -> None:
    table = table_in(tmp_path)
    table.append([(position, 0.5, "a") for position in (1, 2, 3, 4)])

    table.cut(1, later={3})
    table.append([(2, 0.25, "b")])

    assert [(row["position"], row["name"]) for row in table.rows()] == [("1", "a"), ("2", "b"), ("3", "a")]


def test_a_cut_leaves_the_bytes_of_the_rows_it_keeps(tmp_path: File) -> None:
    table = table_in(tmp_path)
    table.append([(1, 1 / 3, "α")])
    before = table.file.read_bytes()
    table.append([(2, 0.1, "b")])

    table.cut(1)

    assert table.file.read_bytes() == before


def test_a_line_torn_anywhere_is_left_out_and_removed_by_a_cut(tmp_path: File) -> None:
    table = table_in(tmp_path)
    table.append([(1, 0.5, "a")])
    whole = table.file.read_bytes()
    table.append([(2, 0.25, "ü")])
    both = table.file.read_bytes()

    for length in range(len(whole), len(both)):
        table.file.write_bytes(both[:length])
        assert [row["position"] for row in table.rows()] == ["1"]
        table.cut(9)
        assert table.file.read_bytes() == whole


def test_a_torn_header_is_an_empty_table(tmp_path: File) -> None:
    table = table_in(tmp_path)
    table.append([(1, 0.5, "a")])
    table.file.write_text("position,lo")

    assert table.rows() == []
    table.cut(0)
    table.append([(1, 0.5, "a")])
    assert table.file.read_text() == "position,loss,name\n1,0.5,a\n"


def test_a_cut_that_fails_leaves_the_table_as_it_was(tmp_path: File, monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_in(tmp_path)
    table.append([(1, 0.5, "a"), (2, 0.25, "b")])
    before = table.file.read_bytes()
    monkeypatch.setattr(os, "fsync", refuse_space)

    with pytest.raises(OSError, match="No space left"):
        table.cut(1)

    assert table.file.read_bytes() == before
    assert list(table.file.parent.iterdir()) == [table.file]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("position,lr,name\n1,2,3\n", "has columns position,lr,name, not position,loss,name; restore or remove it"),
        ("position,loss,name\n1,0.5\n", "has a row with a wrong number of fields or no position"),
        ("position,loss,name\n1,0.5,a,b\n", "has a row with a wrong number of fields or no position"),
        ("position,loss,name\nx,0.5,a\n", "has a row with a wrong number of fields or no position"),
        ("position,loss,name\n-1,0.5,a\n", "has a row with a wrong number of fields or no position"),
        (b"position,loss,name\n1,0.5,\xff\n", "is not UTF-8 text"),
    ],
)
def test_an_altered_table_is_refused_and_not_cut(tmp_path: File, text: str | bytes, message: str) -> None:
    table = table_in(tmp_path)
    content = text if isinstance(text, bytes) else text.encode()
    table.file.parent.mkdir()
    table.file.write_bytes(content)

    with pytest.raises(StateError, match=message):
        table.rows()
    with pytest.raises(StateError, match=message):
        table.cut(0)
    assert table.file.read_bytes() == content


HOLD_THE_LOCK = """
import sys
from pathlib import Path
from lrpath.records import PathFolder
with PathFolder(Path(sys.argv[1])).lock():
    print("locked", flush=True)
    sys.stdin.readline()
print("free", flush=True)
"""


def test_a_path_belongs_to_one_process_until_that_dies(tmp_path: File) -> None:
    folder = PathFolder(tmp_path / "main-0123456789ab")

    with started(HOLD_THE_LOCK, folder.folder) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with (
            pytest.raises(BusyError, match=rf"path main-0123456789ab is being run by process {other.pid} on .*; wait"),
            folder.lock(),
        ):
            pytest.fail("two processes own the path")
        other.kill()
        other.wait()

    with folder.lock():
        assert (folder.folder / "lock").read_text().startswith(f"process {os.getpid()} on ")


def test_a_path_is_free_when_its_owner_has_finished(tmp_path: File) -> None:
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


def test_a_lock_is_given_back_when_its_block_raises(tmp_path: File) -> None:
    folder = PathFolder(tmp_path)

    with pytest.raises(KeyError), folder.lock():
        raise KeyError

    with folder.lock():
        pass


def save(folder: PathFolder, position: int, *, path_id: str = "p", files: dict[str, bytes] | None = None) -> File:
    """Write a state with small files."""
    place = folder.state(position)
    place.mkdir(parents=True)
    contents = {"model-1.safetensors": b"weights", "model-2.safetensors": b"moments"} if files is None else files
    for name, content in contents.items():
        (place / name).write_bytes(content)
    listed = {name: {"bytes": len(content), "sha256": digest_file(place / name)} for name, content in contents.items()}
    write_json(place / MANIFEST, {"format": 1, "path_id": path_id, "position": position, "files": listed})
    return place


def test_positions_are_those_of_whole_states(tmp_path: File) -> None:
    folder = PathFolder(tmp_path)
    assert folder.positions() == []

    for position in (20, 3, 1_000_000_000):
        save(folder, position)
    folder.state(7).mkdir()  # killed before its manifest was written
    save(folder, 9).rename(folder.folder / "states" / ".000000009.123")  # killed before its rename
    save(folder, 8).rename(folder.folder / "states" / "000000008 (copy)")
    save(folder, 6).rename(folder.folder / "states" / "6")

    assert folder.positions() == [3, 20, 1_000_000_000]


def test_clearing_removes_what_a_killed_save_left_and_nothing_else(tmp_path: File) -> None:
    folder = PathFolder(tmp_path)
    folder.clear_torn()
    save(folder, 3)
    (folder.state(7)).mkdir()
    (folder.state(7) / "model-1.safetensors").write_bytes(b"half")
    beside = folder.folder / "states" / ".000000009.123"
    beside.mkdir()
    (beside / "model-1.safetensors").write_bytes(b"half")
    (folder.folder / "states" / "notes.txt").write_text("by hand")
    save(folder, 8).rename(folder.folder / "states" / "000000008 (copy)")

    folder.clear_torn()

    left = sorted(file.name for file in (folder.folder / "states").iterdir())
    assert left == ["000000003", "000000008 (copy)", "notes.txt"]


def test_a_removed_state_is_gone(tmp_path: File) -> None:
    folder = PathFolder(tmp_path)
    save(folder, 3)
    save(folder, 5)

    folder.remove_state(3)
    folder.remove_state(4)  # not there

    assert folder.positions() == [5]
    assert not folder.state(3).exists()


def test_a_state_loses_its_manifest_before_its_files(tmp_path: File, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = PathFolder(tmp_path)
    place = save(folder, 3)
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)  # killed here

    folder.remove_state(3)

    assert sorted(file.name for file in place.iterdir()) == ["model-1.safetensors", "model-2.safetensors"]
    assert folder.positions() == []


def test_a_path_s_events_lie_in_its_folder(tmp_path: File) -> None:
    assert PathFolder(tmp_path).tensorboard == tmp_path / "tb"


def test_a_run_is_in_the_ledger_once(tmp_path: File) -> None:
    ledger = Ledger(tmp_path / "new" / "ledger.jsonl")
    assert ledger.runs() == []
    other = replace(RUN, id="run-2", begin=100, end=150, seconds=1.5, flops=0.1)

    for run in (RUN, other, RUN, replace(other, end=151)):
        ledger.append(run)

    assert ledger.runs() == [RUN, other]
    assert [run.updates for run in ledger.runs()] == [100, 50]


def test_a_line_torn_anywhere_is_no_run_and_the_next_takes_its_place(tmp_path: File) -> None:
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
def test_a_garbage_line_in_the_ledger_is_refused(tmp_path: File, line: str) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append(RUN)
    with ledger.file.open("a") as handle:
        handle.write(line + "\n")
    before = ledger.file.read_bytes()

    with pytest.raises(StateError, match=r"ledger\.jsonl:2 is no ledger line .*; restore it from a copy"):
        ledger.runs()
    with pytest.raises(StateError, match="is no ledger line"):
        ledger.append(replace(RUN, id="run-2"))
    assert ledger.file.read_bytes() == before


def test_a_ledger_is_locked_from_its_reading_to_its_writing(tmp_path: File, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    tried = []

    def runs_while_another_appends(_: Ledger) -> list[Run]:
        with ledger.file.open("ab") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        tried.append(ledger)
        return []

    monkeypatch.setattr(Ledger, "runs", runs_while_another_appends)
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
from lrpath.records import Ledger, PathFolder, Run, RunningCount
folder, ledger = PathFolder(Path(sys.argv[1])), Ledger(Path(sys.argv[2]))
run = Run(**json.loads(sys.argv[3]))
with RunningCount(folder, ledger=ledger, run=run) as count:
    for position in range(run.begin + 1, int(sys.argv[4]) + 1):
        count.reach(position)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def place(tmp_path: File) -> tuple[PathFolder, Ledger]:
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


@pytest.mark.parametrize("text", [None, "", "torn\x00", "-5"])
def test_a_lost_counter_counts_nothing(place: tuple[PathFolder, Ledger], text: str | None) -> None:
    folder, ledger = place
    killed(place, "first", begin=0, reached=10)
    if text is None:
        (folder.folder / "reached").unlink()
    else:
        (folder.folder / "reached").write_text(text)

    settle(folder.folder, ledger=ledger)

    assert ledger.runs() == []


def test_updates_of_other_paths_are_no_repetition(place: tuple[PathFolder, Ledger]) -> None:
    folder, ledger = place
    ledger.append(replace(RUN, id="elsewhere", path_id="q"))

    counted(folder, ledger, RUN, to=100)

    assert [run.repeated for run in ledger.runs()] == [0, 0]


def test_a_study_keeps_plans_in_the_order_in_which_they_came(tmp_path: File) -> None:
    study = Study(tmp_path / "july")
    assert study.plans() == {}

    first, second = ({"number": 1}, {"number": 2})
    for age, record in enumerate((first, second)):
        study.save_plan(record)
        os.utime(study.folder / "plans" / f"{content_id(record)}.json", ns=(age, age))
    study.save_plan(first)  # is there already, and keeps its age
    (study.folder / "plans" / ".c.json.12").write_text("{")  # left by a kill

    assert list(study.plans().items()) == [(content_id(first), first), (content_id(second), second)]
    assert study.name == "july"
    assert study.report == study.folder / "report"


def test_a_torn_plan_is_refused(tmp_path: File) -> None:
    study = Study(tmp_path)
    study.save_plan({"number": 1})
    file = next((tmp_path / "plans").iterdir())
    file.write_text('{"num')

    with pytest.raises(StateError, match=rf"{file.name} is not JSON"):
        study.plans()


def test_a_plan_whose_needs_were_altered_is_refused(tmp_path: File) -> None:
    study = Study(tmp_path)
    study.save_plan({"states": [["abc", 1]]})
    file = next((tmp_path / "plans").iterdir())
    file.write_text('{"states": []}')

    with pytest.raises(StateError, match=rf"{file.name} was altered: its content is not that of plan"):
        study.plans()


def test_a_path_s_folder_has_a_plain_name_and_is_found_by_id(tmp_path: File) -> None:
    study = Study(tmp_path)
    assert study.find(PATH.id) is None

    folder = study.open(PATH)

    assert folder.folder == tmp_path / "paths" / f"switching.v1_-{PATH.id}"
    assert read_json(folder.folder / "path.json") == {"id": PATH.id, "name": PATH.name, "identity": PATH.identity()}
    for again in (study.open(PATH), study.open(replace(PATH, name="another label")), study.find(PATH.id)):
        assert again is not None
        assert again.folder == folder.folder


def test_a_path_that_is_extended_opens_its_own_folder(tmp_path: File) -> None:
    study = Study(tmp_path)
    longer = replace(PATH, stream=sequential(increments_of(100, 100)))

    assert study.open(PATH).folder == study.open(longer).folder


def test_a_recipe_with_tuples_opens_its_own_folder(tmp_path: File) -> None:
    path = replace(PATH, recipe=recipe_with(model={"sizes": (1, 2)}))
    study = Study(tmp_path)

    assert study.open(path).folder == study.open(path).folder


def test_a_folder_made_for_another_path_is_refused_field_by_field(tmp_path: File) -> None:
    study = Study(tmp_path)
    file = study.open(PATH).folder / "path.json"
    other = replace(PATH, recipe=recipe_with(seed=7, weight_decay=0.0))
    write_json(file, read_json(file) | {"identity": other.identity()})

    with pytest.raises(
        MismatchError,
        match=r"made for another path \(recipe\.optimizer\.weight_decay: 0\.0 → 0\.1; recipe\.seed: 7 → 0\); restore",
    ):
        study.open(PATH)


@pytest.mark.parametrize("record", [[], None, {}, {"identity": None}, "x"])
def test_a_folder_whose_identity_was_lost_is_refused(tmp_path: File, record: Any) -> None:
    study = Study(tmp_path)
    write_json(study.open(PATH).folder / "path.json", record)

    with pytest.raises(MismatchError, match="was made for another path"):
        study.open(PATH)


def test_a_study_has_a_state_when_it_is_whole(tmp_path: File) -> None:
    study = Study(tmp_path)
    key = StateKey(PATH.id, 30)
    assert not study.has_state(key)

    place = save(study.open(PATH), 30)
    assert study.has_state(key)
    assert not study.has_state(StateKey(PATH.id, 31))

    (place / MANIFEST).unlink()
    assert not study.has_state(key)


KEY = StateKey("p", 30)


@pytest.fixture
def state(tmp_path: File) -> File:
    """Return the folder of a whole state."""
    return save(PathFolder(tmp_path), KEY.position)


def rewrite(state: File, change: Callable[[Any], Any]) -> None:
    """Write the manifest anew after a change, in place or by the value returned."""
    record = json.loads((state / MANIFEST).read_text())
    changed = change(record)
    (state / MANIFEST).write_text(json.dumps(record if changed is None else changed))


def test_a_whole_state_passes(state: File) -> None:
    manifest = check_state(state, key=KEY)

    assert manifest == read_manifest(state)
    assert sorted(manifest["files"]) == ["model-1.safetensors", "model-2.safetensors"]


FILES = ("model-1.safetensors", "model-2.safetensors")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(state: File, name: str) -> None:
    (state / name).unlink()

    with pytest.raises(StateError, match=rf"{name} missing or not listed in state\.json; remove .* run the plan again"):
        check_state(state, key=KEY)


@pytest.mark.parametrize("name", ["extra.safetensors", "model-3.safetensors", "config.pkl", ".hidden"])
def test_an_extra_file_is_named(state: File, name: str) -> None:
    (state / name).write_bytes(b"")

    with pytest.raises(StateError, match=f"{name} missing or not listed"):
        check_state(state, key=KEY)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("length", [0, 6, 8])
def test_a_file_of_another_size_is_named(state: File, name: str, length: int) -> None:
    content = (state / name).read_bytes()
    (state / name).write_bytes((content * 2)[:length])

    with pytest.raises(StateError, match=rf"{name} has {length} bytes, state\.json says 7; remove"):
        check_state(state, key=KEY)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("at", range(7))
def test_an_altered_byte_is_found_in_each_file(state: File, name: str, at: int) -> None:
    content = bytearray((state / name).read_bytes())
    content[at] ^= 1
    (state / name).write_bytes(content)

    with pytest.raises(StateError, match=rf"{name} was altered: its SHA-256 is not the one in state\.json"):
        check_state(state, key=KEY)


@pytest.mark.parametrize("key", [StateKey("p", 31), StateKey("q", 30)])
def test_a_state_of_another_position_or_path_is_refused(state: File, key: StateKey) -> None:
    with pytest.raises(StateError, match=rf"says it is state \('p', 30\), not \({key.path_id}, {key.position}\)"):
        check_state(state, key=key)


def test_a_folder_without_manifest_holds_no_state(state: File, tmp_path: File) -> None:
    (state / MANIFEST).unlink()

    for folder in (state, tmp_path / "nowhere"):
        with pytest.raises(StateError, match=rf"{folder.name} holds no whole state \(state\.json is missing\)"):
            check_state(folder, key=KEY)


@pytest.mark.parametrize("content", NO_JSON.values(), ids=NO_JSON)
def test_a_manifest_that_is_no_json_is_refused(state: File, content: bytes) -> None:
    (state / MANIFEST).write_bytes(content)

    with pytest.raises(StateError, match=r"state\.json is not JSON"):
        check_state(state, key=KEY)


ENTRY = {"bytes": 7, "sha256": "0" * 64}


@pytest.mark.parametrize(
    "manifest",
    [
        [],
        "state",
        None,
        {},
        {"format": 1},
        {"files": {}},
        {"format": 1, "files": []},
        {"format": 1, "files": {"a": None}},
        {"format": 1, "files": {"a": []}},
        {"format": 1, "files": {"a": {}}},
        {"format": 1, "files": {"a": ENTRY | {"bytes": "7"}}},
        {"format": 1, "files": {"a": ENTRY | {"bytes": 7.0}}},
        {"format": 1, "files": {"a": ENTRY | {"bytes": True}}},
        {"format": 1, "files": {"a": ENTRY | {"bytes": float("inf")}}},
        {"format": 1, "files": {"a": {"bytes": 7}}},
        {"format": 1, "files": {"a": ENTRY | {"sha256": 7}}},
    ],
)
def test_what_is_no_manifest_is_refused(state: File, manifest: Any) -> None:
    rewrite(state, lambda _: manifest if manifest is not None else 0)

    with pytest.raises(StateError, match=r"state\.json is no state manifest; remove the folder and run the plan again"):
        check_state(state, key=KEY)


@pytest.mark.parametrize("manifest", [{"format": 2, "shards": []}, {"format": None, "files": {}}])
def test_another_format_is_refused_and_not_to_be_removed(state: File, manifest: Any) -> None:
    rewrite(state, lambda _: manifest)

    with pytest.raises(StateError, match=rf"has state format {manifest['format']}; this lrpath reads 1$"):
        check_state(state, key=KEY)


@pytest.mark.parametrize("size", [-1, 0, 8, 10**30])
def test_an_absurd_size_is_refused(state: File, size: int) -> None:
    rewrite(state, lambda record: record["files"]["model-1.safetensors"].update(bytes=size))

    with pytest.raises(StateError, match=rf"has 7 bytes, state\.json says {size:,}"):
        check_state(state, key=KEY)


@pytest.mark.parametrize(
    "form", ["../outside", "../../outside", "{root}/outside", "./model-3", "a/b", "..", ".", "", "~"]
)
def test_a_name_that_climbs_out_is_never_followed(
    state: File, tmp_path: File, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = form.format(root=tmp_path)
    for folder in (tmp_path, state.parent, state.parent.parent):
        (folder / "outside").write_bytes(b"weights")
    entry = {"bytes": 7, "sha256": digest_file(state / "model-1.safetensors")}
    rewrite(state, lambda record: record["files"].update({name: entry}))
    opened: list[File] = []
    monkeypatch.setattr(records, "digest_file", opened.append)

    with pytest.raises(StateError, match=r"missing or not listed in state\.json"):
        check_state(state, key=KEY)
    assert opened == []


def test_the_manifest_cannot_list_itself(state: File) -> None:
    rewrite(state, lambda record: record["files"].update({MANIFEST: ENTRY}))

    with pytest.raises(StateError, match=r"state\.json missing or not listed"):
        check_state(state, key=KEY)


def test_a_link_folder_or_pipe_in_place_of_a_file_is_refused(state: File, tmp_path: File) -> None:
    name = state / "model-1.safetensors"
    name.rename(tmp_path / "outside")
    substitutes: list[Callable[[], None]] = [
        lambda: name.symlink_to(tmp_path / "outside"),
        lambda: name.symlink_to(tmp_path / "nowhere"),
        lambda: os.mkfifo(name),
        name.mkdir,
    ]

    for number, substitute in enumerate(substitutes):
        substitute()
        with pytest.raises(StateError, match=r"model-1\.safetensors is a link, folder or device, not a file; remove"):
            check_state(state, key=KEY)
        name.rename(tmp_path / f"used-{number}")
