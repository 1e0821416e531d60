"""What the tests of the records share: a path, a run, another process, and a full disk."""

import errno
import os
import pathlib
import subprocess
import sys

from lrpath.planning.paths import Path
from lrpath.planning.schedule import Schedule, constant
from lrpath.planning.streams import sequential
from lrpath.records.files import digest_file, write_json
from lrpath.records.ledger import Run
from lrpath.records.manifest import MANIFEST
from lrpath.records.path_folder import PathFolder
from tests.planning.strategies import RECIPE, increments_of

PATH = Path(
    name="switching.v1 α/β",
    recipe=RECIPE,
    schedule=Schedule(pieces=(constant(1.0),)),
    stream=sequential(increments_of(100)),
)


RUN = Run(
    id="run-1",
    path_id="p",
    name="main",
    begin=0,
    end=100,
    repeated=0,
    tokens=6400,
    flops=1e6,
    seconds=None,
    outcome="running",
    device="cpu",
    ranks=1,
)


NO_JSON = {
    "empty": b"",
    "cut": b'{"a": 1',
    "not text": b"\xff\xfe\x00",
    "deep": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "absurd number": b"1" * 10_000,
}
NO_SPACE = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def started(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start another process that talks over its pipes."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def refuse_space(*_: object) -> None:
    raise NO_SPACE


def save(
    folder: PathFolder, position: int, *, path_id: str = "p", files: dict[str, bytes] | None = None
) -> pathlib.Path:
    """Write a state with small files."""
    place = folder.state(position)
    place.mkdir(parents=True)
    contents = {"model-1.safetensors": b"weights", "model-2.safetensors": b"moments"} if files is None else files
    for name, content in contents.items():
        (place / name).write_bytes(content)
    listed = {name: {"bytes": len(content), "sha256": digest_file(place / name)} for name, content in contents.items()}
    write_json(place / MANIFEST, {"format": 1, "path_id": path_id, "position": position, "files": listed})
    return place
