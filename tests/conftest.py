"""What the tests of several rooms share: small texts, and the laboratory that trains on them."""

import json
import random
from pathlib import Path

import pytest

from tests.integration.lab import Lab

WORDS = ["path", "rate", "main", "branch", "fork", "state", "token", "window", "update", "version", "plan", "study"]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with `texts/V1.jsonl` … `V5.jsonl`, 60 short documents each."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "texts").mkdir()
    for number in range(1, 6):
        words = random.Random(number)
        records = [{"text": " ".join(words.choices(WORDS, k=40)) + f" {number}.{n}"} for n in range(60)]
        (folder / "texts" / f"V{number}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


@pytest.fixture
def lab(corpus: Path, tmp_path: Path) -> Lab:
    """Return a laboratory with studies of its own; prepared text is shared by all tests."""
    return Lab(folder=tmp_path, texts=corpus / "texts", stores=corpus / "stores")
