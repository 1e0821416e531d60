"""Says which text an update read: the window of every sequence, and the documents that it lies in.

The study alone says which windows: a state's manifest has the order's seed and how many windows every increment had.
The text is read from the store whose tokens have the digest that the manifest names, if it is here.
"""

import pathlib
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from lrpath.analysis.compare import Series
from lrpath.analysis.release_choice import choose_path, split_position
from lrpath.data.catalog import stored_increments
from lrpath.data.order import WindowOrder, part_name
from lrpath.data.store import TokenStore
from lrpath.data.tokenizer import read_tokenizer
from lrpath.errors import ConfigError, DataError, StateError
from lrpath.planning.paths import Path
from lrpath.records.manifest import read_manifest
from lrpath.records.study import Study

MOST_CHARACTERS = 80
"""So much of a window's text is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadWindow:
    """One sequence of an update.

    Args:
        version: Version whose increment it is of.
        domain: Its domain, where the increment is read as a mixture; else empty.
        window: Number of the window among those of the increment, or of the domain, from 0.
        windows: How many there are.
        text: The window's text; None where the store is not here, or has no tokenizer.
        documents: First and last document of the increment's training text that it lies in, from 0; None likewise,
            and of a domain.
    """

    version: str
    domain: str
    window: int
    windows: int
    text: str | None
    documents: tuple[int, int] | None

    def line(self) -> str:
        """Return it as a line."""
        part = f"{self.version}, domain {self.domain}," if self.domain else self.version
        where = f"{part} window {self.window:,} of {self.windows:,}"
        if self.documents is not None:
            first, last = self.documents
            where += f", document {first:,}" if first == last else f", documents {first:,} to {last:,}"
        if self.text is None:
            return where
        more = "…" if len(self.text) > MOST_CHARACTERS else ""
        return f"{where}: {self.text[:MOST_CHARACTERS]!r}{more}"


def update_text(study: Study, name: str, *, stores: pathlib.Path) -> str:
    """Return what an update read, a line a sequence.

    Args:
        study: The study.
        name: Path and position that the update reaches: `path_switching.main/120`.
        stores: Folder of prepared stores.

    Raises:
        ConfigError: If the name has no position, or it is none of the path's.
        PlanError: If there is no such path, or several.
        StateError: If no state of the path is on disk, which says what was read.
    """
    place, position = split_position(name)
    series, path = choose_path(study, name=place)
    if position is None or not 0 < position <= series.tree.end(path.id):
        text = f"update={name} must end with a position in [1, {series.tree.end(path.id):,}]: update={place}/1"
        raise ConfigError(text, field="update", value=name)
    path = _path_at(series, path, position)
    found = windows_of_update(study, path, position, stores=stores)
    recipe = path.recipe
    head = (
        f"update {position:,} of {path.name}, from position {position - 1:,}, read {len(found):,} sequences of "
        f"{recipe.tokens_per_sequence:,} tokens:"
    )
    lines = [f"  {number:>4}  {window.line()}" for number, window in enumerate(found)]
    if all(window.text is None for window in found):
        lines.append(f"their text is not in {stores}; give stores=FOLDER, the data.folder of lrpath.train")
    return "\n".join([head, *lines])


def _path_at(series: Series, path: Path, position: int) -> Path:
    """Return the path itself, or the ancestor that made the update before it left."""
    return next(one for one in reversed(series.tree.line(path.id)) if position > one.start)


def windows_of_update(study: Study, path: Path, position: int, *, stores: pathlib.Path) -> list[ReadWindow]:
    """Return what the update of a path that reaches a position read, by slot; raises as `update_text`."""
    stream = path.stream.between(position - 1, position)
    versions = {increment.version for segment in stream.segments for increment in segment.increments}
    known, repeat = _reading(study, path, position, versions=versions)
    windows = {version: int(one["windows"]) for version, one in known.items()}
    windows |= {
        part_name(version, domain): int(count)
        for version, one in known.items()
        for domain, count in one.get("domains", {}).items()
    }
    order = WindowOrder(
        stream=stream,
        sequences=path.recipe.sequences_per_update,
        length=path.recipe.tokens_per_sequence,
        seed=path.recipe.order_seed,
        windows=windows,
        repeat=repeat,
        growth=path.recipe.growth,
    )
    parts_B, windows_B = order.windows_of(position - 1)
    texts = _Texts(stores, {version: str(one["digest"]) for version, one in known.items()}, length=order.length)
    found = []
    for part, window in zip(parts_B.tolist(), windows_B.tolist(), strict=True):
        version, _, domain = part.partition("/")
        text, documents = texts.of(version, domain, window)
        found.append(
            ReadWindow(
                version=version,
                domain=domain,
                window=window,
                windows=windows[part],
                text=text,
                documents=documents,
            )
        )
    return found


def _reading(study: Study, path: Path, position: int, *, versions: Set[str]) -> tuple[dict[str, dict[str, Any]], bool]:
    """Return what states behind an update say of the increments that it reads, and whether these are repeated."""
    folder = study.find(path.id)
    known: dict[str, dict[str, Any]] = {}
    for kept in [] if folder is None else [one for one in folder.positions() if one >= position]:
        assert folder is not None
        read = read_manifest(folder.state(kept)).get("read")
        for segment in read["segments"] if isinstance(read, dict) else ():  # another trainer's state has none
            known = segment["increments"] | known
        if isinstance(read, dict) and known.keys() >= versions:
            return known, bool(read["repeat"])
    text = f"study {study.name} has no state of {path.name} at {position:,} or behind it that says what was read"
    raise StateError(f"{text}; train on, or give an earlier position", value=position)


class _Texts:
    """The text of windows, from the stores in which increments of some digests lie."""

    def __init__(self, stores: pathlib.Path, digests: Mapping[str, str], *, length: int) -> None:
        self._length = length
        self._stores: dict[str, TokenStore] = {}
        self._tokenizers: dict[pathlib.Path, Tokenizer] = {}
        for folder, increments in stored_increments(stores).items():
            for version, digest in digests.items():
                names = [one.name for one in increments if one.manifest.content == digest]
                if names and version not in self._stores:
                    self._stores[version] = TokenStore.open(folder, increments={version: names[0]})

    def of(self, version: str, domain: str, window: int) -> tuple[str | None, tuple[int, int] | None]:
        """Return the text of a window, and the documents that it lies in."""
        store = self._stores.get(version)
        if store is None or store.tokenizer_file is None:
            return None, None
        if store.tokenizer_file not in self._tokenizers:
            self._tokenizers[store.tokenizer_file] = read_tokenizer(store.tokenizer_file)
        tokenizer = self._tokenizers[store.tokenizer_file]
        try:
            if domain:
                ids = store.gather_domain(version, domain, [window], self._length)[0]
                return tokenizer.decode(ids.tolist()), None
            ids = store.window(version, window, self._length)
        except DataError:  # ids that lie in files of their source
            return None, None
        begin = window * self._length
        first = int(np.count_nonzero(store.tokens(version)[:begin] == store.end_id))
        inside = int(np.count_nonzero(ids[:-1] == store.end_id))
        return tokenizer.decode(ids.tolist(), skip_special_tokens=False), (first, first + inside)
