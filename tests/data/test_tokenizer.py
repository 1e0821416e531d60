import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lrpath.data.tokenizer import END_MARK, TokenizerSettings, load_tokenizer, read_tokenizer, train_tokenizer
from lrpath.errors import ConfigError, DataError
from tests.refusals import refused

TEXTS = ["the path leaves the main path at the fork and the rate falls", "élan, 漢字 and\ttabs\n"] * 5


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    path = tmp_path / "tokenizer.json"
    train_tokenizer(TEXTS, settings=TokenizerSettings(vocab_size=270)).save(str(path))
    return path


@pytest.mark.parametrize("text", [*TEXTS[:2], "\x00\x7f\U0001f600", "  spaces  kept  "])
def test_any_text_comes_back_as_it_was(trained: Path, text: str) -> None:
    tokenizer = read_tokenizer(trained)

    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids) == text


def test_an_end_mark_inside_a_text_is_ordinary_text(trained: Path) -> None:
    tokenizer = read_tokenizer(trained)

    ids = tokenizer.encode(f"one{END_MARK}two", add_special_tokens=False).ids

    assert tokenizer.token_to_id(END_MARK) not in ids


def test_a_tokenizer_that_cuts_and_pads_does_neither_here(trained: Path) -> None:
    cutting = read_tokenizer(trained)
    cutting.enable_truncation(3)
    cutting.enable_padding(length=50)
    cutting.save(str(trained))

    assert 3 < len(read_tokenizer(trained).encode(TEXTS[0], add_special_tokens=False).ids) < 50


def test_a_text_too_small_for_the_vocabulary_is_refused() -> None:
    with refused(DataError, field="data.tokenizer.vocab_size", value=1000):
        train_tokenizer(["a"], settings=TokenizerSettings(vocab_size=1000))


def test_a_given_tokenizer_is_compared_with_the_settings(trained: Path) -> None:
    def load(**fields: Any) -> object:
        return load_tokenizer(
            trained, settings=TokenizerSettings(**{"file": str(trained), "vocab_size": None, **fields})
        )

    assert load() is not None
    with refused(DataError, field="data.tokenizer.vocab_size", value=300):
        load(vocab_size=300)
    with refused(DataError, field="data.tokenizer.end_mark", value="</s>"):
        load(end_mark="</s>")


def test_the_specification_is_the_digest_of_the_file_and_not_its_place(trained: Path, tmp_path: Path) -> None:
    other = trained.rename(tmp_path / "moved.json")

    spec = TokenizerSettings(file=str(other), vocab_size=None).spec()

    assert sorted(spec) == ["end_mark", "kind", "sha256"]
    with refused(DataError, field="data.tokenizer.file", value=str(trained)):
        TokenizerSettings(file=str(trained), vocab_size=None).spec()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "[" * 10_000, '{"model": {"type": "Pickle"}}', "\xff\xfe"])
def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(text.encode("latin-1"))

    with refused(DataError):
        read_tokenizer(path)


def change_vocabulary(path: Path, change: Callable[[dict[str, int]], object]) -> None:
    record = json.loads(path.read_text())
    change(record["model"]["vocab"])
    path.write_text(json.dumps(record))


def test_ids_with_holes_are_refused(trained: Path) -> None:
    change_vocabulary(trained, lambda vocab: vocab.update({"a far token": 4_000_000_000}))

    with refused(DataError):
        read_tokenizer(trained)


def test_an_absurdly_large_file_is_not_read(trained: Path) -> None:
    with trained.open("r+b") as file:
        file.truncate(1 << 34)

    with refused(DataError):
        read_tokenizer(trained)


@pytest.mark.parametrize(
    "fields",
    [
        {"vocab_size": 256},
        {"vocab_size": None},
        {"end_mark": ""},
    ],
)
def test_settings_out_of_range_are_refused(fields: dict[str, Any]) -> None:
    ((field, value),) = fields.items()

    with refused(ConfigError, field=f"data.tokenizer.{field}", value=value):
        TokenizerSettings(**fields)
