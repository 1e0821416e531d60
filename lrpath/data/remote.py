"""Token stores at a URL: a working copy of the data folder, whose increments are fetched when their tokens are read.

Stores and increments are named by their content, so two machines that prepare the same text write the same objects, and
nothing is ever another's. An increment is there when its manifest is, which is uploaded last. The catalog is a memory
and may be lost; what either side remembers is kept.
"""

import contextlib
import json
import pathlib

from lrpath.data.manifest import MANIFEST_FILE, STORE_FILE, TOKENIZER_FILE, TRAIN_FILE, Manifest
from lrpath.errors import DataError
from lrpath.records.files import locked, write_json
from lrpath.records.remote.folder import Entries, RemoteFolder, is_plain, local_folder
from lrpath.records.remote.working_copy import WorkingCopy, files_in

_CATALOG = "catalog.json"
_PREFIX = "store-"
_SMALL = (STORE_FILE, TOKENIZER_FILE, MANIFEST_FILE)


def fetch_stores(place: str) -> pathlib.Path:
    """Return the data folder; of one at a URL the working copy, after catalog, tokenizers and manifests were fetched.

    Raises:
        StorageError: If the URL cannot be read.
    """
    copy = WorkingCopy.at(place)
    if copy is None:
        return local_folder(place)
    remote = copy.remote()
    entries = remote.entries()
    with locked(copy.folder):
        _merge_catalog(copy, remote)
        for name in entries:
            file = copy.folder / name
            if name.startswith(_PREFIX) and file.name in _SMALL and not file.exists():
                with contextlib.suppress(FileNotFoundError):
                    remote.download(name, file)
    return copy.folder


def fetch_increment(folder: pathlib.Path) -> None:
    """Fetch the token files of an increment that are not here; does nothing in a data folder on this machine.

    Args:
        folder: The increment's folder, in a store of a data folder.

    Raises:
        DataError: If a file at the URL is missing.
        StorageError: If the URL cannot be read.
    """
    copy = WorkingCopy.of(folder.parent.parent)
    if copy is None:
        return
    remote = copy.remote()
    below = folder.relative_to(copy.folder).as_posix()
    for name in _listed(folder):
        if (folder / name).exists():
            continue
        try:
            remote.download(f"{below}/{name}", folder / name)
        except FileNotFoundError:
            raise DataError(
                f"{copy.address}/{below}/{name} is missing, and {MANIFEST_FILE} lists it; remove "
                f"{copy.address}/{below} and {folder}, and prepare the text again"
            ) from None


def is_here(folder: pathlib.Path) -> bool:
    """Say whether the token files of an increment are on this machine."""
    return all((folder / name).exists() for name in _listed(folder))


def upload_stores(folder: pathlib.Path) -> None:
    """Upload what was prepared and is not at the data folder's URL; does nothing for one on this machine.

    Raises:
        StorageError: If the URL cannot be written to.
    """
    copy = WorkingCopy.of(folder)
    if copy is None:
        return
    remote = copy.remote()
    with locked(folder):
        entries = remote.entries()
        for store in sorted(folder.glob(f"{_PREFIX}*/{STORE_FILE}")):
            for manifest in sorted(store.parent.glob(f"*/{MANIFEST_FILE}")):
                _upload_increment(copy, remote, manifest, entries)
            for file in (store.with_name(TOKENIZER_FILE), store):
                name = file.relative_to(folder).as_posix()
                if file.exists() and name not in entries:
                    remote.upload(file, name)
        if _merge_catalog(copy, remote):
            remote.write(_CATALOG, (folder / _CATALOG).read_bytes())


def _upload_increment(copy: WorkingCopy, remote: RemoteFolder, manifest: pathlib.Path, entries: Entries) -> None:
    place = manifest.relative_to(copy.folder).as_posix()
    if place in entries:
        return
    files = files_in(manifest.parent)
    for name, file in files.items():
        if file != manifest:
            remote.upload(file, f"{place.removesuffix(MANIFEST_FILE)}{name}")
    remote.upload(manifest, place)


def _listed(folder: pathlib.Path) -> list[str]:
    manifest = Manifest.read(folder / MANIFEST_FILE)
    names = sorted(name for name in manifest.files if not (manifest.mapped and name == TRAIN_FILE))
    if odd := [name for name in names if not is_plain(name)]:
        raise DataError(f"{folder / MANIFEST_FILE} lists {odd[0]!r}, which leaves the store; remove {folder}")
    return names


def _merge_catalog(copy: WorkingCopy, remote: RemoteFolder) -> bool:
    """Add to the catalog here what the one at the URL remembers, and say whether this one remembers more."""
    there = {}
    with contextlib.suppress(FileNotFoundError, ValueError):
        there = json.loads(remote.read(_CATALOG))
    here = {}
    with contextlib.suppress(FileNotFoundError, ValueError):
        here = json.loads((copy.folder / _CATALOG).read_text(encoding="utf-8"))
    there, here = (record if isinstance(record, dict) else {} for record in (there, here))
    parts = [name for name in {**there, **here} if name != "format"]
    if here and there and here.get("format") != there.get("format"):
        return False
    merged = {**there, **here, **{name: {**there.get(name, {}), **here.get(name, {})} for name in parts}}
    if merged != here:
        write_json(copy.folder / _CATALOG, merged)
    return merged != there
