"""Writes one increment of a store, whole or not at all: under a temporary name, flushed, manifest last, renamed.

Its place follows from what was written: an increment lies under a digest of its files, so that tokens which are there
already, made of another file or for another version, are not kept twice.
"""

import hashlib
import pathlib
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from os import fsync
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lrpath.data.id_shards import IdShards
from lrpath.data.manifest import (
    DOMAINS_FILE,
    MANIFEST_FILE,
    START_BYTES,
    TRAIN_FILE,
    Manifest,
    StoredFile,
    token_dtype,
)
from lrpath.errors import DataError
from lrpath.records.files import flush_folder, move_into_place, temporary_name, write_json


class IncrementWriter:
    """Collects the files of an increment; `finish` puts the increment in its place.

    Used as a context manager. Leaving it without `finish` removes everything that was written.

    Args:
        folder: The store.
        version: Name of the version that it is made for, for messages.
        vocab_size: Number of token ids of the store; a larger id is refused.
    """

    def __init__(self, folder: pathlib.Path, *, version: str, vocab_size: int) -> None:
        self._folder = folder
        self._version = version
        self._temporary = temporary_name(folder / version)
        self._vocab_size = vocab_size
        self._files: dict[str, _HashedFile] = {}
        self._mapped: StoredFile | None = None
        self._trained: dict[str, int] = {}
        self._domain: str | None = None
        self._handles = ExitStack()

    def __enter__(self) -> "IncrementWriter":
        """Make the folder."""
        self._temporary.mkdir()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files, and remove them unless the increment was finished."""
        self._handles.close()
        shutil.rmtree(self._temporary, ignore_errors=True)

    def add_tokens(self, name: str, ids_N: NDArray[Any]) -> None:
        """Append token ids to a file of the increment.

        Raises:
            DataError: If an id is negative or not below the vocabulary.
        """
        self._check(name, ids_N)
        self._file(name).add(ids_N.astype(token_dtype(self._vocab_size)).tobytes())

    def _check(self, name: str, ids_N: NDArray[Any]) -> None:
        if ids_N.size and not 0 <= int(ids_N.min()) <= int(ids_N.max()) < self._vocab_size:
            raise DataError(
                f"{self._version}/{name}: token ids [{ids_N.min()}, {ids_N.max()}] must lie in "
                f"[0, {self._vocab_size}); give the tokenizer or the vocab_size that the ids were made with"
            )

    def map_tokens(self, shards: IdShards, *, progress: Callable[[int], None]) -> None:
        """Take the training tokens as lying in files elsewhere, which stay there: their digest alone is kept.

        Args:
            shards: The files.
            progress: Called with the number of ids that have been read.

        Raises:
            DataError: If an id is not below the vocabulary.
        """
        digest, done, dtype = hashlib.sha256(), 0, token_dtype(self._vocab_size)
        for ids_N in shards.chunks():
            self._check(TRAIN_FILE, ids_N)
            digest.update(np.ascontiguousarray(ids_N, dtype=dtype).tobytes())
            done += len(ids_N)
            progress(done)
        self._mapped = StoredFile(bytes=done * np.dtype(dtype).itemsize, sha256=digest.hexdigest())

    def add_domain(self, domain: str, tokens: int) -> None:
        """Note that the next training tokens are of a domain."""
        if not tokens:
            return
        if domain != self._domain and self._domain is not None:
            if len(self._trained) == 1 and DOMAINS_FILE not in self._files:
                self._add_run(0, 0)  # there is more than one domain, so that it has to be said where the first lies
            number = list(self._trained).index(domain) if domain in self._trained else len(self._trained)
            self._add_run(sum(self._trained.values()), number)
        self._domain = domain
        self._trained[domain] = self._trained.get(domain, 0) + tokens

    def _add_run(self, begin: int, number: int) -> None:
        self._file(DOMAINS_FILE).add(begin.to_bytes(8, "little") + number.to_bytes(8, "little"))

    def add_digests(self, name: str, digests: Iterable[bytes]) -> None:
        """Append digests of 16 bytes to a file of the increment."""
        if data := b"".join(digests):
            self._file(name).add(data)

    def add_start(self, name: str, position: int) -> None:
        """Append the position of the token at which a document of a held-out set begins."""
        self._file(name).add(position.to_bytes(START_BYTES, "little"))

    def tokens(self, name: str) -> int:
        """Return how many tokens of a file have been written."""
        width = np.dtype(token_dtype(self._vocab_size)).itemsize
        if name == TRAIN_FILE and self._mapped is not None:
            return self._mapped.bytes // width
        return self._files[name].bytes // width if name in self._files else 0

    def written(self, name: str) -> NDArray[Any]:
        """Return the tokens of a file so far: a read-only memory map, empty if there are none."""
        if not self.tokens(name):
            return np.empty(0, dtype=token_dtype(self._vocab_size))
        self._files[name].flush()
        return np.asarray(np.memmap(self._temporary / name, dtype=token_dtype(self._vocab_size), mode="r"))

    def finish(
        self,
        *,
        source: Mapping[str, Any],
        documents: int,
        text_bytes: int,
        counts: Mapping[str, int] | None = None,
    ) -> str:
        """Flush the files, write the manifest, rename the increment into its place, and return the place's name.

        Raises:
            DataError: If there are fewer than two training tokens, which no window can be cut from.
        """
        tokens = self.tokens(TRAIN_FILE)
        if tokens < 2:
            raise DataError(
                f"increment {self._version} has {tokens} training tokens; it needs 2 at least: "
                "give it text, or prepare fewer versions",
                field="versions",
                value=self._version,
            )
        for file in self._files.values():
            file.flush()
        stored = {name: file.as_stored() for name, file in self._files.items()}
        if self._mapped is not None:
            stored[TRAIN_FILE] = self._mapped
        manifest = Manifest(
            source=source,
            dtype=token_dtype(self._vocab_size),
            tokens=tokens,
            documents=documents,
            text_bytes=text_bytes,
            counts=counts or {},
            files=dict(sorted(stored.items())),
            mapped=self._mapped is not None,
            trained=self._trained,
        )
        for folder in {(self._temporary / name).parent for name in self._files}:
            flush_folder(folder)
        write_json(self._temporary / MANIFEST_FILE, manifest.as_record())
        place = self._folder / manifest.name
        if not (place / MANIFEST_FILE).exists():
            shutil.rmtree(place, ignore_errors=True)  # without its manifest it is no increment, and was in the way
            move_into_place(self._temporary, place)
        return manifest.name

    def _file(self, name: str) -> "_HashedFile":
        if name not in self._files:
            path = self._temporary / name
            path.parent.mkdir(exist_ok=True)
            self._files[name] = _HashedFile(self._handles.enter_context(path.open("wb")))
        return self._files[name]


class _HashedFile:
    """A file that is appended to and knows its size and SHA-256."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self._sha256 = hashlib.sha256()
        self.bytes = 0

    def add(self, data: bytes) -> None:
        self._handle.write(data)
        self._sha256.update(data)
        self.bytes += len(data)

    def flush(self) -> None:
        self._handle.flush()
        fsync(self._handle.fileno())

    def as_stored(self) -> StoredFile:
        return StoredFile(bytes=self.bytes, sha256=self._sha256.hexdigest())
