"""By what a catalog knows an increment again: a digest of what its tokens follow from, without reading its text.

That is the settings of the source, the fingerprint of the increment's files (their sizes and samples of their bytes;
neither their names nor their places), its number, the tokenizer's store, and the increments before it, whose documents
it may have to leave out.

A second key holds the absolute places of the files. It is asked only if they are gone: a text may be thrown away once
its tokens are stored.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

from lrpath.data.sources import Source, TextSource, TokensSource
from lrpath.data.sources.remote_path import source_path
from lrpath.data.sources.tokens import Entry
from lrpath.errors import ConfigError, DataError
from lrpath.planning.lineage import content_id

PLACES = frozenset({"name", "paths"})
"""Fields of a source that only say where a text lies, or how its file is called."""


def first_key(source: Source, number: int, **more: Any) -> str | None:
    """Return the key to look for: that of the fingerprint, or that of the place if the files are gone."""
    return next(iter(keys(source, number, **more)), None)


def keys(source: Source, number: int, **more: Any) -> list[str]:
    """Return the keys of an increment: by its fingerprint and by its place, or by its place alone if it is gone."""
    try:
        place = _placed(source, number)
    except DataError:  # the folder's entries cannot be put in order
        place = None
    by_place = [] if place is None else [content_id({"place": place} | more)]
    try:
        return [content_id({"increment": described(source, number)} | more), *by_place]
    except DataError:
        return by_place
    except ConfigError:  # it is not configured yet: for example, a date has no boundary
        return []


def described(source: Source, number: int) -> dict[str, Any]:
    """Return what an increment's text follows from, without names and places."""
    own = nameless(source.increment_spec(number))
    return {"source": settings(source), "increment": own, "number": number}


def settings(source: Source) -> dict[str, Any]:
    """Return the settings of a source, with its folders' full places where no fingerprint stands for their files."""
    spec: dict[str, Any] = nameless(source.spec())
    folders = {name: spec[name] for name in ("stdlib", "packages") if spec.get(name) is not None}
    return spec | {name: str(pathlib.Path(folder).resolve()) for name, folder in folders.items()}


def nameless(value: Any) -> Any:
    """Return plain data without what only says where a text lies, or how its file is called."""
    if isinstance(value, Mapping):
        kept = {key: nameless(entry) for key, entry in value.items() if key not in PLACES}
        domains = value.get("domains")
        return kept | ({"domains": list(domains)} if isinstance(domains, Mapping) else {})
    return [nameless(entry) for entry in value] if isinstance(value, list | tuple) else value


def _placed(source: Source, number: int) -> dict[str, Any] | None:
    """Return the places of an increment's files; None for a source that reads no files of its own."""
    places: dict[str, Any]
    if isinstance(source, TextSource):
        paths = [source_path(path) for path in source.paths]
        if source.versions.by == "file" and paths:
            paths = source.entries()[number : number + 1]
        domains = {name: str(source_path(path).resolve()) for name, path in source.places.items()}
        places = {"paths": [str(path.resolve()) for path in paths], "domains": domains}
        return places | {"number": number, "source": nameless(source.spec())}
    if isinstance(source, TokensSource) and number < len(source.files):
        heldout = {name: files[number if len(files) > 1 else 0] for name, files in source.heldout.items()}
        files: dict[str, Entry] = {"": source.files[number], **heldout}
        return {"files": {name: _place_of(entry) for name, entry in files.items()}, "source": nameless(source.spec())}
    return None


def _place_of(entry: Entry) -> Any:
    """Return the absolute places that an entry of a source of ids names."""
    if isinstance(entry, Mapping):
        return {domain: _place_of(files) for domain, files in entry.items()}
    return str(pathlib.Path(entry).resolve()) if isinstance(entry, str) else [_place_of(part) for part in entry]
