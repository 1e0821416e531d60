"""A table that was altered is found by a resume and by verify, and mended on request without the loss of a state."""

import shutil
from pathlib import Path

import pytest

from lrpath.analysis.verify.study import verify_study
from lrpath.errors import StateError
from lrpath.records.path_folder import PathFolder
from tests.integration.lab import Lab, states_of, tables_of
from tests.refusals import refused

pytestmark = pytest.mark.slow

MEND = "mend=true"


def main_of(lab: Lab) -> PathFolder:
    (folder,) = (lab.study().folder / "paths").glob("*main*")
    return PathFolder(folder)


def change(file: Path, position: int) -> None:
    """Change the last digit of the first number behind a position's first comma that has a point."""
    lines = file.read_text().split("\n")
    (index, *_) = [number for number, line in enumerate(lines) if line.startswith(f"{position},")]
    cells = lines[index].split(",")
    (column, *_) = [number for number, cell in enumerate(cells) if "." in cell]
    cells[column] = cells[column][:-1] + str((int(cells[column][-1]) + 1) % 10)
    lines[index] = ",".join(cells)
    file.write_text("\n".join(lines))


def findings_of(lab: Lab) -> list[str]:
    return [finding.text for check in verify_study(lab.study()) for finding in check.findings]


def test_a_changed_digit_of_a_loss_is_found_by_verify_and_stops_a_resume_until_it_is_mended(lab: Lab) -> None:
    lab.trained("study=whole", "versions=3")
    lab.trained()
    change(main_of(lab).metrics.file, 9)
    (found,) = findings_of(lab)
    with refused(StateError, field="mend"):
        lab.run("versions=3")

    assert lab.run("versions=3", MEND) == 10 + 6

    assert "metrics.csv was altered: its rows from position 5 to 10" in found
    assert states_of(lab.study()) == states_of(lab.study("whole"))
    assert [(row.table, row.first, row.position, row.missing) for row in main_of(lab).repairs.rows()] == [
        ("metrics", 5, 14, 0)
    ]
    assert findings_of(lab) == []


def test_lost_losses_on_held_out_sets_are_computed_again_from_states_to_the_last_bit(lab: Lab) -> None:
    lab.trained()
    before = tables_of(lab.study())
    folder = main_of(lab)
    change(folder.evaluation.file, 14)
    folder.document_losses(4).write_text("lost\n")
    assert len(findings_of(lab)) >= 1

    assert lab.run(MEND) == 0

    assert tables_of(lab.study()) == before
    assert folder.repairs.rows() == []
    assert findings_of(lab) == []
    assert len(list((folder.folder / "damaged").iterdir())) == 2


def test_a_month_of_lost_rows_does_not_cost_the_month(lab: Lab) -> None:
    lab.trained("study=whole", "versions=3")
    lab.trained()
    main_of(lab).metrics.file.unlink()
    with refused(StateError, field="mend"):
        lab.run("versions=3")

    assert lab.run("versions=3", MEND) == 10 + 6

    assert states_of(lab.study()) == states_of(lab.study("whole"))
    assert [row.position for row in main_of(lab).metrics.rows()] == [*range(15, 25)]
    assert findings_of(lab) == []


def test_what_determines_nothing_stops_nothing(lab: Lab) -> None:
    lab.trained("paths=main", "versions=1")
    main_of(lab).speed.file.write_bytes(b"\xff\x00 not a table\n1,2\n")

    assert lab.run() == 10 + 6 + 6
    assert main_of(lab).speed.rows() != []


def test_a_copy_of_a_path_s_folder_is_refused_and_nothing_is_trained_in_it(lab: Lab) -> None:
    lab.trained("paths=main", "versions=1")
    folder = main_of(lab)
    copy = folder.folder.with_name(f"a_backup-{folder.path_id}")
    shutil.copytree(folder.folder, copy)

    with refused(StateError):
        lab.run()

    assert sorted(PathFolder(copy).positions()) == folder.positions()
    copy.rename(lab.folder / "elsewhere")
    assert lab.run() == 10 + 6 + 6
