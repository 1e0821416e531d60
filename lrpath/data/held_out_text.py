"""How much text held-out windows are: what a loss in bits per byte is taken over."""

import hashlib
import json
import pathlib

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from lrpath.data.tokenizer import read_tokenizer
from lrpath.records.held_out import HeldOutSet


def held_out_set(
    windows_NL: NDArray[np.int64],
    documents_NL: NDArray[np.int64] | None,
    *,
    tokenizer_file: pathlib.Path | None,
    end_id: int | None,
) -> HeldOutSet:
    """Return digest and sizes of the windows of a held-out set.

    Args:
        windows_NL: Windows of L inputs and their targets, shifted by one; neighbours overlap by one token.
        documents_NL: The document of each predicted token; None where ids came without documents.
        tokenizer_file: The store's `tokenizer.json`; None where ids came without one.
        end_id: Id of the mark that ends a document, which is no text; None likewise.
    """
    digest = hashlib.sha256(np.ascontiguousarray(windows_NL, dtype="<i8").tobytes()).hexdigest()
    predicted_NL = windows_NL[:, 1:]
    return HeldOutSet(
        sha256=digest,
        tokens=predicted_NL.size,
        text_bytes=None
        if tokenizer_file is None
        else _text_bytes(predicted_NL, read_tokenizer(tokenizer_file), end_id),
        documents=None if documents_NL is None else len(np.unique(documents_NL)),
    )


def _text_bytes(predicted_NL: NDArray[np.int64], tokenizer: Tokenizer, end_id: int | None) -> int:
    """Return the UTF-8 bytes of the text of some tokens.

    A token of a byte-level vocabulary is written with one letter for each of its bytes, so bytes are counted exactly,
    also of a character that a window cuts in two. With another vocabulary they are those of what a window decodes to.
    """
    if _is_byte_level(tokenizer):
        added = set(tokenizer.get_added_tokens_decoder())
        ids, counts = np.unique(predicted_NL, return_counts=True)
        sizes = [0 if token in added else len(tokenizer.id_to_token(token) or "") for token in ids.tolist()]
        return int(np.dot(sizes, counts))
    windows = [row[row != end_id].tolist() for row in predicted_NL]
    return sum(len(text.encode()) for text in tokenizer.decode_batch(windows))


def _is_byte_level(tokenizer: Tokenizer) -> bool:
    decoder = json.loads(tokenizer.to_str())["decoder"] or {}
    return decoder.get("type") == "ByteLevel"
