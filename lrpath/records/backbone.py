"""What lies beside the weights of a path and makes a model of them: configuration, tokenizer, and how it was trained.

<path>/backbone/config.json       the model's configuration
<path>/backbone/tokenizer.json    the store's tokenizer; absent when only ids were given
<path>/backbone/training.json     window, end mark, and some ids of the training text to compare a release with
<path>/path.json                  says the size and SHA-256 of each, under `backbone`
"""

import pathlib
from typing import Any

from lrpath.errors import StateError
from lrpath.records.files import digest_file, read_json, write_json
from lrpath.records.path_folder import PathFolder

BACKBONE = "backbone"
OWN_MODEL = "lrpath_own"
"""Model type, in a configuration beside weights, of what code of yours has made."""
CONFIG, TOKENIZER, TRAINING = "config.json", "tokenizer.json", "training.json"


def record_backbone(folder: PathFolder, files: pathlib.Path) -> None:
    """Write the digests of a path's backbone into its record, before the files take their place.

    Args:
        folder: The path's folder.
        files: Folder that holds the files.
    """
    place = folder.folder / "path.json"
    found = {file.name: {"bytes": file.stat().st_size, "sha256": digest_file(file)} for file in sorted(files.iterdir())}
    write_json(place, read_json(place) | {BACKBONE: found})


def recorded_backbone(folder: PathFolder) -> dict[str, Any] | None:
    """Return the digests in a path's record; None for a path that a version without them has made.

    Raises:
        StateError: If the path's record cannot be read.
    """
    record = read_json(folder.folder / "path.json")
    found = record.get(BACKBONE) if isinstance(record, dict) else None
    return found if isinstance(found, dict) else None


def check_backbone(folder: PathFolder) -> bool:
    """Compare what lies beside the weights of a path with the path's record; return False if the record has no digests.

    Raises:
        StateError: Naming the file that is missing, added or altered.
    """
    place, recorded = folder.folder / BACKBONE, recorded_backbone(folder)
    if recorded is None and (place / TRAINING).exists():  # which comes after the digests
        raise StateError(f"{folder.folder / 'path.json'} has lost the digests of {place}; restore it from a copy")
    if recorded is None:
        return False
    present = {file.name for file in place.iterdir()} if place.is_dir() else set()
    if odd := sorted(present ^ set(recorded)):
        raise StateError(
            f"{place}: {', '.join(map(ascii, odd))} missing, or not in {folder.folder / 'path.json'}; restore the "
            "folder from a copy"
        )
    for name, entry in recorded.items():
        file = place / name
        if not isinstance(entry, dict) or file.is_symlink() or not file.is_file():
            raise StateError(f"{file} is not a file with a digest in path.json; restore it from a copy")
        if (file.stat().st_size, digest_file(file)) != (entry.get("bytes"), entry.get("sha256")):
            raise StateError(
                f"{file} was altered: its SHA-256 is not the one in path.json; restore it from a copy, or from another "
                "path of the same study"
            )
    return True
