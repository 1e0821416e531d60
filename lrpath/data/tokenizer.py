"""The tokenizer of a store: a byte-level BPE trained on the first increment, or a given `tokenizer.json`."""

import pathlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from lrpath.errors import ConfigError, DataError
from lrpath.records.files import digest_file

END_MARK = "<|endoftext|>"
_MIN_VOCAB = 257  # 256 bytes and the end mark
_MAX_VOCAB = 1 << 22
_MAX_FILE_BYTES = 128 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerSettings:
    """Which tokenizer a store has.

    Args:
        vocab_size: Number of ids. Of a trained tokenizer, in `[257, 4_194_304]`; of a given one, what the file must
            have, or None to take what it has.
        file: A `tokenizer.json` to use; None trains a byte-level BPE on the training text of the first increment.
        end_mark: Special token that ends every document.

    Raises:
        ConfigError: If the vocabulary is out of range.
    """

    vocab_size: int | None = 4096
    file: str | None = None
    end_mark: str = END_MARK

    def __post_init__(self) -> None:
        if not self.end_mark:
            raise ConfigError(
                "data.tokenizer.end_mark is empty; name a special token, for example <|endoftext|>",
                field="data.tokenizer.end_mark",
                value="",
            )
        if self.file is None and self.vocab_size is None:
            raise ConfigError(
                "data.tokenizer.vocab_size is missing; give it, or a tokenizer file",
                field="data.tokenizer.vocab_size",
                value=None,
            )
        if self.vocab_size is not None and not _MIN_VOCAB <= self.vocab_size <= _MAX_VOCAB:
            raise ConfigError(
                f"data.tokenizer.vocab_size must lie in [{_MIN_VOCAB}, {_MAX_VOCAB:_}] (256 bytes and the end mark), "
                f"not {self.vocab_size}",
                field="data.tokenizer.vocab_size",
                value=self.vocab_size,
            )

    def spec(self) -> dict[str, Any]:
        """Return what identifies the tokenizer: how it is trained, or the digest of its file.

        Raises:
            DataError: If the file is missing.
        """
        if self.file is None:
            return {"kind": "byte_level_bpe", "vocab_size": self.vocab_size, "end_mark": self.end_mark}
        if not (path := pathlib.Path(self.file)).is_file():
            raise DataError(
                f"{path} does not exist; correct data.tokenizer.file", field="data.tokenizer.file", value=self.file
            )
        return {"kind": "file", "sha256": digest_file(path), "end_mark": self.end_mark}


def train_tokenizer(texts: Iterable[str], *, settings: TokenizerSettings) -> Tokenizer:
    """Train a byte-level BPE; the same texts in the same order give the same tokenizer.

    Raises:
        DataError: If the texts are too small for the vocabulary.
    """
    assert settings.vocab_size is not None
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocab_size,
        special_tokens=[settings.end_mark],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),  # so that no later text has an unknown character
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer=trainer)
    if (size := tokenizer.get_vocab_size()) != settings.vocab_size:
        raise DataError(
            f"the first increment's text gives a vocabulary of {size:_} tokens, and data.tokenizer.vocab_size is "
            f"{settings.vocab_size:_}; lower it, or give the first increment more text",
            field="data.tokenizer.vocab_size",
            value=settings.vocab_size,
        )
    return _as_plain(tokenizer)


def load_tokenizer(path: pathlib.Path, *, settings: TokenizerSettings) -> Tokenizer:
    """Load a given `tokenizer.json` and compare it with the settings.

    Raises:
        DataError: If `read_tokenizer` refuses it, it lacks the end mark, or has another vocabulary than the settings.
    """
    tokenizer = read_tokenizer(path)
    size = tokenizer.get_vocab_size(with_added_tokens=True)
    if settings.vocab_size is not None and settings.vocab_size != size:
        raise DataError(
            f"{path} has a vocabulary of {size:_}, and data.tokenizer.vocab_size is {settings.vocab_size:_}; "
            "make them equal, or leave the size out",
            field="data.tokenizer.vocab_size",
            value=settings.vocab_size,
        )
    special = sorted(token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special)
    if settings.end_mark not in special:
        raise DataError(
            f"{path} has no special token {settings.end_mark!r}; set data.tokenizer.end_mark to one of "
            f"{', '.join(special[:8]) or 'its special tokens (it has none)'}",
            field="data.tokenizer.end_mark",
            value=settings.end_mark,
        )
    return tokenizer


def read_tokenizer(path: pathlib.Path) -> Tokenizer:
    """Read a `tokenizer.json`, for example a store's own; it is data, and nothing in it is run.

    The tokenizer cuts nothing and pads nothing, and reads special tokens that occur in a text as ordinary text.

    Raises:
        DataError: If the file is missing, absurdly large, malformed, or leaves holes in its ids.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist; correct data.tokenizer.file")
    if (size := path.stat().st_size) > _MAX_FILE_BYTES:
        raise DataError(f"{path} has {size:_} bytes; a tokenizer of more than {_MAX_FILE_BYTES:_} is not read")
    try:
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except BaseException as error:  # the library raises bare Exception, and its panics are not even that
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise DataError(f"{path} is not a tokenizer.json ({str(error)[:200]}); give another file") from error
    ids = sorted(set(tokenizer.get_vocab(with_added_tokens=True).values()))
    if not ids or len(ids) > _MAX_VOCAB or ids != list(range(len(ids))):
        raise DataError(
            f"{path} has {len(ids):_} token ids up to {ids[-1] if ids else -1:_}; they must be 0, 1, 2, … without "
            f"holes, and {_MAX_VOCAB:_} at most; give another tokenizer"
        )
    return _as_plain(tokenizer)


def _as_plain(tokenizer: Tokenizer) -> Tokenizer:
    # A file saved for inference may cut at its model's context, pad to it, and read `<|endoftext|>` inside a text as
    # the special token: each would change the text that is trained on.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer
