"""A state in the files of another trainer: checked to be there, flushed, given a manifest with digests, and renamed.

lrpath reads these files as bytes and never opens one.
"""

import pathlib
import shutil
import stat
import time
from collections.abc import Callable
from typing import Any

from lrpath import __version__
from lrpath.errors import TrainingError
from lrpath.planning.paths import StateKey
from lrpath.records.files import digest_file, flush_file, flush_folder, move_into_place, write_json
from lrpath.records.manifest import ENGINE, MANIFEST, STATE_FORMAT, seal_manifest, state_files


def keep_state(
    temporary: pathlib.Path,
    place: pathlib.Path,
    *,
    key: StateKey,
    engine: str,
    facts: dict[str, Any],
    check: Callable[[], None],
) -> None:
    """Put what a command has saved in its place, whole, as the state of a path at a position.

    Args:
        temporary: Folder that the command has filled, beside the place.
        place: Folder of the state.
        key: Path and position.
        engine: Name of the trainer.
        facts: Further fields of the manifest.
        check: Raises if this process no longer owns the path.

    Raises:
        TrainingError: If no file is there, one is empty, or one is a link.
    """
    entries = {name: _entry(temporary / name) for name in sorted(saved_files(temporary))}
    for folder in sorted((one for one in temporary.rglob("*") if one.is_dir()), reverse=True):
        flush_folder(folder)
    manifest = {"format": STATE_FORMAT, "path_id": key.path_id, "position": key.position, ENGINE: engine}
    made = {"lrpath": __version__, "written": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    write_json(temporary / MANIFEST, seal_manifest(manifest | made | {"files": entries} | facts))
    flush_folder(temporary)
    check()
    if place.exists():
        shutil.rmtree(temporary)  # a state of this name is there, whole
        return
    move_into_place(temporary, place)


def saved_files(folder: pathlib.Path) -> set[str]:
    """Return the files that a command has saved.

    Raises:
        TrainingError: If there is none, one is empty or no regular file, or one has the manifest's name.
    """
    names = state_files(folder) if folder.is_dir() else set()
    if not names:
        raise TrainingError(f"the command ended well but saved no file in {folder}; it must save its state there")
    if MANIFEST in names:
        raise TrainingError(f"the command saved {folder / MANIFEST}, a name that lrpath needs; give the file another")
    for name in sorted(names):
        status = (folder / name).lstat()
        if not stat.S_ISREG(status.st_mode):
            raise TrainingError(f"the command saved {folder / name}, which is a link or device; it must save files")
        if not status.st_size:
            raise TrainingError(f"the command saved {folder / name}, which is empty; its state was not kept")
    return names


def _entry(file: pathlib.Path) -> dict[str, Any]:
    flush_file(file)
    return {"bytes": file.stat().st_size, "sha256": digest_file(file)}
