"""A store of tokens on disk: whole increments, memory-mapped, with a manifest each; nothing in it is executed.

    <store>/verified.json             which files were verified, and how they looked then; may be lost
    <store>/store.json                the vocabulary, and which tokenizer it is
    <store>/tokenizer.json            absent when only ids were given
    <store>/<id>/train.bin            token ids, little-endian, 16 bits while the vocabulary is below 65,536, else 32
    <store>/<id>/heldout/<domain>.bin the same, to choose on; never trained on
    <store>/<id>/heldout/<domain>.starts  at which of its tokens each document begins, 8 bytes each
    <store>/<id>/heldout/<domain>.passages  likewise of their passages, where a document is represented by several
    <store>/<id>/test/<domain>.…      the same, to report
    <store>/<id>/domains.bin          where the training tokens of each domain lie, if there are several
    <store>/<id>/documents.bin        16-byte digests of the documents that were used
    <store>/<id>/held_out.bin         those of the documents and passages that no version trains on
    <store>/<id>/increment.json       manifest: sizes and SHA-256 of the files above; written last

A store holds what one tokenizer made; an increment's id is a digest of its files. Which increments are the versions of
a plan is for `lrpath.data.catalog` to say: two candidates for v2 lie beside each other, and neither is called v2 here.

Window i of length L holds the tokens [i·L, i·L + L]: L inputs and L targets, so that windows overlap by one token and
every token but the first is predicted once.

Shapes: L tokens of a window, N windows.
"""

import pathlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrpath.data.domains import read_runs
from lrpath.data.id_shards import IdShards
from lrpath.data.manifest import (
    DOMAINS_FILE,
    HELD_OUT_FILE,
    MANIFEST_FILE,
    MARK_BYTES,
    MARKS_FILE,
    PREPARE_AGAIN,
    TOKENIZER_FILE,
    TRAIN_FILE,
    Manifest,
    StoredFile,
    check_file,
    heldout_file,
    passages_file,
    read_store_record,
    starts_file,
    token_dtype,
    unit_of,
)
from lrpath.data.remote import fetch_increment
from lrpath.data.verified import VerifiedFiles
from lrpath.errors import DataError

Tokens = NDArray[np.uint16 | np.uint32]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenStore:
    """Token ids by version, read through memory maps.

    Args:
        folder: Where the store lies.
        vocab_size: Number of token ids; every id in the store is below it.
        end_id: Id of the mark that ends a document; absent when the ids were given without a tokenizer.
        tokenizer: Digest of the tokenizer by what it does; None when the ids were given without one.
        increments: The folder of each version in the store, in the order of arrival.
        manifests: The manifest of each version.
        mapped: The training tokens of versions that the store leaves in files of their source.
    """

    folder: pathlib.Path
    vocab_size: int
    end_id: int | None
    tokenizer: str | None
    increments: Mapping[str, str]
    manifests: Mapping[str, Manifest]
    mapped: Mapping[str, IdShards] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: pathlib.Path, *, increments: Mapping[str, str]) -> "TokenStore":
        """Open a store and check the sizes of all files of some versions.

        Args:
            folder: The store.
            increments: The folder of each version in it, in the order of arrival.

        Raises:
            DataError: If a file is missing, malformed, incomplete or of another size than its manifest says.
        """
        record = read_store_record(folder)
        for name in increments.values():
            fetch_increment(folder / name)
        manifests = {version: Manifest.read(folder / name / MANIFEST_FILE) for version, name in increments.items()}
        store = cls(folder=folder, increments=dict(increments), manifests=manifests, **record)
        for version in store.versions:
            store.check(version)
        return store

    def with_shards(self, mapped: Mapping[str, IdShards]) -> "TokenStore":
        """Return the store with the files in which the training tokens of some versions lie, and check their sizes.

        No manifest says where they are: then a store could make its reader read any file, and files that were moved
        would be lost. Their content is what the manifest has the digest of.

        Raises:
            DataError: If they do not hold as many tokens as the manifest says.
        """
        store = replace(self, mapped={**self.mapped, **mapped})
        for version in mapped:
            store.check(version)
        return store

    @property
    def versions(self) -> tuple[str, ...]:
        """Versions in the order of arrival."""
        return tuple(self.manifests)

    @property
    def tokenizer_file(self) -> pathlib.Path | None:
        """The store's `tokenizer.json`, or None when the ids were given without a tokenizer."""
        path = self.folder / TOKENIZER_FILE
        return path if path.is_file() else None

    def place(self, version: str) -> pathlib.Path:
        """Return the folder of a version's increment.

        Raises:
            DataError: If the store does not hold the version.
        """
        self.manifest(version)
        return self.folder / self.increments[version]

    def manifest(self, version: str) -> Manifest:
        """Return the manifest of a version.

        Raises:
            DataError: If the store does not hold the version.
        """
        if version not in self.manifests:
            there = ", ".join(self.versions) or "none"
            raise DataError(f"{self.folder} does not hold version {version} (there: {there}); prepare it first")
        return self.manifests[version]

    def check(self, version: str, *, contents: bool = False, verified: VerifiedFiles | None = None) -> None:
        """Compare the files of a version with its manifest: sizes, and with `contents` the SHA-256 of each.

        Args:
            version: The version.
            contents: Whether digests are compared.
            verified: What is remembered of files whose digests were compared before; such are not hashed again.

        Raises:
            DataError: If a file is missing, leaves the store through a link, or differs; the message names it.
        """
        manifest = self.manifest(version)
        for name, expected in manifest.files.items():
            path = self.place(version) / name
            if name == TRAIN_FILE and manifest.mapped:
                self._check_mapped(version, expected, contents=contents, verified=verified)
            else:
                check_file(path, expected, inside=self.folder, contents=contents and verified is None)
                if contents and verified is not None:
                    again = partial(check_file, path, expected, inside=self.folder, contents=True)
                    verified.check((path,), sha256=expected.sha256, hash_again=again)
            unit = unit_of(name, manifest.dtype)
            if expected.bytes == 0 or expected.bytes % unit:
                raise DataError(
                    f"{path} has {expected.bytes:_} bytes, which must be so many times {unit}; {PREPARE_AGAIN}"
                )
        width = np.dtype(manifest.dtype).itemsize
        there = manifest.files[TRAIN_FILE].bytes if TRAIN_FILE in manifest.files else 0
        if manifest.tokens < 2 or there != manifest.tokens * width:
            raise DataError(
                f"{self.place(version) / MANIFEST_FILE} says {manifest.tokens:_} tokens of {width} bytes and "
                f"{there:_} bytes of {TRAIN_FILE}, which does not agree; {PREPARE_AGAIN}"
            )
        if manifest.dtype != token_dtype(self.vocab_size):
            raise DataError(
                f"{self.place(version) / MANIFEST_FILE} has ids of type {manifest.dtype}, but the store's "
                f"vocabulary of {self.vocab_size:_} needs {token_dtype(self.vocab_size)}; {PREPARE_AGAIN}"
            )

    def _check_mapped(
        self, version: str, expected: StoredFile, *, contents: bool, verified: VerifiedFiles | None = None
    ) -> None:
        if contents and verified is not None and version in self.mapped:
            again = partial(self._check_mapped, version, expected, contents=True)
            verified.check(self.mapped[version].files, sha256=expected.sha256, hash_again=again)
            contents = False
        shards, dtype = self.mapped.get(version), self.manifest(version).dtype
        if shards is None:
            return  # a version that nobody has asked for; `tokens` refuses it
        size = len(shards) * np.dtype(dtype).itemsize
        if size != expected.bytes or (contents and shards.digest(dtype) != expected.sha256):
            raise DataError(
                f"the ids of {version} in {shards.files[0]} (of {len(shards.files)} files) are not those that "
                f"{self.place(version) / MANIFEST_FILE} was made of; restore the files, or choose another data.folder"
            )

    def digest(self, version: str) -> str:
        """Return the SHA-256 of the training tokens of a version, as its manifest says."""
        return self.manifest(version).content

    def tokens(self, version: str) -> Tokens:
        """Return the training tokens of a version: a read-only memory map, or a copy if they lie in several files.

        Raises:
            DataError: If they lie in files of a source that was not given.
        """
        if self.manifest(version).mapped:
            shards = self.training_ids(version)
            return shards.read(0, len(shards)).astype(self.manifest(version).dtype, copy=False)
        return self._map(version, TRAIN_FILE)

    def training_ids(self, version: str) -> IdShards:
        """Return the files in which the training tokens of a version lie: the store's own, or those of its source."""
        manifest = self.manifest(version)
        if not manifest.mapped:
            return IdShards(files=(self.place(version) / TRAIN_FILE,), dtype=manifest.dtype)
        if version not in self.mapped:
            raise DataError(
                f"the ids of {version} lie outside of {self.folder}, in files that no source was given for; name them "
                "in data.source.files"
            )
        return self.mapped[version]

    def windows(self, version: str, length: int) -> int:
        """Return how many windows of `length` predicted tokens a version holds."""
        return self.manifest(version).windows(length)

    def domain_windows(self, version: str, domain: str, length: int) -> int:
        """Return how many windows of `length` predicted tokens a domain of a version holds; none where it is not there.

        Raises:
            DataError: If it is not known which tokens of the version are of which domain.
        """
        return max(self._trained(version).get(domain, 0) - 1, 0) // length

    def _trained(self, version: str) -> Mapping[str, int]:
        if not (trained := self.manifest(version).trained):
            raise DataError(
                f"{self.place(version)} was prepared before it was recorded which tokens are of which domain; give the "
                "text once more and train, which prepares it again, or give no data.mixture",
                field="data.mixture",
                value=version,
            )
        return trained

    def gather_domain(self, version: str, domain: str, indices_N: ArrayLike, length: int) -> Tokens:
        """Return several windows of a domain as one array of shape `[N, length + 1]`.

        Raises:
            DataError: If the domain does not hold one of the windows.
        """
        trained, manifest = self._trained(version), self.manifest(version)
        if len(trained) == 1 and domain in trained:
            return self.gather(version, indices_N, length)
        wanted_N = np.asarray(indices_N, dtype=np.int64)
        held = self.domain_windows(version, domain, length)
        if wanted_N.size and not 0 <= int(wanted_N.min()) <= int(wanted_N.max()) < held:
            raise DataError(
                f"windows [{wanted_N.min()}, {wanted_N.max()}] of {version}/{domain} must lie in [0, {held}) at length "
                f"{length}"
            )
        if not wanted_N.size:
            return np.empty((0, length + 1), dtype=manifest.dtype)
        number = list(trained).index(domain)
        runs = read_runs(self.place(version) / DOMAINS_FILE, number=number, tokens=manifest.tokens)
        with self.training_ids(version).opened() as read:
            found = runs.windows(wanted_N * length, length=length + 1, read=read)
        return found.astype(manifest.dtype, copy=False)

    def window(self, version: str, index: int, length: int) -> Tokens:
        """Return window `index`: `length + 1` tokens, inputs `[:-1]` and targets `[1:]`.

        Raises:
            DataError: If the version does not hold that window.
        """
        found: Tokens = self.gather(version, [index], length)[0]
        return found

    def gather(self, version: str, indices_N: ArrayLike, length: int) -> Tokens:
        """Return several windows as one array of shape `[N, length + 1]`.

        Raises:
            DataError: If the version does not hold one of the windows.
        """
        wanted_N = np.asarray(indices_N, dtype=np.int64)
        held = self.windows(version, length)
        if wanted_N.size and not 0 <= int(wanted_N.min()) <= int(wanted_N.max()) < held:
            raise DataError(
                f"windows [{wanted_N.min()}, {wanted_N.max()}] of {version} must lie in [0, {held}) at length {length}"
            )
        if not wanted_N.size:
            return np.empty((0, length + 1), dtype=self.manifest(version).dtype)
        found = self.training_ids(version).windows(wanted_N * length, length=length + 1)
        return found.astype(self.manifest(version).dtype, copy=False)

    def heldout(self, version: str) -> dict[str, Tokens]:
        """Return the held-out tokens of a version by domain: read-only memory maps."""
        return self.held_out_set(version, "valid")

    def held_out_set(self, version: str, split: str) -> dict[str, Tokens]:
        """Return the tokens of the `valid` or `test` sets of a version by domain: read-only memory maps."""
        domains = self.manifest(version).domains_of(split)
        return {domain: self._map(version, heldout_file(domain, split)) for domain in domains}

    def document_starts(self, version: str, domain: str, split: str = "valid") -> NDArray[np.int64]:
        """Return at which tokens the documents of a held-out set begin, ascending from 0.

        Of ids that came without text, a document begins after every end mark; without a tokenizer, all are one.
        """
        if (name := starts_file(domain, split)) in self.manifest(version).files:
            return np.fromfile(self.place(version) / name, dtype="<i8")
        if self.end_id is None:
            return np.zeros(1, dtype=np.int64)
        ids_N = self.held_out_set(version, split)[domain]
        return np.concatenate(([0], np.flatnonzero(ids_N[:-1] == self.end_id) + 1)).astype(np.int64)

    def passage_starts(self, version: str, domain: str, split: str = "valid") -> NDArray[np.int64]:
        """Return at which tokens the passages of the documents of a held-out set begin, ascending from 0.

        A long document is represented by several, which stand one after another here and apart in the document. Stores
        of before it was recorded know the documents alone.
        """
        name = passages_file(domain, split)
        if name not in self.manifest(version).files:
            return self.document_starts(version, domain, split)
        return np.fromfile(self.place(version) / name, dtype="<i8")

    def held_out_digests(self, version: str) -> frozenset[bytes]:
        """Return the digests of the documents and passages of a version that no version trains on."""
        return self._digests(version, HELD_OUT_FILE)

    def marks(self, version: str) -> frozenset[bytes]:
        """Return the marks of the documents that a version used, so that no later version uses them again."""
        return self._digests(version, MARKS_FILE)

    def _digests(self, version: str, name: str) -> frozenset[bytes]:
        if name not in self.manifest(version).files:
            return frozenset()
        data = (self.place(version) / name).read_bytes()
        return frozenset(data[at : at + MARK_BYTES] for at in range(0, len(data), MARK_BYTES))

    def _map(self, version: str, name: str) -> Tokens:
        # Opened at every call (some 30 µs): a map kept here would be copied whole when a loader's worker is spawned.
        return np.asarray(np.memmap(self.place(version) / name, dtype=self.manifest(version).dtype, mode="r"))
