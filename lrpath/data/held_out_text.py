"""How much text held-out windows are: what a loss in bits per byte is taken over."""

import hashlib
import pathlib

import numpy as np
from numpy.typing import NDArray

from lrpath.data.tokenizer import read_tokenizer
from lrpath.records.held_out import HeldOutSet


def held_out_set(
    windows_NL: NDArray[np.int64], *, tokenizer_file: pathlib.Path | None, end_id: int | None
) -> HeldOutSet:
    """Return digest and sizes of the windows of a held-out set.

    Args:
        windows_NL: Windows of L inputs and their targets, shifted by one; neighbours overlap by one token.
        tokenizer_file: The store's `tokenizer.json`; None where ids came without one.
        end_id: Id of the mark that ends a document, which is no text; None likewise.

    The text is what the tokenizer decodes the predicted tokens to, document by document. That is the text itself for a
    tokenizer that loses nothing, such as byte-level BPE; one that normalizes (case, spaces) is given its own text.
    """
    digest = hashlib.sha256(np.ascontiguousarray(windows_NL, dtype="<i8").tobytes()).hexdigest()
    predicted = windows_NL[:, 1:].reshape(-1)
    if tokenizer_file is None or end_id is None:
        return HeldOutSet(sha256=digest, tokens=predicted.size, text_bytes=None, documents=None)
    parts = np.split(predicted, np.flatnonzero(predicted == end_id) + 1)
    documents = [part[part != end_id].tolist() for part in parts if part.size]
    texts = read_tokenizer(tokenizer_file).decode_batch(documents)
    return HeldOutSet(
        sha256=digest,
        tokens=predicted.size,
        text_bytes=sum(len(text.encode()) for text in texts),
        documents=len(documents),
    )
