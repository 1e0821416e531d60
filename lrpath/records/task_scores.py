"""The scores of one state, or of a mean of states, on tasks: one file for each task that was asked for.

A file is named by the digest of what was asked and holds a digest of its own content. It is written once, whole: what
is there is not evaluated again.
"""

import math
import pathlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from lrpath.errors import StateError
from lrpath.planning.lineage import content_id
from lrpath.records.files import read_json, write_json

_NAME_DIGITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskScore:
    """One figure of one task.

    Args:
        task: Name of the task, or of a group of tasks.
        metric: Name of the figure, such as `acc`.
        filter: The harness's name of what was done to the model's answers before, `none` if nothing was.
        value: The figure.
        standard_error: Its standard error over documents; None where the harness has none.
        documents: Documents that were evaluated.
        examples: Solved examples that stood before every question.
        higher_is_better: Whether a larger figure is the better one; None where the harness does not say.
        digest: Digest of the task and its documents; figures of one digest are of one scale.
    """

    task: str
    metric: str
    filter: str
    value: float
    standard_error: float | None
    documents: int
    examples: int
    higher_is_better: bool | None
    digest: str

    @property
    def tag(self) -> str:
        """Name of the figure among TensorBoard's scalars."""
        return f"task/{self.task}/{self.metric}" + ("" if self.filter == "none" else f".{self.filter}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFile:
    """Where the scores of one state on one task that was asked for are kept.

    Args:
        folder: Folder of the files.
        begin: How the names of the state's files begin.
    """

    folder: pathlib.Path
    begin: str

    def file(self, digest: str) -> pathlib.Path:
        """Return the file of a task by the digest of what was asked, whether it is there or not."""
        return self.folder / f"{self.begin}-{digest[:_NAME_DIGITS]}.json"

    def has(self, digest: str) -> bool:
        """Say whether the state has its scores on a task.

        Raises:
            StateError: If the file was altered.
        """
        file = self.file(digest)
        return file.exists() and _read(file)["digest"] == digest

    def write(self, digest: str, scores: Iterable[TaskScore], *, harness: str) -> None:
        """Write the scores on a task, whole or not at all.

        Args:
            digest: Digest of what was asked.
            scores: The scores.
            harness: What made them, with its version.
        """
        record = {"digest": digest, "harness": harness, "scores": [asdict(score) for score in scores]}
        write_json(self.file(digest), record | {"content": content_id(record)})

    def scores(self) -> tuple[TaskScore, ...]:
        """Return all scores of the state; one that two files have counts once.

        Raises:
            StateError: If a file was altered.
        """
        found: dict[tuple[str, str, str, str], TaskScore] = {}
        for file in sorted(self.folder.glob(f"{self.begin}-*.json")):
            for score in _scores(_read(file), file):
                found.setdefault((score.task, score.metric, score.filter, score.digest), score)
        return tuple(found.values())


def path_task_file(folder: pathlib.Path, position: int) -> TaskFile:
    """Return where the scores of a path's state are, given the path's folder."""
    return TaskFile(folder=folder / "tasks", begin=f"{position:09d}")


def merged_task_file(folder: pathlib.Path) -> TaskFile:
    """Return where the scores of a mean of states are, given the folder of that release."""
    return TaskFile(folder=folder, begin="tasks")


def task_scores_of_path(folder: pathlib.Path) -> dict[int, tuple[TaskScore, ...]]:
    """Return the scores of all states of a path by position.

    Raises:
        StateError: If a file was altered.
    """
    names = (re.match("([0-9]{9,})-", file.name) for file in (folder / "tasks").glob("*.json"))
    positions = sorted({int(found[1]) for found in names if found})
    return {position: path_task_file(folder, position).scores() for position in positions}


def _read(file: pathlib.Path) -> dict[str, Any]:
    record = read_json(file)
    if not isinstance(record, dict) or record.pop("content", None) != content_id(record):
        raise StateError(
            f"{file} was altered: its content is not the one it has a digest of; restore it from a copy, or remove it "
            "and evaluate again"
        )
    return record


_NAMES: Sequence[str] = tuple(entry.name for entry in fields(TaskScore))


def _scores(record: dict[str, Any], file: pathlib.Path) -> list[TaskScore]:
    try:
        found = [TaskScore(**{name: entry[name] for name in _NAMES}) for entry in record["scores"]]
    except (KeyError, TypeError):
        raise StateError(f"{file} is not a file of scores on tasks; restore it from a copy or remove it") from None
    if not all(math.isfinite(score.value) for score in found):
        raise StateError(f"{file} has a score that is not finite; remove it and evaluate again")
    return found
