"""Token ids that were made elsewhere: files of 16- or 32-bit little-endian ids.

The one file of a version is copied into the store; several are mapped where they lie.
"""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from lrpath.data.manifest import is_name
from lrpath.data.sources.document import Arrival, fingerprint
from lrpath.data.sources.files import natural_key
from lrpath.errors import ConfigError, DataError

if TYPE_CHECKING:  # numpy is imported where ids are read: a plan starts without it
    from numpy.typing import NDArray

    from lrpath.data.id_shards import IdShards

Files = str | tuple[str, ...]
"""One file, a folder of files, a glob, or a list of these; several files are read as one, in natural order."""

Entry = Mapping[str, Files] | Files
"""Ids of a version: files, or those of each of its domains by the domain's name."""

_TRAIN, _HELD_OUT = "data.source.files", "data.source.heldout"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensSource:
    """Memory maps of token ids.

    Args:
        files: Training ids of each version, in the order of arrival: a file, a folder, a glob, or a list of these; or
            one of these for each domain.
        vocab_size: Number of token ids; every id must be below it. It may exceed the tokenizer's, as padded ones do.
        bits: Width of an id in the files.
        heldout: Held-out ids by domain, for each version or once for all, which then are every version's.

    Raises:
        ConfigError: If a field is out of range, or a domain has neither one entry nor as many as there are versions.
    """

    kind: ClassVar[str] = "tokens"
    files: tuple[Entry, ...]
    vocab_size: int
    bits: Literal[16, 32]
    heldout: Mapping[str, tuple[Files, ...]]

    def __post_init__(self) -> None:
        if not self.files or any(not entry for entry in self.files):
            raise ConfigError(
                "data.source.files is empty; name the ids of each version", field=_TRAIN, value=self.files
            )
        for domain in {domain for entry in self.files if isinstance(entry, Mapping) for domain in entry}:
            if not is_name(domain):
                raise ConfigError(
                    f"data.source.files: domain {domain!r} must be letters, digits, `.`, `_`, `-`; rename it",
                    field=_TRAIN,
                    value=domain,
                )
        for place in _places([*self.files, *self.heldout.values()]):
            if "://" in place:
                raise ConfigError(
                    f"data.source: {place} is a URL, and ids are read through memory maps; copy the file to this "
                    "machine and name it there",
                    field=_TRAIN,
                    value=place,
                )
        if self.bits not in (16, 32):
            raise ConfigError(
                f"data.source.bits must be 16 or 32, not {self.bits}", field="data.source.bits", value=self.bits
            )
        if not 1 <= self.vocab_size <= 1 << min(self.bits, 31):
            raise ConfigError(
                f"data.source.vocab_size must lie in [1, {1 << min(self.bits, 31)}] for ids of {self.bits} bits, "
                f"not {self.vocab_size}",
                field="data.source.vocab_size",
                value=self.vocab_size,
            )
        for domain, files in self.heldout.items():
            if not is_name(domain) or len(files) not in (1, len(self.files)):
                raise ConfigError(
                    f"data.source.heldout: domain {domain!r} has {len(files)} entries; give a short name, and one "
                    f"entry or one for each of the {len(self.files)} versions",
                    field=f"{_HELD_OUT}.{domain}",
                    value=files,
                )

    def spec(self) -> dict[str, Any]:
        """Return what holds for every increment; the files themselves are known by their digests in the store."""
        return {"kind": "tokens", "bits": self.bits, "vocab_size": self.vocab_size}

    def increment_spec(self, number: int) -> dict[str, Any]:
        """Return the fingerprints of an increment's files, held-out ones too: other files are noticed by it.

        Raises:
            ConfigError: If no file is named for it.
            DataError: If a file is missing.
        """
        if number >= len(self.files):
            raise ConfigError(
                f"data.source.files has {len(self.files)} entries, but version number {number + 1} was asked for; "
                "add one for it",
                field=_TRAIN,
                value=self.files,
            )
        entry = self.files[number]
        return {
            "train": {domain: fingerprint(_files_of(files, name=_TRAIN)) for domain, files in entry.items()}
            if isinstance(entry, Mapping)
            else fingerprint(_files_of(entry, name=_TRAIN)),
            "heldout": {
                domain: fingerprint(_files_of(files, name=f"{_HELD_OUT}.{domain}"))
                for domain, files in self._heldout_of(number).items()
            },
        }

    def is_mapped(self, number: int) -> bool:
        """Tell whether the training ids of an increment stay where they lie: those of several files do."""
        entry = self.files[number]
        return not isinstance(entry, str) or not pathlib.Path(entry).is_file()

    def train_ids(self, arrival: Arrival) -> "IdShards":
        """Return the training ids of an increment.

        Raises:
            DataError: If a file is missing, empty, or holds something else than ids of the width that `bits` says.
        """
        self.increment_spec(arrival.number)
        entry = self.files[arrival.number]
        return self._shards([*entry.values()] if isinstance(entry, Mapping) else entry, name=_TRAIN)

    def names_domains(self, number: int) -> bool:
        """Tell whether it is said which ids of an increment are of which domain; of a missing one, that it may be."""
        return number >= len(self.files) or isinstance(self.files[number], Mapping)

    def train_domains(self, arrival: Arrival) -> dict[str, int]:
        """Return how many training ids of an increment are of which domain, in order; empty if no domain is named."""
        entry = self.files[arrival.number]
        domains = entry if isinstance(entry, Mapping) else {}
        return {domain: len(self._shards(files, name=_TRAIN)) for domain, files in domains.items()}

    def heldout_ids(self, arrival: Arrival) -> "dict[str, NDArray[Any]]":
        """Return the held-out ids of an increment by domain.

        Raises:
            DataError: As `train_ids`.
        """
        found = {}
        for domain, files in self._heldout_of(arrival.number).items():
            shards = self._shards(files, name=f"{_HELD_OUT}.{domain}")
            found[domain] = shards.read(0, len(shards))
        return found

    def _heldout_of(self, number: int) -> dict[str, Files]:
        return {domain: files[0] if len(files) == 1 else files[number] for domain, files in self.heldout.items()}

    def _shards(self, entry: Files | list[Files], *, name: str) -> "IdShards":
        from lrpath.data.id_shards import IdShards

        files = _files_of(entry, name=name)
        for path in files:
            self._check(path)
        return IdShards(files=tuple(files), dtype=f"<u{self.bits // 8}")

    def _check(self, path: pathlib.Path) -> None:
        import numpy as np

        from lrpath.data.sources.id_files import check_ids

        check_ids(path, bits=self.bits)
        width, size = self.bits // 8, path.stat().st_size
        if size == 0 or size % width:
            raise DataError(
                f"{path} has {size:_} bytes, which is not a positive multiple of {width}, the bytes of a {self.bits}-"
                "bit id; restore the file, or correct data.source.bits",
                field="data.source.bits",
                value=self.bits,
            )
        ids_N = np.fromfile(path, dtype=f"<u{width}", count=4096)
        if int(ids_N.max()) < self.vocab_size:
            return
        fitting = next(
            (
                f"they would fit as {what}"
                for what, other_N in _other_readings(ids_N, self.bits)
                if int(other_N.max()) < self.vocab_size
            ),
            "give the vocab_size that the ids were made with",
        )
        raise DataError(
            f"{path} has id {int(ids_N.max()):_} among its first, and data.source.vocab_size is {self.vocab_size:_}; "
            f"{fitting}",
            field="data.source.vocab_size",
            value=self.vocab_size,
        )


def _other_readings(ids_N: "NDArray[Any]", bits: int) -> "list[tuple[str, NDArray[Any]]]":
    """Return the same bytes read in other ways, with what one would have to change."""
    readings = [("big-endian ids: write them little-endian", ids_N.byteswap())]
    if bits == 32:
        readings.append(("16-bit ids: give data.source.bits=16", ids_N.view("<u2")))
    return readings


def _files_of(entry: Files | list[Files], *, name: str) -> list[pathlib.Path]:
    """Return the files that an entry names, in natural order where it is a folder or a glob."""
    if not isinstance(entry, str):
        return [path for part in entry for path in _files_of(part, name=name)]
    place = pathlib.Path(entry)
    if place.is_file():
        return [place]
    if place.is_dir():
        found, what = [path for path in place.iterdir() if not path.name.startswith(".")], "holds no files"
    else:
        found, what = list(_glob(place)), "does not exist, or matches no files"
    found = [path for path in found if not _is_beside(path, found)]
    folders = sorted(path.name for path in found if path.is_dir())
    if folders:
        raise DataError(
            f"{place} holds the folder {folders[0]}, and only files are read; name the files with a glob, "
            f"{place}/*.bin, or move the folder",
            field=name,
            value=entry,
        )
    if not found:
        raise DataError(f"{place} {what}; correct {name}", field=name, value=entry)
    return sorted(found, key=natural_key)


def _is_beside(path: pathlib.Path, found: list[pathlib.Path]) -> bool:
    """Tell whether a file only describes another one: Megatron's `x.idx`, datatrove's `x.ds.index`, `x.ds.metadata`."""
    return (path.suffix == ".idx" and path.with_suffix(".bin") in found) or (
        path.suffix in (".index", ".metadata", ".loss") and path.with_suffix("") in found
    )


def _places(entries: Sequence[Any]) -> Iterator[str]:
    for entry in entries:
        if isinstance(entry, str):
            yield entry
        else:
            yield from _places(list(entry.values()) if isinstance(entry, Mapping) else entry)


def _glob(place: pathlib.Path) -> list[pathlib.Path]:
    if not any(sign in str(place) for sign in "*?["):
        return []
    root = pathlib.Path(place.anchor) if place.is_absolute() else pathlib.Path()
    return [path for path in root.glob(str(place.relative_to(place.anchor))) if not path.name.startswith(".")]
