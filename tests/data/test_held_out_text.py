from pathlib import Path

import numpy as np

from lrpath.data.held_out_text import held_out_set
from lrpath.data.tokenizer import TokenizerSettings, train_tokenizer

TEXTS = ["one two three", "vier fünf", "six"]


def test_text_bytes_are_those_of_the_predicted_tokens(tmp_path: Path) -> None:
    settings = TokenizerSettings(vocab_size=270)
    tokenizer = train_tokenizer(TEXTS, settings=settings)
    file = tmp_path / "tokenizer.json"
    file.write_text(tokenizer.to_str())
    end_id = tokenizer.token_to_id(settings.end_mark)
    ids = [end_id]  # the first token of the first window is not predicted
    for text in TEXTS:
        ids += [*tokenizer.encode(text, add_special_tokens=False).ids, end_id]

    found = held_out_set(np.array([ids]), tokenizer_file=file, end_id=end_id)

    assert found.tokens == len(ids) - 1
    assert found.text_bytes == sum(len(text.encode()) for text in TEXTS)
    assert found.documents == len(TEXTS)


def test_ids_without_a_tokenizer_are_of_an_unknown_text() -> None:
    found = held_out_set(np.arange(10).reshape(2, 5), tokenizer_file=None, end_id=None)

    assert (found.tokens, found.text_bytes, found.documents) == (8, None, None)


def test_equal_windows_have_equal_digests_whatever_their_type() -> None:
    first, second = (np.arange(10, dtype=kind).reshape(2, 5) for kind in (np.int64, np.uint16))

    digests = {held_out_set(windows, tokenizer_file=None, end_id=None).sha256 for windows in (first, second)}

    assert len(digests) == 1
