"""Keeps what a tokenizer makes of an increment until that is whole: a killed preparation encodes none of it again.

One file, to which every call of `encode` appends a record. A preparation that begins again divides the same text into
the same calls and finds their records. The first that is torn, or of other texts, ends what is known; the file is cut
there and goes on.

    digest of the texts                     16 bytes
    texts, tokens, unknown, end marks       8 bytes each
    tokens of each text                     8 bytes each
    ids of all texts                        2 or 4 bytes each, as in the store
    digest of all that                      16 bytes
"""

import pathlib
from collections.abc import Sequence
from hashlib import blake2b
from os import fsync
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrpath.data.manifest import token_dtype
from lrpath.data.tokenizer import Encoder

FLUSHED_CHARACTERS = 1 << 28
"""Characters between two moments at which the records are on the disk: what a machine that goes down may lose. A killed
process loses none."""

_HEAD = b"lrpath encoding 1\n"  # another number where the same texts may give other ids
_DIGEST_BYTES = 16
_COUNTS = np.dtype("<u8")
_COUNTED = 4


class EncodingLog:
    """An encoder that remembers, in a file, what it has made of an increment.

    Args:
        file: The file; it may be there from a preparation that was killed.
        encoder: Encodes what the file does not know. Its counts are those of all calls, known or not.
        vocab_size: Number of token ids.
    """

    def __init__(self, file: pathlib.Path, *, encoder: Encoder, vocab_size: int) -> None:
        self._file = file
        self._encoder = encoder
        self._dtype = np.dtype(token_dtype(vocab_size))
        self._handle = file.open("r+b" if file.exists() else "w+b")
        self._replays = self._handle.read(len(_HEAD)) == _HEAD
        if not self._replays:
            self._restart(0)
            self._handle.write(_HEAD)
        self._unflushed = 0
        self.known_characters = 0

    def __enter__(self) -> "EncodingLog":
        """Return the log."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file; remove it once the increment is whole."""
        self._handle.close()
        if kind is None:
            self._file.unlink()

    def encode(self, texts: Sequence[str]) -> list[NDArray[Any]]:
        """Return the ids of each text, without end marks; raises as `Encoder.encode`."""
        digest = _digest_of(texts)
        if self._replays:
            begin = self._handle.tell()
            if (known := self._read(digest, len(texts))) is not None:
                self.known_characters += sum(map(len, texts))
                return known
            self._restart(begin)
        before = self._counts()
        ids = [np.array(one, dtype=self._dtype) for one in self._encoder.encode(texts)]
        self._write(digest, ids, counts=self._counts() - before)
        self._unflushed += sum(map(len, texts))
        if self._unflushed >= FLUSHED_CHARACTERS:
            self._handle.flush()
            fsync(self._handle.fileno())
            self._unflushed = 0
        return ids

    def _counts(self) -> NDArray[np.uint64]:
        encoder = self._encoder
        return np.array([encoder.tokens, encoder.unknown, encoder.end_marks], dtype=_COUNTS)

    def _restart(self, position: int) -> None:
        """Forget what stands from a position on, and write there from now on."""
        self._replays = False
        self._handle.seek(position)
        self._handle.truncate()

    def _write(self, digest: bytes, ids: Sequence[NDArray[Any]], *, counts: NDArray[np.uint64]) -> None:
        sizes = np.array([len(ids), *counts, *map(len, ids)], dtype=_COUNTS)
        body = b"".join([digest, sizes.tobytes(), *(one.tobytes() for one in ids)])
        self._handle.write(body + blake2b(body, digest_size=_DIGEST_BYTES).digest())
        self._handle.flush()  # to the operating system, which keeps it though this process is killed

    def _read(self, digest: bytes, count: int) -> list[NDArray[Any]] | None:
        """Return the ids of the next record; None if it is not whole, or not of these texts."""
        head = self._handle.read(_DIGEST_BYTES + (_COUNTED + count) * _COUNTS.itemsize)
        if len(head) < _DIGEST_BYTES + (_COUNTED + count) * _COUNTS.itemsize or head[:_DIGEST_BYTES] != digest:
            return None
        texts, tokens, unknown, end_marks, *sizes = np.frombuffer(head[_DIGEST_BYTES:], dtype=_COUNTS).tolist()
        if texts != count or sum(sizes) != tokens:
            return None
        ids = self._handle.read(tokens * self._dtype.itemsize)
        if self._handle.read(_DIGEST_BYTES) != blake2b(head + ids, digest_size=_DIGEST_BYTES).digest():
            return None
        self._encoder.tokens += tokens
        self._encoder.unknown += unknown
        self._encoder.end_marks += end_marks
        found = np.frombuffer(ids, dtype=self._dtype) if ids else np.empty(0, dtype=self._dtype)
        return np.split(found, np.cumsum(sizes)[:-1])


def _digest_of(texts: Sequence[str]) -> bytes:
    digest = blake2b(digest_size=_DIGEST_BYTES)
    for text in texts:
        data = text.encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.digest()
