"""Text from a Hugging Face dataset, read in a stream; an optional extra, and no dataset may run code of its own."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lrpath.data.sources.division import Division
from lrpath.data.sources.document import Arrival, Document, HeldOutSettings, checked_text
from lrpath.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class HfSource:
    """Documents of a dataset, divided into increments.

    Args:
        dataset: Name on the hub, or a local folder.
        revision: Commit of the dataset; it pins the text.
        config: Configuration of the dataset, if it has several.
        splits: Splits to read. Divided by split, the i-th is version i.
        text_field: Field that holds the text; `date`, `version` and `domain` are read under these names.
        versions: How the records are divided: by split, date, share or field.
        heldout: Which documents are held out.

    Raises:
        ConfigError: If no split is named, or the division is by file.
    """

    kind: ClassVar[str] = "hf"
    dataset: str
    revision: str
    config: str | None
    splits: tuple[str, ...]
    text_field: str
    versions: Division
    heldout: HeldOutSettings

    def __post_init__(self) -> None:
        if not self.splits:
            raise ConfigError("data.source.splits is empty; name the splits to read")
        if self.versions.by == "file":
            raise ConfigError("data.source.versions.by=file is for text files; use split, date, share or field")

    def spec(self) -> dict[str, Any]:
        """Return what identifies the text."""
        return {
            "kind": "hf",
            "dataset": self.dataset,
            "revision": self.revision,
            "config": self.config,
            "splits": list(self.splits) if self.versions.by != "split" else None,
            "text_field": self.text_field,
            "versions": self.versions.spec(),
            "heldout": self.heldout.spec(),
        }

    def increment_spec(self, number: int) -> dict[str, Any]:
        """Return the split, dates or share that make an increment.

        Raises:
            ConfigError: If there is no split for it.
        """
        if self.versions.by != "split":
            return self.versions.increment_spec(number)
        if number >= len(self.splits):
            raise ConfigError(
                f"data.source.splits names {len(self.splits)} splits, but version number {number + 1} was asked for; "
                "add a split"
            )
        return {"split": self.splits[number]}

    def documents(self, arrival: Arrival) -> Iterator[Document]:
        """Yield the documents of an increment.

        Raises:
            DataError: If `datasets` is not installed, or a record is malformed.
        """
        own = self.increment_spec(arrival.number)
        for split in [own["split"]] if self.versions.by == "split" else self.splits:
            for number, record in enumerate(self._records(split)):
                place = f"{self.dataset}[{split}] record {number}"
                # A dataset's own field `split`, if it has one, is no promise of ours; only the rule holds out here.
                fields = {name: value for name, value in record.items() if name != "split" and value is not None}
                fields["text"] = checked_text(record.get(self.text_field), place=place)
                document = self.versions.document(fields, arrival, domain=None, place=place)
                if document is not None:
                    yield document

    def _records(self, split: str) -> Iterable[dict[str, Any]]:
        try:
            from datasets import load_dataset  # an optional extra
        except ImportError as error:
            raise DataError("a Hugging Face source needs the datasets library: pip install 'lrpath[hf]'") from error
        try:
            records: Iterable[dict[str, Any]] = load_dataset(
                self.dataset, self.config, split=split, revision=self.revision, streaming=True
            )
        except (OSError, ValueError) as error:
            raise DataError(
                f"dataset {self.dataset} at {self.revision}, split {split}, cannot be read ({error}); check its name, "
                "revision and splits, and the connection"
            ) from error
        return records
