"""Encodes texts with a tokenizer: within bounds of memory and time, and without the end mark in them."""

import json
import re
import threading
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from lrpath.data.tokenizer import MAX_EXPANSION
from lrpath.errors import DataError

_ENOUGH = 100

# Encoding takes some 175 bytes a byte of text, so that a long text is encoded in parts.
_PART_CHARACTERS = 1 << 18
_PART_ENDS = tuple(
    map(
        re.compile,
        (
            r"(?<=\S\n)(?=\S)|(?<=\S)(?= \S)",  # after an end of line, before a single space: of every byte-level BPE
            r"(?<=\S)(?=\s)|(?<=[^\W\d_])(?=[^\w\s])",  # before other space, between a letter and a mark: of most
            r"(?=\s)|(?<=\s)",  # within space: of tokenizers that put a space before a word, as SentencePiece does
        ),
    )
)
"""Where pre-tokens end. Of these places, the last is taken where the tokenizer gives the ids of the whole text."""
_TRIED = 64
"""How many places for an end are tried with the tokenizer before the text is cut anywhere."""
_AROUND = 256
"""Characters on each side of a place that are encoded to try it."""

Ids = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """What a tokenizer makes of some texts.

    Args:
        ids: Of each text, without end marks.
        unknown: How many of them stand for what the tokenizer does not know.
        end_marks: How many texts had the end mark in them as text.
    """

    ids: list[Ids]
    unknown: int
    end_marks: int

    @property
    def tokens(self) -> int:
        """The number of ids of all texts."""
        return sum(map(len, self.ids))


class Encoder:
    """Encodes texts; it keeps nothing between calls, which several threads may make at a time.

    Args:
        tokenizer: The tokenizer.
        end_mark: Token that ends a document.
        patience: Seconds that one call, for some MiB of text, may take: a pattern that backtracks takes for ever.
    """

    def __init__(self, tokenizer: Tokenizer, *, end_mark: str, patience: float = 300.0) -> None:
        self._tokenizer = tokenizer
        self._end_mark = end_mark
        self._patience = patience
        self._unknown_id = _unknown_id(tokenizer)
        self.end_id = _id_of(tokenizer, end_mark)

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Return the ids of each text.

        Raises:
            DataError: If the tokenizer fails, takes too long, gives far more tokens than text, or the end mark.
        """
        parts = [parts_of(text, may_end=self._may_end) for text in texts]
        found = iter(self._bounded([part for text_parts in parts for part in text_parts]))
        results = []
        unknown = end_marks = 0
        for text, text_parts in zip(texts, parts, strict=True):
            ids_N = _joined([next(found) for _ in text_parts])
            if (ids_N == self.end_id).any():
                end_marks += 1
                ids_N = self._without_end_mark(text)
            if len(ids_N) > MAX_EXPANSION * (len(text.encode()) + 1):
                raise DataError(
                    f"the tokenizer makes {len(ids_N):_} tokens of a text of {len(text):_} characters; give another "
                    "tokenizer.json",
                    field="data.tokenizer.file",
                )
            unknown += 0 if self._unknown_id is None else int(np.count_nonzero(ids_N == self._unknown_id))
            results.append(ids_N)
        return Encoded(ids=results, unknown=unknown, end_marks=end_marks)

    def _may_end(self, before: str, behind: str) -> bool:
        """Say whether two stretches of text have, one by one, the ids of both together."""
        together, *apart = self._tokenizer.encode_batch_fast(
            [before + behind, before, behind], add_special_tokens=False
        )
        return bool(together.ids == apart[0].ids + apart[1].ids)

    def _without_end_mark(self, text: str) -> Ids:
        """Encode a text in which the end mark stands as text, cut inside of it: its letters are other tokens."""
        first, *others = text.split(self._end_mark)
        ends = [*[self._end_mark[:1]] * len(others), ""]
        begins = ["", *[self._end_mark[1:]] * len(others)]
        parts = [begin + part + end for begin, part, end in zip(begins, (first, *others), ends, strict=True)]
        ids_N = _joined(self._bounded([part for part in parts if part]))
        if (ids_N == self.end_id).any():
            raise DataError(
                f"the tokenizer gives the end mark {self._end_mark!r} for text that is not one, near "
                f"{text[:40]!r}; choose another data.tokenizer.end_mark, or another tokenizer.json",
                field="data.tokenizer.end_mark",
                value=self._end_mark,
            )
        return ids_N

    def _bounded(self, texts: Sequence[str]) -> list[Ids]:
        """Encode in a thread that is left behind if it does not end: the library cannot be interrupted."""
        results: list[Ids] = []
        errors: list[BaseException] = []

        def work() -> None:
            try:
                encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
                # `array` reads a list of integers in a third of the time that numpy takes.
                results.extend(np.frombuffer(array("I", encoding.ids), dtype=np.uintc) for encoding in encodings)
            except BaseException as error:  # a panic of the library is not even an Exception
                errors.append(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(self._patience)
        if thread.is_alive():
            raise DataError(
                f"the tokenizer did not encode {sum(map(len, texts)):_} characters in {self._patience:g} s (near "
                f"{texts[0][:40]!r}); a pattern of it may backtrack: give another tokenizer.json",
                field="data.tokenizer.file",
            )
        if errors:
            raise DataError(
                f"the tokenizer cannot encode a text near {texts[0][:40]!r} ({str(errors[0])[:200]}); give another "
                "tokenizer.json",
                field="data.tokenizer.file",
            ) from errors[0]
        return results


def parts_of(text: str, *, may_end: Callable[[str, str], bool]) -> list[str]:
    """Cut a long text into parts that are encoded one by one; joined, they are the text.

    Args:
        text: The text.
        may_end: Says whether a part may end between the text before a place and that behind it.

    >>> [len(part) for part in parts_of("word " * 100_000, may_end=lambda before, behind: True)]
    [262139, 237861]
    """
    parts, at = [], 0
    while len(text) - at > _PART_CHARACTERS:
        end = _part_end(text, at + _PART_CHARACTERS * 3 // 4, at + _PART_CHARACTERS, may_end=may_end)
        parts.append(text[at:end])
        at = end
    return [*parts, text[at:]]


def _part_end(text: str, first: int, last: int, *, may_end: Callable[[str, str], bool]) -> int:
    """Return the last place in a stretch of text where a part may end; where none is found, its end."""
    for kind in _PART_ENDS:
        places = [found.start() for found in kind.finditer(text, first, last)]
        for place in reversed(places[-_TRIED:]):
            if may_end(text[place - _AROUND : place], text[place : place + _AROUND]):
                return place
    return last


def check_known(tokens: int, unknown: int, *, place: str) -> None:
    """Refuse a tokenizer that knows nothing of what it has encoded so far.

    Args:
        tokens: Tokens so far.
        unknown: Those of them that stand for what the tokenizer does not know.
        place: Where the text is from, for the message.

    Raises:
        DataError: If more than half of at least a hundred tokens are unknown.
    """
    if tokens >= _ENOUGH and unknown > tokens / 2:
        raise DataError(
            f"{place}: {unknown / tokens:.0%} of the first {tokens:,} tokens stand for what the tokenizer does not "
            "know; give a tokenizer.json that was made for this text",
            field="data.tokenizer.file",
        )


def _joined(arrays: Sequence[Ids]) -> Ids:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays) if arrays else np.empty(0, dtype=np.uintc)


def _id_of(tokenizer: Tokenizer, token: str) -> int:
    found = tokenizer.token_to_id(token)
    assert found is not None  # `load_tokenizer` has looked
    return int(found)


def _unknown_id(tokenizer: Tokenizer) -> int | None:
    """Return the id that stands for what the tokenizer does not know, if it has one."""
    model = json.loads(tokenizer.to_str())["model"]
    if isinstance(model.get("unk_id"), int):
        return int(model["unk_id"])
    token = model.get("unk_token")
    found: int | None = tokenizer.token_to_id(token) if isinstance(token, str) else None
    return found
