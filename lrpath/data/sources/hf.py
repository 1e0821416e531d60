"""Text from a Hugging Face dataset, read in a stream; an optional extra, and no dataset may run code of its own."""

import pathlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from lrpath.data.sources.division import Division
from lrpath.data.sources.document import Arrival, Document, HeldOutSettings, checked_text, fingerprint
from lrpath.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class HfSource:
    """Documents of a dataset, divided into increments.

    Args:
        dataset: Name on the hub, or a local folder.
        revision: Commit of a dataset of the hub; it pins the text. A folder has none: its files are fingerprinted.
        config: Configuration of the dataset, if it has several.
        splits: Splits to read. Divided by split, the i-th is version i.
        text_field: Field that holds the text; `date`, `version` and `domain` are read under these names.
        versions: How the records are divided: by split, date, share or field.
        heldout: Which documents are held out.

    Raises:
        ConfigError: If no split is named, the division is by file, a dataset of the hub has no revision, or a folder
            has one.
    """

    kind: ClassVar[str] = "hf"
    dataset: str
    revision: str | None
    config: str | None
    splits: tuple[str, ...]
    text_field: str
    versions: Division
    heldout: HeldOutSettings

    def __post_init__(self) -> None:
        if not self.splits:
            raise ConfigError(
                "data.source.splits is empty; name the splits to read", field="data.source.splits", value=()
            )
        if self.versions.by == "file":
            raise ConfigError(
                "data.source.versions.by=file is for text files; use split, date, share or field",
                field="data.source.versions.by",
                value="file",
            )
        if self.is_local and self.revision not in (None, "main"):  # `main` is what the hub calls no choice at all
            raise ConfigError(
                f"data.source.revision={self.revision} means nothing for the folder {self.dataset}, whose files are "
                "fingerprinted; give data.source.revision=null",
                field="data.source.revision",
                value=self.revision,
            )
        if not self.is_local and self.revision is None:
            raise ConfigError(
                f"data.source.revision is missing: the dataset {self.dataset} of the hub may change; give the commit "
                "that pins its text",
                field="data.source.revision",
            )

    @property
    def is_local(self) -> bool:
        """Whether the dataset is a folder of this machine."""
        return pathlib.Path(self.dataset).is_dir()

    def spec(self) -> dict[str, Any]:
        """Return what identifies the text."""
        return {
            "kind": "hf",
            "dataset": None if self.is_local else self.dataset,
            "revision": None if self.is_local else self.revision,
            "config": self.config,
            "splits": list(self.splits) if self.versions.by != "split" else None,
            "text_field": self.text_field,
            "versions": self.versions.spec(),
            "heldout": self.heldout.spec(),
        }

    def increment_spec(self, number: int) -> dict[str, Any]:
        """Return the split, dates or share that make an increment, and the fingerprint of its files in a local folder.

        Raises:
            ConfigError: If there is no split for it.
            DataError: If the folder cannot be read as a dataset.
        """
        own = self.versions.increment_spec(number)
        if self.versions.by == "split":
            if number >= len(self.splits):
                raise ConfigError(
                    f"data.source.splits names {len(self.splits)} splits, but version number {number + 1} was asked "
                    "for; add a split",
                    field="data.source.splits",
                    value=self.splits,
                )
            own = {"split": self.splits[number]}
        if not self.is_local:
            return own
        files = [file for split in self._splits_of(own) for file in self._files(split)]
        return own | {"files": fingerprint(sorted(set(files)))}

    def _splits_of(self, own: dict[str, Any]) -> Sequence[str]:
        return [own["split"]] if self.versions.by == "split" else self.splits

    def _files(self, split: str) -> list[pathlib.Path]:
        """Return the files of a split of a local folder, in the order in which they are read."""
        by_split = _local_files(self.dataset, self.config, listing=_listing(self.dataset))
        name = re.split(r"[\[+]", split)[0]  # `train[:10%]` reads the files of `train`
        return by_split.get(name) or sorted({file for files in by_split.values() for file in files})

    def documents(self, arrival: Arrival) -> Iterator[Document]:
        """Yield the documents of an increment.

        Raises:
            DataError: If `datasets` is not installed, or a record is malformed.
        """
        own = self.increment_spec(arrival.number)
        for split in self._splits_of(own):
            for place, record in self._records(split):
                # A dataset's own field `split`, if it has one, is no promise of ours; only the rule holds out here.
                # The library fills what a record lacks with null.
                fields = {name: value for name, value in record.items() if name != "split" and value is not None}
                fields["text"] = checked_text(record.get(self.text_field), place=place)
                document = self.versions.document(fields, arrival, domain=None, place=place)
                if document is not None:
                    yield document

    def _records(self, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the records of a split and where each stands: file by file, so that an error can name the file."""
        number, place = 0, f"{self.dataset}[{split}]"
        files = self._files(split) if self.is_local else []
        try:
            with _quiet_datasets():
                dataset = _datasets().load_dataset(
                    self.dataset,
                    self.config,
                    split=split,
                    revision=None if self.is_local else self.revision,
                    streaming=True,
                )
                shards = dataset.num_shards
                for shard in range(shards):
                    place = str(files[shard]) if len(files) == shards else f"{self.dataset}[{split}]"
                    for record in dataset.shard(shards, shard) if shards > 1 else dataset:
                        yield f"{place} record {number}", record
                        number += 1
        except (OSError, ValueError) as error:  # of which CastError and ArrowInvalid are
            raise DataError(
                f"{place} cannot be read after {number:_} records ({_first_words(error)}); correct the file, or the "
                "dataset's name, revision and splits",
                field="data.source.dataset",
                value=self.dataset,
            ) from error


def _datasets() -> Any:
    """Return the library, an optional extra."""
    try:
        import datasets
    except ImportError as error:
        raise DataError("a Hugging Face source needs the datasets library: pip install 'lrpath[hf]'") from error
    return datasets


@contextmanager
def _quiet_datasets() -> Iterator[None]:
    """Keep the library from logging an error that it raises as well."""
    logging = _datasets().utils.logging
    level = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(level)


def _listing(folder: str) -> tuple[str, ...]:
    return tuple(sorted(str(file) for file in pathlib.Path(folder).rglob("*") if file.is_file()))


@lru_cache(maxsize=16)
def _local_files(
    folder: str,
    config: str | None,
    *,
    listing: tuple[str, ...],  # noqa: ARG001 (of a folder that has got more files, in a notebook, the library is asked again)
) -> dict[str, list[pathlib.Path]]:
    """Return the files of each split of a local dataset, as the library finds them.

    Raises:
        DataError: If the folder is not a dataset that the library can read without code.
    """
    try:
        with _quiet_datasets():
            builder = _datasets().load_dataset_builder(folder, config)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder} cannot be read as a dataset ({_first_words(error)}); name a folder of JSON lines, CSV or "
            "Parquet files",
            field="data.source.dataset",
            value=folder,
        ) from error
    found = builder.config.data_files or {}
    return {str(split): [pathlib.Path(str(file)) for file in files] for split, files in found.items()}


def _first_words(error: Exception) -> str:
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return text if len(text) <= 200 else f"{text[:200]}…"
