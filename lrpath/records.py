"""What a study leaves on disk, and the rules by which it is read and written; no torch.

    outputs/<study>/
        plans/<plan id>.json            every plan that was run here; the states they need are never removed
        ledger.jsonl                    what ran, one line a run, repeated updates apart
        paths/<name>-<path id>/
            path.json                   identity of the path
            metrics.csv                 one row an update: position, loss, rate, gradient norm, tokens
            evaluation.csv              one row a position and held-out set: negative log-likelihood [nats] and tokens
            speed.csv                   wall time and tokens per second, which no rerun repeats
            states/<position>/          safetensors shards and, written last, state.json with their digests
            tb/                         the same rows as TensorBoard events
        report/                         tables and figures

Every file is whole or absent: written beside, flushed, renamed. Rows are appended and cut back to the position that a
run resumes from, so that no row is there twice.
"""

import contextlib
import csv
import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import stat
import time
from collections.abc import Container, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path as File
from typing import Any

from lrpath.errors import BusyError, MismatchError, StateError
from lrpath.planning.lineage import content_id, differences
from lrpath.planning.paths import Path, StateKey

STATE_FORMAT = 1
MANIFEST = "state.json"
METRIC_COLUMNS = ("position", "loss", "lr", "grad_norm", "tokens")
EVALUATION_COLUMNS = ("position", "version", "domain", "nll", "tokens")
SPEED_COLUMNS = ("position", "seconds", "tokens_per_second")
_STATE_NAME = re.compile("[0-9]{9,}")
_BLOCK = 1 << 22


def write_whole(file: File, text: str) -> None:
    """Write a text file beside its place, flush it to the disk and rename it into place."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with beside.open("w", encoding="utf-8") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        beside.replace(file)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    flush_folder(file.parent)


def flush_file(file: File) -> None:
    """Flush a file's bytes to the disk."""
    with file.open("rb") as handle:
        os.fsync(handle.fileno())


def flush_folder(folder: File) -> None:
    """Flush a folder's entries to the disk, so that a rename in it survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(file: File, record: Any) -> None:
    """Write plain data as indented JSON, whole or not at all."""
    write_whole(file, json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(file: File) -> Any:
    """Return the plain data in a JSON file.

    Raises:
        StateError: If the file is missing or is no JSON.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StateError(f"{file} is missing; restore it, or choose the study it belongs to") from None
    except (ValueError, RecursionError) as error:
        raise StateError(f"{file} is not JSON ({error}); restore it from a copy or remove it") from None


def digest_file(file: File) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as handle:
        while block := handle.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _whole_lines(file: File) -> list[str]:
    """Return the lines of a text file, none if it is not there; a last line torn by a kill is left out."""
    if not file.exists():
        return []
    whole = file.read_bytes()
    try:
        return whole[: whole.rfind(b"\n") + 1].decode().split("\n")[:-1]
    except UnicodeDecodeError as error:
        raise StateError(f"{file} is not UTF-8 text ({error}); restore it from a copy") from None


class Table:
    """A CSV file of rows by position, appended to while a path is walked.

    Numbers are written with all their digits, so equal floats give equal text. A run cuts its tables before it appends:
    a line torn by a kill is left out by `rows` and removed by `cut`.
    """

    def __init__(self, file: File, *, columns: tuple[str, ...]) -> None:
        """Name the file and its columns; nothing is read or written yet."""
        self.file = file
        self.columns = columns

    def append(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Append rows and flush them to the disk."""
        text = "".join(",".join(map(str, row)) + "\n" for row in rows)
        if not text:
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8", newline="") as handle:
            if handle.tell() == 0:
                handle.write(",".join(self.columns) + "\n")
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())

    def rows(self) -> list[dict[str, str]]:
        """Return the whole rows by position, as text by column; a last line torn by a kill is left out."""
        lines = _whole_lines(self.file)
        found = list(csv.DictReader(lines))
        if lines and tuple(lines[0].split(",")) != self.columns:
            raise StateError(f"{self.file} has columns {lines[0]}, not {','.join(self.columns)}; restore or remove it")
        if any(None in row or None in row.values() or not row["position"].isdecimal() for row in found):
            raise StateError(
                f"{self.file} has a row with a wrong number of fields or no position; restore it from a copy"
            )
        return sorted(found, key=lambda row: int(row["position"]))

    def cut(self, position: int, *, later: Container[int] = ()) -> None:
        """Keep only the rows up to a position, for a run that resumes from it, and those at `later` positions."""
        if not self.file.exists():
            return
        kept = [row for row in self.rows() if int(row["position"]) <= position or int(row["position"]) in later]
        lines = [",".join(self.columns), *(",".join(row[column] for column in self.columns) for row in kept)]
        write_whole(self.file, "\n".join(lines) + "\n")


class PathFolder:
    """The folder of one path in a study."""

    def __init__(self, folder: File) -> None:
        """Name the folder; it need not exist yet."""
        self.folder = folder
        self.metrics = Table(folder / "metrics.csv", columns=METRIC_COLUMNS)
        self.evaluation = Table(folder / "evaluation.csv", columns=EVALUATION_COLUMNS)
        self.speed = Table(folder / "speed.csv", columns=SPEED_COLUMNS)

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables that grow while the path is walked."""
        return self.metrics, self.evaluation, self.speed

    @property
    def tensorboard(self) -> File:
        """Folder of the TensorBoard events."""
        return self.folder / "tb"

    def recipe(self) -> dict[str, Any]:
        """Return what all updates of the path share, as plain data.

        Raises:
            StateError: If the path's file is missing, no JSON, or does not say.
        """
        try:
            found: dict[str, Any] = dict(read_json(self.folder / "path.json")["identity"]["recipe"])
        except (KeyError, TypeError, ValueError):
            raise StateError(f"{self.folder / 'path.json'} does not say what the path is; restore the file") from None
        return found

    def state(self, position: int) -> File:
        """Return the folder of the state at a position, whether it is there or not."""
        return self.folder / "states" / f"{position:09d}"

    def positions(self) -> list[int]:
        """Return the positions of the whole states, ascending; a folder without manifest is no state."""
        names = (file.parent.name for file in (self.folder / "states").glob(f"*/{MANIFEST}"))
        return sorted(int(name) for name in names if _STATE_NAME.fullmatch(name))

    def remove_state(self, position: int) -> None:
        """Remove a state, its manifest first, so that a kill in between leaves no half state."""
        (self.state(position) / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(self.state(position), ignore_errors=True)

    def clear_torn(self) -> None:
        """Remove what a killed save left: folders beside and folders without manifest. Call it with the lock held."""
        for folder in (self.folder / "states").glob("*"):
            torn = _STATE_NAME.fullmatch(folder.name) and not (folder / MANIFEST).exists()
            if torn or folder.name.startswith("."):
                shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Own the path while the block runs; the lock ends with the process, however it ends.

        Raises:
            BusyError: If another process owns it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "lock"
        with file.open("a+", encoding="utf-8") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                handle.seek(0)
                owner = handle.read().strip() or "another process"
                raise BusyError(
                    f"path {self.folder.name} is being run by {owner}; wait until it ends, then run this again"
                ) from None
            handle.truncate(0)
            handle.write(f"process {os.getpid()} on {socket.gethostname()}")
            handle.flush()
            yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One stretch of updates, as the ledger counts it.

    Args:
        id: Unique name of the run.
        path_id: The path.
        name: Its name.
        begin: Position before the first update.
        end: Position after the last update that ran.
        repeated: Updates among them that an earlier run had made and lost.
        tokens: Tokens processed.
        flops: Floating-point operations of the model, by the formula of `planning.cost`.
        seconds: Wall time; None for a run that was not done.
        outcome: `done`, `stopped` by an error or interrupt, or `killed` when the run never said how it ended.
        device: What it ran on.
        ranks: Number of processes.
    """

    id: str
    path_id: str
    name: str
    begin: int
    end: int
    repeated: int
    tokens: int
    flops: float
    seconds: float | None
    outcome: str
    device: str
    ranks: int

    @property
    def updates(self) -> int:
        """Updates that ran, the repeated ones included."""
        return self.end - self.begin


class Ledger:
    """Append-only list of the runs of a study."""

    def __init__(self, file: File) -> None:
        """Name the file."""
        self.file = file

    def runs(self) -> list[Run]:
        """Return all runs, in order.

        Raises:
            StateError: If a line other than a torn last one cannot be read.
        """
        found = []
        for number, line in enumerate(_whole_lines(self.file), start=1):
            try:
                found.append(Run(**json.loads(line)))
            except (ValueError, TypeError, RecursionError) as error:
                raise StateError(f"{self.file}:{number} is no ledger line ({error}); restore it from a copy") from None
        return found

    def append(self, run: Run) -> None:
        """Append a run, once, in place of a last line torn by a kill; flushed to the disk."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a+b") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)  # processes on other paths of the study write here too
            if any(known.id == run.id for known in self.runs()):
                return
            handle.seek(0)
            handle.truncate(handle.read().rfind(b"\n") + 1)
            handle.write((json.dumps(asdict(run), allow_nan=False) + "\n").encode())
            handle.flush()
            os.fsync(handle.fileno())


class RunningCount:
    """Counts the updates of a run in a file, so that a killed run is still counted to the last update.

    One 20-byte write an update reaches the page cache, which outlives the process.
    """

    def __init__(self, folder: PathFolder, *, ledger: Ledger, run: Run) -> None:
        """Take the run's path, the ledger it will be written to, and the run with `end` still at its beginning."""
        self._file = folder.folder / "running.json"
        self._counter = folder.folder / "reached"
        self._ledger = ledger
        self._run = run
        self._handle = -1
        self._begun = 0.0

    def __enter__(self) -> "RunningCount":
        settle(self._file.parent, ledger=self._ledger)  # a run that was killed since; its count would be overwritten
        self._begun = time.monotonic()
        self._handle = os.open(self._counter, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        self.reach(self._run.begin)
        write_json(self._file, asdict(self._run))
        return self

    def reach(self, position: int) -> None:
        """Note that the update leading to a position has run."""
        os.pwrite(self._handle, b"%-19d\n" % position, 0)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        os.close(self._handle)
        seconds = None if kind else time.monotonic() - self._begun
        settle(self._file.parent, ledger=self._ledger, seconds=seconds, outcome="stopped" if kind else "done")


def settle(folder: File, *, ledger: Ledger, seconds: float | None = None, outcome: str = "killed") -> None:
    """Write an unfinished run of a path folder to the ledger; does nothing if there is none."""
    file, counter = folder / "running.json", folder / "reached"
    if not file.exists():
        return
    run = Run(**read_json(file))
    text = counter.read_text().strip() if counter.exists() else ""
    end = max(run.begin, int(text)) if text.isdigit() else run.begin
    share = (end - run.begin) / max(run.end - run.begin, 1)
    before = max((known.end for known in ledger.runs() if known.path_id == run.path_id), default=run.begin)
    row = asdict(run) | {
        "end": end,
        "repeated": max(0, min(end, before) - run.begin),
        "tokens": round(run.tokens * share),
        "flops": run.flops * share,
        "seconds": seconds,
        "outcome": outcome,
    }
    if end > run.begin:
        ledger.append(Run(**row))
    file.unlink()


class Study:
    """A study's folder: plans, paths, ledger and report."""

    def __init__(self, folder: File) -> None:
        """Name the folder; it need not exist yet."""
        self.folder = folder
        self.ledger = Ledger(folder / "ledger.jsonl")
        self.report = folder / "report"

    @classmethod
    def existing(cls, outputs: File, name: str) -> "Study":
        """Return a study that has been run.

        Raises:
            StateError: If there is none of that name; says which there are.
        """
        if not (outputs / name / "plans").is_dir():
            there = sorted(folder.parent.name for folder in outputs.glob("*/plans"))
            raise StateError(f"{outputs} has no study {name!r}; it has {', '.join(there) or 'none'}")
        return cls(outputs / name)

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.folder.name

    def save_plan(self, record: dict[str, Any]) -> None:
        """Keep a plan under its content id; from now on the states it needs are never removed."""
        file = self.folder / "plans" / f"{content_id(record)}.json"
        if not file.exists():
            write_json(file, record)

    def plans(self) -> dict[str, dict[str, Any]]:
        """Return the records of all plans run here by id, oldest first.

        Raises:
            StateError: If a plan was altered: states that it needs could then be removed.
        """
        files = (self.folder / "plans").glob("[!.]*.json")
        oldest_first = sorted(files, key=lambda file: (file.stat().st_mtime_ns, file.name))
        found = {}
        for file in oldest_first:
            found[file.stem] = read_json(file)
            if content_id(found[file.stem]) != file.stem:
                raise StateError(f"{file} was altered: its content is not that of plan {file.stem}; restore the file")
        return found

    def folders(self) -> list[PathFolder]:
        """Return the folders of all paths, of this plan or another."""
        return [PathFolder(file.parent) for file in sorted((self.folder / "paths").glob("*/path.json"))]

    def find(self, path_id: str) -> PathFolder | None:
        """Return the folder of a path, if it has one."""
        found = sorted((self.folder / "paths").glob(f"*-{path_id}"))
        return PathFolder(found[0]) if found else None

    def open(self, path: Path) -> PathFolder:
        """Return the folder of a path, made if it is not there.

        Raises:
            MismatchError: If the folder was made for another path.
        """
        found = self.find(path.id) or self._make(path)
        file = found.folder / "path.json"
        if file.exists():
            record = read_json(file)
            lines = differences(record.get("identity") if isinstance(record, dict) else record, path.identity())
            if lines:
                raise MismatchError(f"{file} was made for another path ({'; '.join(lines)}); restore it from a copy")
        else:
            write_json(file, {"id": path.id, "name": path.name, "identity": path.identity()})
        return found

    def _make(self, path: Path) -> PathFolder:
        """Make the folder of a path, one at a time: a path has one folder, whatever names it goes by in two plans."""
        paths = self.folder / "paths"
        paths.mkdir(parents=True, exist_ok=True)
        with (paths / ".lock").open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            name = re.sub(r"[^A-Za-z0-9._]+", "_", path.name)
            made = self.find(path.id) or PathFolder(paths / f"{name}-{path.id}")
            made.folder.mkdir(exist_ok=True)
        return made

    def has_state(self, key: StateKey) -> bool:
        """Say whether a whole state is on disk."""
        folder = self.find(key.path_id)
        return folder is not None and (folder.state(key.position) / MANIFEST).exists()


def read_manifest(folder: File) -> dict[str, Any]:
    """Return a state's manifest.

    Raises:
        StateError: If the folder holds no whole state of a known format.
    """
    if not (folder / MANIFEST).exists():
        raise StateError(f"{folder} holds no whole state ({MANIFEST} is missing); run the plan again to make it")
    manifest = read_json(folder / MANIFEST)
    if isinstance(manifest, dict) and manifest.get("format", STATE_FORMAT) != STATE_FORMAT:
        raise StateError(f"{folder} has state format {manifest['format']}; this lrpath reads {STATE_FORMAT}")
    if not isinstance(manifest, dict) or "format" not in manifest or not _are_files(manifest.get("files")):
        raise StateError(f"{folder / MANIFEST} is no state manifest; remove the folder and run the plan again")
    return manifest


def _are_files(files: Any) -> bool:
    return isinstance(files, dict) and all(
        isinstance(entry, dict) and type(entry.get("bytes")) is int and isinstance(entry.get("sha256"), str)
        for entry in files.values()
    )


def check_state(folder: File, *, key: StateKey) -> dict[str, Any]:
    """Return the manifest of a state after comparing its name and every file's size and digest.

    Raises:
        StateError: Naming the file that is missing, added, cut or altered.
    """
    manifest = read_manifest(folder)
    named = (manifest.get("path_id"), manifest.get("position"))
    if named != (key.path_id, key.position):
        raise StateError(f"{folder} says it is state {named}, not ({key.path_id}, {key.position}); move it back")
    remedy = f"remove {folder} and run the plan again to make it from the state before"
    present = {file.name for file in folder.iterdir()} - {MANIFEST}
    if present != set(manifest["files"]):
        odd = sorted(present ^ set(manifest["files"]))
        raise StateError(f"{folder}: {', '.join(odd)} missing or not listed in {MANIFEST}; {remedy}")
    for name, entry in manifest["files"].items():
        status = (folder / name).lstat()
        if not stat.S_ISREG(status.st_mode):
            raise StateError(f"{folder / name} is a link, folder or device, not a file; {remedy}")
        size = status.st_size
        if size != entry["bytes"]:
            raise StateError(f"{folder / name} has {size:,} bytes, {MANIFEST} says {entry['bytes']:,}; {remedy}")
        if digest_file(folder / name) != entry["sha256"]:
            raise StateError(f"{folder / name} was altered: its SHA-256 is not the one in {MANIFEST}; {remedy}")
    return manifest
