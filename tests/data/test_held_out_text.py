from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models

from lrpath.data.held_out_text import held_out_set
from lrpath.data.tokenizer import TokenizerSettings, train_tokenizer

TEXTS = ["one two three", "vier fünf", "six"]


def test_text_bytes_are_those_of_the_predicted_tokens(tmp_path: Path) -> None:
    settings = TokenizerSettings(vocab_size=270, file=None, end_mark="<|end|>")
    tokenizer = train_tokenizer(TEXTS, settings=settings)
    file = tmp_path / "tokenizer.json"
    file.write_text(tokenizer.to_str())
    end_id = tokenizer.token_to_id(settings.end_mark)
    ids, documents = [end_id], []  # the first token of the first window is not predicted
    for number, text in enumerate(TEXTS):
        tokens = [*tokenizer.encode(text, add_special_tokens=False).ids, end_id]
        ids, documents = ids + tokens, documents + [number] * len(tokens)

    found = held_out_set(np.array([ids]), np.array([documents]), tokenizer_file=file, end_id=end_id)

    assert found.tokens == len(ids) - 1
    assert found.text_bytes == sum(len(text.encode()) for text in TEXTS)
    assert found.documents == len(TEXTS)


def test_ids_without_a_tokenizer_are_of_an_unknown_text() -> None:
    found = held_out_set(np.arange(10).reshape(2, 5), None, tokenizer_file=None, end_id=None)

    assert (found.tokens, found.text_bytes, found.documents) == (8, None, None)


def test_equal_windows_have_equal_digests_whatever_their_type() -> None:
    first, second = (np.arange(10, dtype=kind).reshape(2, 5) for kind in (np.int64, np.uint16))

    digests = {held_out_set(windows, None, tokenizer_file=None, end_id=None).sha256 for windows in (first, second)}

    assert len(digests) == 1


def test_a_character_that_two_windows_share_is_counted_once(tmp_path: Path) -> None:
    settings = TokenizerSettings(
        vocab_size=257, file=None, end_mark="<|end|>"
    )  # bytes alone, so that every cut but one is inside a character
    tokenizer = train_tokenizer(["a"], settings=settings)
    file = tmp_path / "tokenizer.json"
    file.write_text(tokenizer.to_str())
    ids = tokenizer.encode("äöü", add_special_tokens=False).ids
    windows = np.array([[0, *ids[:3]], [0, *ids[3:]]])

    found = held_out_set(windows, None, tokenizer_file=file, end_id=tokenizer.token_to_id(settings.end_mark))

    assert found.text_bytes == 6


def test_the_text_of_another_vocabulary_is_what_it_decodes_to(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel({"one": 0, "two": 1, "end": 2}, unk_token="one"))
    tokenizer.save(str(tmp_path / "tokenizer.json"))

    found = held_out_set(np.array([[0, 0, 1, 2]]), None, tokenizer_file=tmp_path / "tokenizer.json", end_id=2)

    assert found.text_bytes == len("one two")
