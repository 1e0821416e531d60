"""Increments prepared before ids followed from content: under the names of versions, in a store of one study.

Their tokens are taken where files and settings agree, whatever rule held documents out then: what was trained on them
is not trained again.
"""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lrpath.data.increment_keys import PLACES
from lrpath.data.manifest import MANIFEST_FILE, STORE_FILE
from lrpath.data.sources import Source
from lrpath.data.tokenizer import TokenizerSettings
from lrpath.errors import DataError
from lrpath.records.files import read_json

_MAY_DIFFER = PLACES | {"domains", "heldout", "rules", "stdlib", "packages"}


def old_increments(
    folder: pathlib.Path,
    source: Source,
    *,
    tokenizer: TokenizerSettings | None,
    count: int,
    old: Sequence[Mapping[str, Any]],
) -> Iterator[tuple[pathlib.Path, list[str]]]:
    """Yield stores of a data folder that hold the first increments of a source, and the names of those increments.

    Args:
        folder: The data folder.
        source: Where the text comes from.
        tokenizer: Settings of the tokenizer.
        count: How many versions are asked for.
        old: What old plans say of their data, newest first.
    """
    for data in old:
        for file in sorted(folder.glob(f"*/{STORE_FILE}")):
            if not _is_store_of(file, data, source, tokenizer):
                continue
            numbered, names = _increments(file.parent), []
            for number in range(count):
                if not _is_old(numbered.get(number), source, number):
                    break
                names.append(str(numbered[number]["version"]))
            if names:
                yield file.parent, names


def _agree(one: Any, other: Any) -> bool:
    """Say whether two records agree in all that both name: fields may have been added since."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return all(_agree(one[key], other[key]) for key in one.keys() & other.keys() - _MAY_DIFFER)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(_agree(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)


def _is_store_of(
    file: pathlib.Path, data: Mapping[str, Any], source: Source, tokenizer: TokenizerSettings | None
) -> bool:
    """Say whether a store was prepared for a plan's data, and the configuration's settings are the same."""
    spec = read_json(file).get("spec")
    if not isinstance(spec, dict) or spec != {"source": data.get("source"), "tokenizer": data.get("tokenizer")}:
        return False
    first = _increments(file.parent).get(0, {}).get("source", {})
    return (
        {name: value for name, value in first.items() if name != "heldout"} == data.get("first_increment")
        and _agree(spec["source"], source.spec())
        and _agree(spec["tokenizer"], None if tokenizer is None else tokenizer.spec())
    )


def _increments(store: pathlib.Path) -> dict[int, dict[str, Any]]:
    records = [read_json(file) for file in sorted(store.glob(f"*/{MANIFEST_FILE}"))]
    return {record["number"]: record for record in records if record.get("format") == 1}


def _is_old(record: Mapping[str, Any] | None, source: Source, number: int) -> bool:
    if record is None:
        return False
    try:
        return _agree(record["source"], source.increment_spec(number))
    except DataError:  # the text is gone, and its tokens are here
        return True
