"""The rows of a path's tables are those that its states were saved with, and what was altered is found and mended."""

import contextlib
import pathlib
from collections.abc import Callable

import pytest

from lrpath.errors import StateError
from lrpath.records import files
from lrpath.records.document_losses import DocumentLoss, read_document_losses, write_document_losses
from lrpath.records.files import read_json, write_json
from lrpath.records.manifest import MANIFEST
from lrpath.records.path_folder import PathFolder
from lrpath.records.row_digests import (
    check_digests,
    find_alterations,
    keep_copy,
    leave_out_unreadable,
    lost_positions,
    note_repair,
    rewrite_documents,
    row_digests,
    seal,
    table_of,
    written_digests,
)
from lrpath.records.rows import EvaluationRow, GuardRow, MetricsRow, SpeedRow
from tests.records.lab import save
from tests.refusals import refused


def metrics(position: int, loss: float = 2.5) -> MetricsRow:
    return MetricsRow(position=position, loss=loss, lr=0.1, grad_norm=1.0, tokens=8 * position)


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> PathFolder:
    """Return a path with rows at 1 to 8, evaluations at 3 and 6, and states at 3 and 6 that know of them."""
    found = PathFolder(tmp_path / "main-p")
    found.metrics.append(metrics(position) for position in range(1, 9))
    found.evaluation.append(
        EvaluationRow(position=position, version=version, domain="web", nll=9.25 * position, tokens=4)
        for position in (3, 6)
        for version in ("v1", "v2")
    )
    found.guard.append(
        [GuardRow(position=2, first=2, action="skip", quantity="loss", bound=3.0, loss=9.0, grad_norm=1.0)]
    )
    found.speed.append([SpeedRow(position=8, seconds=1.0, tokens_per_second=64.0)])
    for position in (3, 6):
        save(found, position)
    assert seal(found, only_missing=True) == [3, 6]
    return found


def flip(file: pathlib.Path, before: str, after: str) -> None:
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))


def test_rows_that_nobody_altered_are_found_whole_and_sealed_once(folder: PathFolder) -> None:
    assert find_alterations(folder) == []
    assert seal(folder, only_missing=True) == []


@pytest.mark.parametrize(
    ("table", "before", "after", "first"),
    [
        ("metrics", "2,2.5,", "2,2.6,", 1),
        ("metrics", "5,2.5,", "5,2.4,", 4),
        ("metrics", "6,2.5,0.1,1.0,48\n", "", 4),
        ("evaluation", "6,v2,web,55.5,", "6,v2,web,55.4,", 4),
        ("evaluation", "3,v1,web", "3,v1,wec", 1),
        ("guard", "loss,3.0", "loss,3.1", 1),
        ("metrics", "4,2.5,", "4,x,", 4),
        ("metrics", "position", "positiom", 1),
    ],
)
def test_a_changed_digit_is_found_and_the_rows_in_doubt_are_those_since_the_state_before(
    folder: PathFolder, table: str, before: str, after: str, first: int
) -> None:
    flip(table_of(folder, table).file, before, after)

    (found,) = find_alterations(folder)

    assert (found.table, found.first, found.last) == (table, first, 6)
    assert table in found.problem


def test_rows_behind_the_last_state_are_not_part_of_it(folder: PathFolder) -> None:
    flip(folder.metrics.file, "7,2.5,", "7,2.6,")

    assert find_alterations(folder) == []


def test_the_digests_of_a_run_are_those_of_its_file(folder: PathFolder) -> None:
    resumed = PathFolder(folder.folder)
    for table in (resumed.metrics, resumed.evaluation, resumed.guard):
        table.cut(4, later=(8,))
    resumed.metrics.append([metrics(5), metrics(6, 2.25)])

    assert written_digests(resumed, 6) == row_digests(PathFolder(folder.folder), 6)
    assert written_digests(resumed, 6)["metrics"]["rows"] == 6


def test_a_run_does_not_go_on_from_a_state_with_other_rows(folder: PathFolder) -> None:
    resumed = PathFolder(folder.folder)
    for table in (resumed.metrics, resumed.evaluation):
        table.cut(6)
    check_digests(resumed, 6)
    flip(folder.metrics.file, "5,2.5,", "5,2.4,")
    resumed.metrics.cut(6)

    with refused(StateError):
        check_digests(resumed, 6)


def test_a_state_of_an_earlier_version_is_taken_as_it_is_once(folder: PathFolder) -> None:
    file = folder.state(6) / MANIFEST
    manifest = read_json(file)
    del manifest["tables"], manifest["sha256"]
    write_json(file, manifest)
    flip(folder.metrics.file, "5,2.5,", "5,2.4,")
    assert find_alterations(folder) == []

    assert seal(folder, only_missing=True) == [6]

    flip(folder.metrics.file, "5,2.4,", "5,2.5,")
    assert [found.first for found in find_alterations(folder)] == [4]


def test_a_line_that_is_no_row_is_left_out_and_the_rest_fits_again(folder: PathFolder) -> None:
    with folder.metrics.file.open("a") as handle:
        handle.write("8,2.5,0.1,1.0,64\nnot a row\n")  # the first stands there already
    keep_copy(folder, find_alterations(folder)[0])

    leave_out_unreadable(folder, "metrics")

    assert find_alterations(folder) == []
    assert [row.position for row in folder.metrics.rows()] == [*range(1, 9)]
    (copy,) = (folder.folder / "damaged").iterdir()
    assert copy.read_text().endswith("not a row\n")


def damage_a_line(folder: PathFolder) -> None:
    flip(folder.metrics.file, "5,2.5,", "5,2,5,")


def lose_the_file(folder: PathFolder) -> None:
    folder.metrics.file.unlink()


@pytest.mark.parametrize(("damage", "first", "missing"), [(damage_a_line, 4, {5}), (lose_the_file, 1, {*range(1, 7)})])
def test_rows_that_are_lost_are_noted_and_found_whole_from_then_on(
    folder: PathFolder, damage: Callable[[PathFolder], None], first: int, missing: set[int]
) -> None:
    damage(folder)
    (found,) = find_alterations(folder)
    leave_out_unreadable(folder, "metrics")
    (left,) = find_alterations(folder)
    row = note_repair(folder, left)
    seal(folder, only_missing=False)

    assert (found.first, row.first, row.position, row.missing) == (first, first, 6, len(missing))
    assert find_alterations(folder) == []
    assert lost_positions(folder) == missing


@pytest.mark.parametrize("kept_writes", [0, 1, 2, 3])
def test_losses_by_document_fit_their_digest_wherever_a_kill_comes_while_more_are_added(
    folder: PathFolder, monkeypatch: pytest.MonkeyPatch, kept_writes: int
) -> None:
    losses = [
        DocumentLoss(split="test", version=version, domain="web", document=0, nll=2.5, tokens=2)
        for version in ("v1", "v2")
    ]
    write_document_losses(folder.document_losses(6), losses[:1])
    seal(folder, only_missing=False)
    move, made = files.move_into_place, []

    def move_until_killed(temporary: pathlib.Path, place: pathlib.Path) -> None:
        if len(made) == kept_writes:
            raise KeyboardInterrupt
        made.append(place.name)
        move(temporary, place)

    with monkeypatch.context() as killed:
        killed.setattr(files, "move_into_place", move_until_killed)
        with contextlib.nullcontext() if kept_writes == 3 else pytest.raises(KeyboardInterrupt):
            rewrite_documents(folder, 6, losses)

    assert made == [MANIFEST, "000000006.csv", MANIFEST][:kept_writes]
    assert find_alterations(folder) == []
    assert len(read_document_losses(folder.document_losses(6))) == (2 if kept_writes > 1 else 1)
    rewrite_documents(folder, 6, losses)
    assert find_alterations(folder) == []
    flip(folder.document_losses(6), "2.5", "2.6")
    assert [alteration.table for alteration in find_alterations(folder)] == ["documents"]


def test_what_determines_nothing_may_hold_anything(folder: PathFolder) -> None:
    folder.speed.file.write_bytes(b"\xff\xfeposition,seconds\n1,2\n")
    assert folder.speed.rows() == []
    folder.speed.cut(8)

    folder.speed.append([SpeedRow(position=8, seconds=1.0, tokens_per_second=64.0)])
    with folder.speed.file.open("a") as handle:
        handle.write("torn\n9,1.0,32.0\n")

    assert [row.position for row in folder.speed.rows()] == [8, 9]
    folder.speed.cut(8)
    assert [row.position for row in folder.speed.rows()] == [8]
