"""Evaluates kept states on tasks: each is exported as for everyone, and the harness loads what was exported."""

import contextlib
import pathlib
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import torch

from lrpath.analysis.compare import read_plans
from lrpath.analysis.scores import release_folder
from lrpath.errors import BusyError, DataError
from lrpath.models import quiet_transformers
from lrpath.planning.paths import Release, StateKey
from lrpath.records.events import rewrite_path_events
from lrpath.records.lease import owned
from lrpath.records.path_folder import PathFolder
from lrpath.records.study import Study
from lrpath.records.task_scores import TaskFile, merged_task_file, path_task_file
from lrpath.training.checkpoints.backbone import read_backbone
from lrpath.training.checkpoints.export import export_release
from lrpath.training.task_harness import Harness

_SHARD_BYTES = 4_000_000_000
"""Most bytes of a weight file of what is exported for the harness, and so what that holds in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedState:
    """A state, or the mean of states, that tasks are given to.

    Args:
        release: Its parts.
        folder: Folder of its path; None for a mean of several states.
        file: Where its scores are.
    """

    release: Release
    folder: PathFolder | None
    file: TaskFile

    @property
    def name(self) -> str:
        """What people are told that is evaluated."""
        if self.folder is not None:
            return f"{self.folder.folder.name} at {self.release.last.position:,}"
        return f"{self.release.paradigm}/{self.release.version}"


def states_to_evaluate(
    study: Study, *, every_state: bool, only: Sequence[Release] = ()
) -> tuple[list[EvaluatedState], int]:
    """Return the releases that are on disk, each once, and how many are not made yet.

    Args:
        study: The study.
        every_state: Whether all states on disk count, not only those that are releases.
        only: Releases to evaluate alone; empty for all that the study's plans have.
    """
    planned = only or [release for plan in read_plans(study) for release in plan.tree.releases]
    by_parts = {release.parts: release for release in planned}
    made = [one for one in by_parts.values() if all(study.has_state(key) for key, _ in one.parts)]
    found = {one.release.parts: one for one in (_state(study, release) for release in made)}
    if every_state:
        for folder in study.folders():
            for position in folder.positions():
                parts = ((StateKey(folder.path_id, position), 1.0),)
                found.setdefault(parts, _state(study, Release(paradigm="state", version=str(position), parts=parts)))
    return list(found.values()), len(by_parts) - len(made)


def _state(study: Study, release: Release) -> EvaluatedState:
    folder = study.find(release.last.path_id) if len(release.parts) == 1 else None
    if folder is None:
        file = merged_task_file(release_folder(study, release=release))
    else:
        file = path_task_file(folder.folder, release.last.position)
    return EvaluatedState(release=release, folder=folder, file=file)


def evaluate_on_tasks(
    study: Study,
    states: Collection[EvaluatedState],
    tasks: Sequence[str],
    *,
    harness: Harness,
    device: torch.device,
    show: Callable[[str], None],
    leave_busy: bool = False,
) -> int:
    """Evaluate states on the tasks that they have no scores on, and return how many states that took.

    One that is killed goes on with the next task of the same state.

    Args:
        study: The study.
        states: The states.
        tasks: Names of tasks, groups or tags.
        harness: Knows them.
        device: Where the models run.
        show: Told of every state before it is exported, and of every figure that is not finite.
        leave_busy: Whether a state is left out whose path another process trains or evaluates.

    Raises:
        BusyError: If a path is being trained, unless `leave_busy`.
        ConfigError: If there is no such task.
        DataError: If a state has no tokenizer.
        StateError: If a state was altered, or was made by another trainer.
    """
    harness.check_known(tasks)
    lacking = [[name for name in tasks if not one.file.has(harness.digest(name))] for one in states]
    wanted = [(one, names) for one, names in zip(states, lacking, strict=True) if names]
    for number, (one, names) in enumerate(wanted, start=1):
        show(f"[{number}/{len(wanted)}] {one.name}: {', '.join(names)}")
        try:
            with _locked(one):
                _evaluate(study, one, names, harness=harness, device=device, show=show)
        except BusyError as error:
            if not leave_busy:
                raise
            show(str(error))
    return len(wanted)


def _evaluate(
    study: Study,
    one: EvaluatedState,
    tasks: Sequence[str],
    *,
    harness: Harness,
    device: torch.device,
    show: Callable[[str], None],
) -> None:
    with tempfile.TemporaryDirectory(prefix="lrpath-tasks-") as temporary:
        model = _exported(study, one, pathlib.Path(temporary) / "model")
        for name in tasks:
            with quiet_transformers():
                found = harness.evaluate(model, name, device=str(device))
            for tag in found.not_finite:
                show(f"{tag} of {one.name} is not finite and is left out")
            if found.is_cut:
                show(f"{name}: some requests are longer than the window of {one.name}; their beginnings were left out")
            one.file.write(harness.digest(name), found.scores, harness=harness.version)
        if one.folder is not None and one.folder.tensorboard.is_dir():
            rewrite_path_events(one.folder)


def _exported(study: Study, one: EvaluatedState, folder: pathlib.Path) -> pathlib.Path:
    place = study.find(one.release.last.path_id)
    if place is not None and read_backbone(place).tokenizer is None:
        raise DataError(
            f"{one.name} was trained on ids without a tokenizer, and tasks are text; give data.tokenizer.file and "
            "train, or evaluate on held-out ids"
        )
    export_release(
        study, one.release, folder=folder, card=lambda _: "", dtype="fp32", shard_bytes=_SHARD_BYTES, loads=False
    )
    return folder


@contextlib.contextmanager
def _locked(one: EvaluatedState) -> Iterator[None]:
    lock = owned(one.file.folder / "lock") if one.folder is None else one.folder.lock()
    with lock:
        yield
