"""Small stores and texts that the tests of lrpath.data share."""

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from lrpath.data.prepare import prepare
from lrpath.data.sources import TokensSource
from lrpath.data.store import TokenStore

WORDS = ["path", "rate", "main", "branch", "fork", "state", "token", "window", "update", "version", "plan", "study"]


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., TokenStore]:
    """Return a function that prepares a store of random ids, so many tokens for each version."""

    def make(*tokens: int, vocab_size: int = 1000, heldout: int = 0) -> TokenStore:
        generator = np.random.default_rng(0)
        files = []
        for number, count in enumerate((*tokens, heldout), start=1):
            path = tmp_path / f"ids{number}.bin"
            generator.integers(0, vocab_size, size=count).astype("<u2").tofile(path)
            files.append(str(path))
        extra = {"web": (files[-1],)} if heldout else {}
        source = TokensSource(files=tuple(files[:-1]), vocab_size=vocab_size, bits=16, heldout=extra)
        versions = [f"v{number}" for number in range(1, len(tokens) + 1)]
        return prepare(source, tokenizer=None, versions=versions, folder=tmp_path / "store")

    return make


@pytest.fixture
def write_jsonl(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes records to a file of lines."""

    def write(name: str, records: Sequence[object]) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        return path

    return write


@pytest.fixture
def texts(write_jsonl: Callable[..., Path]) -> Path:
    """Return a folder with V1.jsonl … V4.jsonl of 60 short documents each."""
    for number in (1, 2, 3, 4):
        words = random.Random(number)
        records = [{"text": " ".join(words.choices(WORDS, k=40)) + f" {number}.{n}"} for n in range(60)]
        folder = write_jsonl(f"texts/V{number}.jsonl", records).parent
    return folder


@pytest.fixture
def python_tree(tmp_path: Path) -> Path:
    """Return a folder with `stdlib` and `packages`, of 30 and 60 distinct modules of some 1,000 bytes."""
    for library, count in (("stdlib", 30), ("packages", 60)):
        for number in range(count):
            words = random.Random(f"{library}{number}")
            lines = [f"def {'_'.join(words.choices(WORDS, k=4))}(value):  # {words.choice(WORDS)}" for _ in range(20)]
            path = tmp_path / "python" / library / f"package_{number % 6}" / f"module_{number}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n    return value\n\n\n".join(lines))
    return tmp_path / "python"
