import subprocess
from pathlib import Path

import pytest

from lrpath.records.released import SUMS_FILE, sums_problem, write_sums


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """Return a folder with two files, a model card, and their digests."""
    for name in ("config.json", "model.safetensors", "README.md"):
        (tmp_path / name).write_text(f"this is {name}")
    write_sums(tmp_path)
    return tmp_path


def test_a_copy_of_an_export_is_compared_by_everyones_tool(exported: Path) -> None:
    (exported / "README.md").write_text("more about the model")

    command = subprocess.run(["sha256sum", "--strict", "-c", SUMS_FILE], cwd=exported, capture_output=True, text=True)

    assert command.stdout.splitlines() == ["config.json: OK", "model.safetensors: OK"]
    assert sums_problem(exported, reads=True) is None


def test_a_file_of_an_export_that_was_altered_or_is_gone_is_named(exported: Path) -> None:
    (exported / "config.json").write_text("this is another")

    assert "config.json was altered" in str(sums_problem(exported, reads=True))
    assert sums_problem(exported, reads=False) is None
    (exported / "config.json").unlink()
    assert "'config.json'" in str(sums_problem(exported, reads=False))


def test_a_list_of_digests_leads_out_of_no_folder(exported: Path) -> None:
    (exported / SUMS_FILE).write_text("0000  ../config.json\n")

    assert "which is not there" in str(sums_problem(exported, reads=True))
