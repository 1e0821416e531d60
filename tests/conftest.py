"""What the tests of several rooms share: small texts, and the laboratory that trains on them."""

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lrpath.entry import lasting

if TYPE_CHECKING:
    from tests.integration.lab import Lab


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Let the tests and what they import last, as an entry does: a run would spend most of its time on the garbage."""
    with lasting():
        return (yield)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with `texts/V1.jsonl` … `V5.jsonl`, 60 short documents each."""
    from tests.integration.lab import write_texts  # not above: the process that shares out the tests needs no torch

    folder = tmp_path_factory.mktemp("corpus")
    write_texts(folder / "texts")
    return folder


@pytest.fixture
def lab(corpus: Path, tmp_path: Path) -> "Lab":
    """Return a laboratory with studies of its own; prepared text is shared by all tests."""
    from tests.integration.lab import Lab

    return Lab(folder=tmp_path, texts=corpus / "texts", stores=corpus / "stores")
