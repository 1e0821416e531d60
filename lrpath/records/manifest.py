"""The manifest of a state: what it is, what it has read, and the digests of its files."""

import hashlib
import json
import os
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
ENGINE = "engine"
"""Field of the manifest of a state that another trainer made, whose files are of any kind and never opened."""
_DIGEST = "sha256"
_MAX_BYTES = 16 << 20  # some 150 bytes for the shard of each rank


def read_manifest(folder: pathlib.Path, *, remedy: str | None = None) -> dict[str, Any]:
    """Return a state's manifest.

    Args:
        folder: Place of the state.
        remedy: What an error about a damaged manifest tells people to do.

    Raises:
        StateError: If the folder holds no complete state of a known format.
    """
    if not (folder / MANIFEST).exists():
        raise StateError(f"{folder} holds no complete state ({MANIFEST} is missing); run the plan again to make it")
    remedy = remedy or f"restore it from a copy, or remove {folder} and run the same command again"
    manifest = read_json(folder / MANIFEST, at_most=_MAX_BYTES, remedy=remedy)
    if isinstance(manifest, dict) and manifest.get("format", STATE_FORMAT) != STATE_FORMAT:
        found = repr(manifest["format"])[:40]
        raise StateError(f"{folder} has state format {found}; this lrpath reads {STATE_FORMAT}")
    if not isinstance(manifest, dict) or "format" not in manifest or not _are_files(manifest.get("files")):
        raise StateError(f"{folder / MANIFEST} is not the manifest of a state; {remedy}")
    # Manifests of earlier versions have neither tables nor a digest.
    if ({_DIGEST, "tables"} & manifest.keys()) and manifest != seal_manifest(manifest):
        raise StateError(f"{folder / MANIFEST} was altered: its fields are not those that its digest is of; {remedy}")
    return manifest


def seal_manifest(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return a manifest with the digest of its other fields, by which a changed one is found."""
    rest = {name: value for name, value in manifest.items() if name != _DIGEST}
    return rest | {_DIGEST: hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()}


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
    try:
        manifest = read_manifest(folder)
    except StateError:
        return read_manifest(folder, remedy=_way_back(folder, key=key, start=0, digest=digest))  # raises again
    named = (manifest.get("path_id"), manifest.get("position"))
    if named != (key.path_id, key.position):
        raise StateError(
            f"{folder} says it is state {repr(named)[:80]}, not ({key.path_id}, {key.position}); move it back"
        )
    problem = _problem(folder, manifest, digest=digest)
    if problem is not None:
        raise StateError(f"{problem}; {_way_back(folder, key=key, start=_start(manifest), digest=digest)}")
    return manifest


def state_files(folder: pathlib.Path) -> set[str]:
    """Return the files in a folder and the folders in it, by their names relative to it; a link counts as a file."""
    found: set[str] = set()
    for top, folders, files in os.walk(folder):  # follows no link
        links = [name for name in folders if (pathlib.Path(top) / name).is_symlink()]
        found |= {(pathlib.Path(top) / name).relative_to(folder).as_posix() for name in (*files, *links)}
    return found


def check_made_here(folder: pathlib.Path) -> None:
    """Raise if a state was made by another trainer, which alone can load it.

    Raises:
        StateError: Naming the trainer.
    """
    maker = read_manifest(folder).get(ENGINE)
    if maker is not None:
        raise StateError(
            f"{folder} was made by another trainer, {str(maker)[:80]!r}: lrpath never opens its files; load, evaluate "
            "and export it with that trainer's own tools",
            field="engine",
        )


def _problem(
    folder: pathlib.Path, manifest: dict[str, Any], *, digest: Callable[[pathlib.Path], str] | None
) -> str | None:
    """Return what is wrong with the files of a state, by what its manifest says of them."""
    files, is_foreign = manifest["files"], ENGINE in manifest
    present = (state_files(folder) if is_foreign else {file.name for file in folder.iterdir()}) - {MANIFEST}
    if present != set(files):
        odd = [shown(name) for name in sorted(present ^ set(files))]
        return f"{folder}: {', '.join(odd)} missing or not listed in {MANIFEST}"
    for name, entry in files.items():
        if not (is_foreign or name.endswith(SUFFIX)):
            return f"{folder / shown(name)} is not a shard: a state holds {SUFFIX} files only"
        status = (folder / name).lstat()
        if not stat.S_ISREG(status.st_mode):
            return f"{folder / name} is a link, folder or device, not a file"
        size = status.st_size
        if size != entry["bytes"]:
            return f"{folder / name} has {size:,} bytes, {MANIFEST} says {entry['bytes']:,}"
        if digest is not None and digest(folder / name) != entry["sha256"]:
            return f"{folder / name} was altered: its SHA-256 is not the one in {MANIFEST}"
    return None


def _way_back(folder: pathlib.Path, *, key: StateKey, start: int, digest: Callable[[pathlib.Path], str] | None) -> str:
    """Return what to do about a damaged state: from where its path would go on, and what that costs.

    Earlier states are read, and their digests compared, before one is named.
    """
    earlier = sorted((int(file.parent.name) for file in folder.parent.glob(f"[0-9]*/{MANIFEST}")), reverse=True)
    damaged = [folder]
    for position in (position for position in earlier if position < key.position):
        place = folder.with_name(f"{position:09d}")
        try:
            is_whole = _problem(place, read_manifest(place), digest=None if digest is None else digest_file) is None
        except (StateError, OSError):
            is_whole = False
        if is_whole:
            origin = f"the path then goes on from its state at {position:,}"
            return f"{_removal(damaged)}: {origin}, and {_again(key.position - position)}"
        damaged.append(place)
    origin = f"at the fork at {start:,}" if start else "from its beginning"
    return (
        f"{_removal(damaged)}: no whole earlier state of the path is on disk, so it starts over {origin}, and "
        f"{_again(key.position - start)}"
    )


def _removal(folders: list[pathlib.Path]) -> str:
    also = "".join(f" and {folder.name}" for folder in folders[1:])
    return f"restore it from a copy, or remove {folders[0]}{also} and run the same command again"


def _again(updates: int) -> str:
    return f"{updates:,} update{'' if updates == 1 else 's'} {'is' if updates == 1 else 'are'} run again"


def _start(manifest: dict[str, Any]) -> int:
    """Return the position at which a state's path begins."""
    try:
        return int(manifest["identity"]["parent"]["position"])
    except (KeyError, TypeError, ValueError):
        return 0
