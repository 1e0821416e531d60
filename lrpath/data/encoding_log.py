"""Keeps what a tokenizer makes of an increment until that is whole: a killed preparation encodes none of it again.

One file, to which every call of the encoder appends a record. A preparation that begins again divides the same text
into the same calls and finds their records. The first that is torn, or of other texts, ends what is known; the file is
cut there and goes on.

    digest of the texts                     16 bytes
    texts, tokens, unknown, end marks       8 bytes each
    tokens of each text                     8 bytes each
    ids of all texts                        2 or 4 bytes each, as in the store
    digest of all that                      16 bytes
"""

import pathlib
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from hashlib import blake2b
from itertools import chain
from os import fsync
from types import TracebackType

import numpy as np

from lrpath.data.ahead import in_order
from lrpath.data.encoder import Encoded, Encoder, Ids
from lrpath.data.heldout import Piece
from lrpath.data.manifest import token_dtype

RESTART_BYTES = 1 << 27
"""Bytes of text between two moments at which the records are on the disk. A machine that goes down has to encode so
much again, and the calls that were under way: together less than 256 MB. A process that is killed loses the calls."""

# While the ids of one call become arrays, which takes Python's lock, the cores encode the next; the library divides a
# call among them by itself.
_CALLS_AT_A_TIME = 2
_HEAD = b"lrpath encoding 1\n"  # another number where the same texts may give other ids
_DIGEST_BYTES = 16
_COUNTS = np.dtype("<u8")
_COUNTED = 4


class EncodingLog:
    """Encodes an increment and remembers, in a file, what has been encoded of it.

    Args:
        file: The file; it may be there from a preparation that was killed.
        encoder: Encodes what the file does not know.
        vocab_size: Number of token ids.
        restart_bytes: Most bytes of text that are encoded between two moments at which the records are on the disk.

    Attributes:
        counts: `tokens`, `unknown` and `end_marks` of all texts so far, as `Encoded` has them, and `known`: the
            characters of those that stood in the file.
    """

    def __init__(
        self, file: pathlib.Path, *, encoder: Encoder, vocab_size: int, restart_bytes: int = RESTART_BYTES
    ) -> None:
        self._file = file
        self._encoder = encoder
        self._dtype = np.dtype(token_dtype(vocab_size))
        self._restart_bytes = restart_bytes
        self._handle = file.open("r+b" if file.exists() else "w+b")
        self._has_head = self._handle.read(len(_HEAD)) == _HEAD
        self._unflushed = 0
        self.counts: Counter[str] = Counter()

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

    def encode(self, calls: Iterable[list[Piece]]) -> Generator[tuple[list[Piece], list[Ids]], None, None]:
        """Yield the pieces of each call, in order, and the ids of each; what follows is encoded meanwhile.

        Raises:
            DataError: As `Encoder.encode`.
        """
        calls = iter(calls)
        if self._has_head:
            for pieces in calls:
                begin = self._handle.tell()
                if (known := self._read(_digest_of(pieces), len(pieces))) is None:
                    self._cut(begin)
                    calls = chain([pieces], calls)
                    break
                self.counts["known"] += sum(len(piece.text) for piece in pieces)
                yield pieces, self._counted(known)
        else:
            self._cut(0)
            self._handle.write(_HEAD)
        with closing(in_order(self._encode, calls, threads=_CALLS_AT_A_TIME)) as results:
            for pieces, record, encoded in results:
                self._write(record, text_bytes=sum(len(piece.text.encode()) for piece in pieces))
                yield pieces, self._counted(encoded)

    def _encode(self, pieces: list[Piece]) -> tuple[list[Piece], bytes, Encoded]:
        """Return the pieces of a call, its record, and what it has made of them."""
        found = self._encoder.encode([piece.text for piece in pieces])
        ids = [ids_N.astype(self._dtype) for ids_N in found.ids]
        sizes = [len(ids), found.tokens, found.unknown, found.end_marks, *map(len, ids)]
        body = b"".join([_digest_of(pieces), np.array(sizes, dtype=_COUNTS).tobytes(), *(one.tobytes() for one in ids)])
        record = body + blake2b(body, digest_size=_DIGEST_BYTES).digest()
        return pieces, record, Encoded(ids=ids, unknown=found.unknown, end_marks=found.end_marks)

    def _counted(self, encoded: Encoded) -> list[Ids]:
        self.counts.update(tokens=encoded.tokens, unknown=encoded.unknown, end_marks=encoded.end_marks)
        return encoded.ids

    def _cut(self, position: int) -> None:
        """Forget what stands from a position on, and write there from now on."""
        self._handle.seek(position)
        self._handle.truncate()

    def _write(self, record: bytes, *, text_bytes: int) -> None:
        self._handle.write(record)
        self._handle.flush()  # to the operating system, which keeps it though this process is killed
        self._unflushed += text_bytes
        if self._unflushed >= self._restart_bytes:
            fsync(self._handle.fileno())
            self._unflushed = 0

    def _read(self, digest: bytes, count: int) -> Encoded | None:
        """Return what the next record holds; None if it is not whole, or not of these texts."""
        head = self._handle.read(_DIGEST_BYTES + (_COUNTED + count) * _COUNTS.itemsize)
        if len(head) < _DIGEST_BYTES + (_COUNTED + count) * _COUNTS.itemsize or head[:_DIGEST_BYTES] != digest:
            return None
        texts, tokens, unknown, end_marks, *sizes = np.frombuffer(head[_DIGEST_BYTES:], dtype=_COUNTS).tolist()
        if texts != count or sum(sizes) != tokens:
            return None
        ids = self._handle.read(tokens * self._dtype.itemsize)
        if self._handle.read(_DIGEST_BYTES) != blake2b(head + ids, digest_size=_DIGEST_BYTES).digest():
            return None
        found = np.frombuffer(ids, dtype=self._dtype) if ids else np.empty(0, dtype=self._dtype)
        return Encoded(ids=np.split(found, np.cumsum(sizes)[:-1]), unknown=unknown, end_marks=end_marks)


def _digest_of(pieces: Sequence[Piece]) -> bytes:
    digest = blake2b(digest_size=_DIGEST_BYTES)
    for piece in pieces:
        data = piece.text.encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.digest()
