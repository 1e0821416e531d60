import os
import pathlib
import threading
from typing import NamedTuple

import pytest

from lrpath.errors import StateError
from lrpath.records import tables
from lrpath.records.rows import EvaluationRow, MetricsRow
from lrpath.records.tables import Table
from tests.records.lab import refuse_space
from tests.refusals import refused


class NamedRow(NamedTuple):
    position: int
    loss: float
    name: str


def table_in(folder: pathlib.Path) -> Table[NamedRow]:
    return Table(folder / "new" / "metrics.csv", NamedRow)


def test_rows_are_appended_below_one_header(tmp_path: pathlib.Path) -> None:
    table = table_in(tmp_path)

    table.append([NamedRow(1, 0.5, "a"), NamedRow(2, 0.25, "b")])
    table.append([])
    table.append([NamedRow(3, 0.125, "c")])

    assert table.file.read_text() == "position,loss,name\n1,0.5,a\n2,0.25,b\n3,0.125,c\n"
    assert table.rows()[1] == NamedRow(2, 0.25, "b")


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("position,loss,name\n1,0.5,a\n", "position,loss,name\n1,0.5,a\n"),  # the other ends before this one wakes up
        ("", ""),  # the other has cut it down to nothing
    ],
    ids=["rows of another", "nothing"],
)
def test_a_row_of_an_owner_that_stood_still_before_it_wrote_is_taken_back(
    tmp_path: pathlib.Path, written: str, kept: str
) -> None:
    file = tmp_path / "metrics.csv"
    checks = []

    def check() -> None:
        checks.append(None)
        if len(checks) == 1:
            file.write_text(written)  # it stands still here, and wakes up to write
        else:
            raise StateError("the path is another's")

    with pytest.raises(StateError):
        Table(file, NamedRow, check=check).append([NamedRow(1, 0.5, "a")])

    assert file.read_text() == kept


def test_what_another_has_appended_behind_a_late_row_stays(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "metrics.csv"
    checks = []

    def check() -> None:
        checks.append(None)
        if len(checks) > 1:
            with file.open("a") as other:
                other.write("2,0.25,b\n")
            raise StateError("the path is another's")

    with pytest.raises(StateError):
        Table(file, NamedRow, check=check).append([NamedRow(1, 0.5, "a")])

    assert file.read_text().endswith("2,0.25,b\n")


def test_a_table_goes_on_while_its_rows_are_flushed_and_can_wait_for_them(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Table(tmp_path / "metrics.csv", NamedRow, behind=True)
    may_flush, flushed = threading.Event(), list[int]()

    def flush_when_told(file: pathlib.Path) -> None:
        assert may_flush.wait(60)
        flushed.append(file.stat().st_size)

    monkeypatch.setattr("lrpath.records.flush_behind.flush_file", flush_when_told)
    for position in range(1, 5):
        table.append([NamedRow(position, 0.5, "a")])
    before = len(flushed)
    may_flush.set()
    table.flush()

    assert before == 0
    assert flushed[-1] == table.file.stat().st_size
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("flush")]


def test_rows_that_could_not_be_flushed_are_known_to_whoever_waits(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Table(tmp_path / "metrics.csv", NamedRow, behind=True)
    monkeypatch.setattr(os, "fsync", refuse_space)

    table.append([NamedRow(1, 0.5, "a")])

    with pytest.raises(OSError, match="No space left"):
        table.flush()


def test_no_rows_make_no_file(tmp_path: pathlib.Path) -> None:
    table = table_in(tmp_path)

    table.append([])
    table.cut(5)

    assert table.rows() == []
    assert not table.file.parent.exists()


@pytest.mark.parametrize("loss", [0.1, 1 / 3, 1e-300, 5e-324, 1.7976931348623157e308, 2.0, -0.0])
def test_equal_floats_give_equal_text_that_reads_back_equal(tmp_path: pathlib.Path, loss: float) -> None:
    table = table_in(tmp_path)

    table.append([NamedRow(1, loss, "a"), NamedRow(2, float(repr(loss)), "a")])

    first, second = (line.split(",")[1] for line in table.file.read_text().splitlines()[1:])
    assert first == second
    assert [row.loss.hex() for row in table.rows()] == [loss.hex()] * 2


@pytest.mark.parametrize(
    ("position", "kept"), [(0, []), (1, [1]), (2, [1, 2, 2]), (3, [1, 2, 2]), (4, [1, 2, 2, 4]), (9, [1, 2, 2, 4])]
)
def test_a_cut_keeps_the_rows_up_to_a_position(tmp_path: pathlib.Path, position: int, kept: list[int]) -> None:
    table = table_in(tmp_path)
    table.append([NamedRow(1, 0.5, "a"), NamedRow(2, 0.1, "a"), NamedRow(2, 1 / 3, "b"), NamedRow(4, 0.5, "a")])

    table.cut(position)

    assert [row.position for row in table.rows()] == kept


def test_a_cut_may_keep_rows_at_later_positions(tmp_path: pathlib.Path) -> None:
    table = table_in(tmp_path)
    table.append([NamedRow(position, 0.5, "a") for position in (1, 2, 3, 4)])

    table.cut(1, later={3})
    table.append([NamedRow(2, 0.25, "b")])

    assert [(row.position, row.name) for row in table.rows()] == [(1, "a"), (2, "b"), (3, "a")]


def test_a_cut_leaves_the_bytes_of_the_rows_it_keeps(tmp_path: pathlib.Path) -> None:
    table = table_in(tmp_path)
    table.append([NamedRow(1, 1 / 3, "α")])
    before = table.file.read_bytes()
    table.append([NamedRow(2, 0.1, "b")])

    table.cut(1)

    assert table.file.read_bytes() == before


def test_a_line_cut_anywhere_is_left_out_and_removed_by_a_cut(tmp_path: pathlib.Path) -> None:
    table = table_in(tmp_path)
    table.append([NamedRow(1, 0.5, "a")])
    whole = table.file.read_bytes()
    table.append([NamedRow(2, 0.25, "ü")])
    both = table.file.read_bytes()

    for length in range(len(whole), len(both)):
        table.file.write_bytes(both[:length])
        assert [row.position for row in table.rows()] == [1]
        table.cut(9)
        assert table.file.read_bytes() == whole


def test_an_incomplete_header_is_an_empty_table(tmp_path: pathlib.Path) -> None:
    table = table_in(tmp_path)
    table.append([NamedRow(1, 0.5, "a")])
    table.file.write_text("position,lo")

    assert table.rows() == []
    table.cut(0)
    table.append([NamedRow(1, 0.5, "a")])
    assert table.file.read_text() == "position,loss,name\n1,0.5,a\n"


def test_a_cut_that_fails_leaves_the_table_as_it_was(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_in(tmp_path)
    table.append([NamedRow(1, 0.5, "a"), NamedRow(2, 0.25, "b")])
    before = table.file.read_bytes()
    monkeypatch.setattr(os, "fsync", refuse_space)

    with pytest.raises(OSError, match="No space left"):
        table.cut(1)

    assert table.file.read_bytes() == before
    assert list(table.file.parent.iterdir()) == [table.file]


@pytest.mark.parametrize(
    "text",
    [
        "position,lr,name\n1,2,3\n",
        "position,loss,name\n1,0.5\n",
        "position,loss,name\n1,0.5,a,b\n",
        "position,loss,name\nx,0.5,a\n",
        "position,loss,name\n-1,0.5,a\n",
        b"position,loss,name\n1,0.5,\xff\n",
    ],
)
def test_an_altered_table_is_refused_and_not_cut(tmp_path: pathlib.Path, text: str | bytes) -> None:
    table = table_in(tmp_path)
    content = text if isinstance(text, bytes) else text.encode()
    table.file.parent.mkdir()
    table.file.write_bytes(content)

    with refused(StateError):
        table.rows()
    with refused(StateError):
        table.cut(0)
    assert table.file.read_bytes() == content


@pytest.mark.parametrize(
    "cells",
    [
        "9,=1+1,0.1,1,8",
        "9,2.0,,1,8",
        "9,2.0,0.1,1,@SUM(A1)",
        "9,2.0,0.1,1,8.0",
        "9,2.0,0.1,1,0",
        "９,2.0,0.1,1,8",
        "9_0,2.0,0.1,1,8",
        f"{'9' * 5_000},2.0,0.1,1,8",
        f"9,{'9' * 200_000},0.1,1",
    ],
    ids=lambda cells: cells[:20],
)
def test_a_row_whose_cells_are_not_its_numbers_is_refused_in_one_short_line(tmp_path: pathlib.Path, cells: str) -> None:
    table = Table(tmp_path / "metrics.csv", MetricsRow)
    table.file.write_text(f"{','.join(MetricsRow._fields)}\n8,2.5,0.1,1,8\n{cells}\n")

    with refused(StateError) as caught:
        table.rows()
    assert len(str(caught.value)) < 300
    assert f"{table.file}:3 " in str(caught.value)


def test_a_wrong_line_is_found_in_whatever_block_it_is(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_BLOCK", 2)
    table = table_in(tmp_path)
    table.append([NamedRow(position, 0.5, "a") for position in range(1, 6)])
    assert [row.position for row in table.rows()] == [1, 2, 3, 4, 5]

    for line in range(5):
        lines = table.file.read_text().splitlines()
        lines[1 + line] = "1,half,a"
        wrong = Table(tmp_path / f"{line}.csv", NamedRow)
        wrong.file.write_text("\n".join(lines) + "\n")
        with refused(StateError) as caught:
            wrong.rows()
        assert f"{wrong.file}:{line + 2} " in str(caught.value)


def test_a_set_without_tokens_is_refused(tmp_path: pathlib.Path) -> None:
    table = Table(tmp_path / "evaluation.csv", EvaluationRow)
    table.append([EvaluationRow(position=4, version="v1", domain="code", nll=0.0, tokens=0)])

    with refused(StateError):
        table.rows()
