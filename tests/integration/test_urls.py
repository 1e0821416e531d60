"""A study at a URL: what is there is whole or absent, whoever is killed, and the bits are those of a study on a disk."""

from pathlib import Path

import pytest

from lrpath.errors import BusyError
from tests.integration.lab import Lab, states_of, tables_of


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("LRPATH_CACHE", str(tmp_path / "cache"))
    return f"memory://{tmp_path.name}/outputs"


def test_a_study_at_a_url(lab: Lab, url: str, tmp_path: Path, monkeypatch) -> None:
    lab.run()
    assert lab.run(f"outputs={url}") == 26
    there = lab.project(f"outputs={url}").study
    assert states_of(there) == states_of(lab.study())
    monkeypatch.setenv("LRPATH_CACHE", str(tmp_path / "other"))
    assert lab.run(f"outputs={url}") == 0
    import fsspec
    for n, i in fsspec.filesystem("memory").find(url.split(":/")[1], detail=True).items(): print(n, i["size"])
    assert 0
