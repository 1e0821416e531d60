"""Verifies forks by null forks: runs the updates after a fork again, and compares bits.

A null fork is a branch with its parent's schedule and stream, so it must repeat its parent. From the state at the fork
the parent is run again; where it has made no update after the fork, the branches from there are. Everything is written
to a temporary folder beside the study, nothing to the study itself. Rows of metrics are compared as text, states by
their tensors. Bits are equal only on the same device, ranks and micro-batches, which add in the same order.
"""

import contextlib
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from rich.console import Console

from lrpath.analysis.verify.finding import Check, Finding
from lrpath.errors import MismatchError, StateError
from lrpath.planning.paths import Path, StateKey, Tree
from lrpath.records.ledger import Ledger
from lrpath.records.manifest import read_manifest
from lrpath.records.path_folder import PathFolder
from lrpath.records.rows import MetricsRow
from lrpath.records.study import Study
from lrpath.training.checkpoints.loading import read_tensors
from lrpath.training.lightning_trainer import quiet_lightning
from lrpath.training.path_trainer import PathTrainer
from lrpath.training.plan_progress import PlanProgress
from lrpath.training.planned_run import PlannedRun


def verify_null_forks(path_trainer: PathTrainer, tree: Tree, *, updates: int, console: Console) -> Check:
    """Run the updates after every fork of a tree again and compare them with those of the study.

    All ranks call this; what rank 0 returns counts.

    Args:
        path_trainer: Trains as the study was trained.
        tree: The plan.
        updates: How many to run again after each fork; fewer where the study has fewer.
        console: Where progress is shown.

    Raises:
        MismatchError: If the study has no path of the plan that another leaves from.
        DataError: If the tokens are not those whose digests were kept.
    """
    group, hardware, found = path_trainer.process_group, path_trainer.hardware, _Found()
    runs, found.notes = group.on_rank_zero(lambda: _runs(path_trainer.study, tree, updates=updates))
    if runs:
        group.on_rank_zero(path_trainer.factory.check_data)
    hardware.prepare_process()
    total = sum(run.end - run.begin for run in runs)
    with (
        quiet_lightning(),
        _temporary_folder(path_trainer) as temporary,
        PlanProgress(console, runs=len(runs), updates=total) as progress,
    ):
        for number, run in enumerate(runs):
            folder = PathFolder(temporary / str(number))
            try:
                _run_again(path_trainer, tree, run, folder, progress)
            except (StateError, MismatchError) as error:
                found.add(run, f"cannot be run again: {error}")
                continue
            group.on_rank_zero(partial(_compare, path_trainer, run, folder, found))
    return Check(
        name="null forks",
        statement=f"run again on {_devices({(hardware.device_name, hardware.ranks)})}, the updates after a fork give "
        "the same rows and states, bit for bit",
        count=len(runs),
        findings=tuple(found.findings),
        notes=tuple(found.notes),
        details=tuple(found.details),
    )


@dataclass(slots=True)
class _Found:
    findings: list[Finding] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, run: PlannedRun, problem: str) -> None:
        text = f"{run.path.name} from {run.begin:,}: {problem}"
        self.findings.append(Finding(path=run.path.name, position=run.begin, text=text))


def _runs(study: Study, tree: Tree, *, updates: int) -> tuple[list[PlannedRun], list[str]]:
    """Return what can be run again from the forks of a tree, and a line for each fork where nothing can."""
    runs, notes = [], []
    keys = list(dict.fromkeys(path.parent for path in tree.paths if path.parent is not None))
    if keys and not any(study.find(key.path_id) for key in keys):
        raise MismatchError(
            f"{study.folder} has no path of this configuration's plan that another leaves from; give the fields that "
            "the study was trained with"
        )
    for key in keys:
        parent = tree.path(key.path_id)
        branches = [path for path in tree.paths if path.parent == key]
        where = f"the fork of {parent.name} at {key.position:,} was not run again"
        if not study.has_state(key):
            notes.append(f"{where}: its state is not on disk")
            continue
        again = _after(study, [parent], key, updates=updates) or _after(study, branches, key, updates=updates)
        if not again:
            notes.append(f"{where}: no update after it is known")
        runs += again
    return runs, notes


def _after(study: Study, paths: list[Path], key: StateKey, *, updates: int) -> list[PlannedRun]:
    """Return the runs of some paths from a fork on, as far as they have rows to be compared with."""
    found = [(path, folder) for path in paths if (folder := study.find(path.id)) is not None]
    runs = [_run(path, folder, begin=key.position, updates=updates) for path, folder in found]
    return [run for run in runs if run.end > run.begin]


def _run(path: Path, folder: PathFolder, *, begin: int, updates: int) -> PlannedRun:
    """Return a run that saves a state wherever the study has one to compare it with, and evaluates nothing."""
    try:
        reached = max((row.position for row in folder.metrics.rows()), default=begin)
    except StateError:
        reached = begin  # the check of the rows says why
    end = max(begin, min(begin + updates, reached))
    states = frozenset(position for position in folder.positions() if begin < position <= end)
    return PlannedRun(
        path=path,
        begin=begin,
        end=end,
        pinned=frozenset(),
        increment_ends=states,
        rolling_every=end + 1,
        evaluate_every=end + 1,
    )


@contextlib.contextmanager
def _temporary_folder(path_trainer: PathTrainer) -> Iterator[pathlib.Path]:
    """Hold a folder beside the study, on the file system that all ranks share, while the block runs."""
    study = path_trainer.study.folder.absolute()
    group = path_trainer.process_group
    prefix = f".{study.name}-null_fork-"
    temporary = pathlib.Path(group.on_rank_zero(lambda: tempfile.mkdtemp(prefix=prefix, dir=study.parent)))
    try:
        yield temporary
    finally:
        if group.is_rank_zero:
            shutil.rmtree(temporary, ignore_errors=True)


def _run_again(
    path_trainer: PathTrainer, tree: Tree, run: PlannedRun, folder: PathFolder, progress: PlanProgress
) -> None:
    """Train from a state of the study; all output goes to `folder`."""
    fork = run.path.parent
    study = Study(path_trainer.study.folder)
    study.ledger = Ledger(folder.folder / "ledger.jsonl")
    path_trainer.process_group.on_rank_zero(lambda: _copy_rows(_folder_of(run, path_trainer.study), folder))
    if path_trainer.process_group.is_rank_zero:
        progress.begin_run(run)
    replace(path_trainer, study=study, held_out={}, documents={}).train(
        run,
        folder,
        parent=None if fork is None else tree.path(fork.path_id),
        pinned=lambda: {StateKey(run.path.id, position) for position in (*run.increment_ends, run.end)},
        needed=lambda: {StateKey(run.path.id, run.end)},
        progress=progress,
    )


def _folder_of(run: PlannedRun, study: Study) -> PathFolder:
    folder = study.find(run.path.id)
    assert folder is not None
    return folder


def _copy_rows(theirs: PathFolder, ours: PathFolder) -> None:
    """Copy the rows of the study; the run cuts those that it will write.

    And what the path is: where the batch grows, the run is made in parts, of which the second begins with a state here.
    """
    ours.folder.mkdir()
    shutil.copyfile(theirs.folder / "path.json", ours.folder / "path.json")
    for table, copy in (
        (theirs.metrics, ours.metrics),
        (theirs.guard, ours.guard),
        (theirs.repairs, ours.repairs),
    ):
        if table.file.exists():
            shutil.copyfile(table.file, copy.file)


def _compare(path_trainer: PathTrainer, run: PlannedRun, ours: PathFolder, found: _Found) -> None:
    theirs, states = _folder_of(run, path_trainer.study), sorted(run.increment_ends)
    problem = _row_difference(theirs, ours, begin=run.begin, end=run.end)
    for position in states:
        problem = problem or _state_difference(theirs.fetched_state(position), ours.state(position), position=position)
    if problem is not None:
        found.add(run, f"{problem}; {_reason(path_trainer, run)}")
        return
    where = ", which its parent has not passed" if run.begins_path else ""
    saved = "".join(f" and the state at {position:,}" for position in states)
    found.details.append(f"{run.path.name} from {run.begin:,}{where}: {run.end - run.begin:,} updates{saved} are equal")


def _row_difference(theirs: PathFolder, ours: PathFolder, *, begin: int, end: int) -> str | None:
    """Return the first difference in the rows after a fork, and the largest in the loss."""
    rows = [
        {row.position: row for row in folder.metrics.rows() if begin < row.position <= end} for folder in (theirs, ours)
    ]
    for position in range(begin + 1, end + 1):
        there, here = (one.get(position) for one in rows)
        if there is None or here is None:
            return f"the study has no row at {position:,}"
        for column in MetricsRow._fields:
            given, made = repr(getattr(there, column)), repr(getattr(here, column))  # NaN is not equal to itself
            if given != made:
                return f"{column} at {position:,} is {made}, the study has {given} ({_spread(*rows)})"
    return None


def _spread(theirs: dict[int, MetricsRow], ours: dict[int, MetricsRow]) -> str:
    gaps = [abs(theirs[position].loss - ours[position].loss) for position in theirs.keys() & ours]
    largest = max(gaps)
    return f"in {len(gaps):,} updates the loss differs by at most {largest:.1e}"


def _state_difference(theirs: pathlib.Path, ours: pathlib.Path, *, position: int) -> str | None:
    """Return the first tensor in which two states differ, and by how much."""
    if read_manifest(theirs)["files"] == read_manifest(ours)["files"]:
        return None
    for (name, there), (other, here) in zip(read_tensors(theirs), read_tensors(ours), strict=True):
        assert name == other
        if not torch.equal(there, here):
            largest = (there.double() - here.double()).abs().max().item()
            return f"rows are equal, but {name} in the state at {position:,} differs by up to {largest:.1e}"
    return None


def _reason(path_trainer: PathTrainer, run: PlannedRun) -> str:
    """Return why bits may differ, by the hardware and torch version that the study was made with."""
    hardware, key = path_trainer.hardware, run.starting_state()
    earlier = [entry for entry in path_trainer.study.ledger.runs() if entry.path_id == run.path.id]
    made = {(entry.device, entry.ranks) for entry in earlier if entry.begin < run.end and entry.end > run.begin}
    if made and made != {(hardware.device_name, hardware.ranks)}:
        return f"it was made on {_devices(made)}, where sums run in another order: compare on the same"
    assert key is not None
    origin = path_trainer.study.find(key.path_id)
    version = None if origin is None else read_manifest(origin.state(key.position)).get("torch")
    if version is not None and version != torch.__version__:
        return f"its state was made by torch {version}, this is {torch.__version__}: compare with the same"
    return (
        "it was made on this kind of device and as many ranks, so bits should be equal: compare with the strategy, "
        "micro_batch and threads it was trained with; if these are the same, its tables or states were altered"
    )


def _devices(made: set[tuple[str, int]]) -> str:
    return ", ".join(f"{ranks} rank{'' if ranks == 1 else 's'} of {device}" for device, ranks in sorted(made))
