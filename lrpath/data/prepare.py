"""Turns a source into a store: trains the tokenizer, encodes each increment once, and may be killed at any moment.

A store is prepared increment by increment, under a lock. What is there is never made again; what a killed preparation
left is removed. The same source and settings give the same bytes.
"""

import json
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from lrpath.data.manifest import (
    FORMAT,
    MANIFEST_FILE,
    STORE_FILE,
    TOKENIZER_FILE,
    TRAIN_FILE,
    Manifest,
    heldout_file,
    is_name,
    read_store_record,
)
from lrpath.data.sources import Arrival, Document, Source, TextOrigin, TokensSource
from lrpath.data.store import TokenStore
from lrpath.data.tokenizer import (
    TokenizerSettings,
    load_tokenizer,
    read_tokenizer,
    train_tokenizer,
)
from lrpath.data.writer import IncrementWriter
from lrpath.errors import ConfigError, MismatchError
from lrpath.planning.lineage import differences
from lrpath.records.files import digest_file, locked, remove_temporaries, write_json, write_whole

PreparationProgress = Callable[[str, int, int | None], None]
"""Called with a label, what is done, and the total if it is known; both in bytes of text, or in tokens for ids."""

# Large enough that `encode_batch_fast` has documents for all cores, small enough for its encodings to fit into memory.
_CHUNK_BYTES = 4 << 20
_CHUNK_IDS = 1 << 22


def prepare(
    source: Source,
    *,
    tokenizer: TokenizerSettings | None,
    versions: Sequence[str],
    folder: pathlib.Path,
    progress: PreparationProgress | None = None,
) -> TokenStore:
    """Prepare the increments of some versions and return the store.

    The tokenizers library encodes on all cores; set `RAYON_NUM_THREADS` to bound them. At most some 4 MiB of text are
    in memory at a time, and one document.

    Args:
        source: Where the text or the ids come from.
        tokenizer: Settings of the tokenizer; None for ids that come without one.
        versions: Names in the order of arrival. A store that holds more versions keeps them.
        folder: The store; made if it does not exist.
        progress: Called as each increment advances.

    Raises:
        ConfigError: If the versions are unusable as names, or a tokenizer is missing.
        DataError: If the source is missing, malformed or too small.
        MismatchError: If the folder was prepared under other settings; the message lists the fields that differ.
    """
    _check_versions(versions)
    _check_tokenizer(source, tokenizer)
    work = _Preparation(source=source, tokenizer=tokenizer, folder=folder, progress=progress)
    for number in range(len(versions)):  # a missing file is reported before hours are spent on the others
        source.increment_spec(number)
    if not (work.is_begun() and all(work.is_prepared(number, name) for number, name in enumerate(versions))):
        with locked(folder):
            remove_temporaries(folder)
            work.run(versions)
    return TokenStore.open(folder)


def _check_versions(versions: Sequence[str]) -> None:
    bad = [name for name in versions if not is_name(name)]
    if not versions or bad or len(set(versions)) < len(versions):
        raise ConfigError(
            "versions must be distinct short names of letters, digits, `.`, `_`, `-`, and one at least: "
            f"{list(versions)}",
            field="versions",
            value=list(versions),
        )


def _check_tokenizer(source: Source, tokenizer: TokenizerSettings | None) -> None:
    if tokenizer is None and not isinstance(source, TokensSource):
        raise ConfigError("text needs a tokenizer; give data.tokenizer", field="data.tokenizer", value=None)
    if tokenizer is not None and tokenizer.file is None and isinstance(source, TokensSource):
        raise ConfigError(
            "ids cannot train a tokenizer; give data.tokenizer.file, or no tokenizer",
            field="data.tokenizer.file",
            value=None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Preparation:
    """One source on its way into one store."""

    source: Source
    tokenizer: TokenizerSettings | None
    folder: pathlib.Path
    progress: PreparationProgress | None

    def run(self, versions: Sequence[str]) -> None:
        if not self.is_begun():
            self._begin(versions[0])
        used: set[bytes] = set()
        for number, version in enumerate(versions):
            if not self.is_prepared(number, version):
                self._write(Arrival(version=version, number=number, used=used))
            used |= TokenStore.open(self.folder).marks(version)

    def is_begun(self) -> bool:
        """Tell whether the store has its tokenizer and specification, and check that they are these."""
        if not (self.folder / STORE_FILE).exists():
            return False
        self._check_same(read_store_record(self.folder)["spec"], self._spec(), STORE_FILE)
        return True

    def is_prepared(self, number: int, version: str) -> bool:
        """Tell whether an increment is there, and check that it is this one."""
        if not (self.folder / version).exists():
            return False
        manifest = Manifest.read(self.folder / version / MANIFEST_FILE)
        there = {"number": manifest.number, "source": manifest.source}
        asked = {"number": number, "source": self.source.increment_spec(number)}
        self._check_same(there, asked, f"{version}/{MANIFEST_FILE}")
        return True

    def _check_same(self, there: Any, asked: Any, name: str) -> None:
        if found := differences(_as_json(there), _as_json(asked)):
            raise MismatchError(
                f"{self.folder / name} was prepared under other settings (there → asked): {'; '.join(found)}; "
                "restore the settings or the text, or choose another data.folder"
            )

    def _spec(self) -> dict[str, Any]:
        tokenizer = None if self.tokenizer is None else self.tokenizer.spec()
        return {"source": _as_json(self.source.spec()), "tokenizer": tokenizer}

    def _begin(self, first: str) -> None:
        """Make the tokenizer; `store.json` comes last, so that a store without it counts as not begun."""
        record: dict[str, Any] = {"format": FORMAT, "spec": self._spec(), "end_id": None, "tokenizer": None}
        if self.tokenizer is not None:
            tokenizer = self._make_tokenizer(first, settings=self.tokenizer)
            path = self.folder / TOKENIZER_FILE
            write_whole(path, tokenizer.to_str(pretty=True))
            record["tokenizer"] = {"bytes": path.stat().st_size, "sha256": digest_file(path)}
            record["vocab_size"] = tokenizer.get_vocab_size(with_added_tokens=True)
            record["end_id"] = tokenizer.token_to_id(self.tokenizer.end_mark)
        if isinstance(self.source, TokensSource):
            self._check_vocabulary(self.source, record.get("vocab_size"))
            record["vocab_size"] = self.source.vocab_size
        write_json(self.folder / STORE_FILE, record)

    def _make_tokenizer(self, first: str, *, settings: TokenizerSettings) -> Tokenizer:
        if settings.file is not None:
            return load_tokenizer(pathlib.Path(settings.file), settings=settings)
        assert not isinstance(self.source, TokensSource)
        documents = self.source.documents(Arrival(version=first, number=0))
        expected = self.source.expected_bytes(0)
        return train_tokenizer(self._training_texts(documents, expected), settings=settings)

    def _training_texts(self, documents: Iterable[Document], expected: int | None) -> Iterator[str]:
        done = 0
        for document in documents:
            if document.split == "train":
                yield document.text
                done += len(document.text)
                self._report("train the tokenizer", done, expected)

    def _check_vocabulary(self, source: TokensSource, of_tokenizer: int | None) -> None:
        if of_tokenizer is not None and of_tokenizer > source.vocab_size:
            raise ConfigError(
                f"data.source.vocab_size is {source.vocab_size}, and the tokenizer has {of_tokenizer} tokens; raise it",
                field="data.source.vocab_size",
                value=source.vocab_size,
            )

    def _write(self, arrival: Arrival) -> None:
        vocab_size = read_store_record(self.folder)["vocab_size"]
        with IncrementWriter(self.folder, version=arrival.version, vocab_size=vocab_size) as writer:
            if isinstance(self.source, TokensSource):
                self._copy(self.source, arrival, writer)
            else:
                self._encode(self.source, arrival, writer)

    def _copy(self, source: TokensSource, arrival: Arrival, writer: IncrementWriter) -> None:
        files = {heldout_file(domain): ids_N for domain, ids_N in source.heldout_ids(arrival).items()}
        for name, ids_N in {TRAIN_FILE: source.train_ids(arrival), **files}.items():
            for at in range(0, len(ids_N), _CHUNK_IDS):
                writer.add_tokens(name, ids_N[at : at + _CHUNK_IDS])
                self._report(f"{arrival.version}: copy {name}", min(at + _CHUNK_IDS, len(ids_N)), len(ids_N))
        own = source.increment_spec(arrival.number)
        writer.finish(number=arrival.number, source=own, documents=0, text_bytes=0)

    def _encode(self, source: TextOrigin, arrival: Arrival, writer: IncrementWriter) -> None:
        assert self.tokenizer is not None
        tokenizer = read_tokenizer(self.folder / TOKENIZER_FILE)
        end_id = tokenizer.token_to_id(self.tokenizer.end_mark)
        expected, documents, text_bytes = source.expected_bytes(arrival.number), 0, 0
        for chunk in _chunks(source.documents(arrival)):
            encodings = tokenizer.encode_batch_fast([document.text for document in chunk], add_special_tokens=False)
            for document, encoding in zip(chunk, encodings, strict=True):
                name = TRAIN_FILE if document.split == "train" else heldout_file(document.domain)
                writer.add_tokens(name, np.array([*encoding.ids, end_id], dtype=np.int64))
                writer.add_marks(document.fingerprints)
                text_bytes += len(document.text.encode()) if document.split == "train" else 0
            documents += len(chunk)
            self._report(f"{arrival.version}: encode", text_bytes, expected)
        own = source.increment_spec(arrival.number)
        writer.finish(number=arrival.number, source=own, documents=documents, text_bytes=text_bytes)

    def _report(self, label: str, done: int, total: int | None) -> None:
        if self.progress is not None:
            self.progress(label, done, total)


def _chunks(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Gather documents until they have some 4 MiB of characters."""
    chunk: list[Document] = []
    size = 0
    for document in documents:
        chunk.append(document)
        size += len(document.text)
        if size >= _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _as_json(record: Any) -> Any:
    return json.loads(json.dumps(record))
