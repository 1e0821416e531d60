"""The manifest of a state: what it is, what it has read, and the digests of its files."""

import pathlib
import stat
from collections.abc import Callable
from typing import Any

from lrpath.errors import StateError
from lrpath.planning.paths import StateKey
from lrpath.records.files import digest_file, read_json
from lrpath.records.shards import SUFFIX, shown

STATE_FORMAT = 1
MANIFEST = "state.json"
_MAX_BYTES = 16 << 20  # some 150 bytes for the shard of each rank


def read_manifest(folder: pathlib.Path) -> dict[str, Any]:
    """Return a state's manifest.

    Raises:
        StateError: If the folder holds no complete state of a known format.
    """
    if not (folder / MANIFEST).exists():
        raise StateError(f"{folder} holds no complete state ({MANIFEST} is missing); run the plan again to make it")
    manifest = read_json(folder / MANIFEST, at_most=_MAX_BYTES)
    if isinstance(manifest, dict) and manifest.get("format", STATE_FORMAT) != STATE_FORMAT:
        found = repr(manifest["format"])[:40]
        raise StateError(f"{folder} has state format {found}; this lrpath reads {STATE_FORMAT}")
    if not isinstance(manifest, dict) or "format" not in manifest or not _are_files(manifest.get("files")):
        raise StateError(
            f"{folder / MANIFEST} is not the manifest of a state; remove the folder and run the plan again"
        )
    return manifest


def _are_files(files: Any) -> bool:
    return isinstance(files, dict) and all(
        isinstance(entry, dict) and type(entry.get("bytes")) is int and isinstance(entry.get("sha256"), str)
        for entry in files.values()
    )


def check_state(
    folder: pathlib.Path, *, key: StateKey, digest: Callable[[pathlib.Path], str] | None = digest_file
) -> dict[str, Any]:
    """Return the manifest of a state after comparing its name and every file's size and digest.

    Args:
        folder: Place of the state.
        key: Path and position that it must be of.
        digest: Returns a file's SHA-256; None leaves contents uncompared.

    Raises:
        StateError: Naming the file that is missing, added, cut or altered.
    """
    manifest = read_manifest(folder)
    named = (manifest.get("path_id"), manifest.get("position"))
    if named != (key.path_id, key.position):
        raise StateError(
            f"{folder} says it is state {repr(named)[:80]}, not ({key.path_id}, {key.position}); move it back"
        )
    remedy = f"remove {folder} and run the plan again to make it from the state before"
    present = {file.name for file in folder.iterdir()} - {MANIFEST}
    if present != set(manifest["files"]):
        odd = [shown(name) for name in sorted(present ^ set(manifest["files"]))]
        raise StateError(f"{folder}: {', '.join(odd)} missing or not listed in {MANIFEST}; {remedy}")
    for name, entry in manifest["files"].items():
        if not name.endswith(SUFFIX):
            raise StateError(f"{folder / shown(name)} is not a shard: a state holds {SUFFIX} files only; {remedy}")
        status = (folder / name).lstat()
        if not stat.S_ISREG(status.st_mode):
            raise StateError(f"{folder / name} is a link, folder or device, not a file; {remedy}")
        size = status.st_size
        if size != entry["bytes"]:
            raise StateError(f"{folder / name} has {size:,} bytes, {MANIFEST} says {entry['bytes']:,}; {remedy}")
        if digest is not None and digest(folder / name) != entry["sha256"]:
            raise StateError(f"{folder / name} was altered: its SHA-256 is not the one in {MANIFEST}; {remedy}")
    return manifest
