"""What ran: one line for each stretch of updates, counted to the last update even when it was killed."""

import hashlib
import json
import os
import pathlib
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

from lrpath.errors import StateError
from lrpath.records.files import (
    exclusive,
    flush_folder,
    make_folder,
    read_json,
    temporary_name,
    write_json,
)
from lrpath.records.path_folder import PathFolder


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
        outcome: `done`, `stopped` by an error or interrupt, `rewound` by the guard, or `killed` when the run ended
            without writing how.
        device: What it ran on.
        ranks: Number of processes.
        skipped: Updates among them that the guard left out: they ran, and changed no weight.
        memory_bytes: Largest use of memory on the first rank: of its GPU by the run, or on the CPU of the process;
            None where nobody knows, as for a run that was killed.
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
    skipped: int = 0
    memory_bytes: int | None = None

    def __post_init__(self) -> None:
        counts = (self.begin, self.end, self.repeated, self.tokens, self.ranks, self.memory_bytes or 0)
        numbers = (self.flops, 0.0 if self.seconds is None else self.seconds)
        texts = (self.id, self.path_id, self.name, self.outcome, self.device)
        if not (
            all(type(value) is int and 0 <= value < 1 << 62 for value in counts)
            and all(type(value) in (int, float) and 0 <= value < 1e36 for value in numbers)
            and all(isinstance(value, str) for value in texts)
        ):
            raise ValueError("a count, number or text has another type or is out of range")

    @property
    def updates(self) -> int:
        """Updates that ran, the repeated ones included."""
        return self.end - self.begin


class Ledger:
    """Append-only list of the runs of a study."""

    def __init__(self, file: pathlib.Path) -> None:
        """Name the file."""
        self.file = file

    def runs(self) -> list[Run]:
        """Return all runs, in order.

        Raises:
            StateError: If a line other than an incomplete last one cannot be read.
        """
        return self._read(self.file.read_bytes() if self.file.exists() else b"")

    def _read(self, content: bytes) -> list[Run]:
        """Return the runs in the file's content, of which what this process has read before is not parsed again."""
        content = content[: content.rfind(b"\n") + 1]
        before, known = _READ.get(self.file, (b"", ()))
        if not content.startswith(before):
            before, known = b"", ()
        found = list(known)
        for number, line in enumerate(content[len(before) :].split(b"\n")[:-1], start=len(known) + 1):
            try:
                found.append(_run_of(json.loads(line.decode())))
            except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
                raise StateError(
                    f"{self.file}:{number} is not a line of a ledger ({error}); restore it from a copy"
                ) from None
        _READ[self.file] = content, tuple(found)
        return found

    def append(self, run: Run) -> None:
        """Append a run, once, in place of a last line that a kill left incomplete; flushed to the disk."""
        make_folder(self.file.parent)
        is_new = not self.file.exists()
        # processes on other paths of the study write here too
        with self.file.open("a+b") as handle, exclusive(handle, self.file):
            handle.seek(0)
            content = handle.read()
            if any(known.id == run.id for known in self._read(content)):
                return
            handle.truncate(content.rfind(b"\n") + 1)
            record = asdict(run)
            handle.write((json.dumps(record | {"sha256": _digest(record)}, allow_nan=False) + "\n").encode())
            handle.flush()
            os.fsync(handle.fileno())
        if is_new:
            flush_folder(self.file.parent)


_READ: dict[pathlib.Path, tuple[bytes, tuple[Run, ...]]] = {}
"""What this process has read of ledgers, and the runs in it: every run that ends asks for those before."""


def _digest(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:16]


def _run_of(record: dict[str, Any]) -> Run:
    """Return the run of a line after comparing it with its digest, which lines of earlier versions have not."""
    digest = record.pop("sha256", None)
    if digest is not None and digest != _digest(record):
        raise ValueError("it was altered: its digest is another")
    return Run(**record)


class RunningCount:
    """Counts the updates of a run in a file, so that a killed run is still counted to the last update.

    One 20-byte write an update reaches the page cache, which outlives the process. `outcome` is how the run will have
    ended if no exception ends it, `memory_bytes` what it has then used.
    """

    def __init__(self, folder: PathFolder, *, ledger: Ledger, run: Run) -> None:
        """Take the run's path, the ledger it will be written to, and the run with `end` still at its beginning."""
        self._folder = folder
        self._file = folder.folder / "running.json"
        self._counter = folder.folder / "reached"
        self._ledger = ledger
        self._run = run
        self._handle = -1
        self._begun = 0.0
        self.outcome = "done"
        self.memory_bytes: int | None = None

    def __enter__(self) -> "RunningCount":
        self._folder.check_owned()
        settle(self._file.parent, ledger=self._ledger)  # a run that was killed since; its count would be overwritten
        self._begun = time.monotonic()
        # A new file, renamed into place: an owner that was taken over may still count into the one before.
        temporary = temporary_name(self._counter)
        self._handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        self.reach(self._run.begin)
        temporary.replace(self._counter)
        write_json(self._file, asdict(self._run))
        return self

    def reach(self, position: int) -> None:
        """Note that the update leading to a position has run."""
        os.pwrite(self._handle, b"%-19d\n" % position, 0)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        os.close(self._handle)
        seconds = None if kind else time.monotonic() - self._begun
        outcome = "stopped" if kind else self.outcome
        # Only this run: if the path was taken over, the new owner has settled it and counts a run of its own.
        settle(
            self._file.parent,
            ledger=self._ledger,
            seconds=seconds,
            outcome=outcome,
            only=self._run.id,
            memory_bytes=self.memory_bytes,
        )


def reached(folder: PathFolder) -> int | None:
    """Return the position that the run of a path has counted to; None if there is no run, or it has not yet begun."""
    text = _text(folder.folder / "reached") if (folder.folder / "running.json").exists() else ""
    return int(text) if _is_count(text) else None


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19  # what fits the counter's field


def _text(file: pathlib.Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""


def settle(
    folder: pathlib.Path,
    *,
    ledger: Ledger,
    seconds: float | None = None,
    outcome: str = "killed",
    only: str | None = None,
    memory_bytes: int | None = None,
) -> None:
    """Write an unfinished run of a path folder to the ledger; does nothing if there is none.

    Args:
        folder: The path's folder, which this process owns, or has owned when the run `only` began.
        ledger: Where the run is written.
        seconds: How long it took; None where nobody knows.
        outcome: How it ended.
        only: Id of the run that may be settled; None for any.
        memory_bytes: How much memory it used; None where nobody knows.
    """
    run = unsettled(folder, ledger=ledger)
    if run is None or only not in (None, run.id):
        return
    if run.updates:
        ledger.append(replace(run, seconds=seconds, outcome=outcome, memory_bytes=memory_bytes))
    (folder / "running.json").unlink(missing_ok=True)


def unsettled(folder: pathlib.Path, *, ledger: Ledger) -> Run | None:
    """Return the run of a path folder that the ledger does not have yet, up to the last update that it has made.

    None if there is none. Unless its process is still at work, it was killed.

    Raises:
        StateError: If what it wrote of itself, or the ledger, cannot be read.
    """
    file, counter = folder / "running.json", folder / "reached"
    if not file.exists():
        return None
    try:
        run = Run(**read_json(file))
    except (ValueError, TypeError) as error:
        raise StateError(
            f"{file} does not describe a run ({error}); remove it: its updates are then not counted"
        ) from None
    text = _text(counter)
    end = max(run.begin, int(text)) if _is_count(text) else run.begin
    if end > run.end:
        raise StateError(
            f"{counter} says {end:,}, and {file} that its run ends at {run.end:,}; remove {counter}: its updates are "
            "then not counted"
        )
    share = (end - run.begin) / max(run.end - run.begin, 1)
    before = max((known.end for known in ledger.runs() if known.path_id == run.path_id), default=run.begin)
    return replace(
        run,
        end=end,
        repeated=max(0, min(end, before) - run.begin),
        tokens=round(run.tokens * share),
        flops=run.flops * share,
        skipped=len({at for skipped in PathFolder(folder).skipped() for at in skipped if run.begin < at <= end}),
    )
