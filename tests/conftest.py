"""What the tests of several rooms share: small texts, and the laboratory that trains on them."""

from pathlib import Path

import pytest

from tests.integration.lab import Lab, write_texts


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with `texts/V1.jsonl` … `V5.jsonl`, 60 short documents each."""
    folder = tmp_path_factory.mktemp("corpus")
    write_texts(folder / "texts")
    return folder


@pytest.fixture
def lab(corpus: Path, tmp_path: Path) -> Lab:
    """Return a laboratory with studies of its own; prepared text is shared by all tests."""
    return Lab(folder=tmp_path, texts=corpus / "texts", stores=corpus / "stores")
