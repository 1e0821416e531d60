"""Token ids that were made elsewhere: flat files of 16- or 32-bit little-endian ids, one for each version."""

import pathlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from lrpath.data.manifest import is_name
from lrpath.data.sources.document import Arrival, fingerprint
from lrpath.errors import ConfigError, DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray  # numpy itself is imported where ids are read: a plan starts without it


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensSource:
    """Memory maps of token ids.

    Args:
        files: Training ids, one file for each version, in the order of arrival.
        heldout: Held-out files by domain, one for each version or one in all, which then is every version's.
        bits: Width of an id in the files.
        vocab_size: Number of token ids; every id must be below it. It may exceed the tokenizer's, as padded ones do.

    Raises:
        ConfigError: If a field is out of range, or a domain has neither one file nor as many as there are versions.
    """

    kind: ClassVar[str] = "tokens"
    files: tuple[str, ...]
    vocab_size: int
    bits: Literal[16, 32]
    heldout: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        if not self.files:
            raise ConfigError(
                "data.source.files is empty; name a file of ids for each version", field="data.source.files", value=()
            )
        if self.bits not in (16, 32):
            raise ConfigError(
                f"data.source.bits must be 16 or 32, not {self.bits}", field="data.source.bits", value=self.bits
            )
        if not 1 <= self.vocab_size <= 1 << min(self.bits, 31):
            raise ConfigError(
                f"data.source.vocab_size must lie in [1, {1 << min(self.bits, 31)}] for ids of {self.bits} bits, "
                f"not {self.vocab_size}"
            )
        for domain, files in self.heldout.items():
            if not is_name(domain) or len(files) not in (1, len(self.files)):
                raise ConfigError(
                    f"data.source.heldout: domain {domain!r} has {len(files)} files; give a short name, and one file "
                    f"or one for each of the {len(self.files)} versions"
                )

    def spec(self) -> dict[str, Any]:
        """Return what holds for every increment; the files themselves are known by their digests in the store."""
        return {"kind": "tokens", "bits": self.bits, "vocab_size": self.vocab_size}

    def increment_spec(self, number: int) -> dict[str, Any]:
        """Return the fingerprints of an increment's files, held-out ones too: other files are noticed by it.

        Raises:
            ConfigError: If no file is named for it.
            DataError: If the file is missing.
        """
        if number >= len(self.files):
            raise ConfigError(
                f"data.source.files names {len(self.files)} files, but version number {number + 1} was asked for; "
                "add a file"
            )
        heldout = {domain: files[0] if len(files) == 1 else files[number] for domain, files in self.heldout.items()}
        return {
            "train": fingerprint([_existing(self.files[number])]),
            "heldout": {domain: fingerprint([_existing(name)]) for domain, name in heldout.items()},
        }

    def train_ids(self, arrival: Arrival) -> "NDArray[Any]":
        """Return the training ids of an increment: a read-only memory map.

        Raises:
            DataError: If the file is missing, empty, or not a multiple of the width of an id.
        """
        self.increment_spec(arrival.number)
        return self._map(self.files[arrival.number])

    def heldout_ids(self, arrival: Arrival) -> dict[str, "NDArray[Any]"]:
        """Return the held-out ids of an increment by domain: read-only memory maps.

        Raises:
            DataError: If a file is missing, empty, or not a multiple of the width of an id.
        """
        return {
            domain: self._map(files[0] if len(files) == 1 else files[arrival.number])
            for domain, files in self.heldout.items()
        }

    def _map(self, name: str) -> "NDArray[Any]":
        path, width = _existing(name), self.bits // 8
        size = path.stat().st_size
        if size == 0 or size % width:
            raise DataError(
                f"{path} has {size:_} bytes, which is no whole number of {self.bits}-bit ids; "
                "restore the file, or correct data.source.bits"
            )
        import numpy as np

        return np.asarray(np.memmap(path, dtype=f"<u{width}", mode="r"))


def _existing(name: str) -> pathlib.Path:
    if not (path := pathlib.Path(name)).is_file():
        raise DataError(f"{path} does not exist; correct data.source.files or data.source.heldout")
    return path
