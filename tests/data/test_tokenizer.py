import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from lrpath.data import tokenizer as module
from lrpath.data.encoder import Encoder, check_known, parts_of
from lrpath.data.tokenizer import (
    LONGEST_RUN,
    load_tokenizer,
    read_tokenizer,
    remarks,
    train_tokenizer,
    without_long_runs,
)
from lrpath.errors import ConfigError, DataError
from tests.data.making import END_MARK, tokenizer_of
from tests.refusals import refused

TEXTS = ["the path leaves the main path at the fork and the rate falls", "élan, 漢字 and\ttabs\n"] * 5


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    path = tmp_path / "tokenizer.json"
    train_tokenizer(TEXTS, settings=tokenizer_of(vocab_size=270)).save(str(path))
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
        train_tokenizer(["a"], settings=tokenizer_of(vocab_size=1000))


def test_a_given_tokenizer_is_compared_with_the_settings(trained: Path) -> None:
    def load(**fields: Any) -> object:
        return load_tokenizer(trained, settings=tokenizer_of(**{"file": str(trained), "vocab_size": None, **fields}))

    assert load() is not None
    with refused(DataError, field="data.tokenizer.vocab_size", value=300):
        load(vocab_size=300)
    with refused(DataError, field="data.tokenizer.end_mark", value="</s>"):
        load(end_mark="</s>")


def test_the_specification_is_the_digest_of_the_file_and_not_its_place(trained: Path, tmp_path: Path) -> None:
    other = trained.rename(tmp_path / "moved.json")

    spec = tokenizer_of(file=str(other), vocab_size=None).spec()

    assert sorted(spec) == ["end_mark", "kind", "sha256"]
    with refused(DataError, field="data.tokenizer.file", value=str(trained)):
        tokenizer_of(file=str(trained), vocab_size=None).spec()


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
        tokenizer_of(**fields)


def save(tokenizer: Tokenizer, path: Path, **model: object) -> Path:
    """Write a tokenizer with some fields of its model changed."""
    record = json.loads(tokenizer.to_str())
    record["model"].update(model)
    path.write_text(json.dumps(record))
    return path


def words(*known: str, mark: str = END_MARK) -> Tokenizer:
    tokenizer = Tokenizer(
        models.WordLevel({"<unk>": 0, **{word: n for n, word in enumerate(known, 1)}}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens([mark])
    return tokenizer


def test_dropout_is_set_to_none_with_a_word(trained: Path) -> None:
    path = save(Tokenizer.from_file(str(trained)), trained, dropout=0.5)
    tokenizer = read_tokenizer(path)

    found = {tuple(tokenizer.encode(TEXTS[0], add_special_tokens=False).ids) for _ in range(20)}

    assert len(found) == 1
    assert len(remarks(path)) == 1
    assert remarks(save(Tokenizer.from_file(str(trained)), trained, dropout=None)) == []


@pytest.mark.parametrize("mark", ["</s>", "END", "path"])
def test_an_end_mark_that_the_vocabulary_has_as_a_word_is_kept_out_of_the_text(mark: str, tmp_path: Path) -> None:
    texts = [f"the {mark} of {mark}", f"{mark}{mark} the path", mark, "none of it"]
    tokenizer = train_tokenizer(
        [f"the {mark} of the {mark}"] * 50, settings=tokenizer_of(vocab_size=262, end_mark=mark)
    )
    encoder = Encoder(tokenizer, end_mark=mark)

    found = [ids_N.tolist() for ids_N in encoder.encode(texts).ids]

    assert all(encoder.end_id not in ids for ids in found)
    assert [tokenizer.decode(ids, skip_special_tokens=False) for ids in found] == texts


def test_a_unigram_vocabulary_that_has_the_end_mark_is_kept_out_of_the_text() -> None:
    pieces = [("<unk>", 0.0), ("</s>", -1.0), *[(letter, -2.0) for letter in "</s>abc "]]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.add_special_tokens(["</s>"])
    encoder = Encoder(module._as_plain(tokenizer), end_mark="</s>")

    encoded = encoder.encode(["ab</s>c"])

    (ids,) = encoded.ids
    assert encoder.end_id not in ids
    assert encoded.end_marks == 1
    assert "".join(tokenizer.id_to_token(token) for token in ids) == "ab</s>c"


def test_an_end_mark_that_cannot_be_kept_out_is_refused() -> None:
    encoder = Encoder(module._as_plain(words("x", mark="x")), end_mark="x")

    with refused(DataError, field="data.tokenizer.end_mark", value="x"):
        encoder.encode(["a x b"])


def test_a_tokenizer_that_knows_nothing_of_the_text_is_refused_and_one_that_knows_most_is_counted() -> None:
    encoder = Encoder(words("the", "path"), end_mark=END_MARK)
    most, none = encoder.encode(["the path forks"] * 100), encoder.encode(["nothing known"] * 1000)

    check_known(most.tokens, most.unknown, place="v1")

    assert (most.unknown, most.tokens) == (100, 300)
    with refused(DataError, field="data.tokenizer.file"):
        check_known(none.tokens + most.tokens, none.unknown + most.unknown, place="v1")


def test_added_tokens_that_the_library_numbers_otherwise_are_refused(tmp_path: Path) -> None:
    record = json.loads(words("the").to_str())
    record["added_tokens"][0]["id"] = 7
    (tmp_path / "tokenizer.json").write_text(json.dumps(record))

    with refused(DataError, field="data.tokenizer.file", value=str(tmp_path / "tokenizer.json")):
        read_tokenizer(tmp_path / "tokenizer.json")


@pytest.mark.parametrize("count", [1, 3, 40])
def test_a_normalizer_that_makes_text_longer_without_bound_is_refused(tmp_path: Path, count: int) -> None:
    tokenizer = words("the")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace("a", "a" * 100)] * count)
    path = save(tokenizer, tmp_path / "tokenizer.json")

    with refused(DataError, field="data.tokenizer.file", value=str(path)):
        read_tokenizer(path)


def test_a_normalizer_that_doubles_spaces_is_not_refused(tmp_path: Path) -> None:
    tokenizer = words("the")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace(" ", "\u2581"), normalizers.Prepend("\u2581")])

    assert read_tokenizer(save(tokenizer, tmp_path / "tokenizer.json")).normalizer is not None


def test_a_pattern_that_takes_too_long_is_refused() -> None:
    tokenizer = words("the")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("x+y"), "isolated")
    encoder = Encoder(tokenizer, end_mark=END_MARK, patience=0.02)

    with refused(DataError, field="data.tokenizer.file"):
        encoder.encode(["x" * 40_000])  # the library needs a second or so: the square of the length


def test_a_pattern_that_the_library_gives_up_on_is_refused() -> None:
    tokenizer = words("the")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("(x+x+)+y"), "isolated")

    with refused(DataError, field="data.tokenizer.file"):
        Encoder(tokenizer, end_mark=END_MARK).encode(["x" * 40])


@pytest.mark.parametrize("character", ["=", "x", "7", " ", "漢", "_"])
def test_one_long_run_does_not_slow_the_training(character: str) -> None:
    began = time.monotonic()

    train_tokenizer([*TEXTS, character * 1_000_000], settings=tokenizer_of(vocab_size=270))

    assert time.monotonic() - began < 30  # a minute and more for 400,000 characters, when they were one pre-token


def test_only_long_runs_are_cut_for_training() -> None:
    letters = random.Random(0).choices("ACGT", k=1000)
    text = "a b " * 400 + "".join(letters) + " end"

    parts = list(without_long_runs(text))

    assert "".join(parts) == text
    assert list(without_long_runs("a b " * 400)) == ["a b " * 400]
    assert max(len(word) for part in parts for word in part.split()) == LONGEST_RUN


CL100K = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"  # noqa: E501
"""Pattern of the tokenizers of GPT-4, Llama 3 and Qwen 2: an end of line belongs to the marks before it."""

LONG = [
    "line of words\n" * 60_000,
    "word " * 120_000,
    "\n\n  indented\n" * 50_000,
    '      "service:GetInstance",\n' * 30_000,  # no single space, and no line that begins with a letter
    "word,word." * 60_000,
    "x" * 600_000,
]


@pytest.mark.slow
@pytest.mark.parametrize("text", LONG)
@pytest.mark.parametrize("pattern", ["gpt2", "cl100k", "none"])
def test_a_long_text_encoded_in_parts_has_the_ids_of_the_whole(pattern: str, text: str) -> None:
    """By byte-level BPE with two patterns, and by BPE over words that only spaces divide, as SentencePiece's."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = {
        "gpt2": pre_tokenizers.ByteLevel(add_prefix_space=False),
        "cl100k": pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(CL100K), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        ),
        "none": pre_tokenizers.Metaspace(prepend_scheme="never"),
    }[pattern]
    learned = [*TEXTS, *(one[:2000] for one in LONG if "x" not in one)]
    tokenizer.train_from_iterator(
        learned, trainers.BpeTrainer(vocab_size=500, special_tokens=[END_MARK], show_progress=False)
    )
    if pattern == "none" and len(set(text.split())) < 3 and " " not in text:
        pytest.skip("one word of 600,000 characters")

    (found,) = Encoder(tokenizer, end_mark=END_MARK).encode([text]).ids

    if "x" not in text:  # a word that is longer than a part is cut where it must be
        assert found.tolist() == tokenizer.encode(text, add_special_tokens=False).ids


def test_the_parts_of_a_long_text_are_the_text() -> None:
    parts = parts_of(LONG[0], may_end=lambda before, behind: (before + behind) in LONG[0])

    assert len(parts) > 1
    assert "".join(parts) == LONG[0]


def test_the_size_of_a_file_can_be_left_to_it(trained: Path) -> None:
    assert tokenizer_of(vocab_size=None, file=str(trained)).ids() == 270
    assert tokenizer_of(vocab_size=300).ids() == 300
