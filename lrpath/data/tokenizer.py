"""The tokenizer of a store: a byte-level BPE trained on the first increment, or a given `tokenizer.json`.

A given file is refused where it would not do what its reader expects: encode at random, give the added tokens other ids
than it says, or make text longer without bound.
"""

import json
import pathlib
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from lrpath.errors import ConfigError, DataError, LrpathError
from lrpath.records.files import digest_file

_MIN_VOCAB = 257  # 256 bytes and the end mark
_MAX_VOCAB = 1 << 22
_MAX_FILE_BYTES = 128 << 20
MAX_EXPANSION = 64
"""Most tokens that a byte of text may become, and most times that a normalizer may make a text as long."""
_PROBES = 8

# Training counts the pairs of symbols of every pre-token again after each merge, so that its time grows with the square
# of the longest one. Runs of one class of characters are pre-tokens; longer ones are cut for training alone.
LONGEST_RUN = 256
_MORE = f"{{{LONGEST_RUN + 1},}}"
_LONG_RUN = re.compile(rf"[^\W\d_]{_MORE}|\d{_MORE}|(?:[^\w\s]|_){_MORE}|\s{_MORE}")


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

    vocab_size: int | None
    file: str | None
    end_mark: str

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
        least, why = (_MIN_VOCAB, " (256 bytes and the end mark)") if self.file is None else (1, "")
        if self.vocab_size is not None and not least <= self.vocab_size <= _MAX_VOCAB:
            raise ConfigError(
                f"data.tokenizer.vocab_size must lie in [{least}, {_MAX_VOCAB:_}]{why}, not {self.vocab_size}",
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

    def ids(self) -> int:
        """Return the number of token ids: `vocab_size`, or that of the file if it is left to it.

        Raises:
            DataError: As `read_tokenizer`.
        """
        if self.vocab_size is not None or self.file is None:
            return self.vocab_size or 0
        return int(read_tokenizer(pathlib.Path(self.file)).get_vocab_size(with_added_tokens=True))


def train_tokenizer(texts: Iterable[str], *, settings: TokenizerSettings) -> Tokenizer:
    """Train a byte-level BPE; the same texts in the same order give the same tokenizer.

    Runs of letters, digits, signs or spaces longer than `LONGEST_RUN` are cut, for training alone.

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
    tokenizer.train_from_iterator((part for text in texts for part in without_long_runs(text)), trainer=trainer)
    if (size := tokenizer.get_vocab_size()) != settings.vocab_size:
        raise DataError(
            f"the first increment's text gives a vocabulary of {size:_} tokens, and data.tokenizer.vocab_size is "
            f"{settings.vocab_size:_}; lower it, or give the first increment more text",
            field="data.tokenizer.vocab_size",
            value=settings.vocab_size,
        )
    return _as_plain(tokenizer)


def without_long_runs(text: str) -> Iterator[str]:
    """Yield a text in parts, none of which has a run of one class of characters longer than `LONGEST_RUN`.

    >>> [len(part) for part in without_long_runs("a = " + "=" * 600)]
    [260, 256, 88]
    """
    begin = 0
    for run in _LONG_RUN.finditer(text):
        for end in range(run.start() + LONGEST_RUN, run.end(), LONGEST_RUN):
            yield text[begin:end]
            begin = end
    yield text[begin:]


def has_long_run(text: str) -> bool:
    """Tell whether `without_long_runs` would cut a text."""
    return _LONG_RUN.search(text) is not None


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
            f"give data.tokenizer.vocab_size={size}, or null to take the file's",
            field="data.tokenizer.vocab_size",
            value=settings.vocab_size,
        )
    special = sorted(token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special)
    if settings.end_mark not in special:
        typed = " or ".join(_typed("data.tokenizer.end_mark", token) for token in special[:8])
        raise DataError(
            f"{path} has no special token {settings.end_mark!r}; give {typed or 'a file that has one (it has none)'}",
            field="data.tokenizer.end_mark",
            value=settings.end_mark,
        )
    return tokenizer


def remarks(path: pathlib.Path) -> list[str]:
    """Return what is set right of a `tokenizer.json`, a line each."""
    try:
        dropout = json.loads(path.read_bytes())["model"].get("dropout")
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return []  # `read_tokenizer` says what is wrong
    return [f"{path}: BPE dropout of {dropout:g} is set to none, since it encodes at random"] if dropout else []


def _typed(field: str, value: str) -> str:
    """Return how a value is given on a command line, quoted for the shell and for Hydra."""
    inner = value.replace("\\", "\\\\").replace("'", "\\'")
    text = f"{field}='{inner}'"
    return f'"{text}"' if not set(text) & set('"$`\\!') else shlex.quote(text)


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
        text = path.read_text(encoding="utf-8")
        _check_expansion(path, json.loads(text))
        tokenizer = Tokenizer.from_str(text)
    except LrpathError:
        raise
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
    _check_added(path, tokenizer, json.loads(text).get("added_tokens") or [])
    _check_repeats(path, _as_plain(tokenizer))
    return tokenizer


def _check_added(path: pathlib.Path, tokenizer: Tokenizer, added: Sequence[dict[str, Any]]) -> None:
    """Refuse a file whose added tokens the library numbers otherwise, which it does where the ids leave a hole."""
    for token in added:
        if (found := tokenizer.token_to_id(token["content"])) != token["id"]:
            raise DataError(
                f"{path} says that the added token {token['content']!r} has id {token['id']}, and the tokenizers "
                f"library gives it {found}; number the added tokens from the size of the vocabulary on, without holes",
                field="data.tokenizer.file",
                value=str(path),
            )


def _check_repeats(path: pathlib.Path, tokenizer: Tokenizer) -> None:
    """Refuse a file that encodes a text differently from one time to the next."""
    words = [token for token in sorted(tokenizer.get_vocab(with_added_tokens=False)) if len(token) > 2][:2000]
    texts = [" ".join(words)] * _PROBES
    found = [encoding.ids for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
    if any(ids != found[0] for ids in found[1:]):
        raise DataError(
            f"{path} encodes one text differently from one time to the next; give a tokenizer.json without sampling",
            field="data.tokenizer.file",
            value=str(path),
        )


def _check_expansion(path: pathlib.Path, record: Any) -> None:
    """Refuse a file whose normalizer could make a text longer without bound, by the lengths of what it replaces."""
    growth = 1
    waiting = [record.get("normalizer")] if isinstance(record, dict) else []
    while waiting:
        part = waiting.pop()
        if not isinstance(part, dict):
            continue
        waiting += part.get("normalizers") or []
        content = part.get("content") if part.get("type") == "Replace" else None
        if isinstance(content, str):
            pattern = (part.get("pattern") or {}).get("String")
            growth *= max(-(-len(content) // max(len(pattern), 1)) if isinstance(pattern, str) else len(content) + 1, 1)
    if growth > MAX_EXPANSION:
        raise DataError(
            f"{path} has a normalizer that can make a text {min(growth, 10**12):_} times as long, more than "
            f"{MAX_EXPANSION}; give another tokenizer.json",
            field="data.tokenizer.file",
            value=str(path),
        )


def _as_plain(tokenizer: Tokenizer) -> Tokenizer:
    # A file saved for inference may cut at its model's context, pad to it, and read `<|endoftext|>` inside a text as
    # the special token: each would change the text that is trained on.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    if getattr(tokenizer.model, "dropout", None):
        # BPE dropout regularises training by encoding at random; a store must be a function of its text.
        tokenizer.model.dropout = None
    return tokenizer
