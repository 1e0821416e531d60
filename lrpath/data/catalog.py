"""Which stored tokens a configuration's text has become: a memory by fingerprint, so that a plan reads no text.

    <data.folder>/catalog.json    fingerprints of settings and files → stores and increments
    <data.folder>/store-<id>/     the store of a tokenizer, see `lrpath.data.store`

By which keys it knows texts again is said in `lrpath.data.increment_keys`. The tokens themselves say who they are: if a
key is not known, because a file was compressed or an empty line added, the text is prepared again, and what comes out
is found to be the increment that is there. So a lost catalog costs a preparation and no training.
"""

import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lrpath.data.increment_keys import described, first_key, keys, nameless, settings
from lrpath.data.manifest import MANIFEST_FILE, STORE_FILE, Manifest, is_name, read_store_record
from lrpath.data.old_stores import old_increments
from lrpath.data.remote import is_here
from lrpath.data.sources import Source, TextSource
from lrpath.data.sources.files import natural_key
from lrpath.data.sources.remote_path import source_path
from lrpath.data.sources.text import entry_spec
from lrpath.data.tokenizer import TokenizerSettings
from lrpath.errors import ConfigError, DataError, StateError
from lrpath.planning.lineage import content_id
from lrpath.planning.streams import PROVISIONAL
from lrpath.records.files import locked, read_json, write_json

if TYPE_CHECKING:  # numpy is imported where tokens are read: a plan starts without it
    from lrpath.data.store import TokenStore

CATALOG_FILE = "catalog.json"
CATALOG_FORMAT = 1
STORE_PREFIX = "store-"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredIncrement:
    """An increment whose tokens are stored.

    Args:
        name: Its folder in the store.
        manifest: What it holds.
    """

    name: str
    manifest: Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredData:
    """What is stored of a configuration's data.

    Args:
        store: The tokenizer's store; None while there is no tokenizer.
        tokenizer: Digest of the tokenizer; None for ids without one, too.
        increments: The first versions' increments, as many as are known.
    """

    store: pathlib.Path | None = None
    tokenizer: str | None = None
    increments: tuple[StoredIncrement, ...] = ()

    def is_here(self) -> bool:
        """Say whether the tokens are on this machine, and not at the data folder's URL alone."""
        return self.store is None or all(is_here(self.store / increment.name) for increment in self.increments)

    def open(self, versions: Sequence[str]) -> "TokenStore | None":
        """Open the store at as many of some versions, in the order of arrival, as are stored; None if none is begun.

        Raises:
            DataError: If what is stored is torn or altered.
        """
        if self.store is None:
            return None
        from lrpath.data.store import TokenStore

        names = [increment.name for increment in self.increments]
        return TokenStore.open(self.store, increments=dict(zip(versions, names, strict=False)))


class Catalog:
    """The memory of a data folder."""

    def __init__(self, folder: pathlib.Path) -> None:
        """Name the folder; it need not exist."""
        self._folder = folder

    def find(
        self,
        source: Source,
        *,
        tokenizer: TokenizerSettings | None,
        count: int,
        old: Sequence[Mapping[str, Any]] = (),
    ) -> StoredData:
        """Return what is stored of the first `count` increments.

        Args:
            source: Where the text comes from.
            tokenizer: Settings of the tokenizer.
            count: How many versions are asked for.
            old: What plans that were kept before ids followed from content say of their data. Of a study that has
                such plans, the tokens that they were made of are taken where files and settings agree, whatever rule
                held documents out then: what was trained on them is not trained again.

        Raises:
            DataError: If what is stored is torn or altered.
        """
        memory, source = self._read(), self.completed(source)
        found = self._find_old(source, tokenizer, count, old)
        if found.store is None:
            found = self._at_store(memory["stores"].get(first_key(source, 0, tokenizer=_spec(tokenizer))))
        while found.store is not None and len(found.increments) < count:
            name = memory["increments"].get(first_key(source, len(found.increments), **_after(found)))
            if (increment := _stored(found.store, name)) is None:
                break
            found = replace(found, increments=(*found.increments, increment))
        return found

    def remember_store(self, source: Source, *, tokenizer: TokenizerSettings | None, store: pathlib.Path) -> StoredData:
        """Remember the store of a source's tokenizer, and return it without increments."""
        with locked(self._folder):
            memory = self._read()
            names = keys(self.completed(source), 0, tokenizer=_spec(tokenizer))
            memory["stores"] |= dict.fromkeys(names, store.name)
            write_json(self._folder / CATALOG_FILE, memory)
        return self._at_store(store.name)

    def remember(self, source: Source, *, tokenizer: TokenizerSettings | None, stored: StoredData) -> None:
        """Remember what increments have become, and where their files lie now."""
        assert stored.store is not None
        completed, before = self.completed(source), replace(stored, increments=())
        with locked(self._folder):
            known = self._read()
            memory = {name: dict(part) if isinstance(part, dict) else part for name, part in known.items()}
            if stored.store.name.startswith(STORE_PREFIX):  # an old store is for the studies that were made of it
                names = keys(completed, 0, tokenizer=_spec(tokenizer))
                memory["stores"] |= dict.fromkeys(names, stored.store.name)
            for number, increment in enumerate(stored.increments):
                names = keys(completed, number, **_after(before))
                memory["increments"] |= dict.fromkeys(names, increment.name)
                before = replace(before, increments=stored.increments[: number + 1])
            if (listed := _listed_folder(source)) is not None:
                before_now = memory["entries"].get(str(listed), [])
                assert isinstance(completed, TextSource)
                found = [_entry(path) for path in completed.entries()[: len(stored.increments)]]
                gone = [*before_now, *([None] * len(found))]
                entries = [new or old for new, old in zip(found, gone, strict=False)]
                if None not in entries:
                    memory["entries"][str(listed)] = [*entries, *before_now[len(entries) :]]
            if memory != known:
                write_json(self._folder / CATALOG_FILE, memory)

    def add(self, stored: StoredData, *, name: str) -> StoredData:
        """Return what is stored with one increment more, which has been written."""
        assert stored.store is not None
        increment = _stored(stored.store, name)
        assert increment is not None
        return replace(stored, increments=(*stored.increments, increment))

    def completed(self, source: Source) -> Source:
        """Return the source with the entries of its folder that were prepared and are gone, each in its place.

        Without them, the first entry that is left would be taken for version 1. An entry that was renamed is not gone:
        its fingerprint is there under another name.
        """
        if (listed := _listed_folder(source)) is None:
            return source
        known = self._read()["entries"].get(str(listed), [])
        present = [entry for entry in listed.glob("*") if not entry.name.startswith(".")]
        missing = [(listed / name, fingerprint) for name, fingerprint in known if listed / name not in present]
        if not missing:
            return source
        fingerprints = {entry[1] for entry in map(_entry, present) if entry is not None}
        gone = [path for path, fingerprint in missing if fingerprint not in fingerprints]
        if not gone:
            return source
        assert isinstance(source, TextSource)
        paths = sorted([*gone, *present], key=natural_key)
        return replace(source, paths=tuple(str(path) for path in paths))

    def key_of(self, source: Source, *, tokenizer: TokenizerSettings | None) -> str:
        """Return the key of a source's tokenizer: one name for all who prepare the same text."""
        return first_key(self.completed(source), 0, tokenizer=_spec(tokenizer)) or content_id(settings(source))

    def provisional(self, source: Source, *, tokenizer: TokenizerSettings | None, number: int) -> str:
        """Return what stands for the content of an increment that is not prepared: a digest of its keys.

        Raises:
            ConfigError: If the first increment's settings are refused.
            DataError: If the first increment's files are missing; those of a later one may be still to come.
        """
        try:
            facts = described(self.completed(source), number)
        except (ConfigError, DataError):
            if number == 0:
                raise
            facts = {"source": settings(source), "number": number}
        return PROVISIONAL + content_id({"increment": facts, "tokenizer": _spec(tokenizer)})

    def _at_store(self, name: object) -> StoredData:
        if not isinstance(name, str) or not is_name(name) or not (self._folder / name / STORE_FILE).exists():
            return StoredData()
        store = self._folder / name
        return StoredData(store=store, tokenizer=read_store_record(store)["tokenizer"])

    def _find_old(
        self,
        source: Source,
        tokenizer: TokenizerSettings | None,
        count: int,
        old: Sequence[Mapping[str, Any]],
    ) -> StoredData:
        """Return the increments that a store of before ids followed from content holds under the names of versions."""
        for store, names in old_increments(self._folder, source, tokenizer=tokenizer, count=count, old=old):
            found = self._at_store(store.name)
            for name in names:
                found = self.add(found, name=name)
            return found
        return StoredData()

    def _read(self) -> dict[str, Any]:
        try:
            memory = read_json(self._folder / CATALOG_FILE)
        except (StateError, NotADirectoryError):
            # None yet, or damaged: what it knew is found again by preparing. A file in place of a folder is refused
            # where something is to be written, with the field that names it.
            memory = None
        parts = ("stores", "increments", "entries")
        if not isinstance(memory, dict) or memory.get("format") != CATALOG_FORMAT:
            memory = {}
        return {"format": CATALOG_FORMAT} | {part: dict(memory.get(part, {})) for part in parts}


def stored_increments(folder: pathlib.Path) -> dict[pathlib.Path, list[StoredIncrement]]:
    """Return all whole increments of every store in a folder, whichever texts they were made of."""
    found: dict[pathlib.Path, list[StoredIncrement]] = {}
    for file in sorted(folder.glob(f"*/{STORE_FILE}")):
        store = found.setdefault(file.parent, [])
        for name in sorted(manifest.parent.name for manifest in file.parent.glob(f"*/{MANIFEST_FILE}")):
            try:
                increment = _stored(file.parent, name)
            except DataError:  # torn: `torn_increments` has it for those who need it
                continue
            store += [] if increment is None else [increment]
    return found


def torn_increments(folder: pathlib.Path) -> list[str]:
    """Return what is wrong with the manifests of increments in a folder of stores that cannot be read."""
    found = []
    for manifest in sorted(folder.glob(f"*/*/{MANIFEST_FILE}")):
        try:
            Manifest.read(manifest)
        except DataError as error:
            found.append(str(error))
    return found


def _spec(tokenizer: TokenizerSettings | None) -> dict[str, Any] | None:
    return None if tokenizer is None else tokenizer.spec()


def _after(stored: StoredData) -> dict[str, Any]:
    assert stored.store is not None
    return {"store": stored.store.name, "earlier": [increment.name for increment in stored.increments]}


def _listed_folder(source: Source) -> pathlib.Path | None:
    """Return the folder whose entries are the increments, if they are not listed in the configuration."""
    if not isinstance(source, TextSource) or source.versions.by != "file" or len(source.paths) != 1:
        return None
    folder = source_path(source.paths[0]).resolve()
    return folder if folder.is_dir() or not folder.exists() else None


def _entry(path: pathlib.Path) -> list[str] | None:
    """Return name and fingerprint of an entry of a folder; None for one that is gone or cannot be read."""
    try:
        return [path.name, content_id(nameless(entry_spec(path)))]
    except DataError:
        return None


def _stored(store: pathlib.Path, name: object) -> StoredIncrement | None:
    if not isinstance(name, str) or not is_name(name) or not (store / name / MANIFEST_FILE).exists():
        return None
    return StoredIncrement(name=name, manifest=Manifest.read(store / name / MANIFEST_FILE))
