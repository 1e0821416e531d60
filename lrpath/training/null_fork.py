"""Makes the updates after a fork once more, with the parent's own rates and data, and compares bits.

From the state at the fork the parent is walked again, as a branch with its schedule and stream would be, in a folder
beside the study that is removed at the end; of the study itself nothing is written. Rows of the metrics are compared as
text, states by their tensors. Only the same device, ranks and micro-batches add in the same order, and repeat all bits.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path as File

import torch
from rich.console import Console

from lrpath.analysis.verify.finding import Check, Finding
from lrpath.errors import MismatchError, StateError
from lrpath.planning.paths import StateKey, Tree
from lrpath.records.ledger import Ledger
from lrpath.records.manifest import read_manifest
from lrpath.records.path_folder import PathFolder
from lrpath.records.study import Study
from lrpath.records.tables import METRIC_COLUMNS, read_number
from lrpath.training.callbacks import PlanProgress
from lrpath.training.executor import quiet_lightning
from lrpath.training.states import stored_tensors
from lrpath.training.walk import Walk
from lrpath.training.walker import Walker


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fork:
    """A fork whose next updates can be made again.

    Args:
        key: Its state.
        end: Position up to which the parent's rows are known, and asked for.
        states: Positions up to there of which the parent's state is on disk.
    """

    key: StateKey
    end: int
    states: tuple[int, ...]


@dataclass(slots=True)
class _Outcome:
    findings: list[Finding] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def verify_null_forks(walker: Walker, tree: Tree, *, updates: int, console: Console) -> Check:
    """Make the updates after every fork of a tree once more and compare them with what the study has.

    All ranks call this; the study is only read.

    Args:
        walker: Makes updates as the study's were made.
        tree: The plan.
        updates: How many to make again; fewer where the parent has fewer rows.
        console: Where progress is shown.

    Raises:
        MismatchError: If the study has none of the plan's forks.
        DataError: If the tokens are not those that the states have read.
    """
    ranks, found = walker.ranks, _Outcome()
    forks, found.notes = ranks.decide(lambda: _forks(walker.study, tree, updates=updates))
    if forks:
        ranks.decide(walker.workshop.check_data)
    walker.machine.set_threads()
    progress = PlanProgress(console, walks=len(forks), updates=sum(fork.end - fork.key.position for fork in forks))
    with quiet_lightning(), _place_beside(walker) as place:
        for number, fork in enumerate(forks):
            folder = PathFolder(place / str(number))
            try:
                _walk_again(walker, tree, fork, folder, progress)
            except (StateError, MismatchError) as error:
                name = tree.path(fork.key.path_id).name
                text = f"{name} from {fork.key.position:,} cannot be run again: {error}"
                found.findings.append(Finding(path=name, position=fork.key.position, text=text))
                continue
            ranks.decide(lambda fork=fork, folder=folder: _compare(walker, tree, fork, folder, found))  # type: ignore[misc]
    machine = walker.machine
    return Check(
        name="null forks",
        claim=f"made once more on {_devices({(machine.device, machine.ranks)})}, the updates after a fork give the "
        "same rows and states, bit for bit",
        count=len(forks),
        findings=tuple(found.findings),
        notes=tuple(found.notes),
        details=tuple(found.details),
    )


def _forks(study: Study, tree: Tree, *, updates: int) -> tuple[list[_Fork], list[str]]:
    """Return the forks that can be run again, and why the others cannot."""
    forks, notes = [], []
    keys = list(dict.fromkeys(path.parent for path in tree.paths if path.parent is not None))
    for key in keys:
        parent, folder = tree.path(key.path_id), study.find(key.path_id)
        where = f"the fork of {parent.name} at {key.position:,} was not run again"
        if folder is None or key.position not in folder.positions():
            notes.append(f"{where}: its state is not on disk")
            continue
        try:
            reached = max((int(row["position"]) for row in folder.metrics.rows()), default=0)
        except StateError as error:
            notes.append(f"{where}: {error}")
            continue
        end = min(key.position + updates, reached)
        if end <= key.position:
            notes.append(f"{where}: its parent has made no update after it, with which it could be compared")
            continue
        states = tuple(position for position in folder.positions() if key.position < position <= end)
        forks.append(_Fork(key=key, end=end, states=states))
    if keys and not any(study.find(key.path_id) for key in keys):
        raise MismatchError(
            f"{study.folder} has no path of this configuration's plan that another leaves from; give the fields that "
            "the study was trained with"
        )
    return forks, notes


@contextlib.contextmanager
def _place_beside(walker: Walker) -> Iterator[File]:
    """Hold a folder beside the study, which all ranks see, while the block runs."""
    study = walker.study.folder.absolute()
    place = File(walker.ranks.decide(lambda: tempfile.mkdtemp(prefix=f".{study.name}-null_fork-", dir=study.parent)))
    try:
        yield place
    finally:
        if walker.ranks.is_first:
            shutil.rmtree(place, ignore_errors=True)


def _walk_again(walker: Walker, tree: Tree, fork: _Fork, folder: PathFolder, progress: PlanProgress) -> None:
    """Walk the parent from the fork's state; what is written goes to `folder`."""
    path, begin = tree.path(fork.key.path_id), fork.key.position
    walk = Walk(
        path=path,
        begin=begin,
        end=fork.end,
        pinned=frozenset(fork.states),
        rolling_every=fork.end + 1,
        evaluate_every=fork.end + 1,
    )
    aside = Study(walker.study.folder)
    aside.ledger = Ledger(folder.folder / "ledger.jsonl")
    walker.ranks.decide(lambda: _copy_rows(walker.study, fork.key, folder))
    if walker.ranks.is_first:
        progress.begin(walk)
    replace(walker, study=aside, held_out={}).walk(
        walk,
        folder,
        source=path,
        pinned=lambda: {StateKey(path.id, position) for position in (*fork.states, fork.end)},
        progress=progress,
    )


def _copy_rows(study: Study, key: StateKey, folder: PathFolder) -> None:
    """Give the walk the rows before it, as it finds them in the study."""
    parent = study.find(key.path_id)
    assert parent is not None
    folder.folder.mkdir()
    shutil.copyfile(parent.metrics.file, folder.metrics.file)


def _compare(walker: Walker, tree: Tree, fork: _Fork, folder: PathFolder, found: _Outcome) -> None:
    name, begin = tree.path(fork.key.path_id).name, fork.key.position
    parent = walker.study.find(fork.key.path_id)
    assert parent is not None
    problem = _row_difference(parent, folder, begin=begin, end=fork.end)
    for position in fork.states if problem is None else ():
        problem = problem or _state_difference(parent.state(position), folder.state(position), position=position)
    if problem is not None:
        text = f"{name} from {begin:,}: {problem}; {_reason(walker, fork, parent)}"
        found.findings.append(Finding(path=name, position=begin, text=text))
        return
    states = "".join(f", and the state at {position:,}" for position in fork.states)
    found.details.append(f"{name} from {begin:,}: {fork.end - begin:,} updates{states} are equal")


def _row_difference(theirs: PathFolder, ours: PathFolder, *, begin: int, end: int) -> str | None:
    """Return the first difference in the rows after a fork, and the largest in the loss."""
    rows = [
        {int(row["position"]): row for row in folder.metrics.rows() if begin < int(row["position"]) <= end}
        for folder in (theirs, ours)
    ]
    for position in range(begin + 1, end + 1):
        there, here = (one.get(position) for one in rows)
        if there is None or here is None:
            return f"the study has no row at {position:,}"
        for column in METRIC_COLUMNS:
            if there[column] != here[column]:
                return f"{column} at {position:,} is {here[column]}, the study has {there[column]} ({_spread(*rows)})"
    return None


def _spread(theirs: dict[int, dict[str, str]], ours: dict[int, dict[str, str]]) -> str:
    losses = [tuple(read_number(one[position]["loss"]) for one in (theirs, ours)) for position in theirs.keys() & ours]
    largest = max(abs(there - here) for there, here in losses)
    return f"in {len(losses):,} updates the loss differs by at most {largest:.1e}"


def _state_difference(theirs: File, ours: File, *, position: int) -> str | None:
    """Return the first tensor in which two states differ, and by how much."""
    if read_manifest(theirs)["files"] == read_manifest(ours)["files"]:
        return None
    for (name, there), (other, here) in zip(stored_tensors(theirs), stored_tensors(ours), strict=True):
        assert name == other
        if not torch.equal(there, here):
            largest = (there.double() - here.double()).abs().max().item()
            return f"rows are equal, but {name} in the state at {position:,} differs by up to {largest:.1e}"
    return None


def _reason(walker: Walker, fork: _Fork, parent: PathFolder) -> str:
    """Return why bits may differ, by what the study says it was made on."""
    machine = walker.machine
    here = (machine.device, machine.ranks)
    runs = [run for run in walker.study.ledger.runs() if run.path_id == fork.key.path_id]
    made = {(run.device, run.ranks) for run in runs if run.begin < fork.end and run.end > fork.key.position}
    if made and made != {here}:
        return f"it was made on {_devices(made)}, which add in another order: compare on the same"
    version = read_manifest(parent.state(fork.key.position)).get("torch")
    if version is not None and version != torch.__version__:
        return f"its state was made by torch {version}, this is {torch.__version__}: compare with the same"
    return (
        "it was made on this kind of device and as many ranks, so bits should be equal: compare with the strategy, "
        "micro_batch and threads it was trained with; if these are the same, its tables or states were altered"
    )


def _devices(made: set[tuple[str, int]]) -> str:
    return ", ".join(f"{ranks} rank{'' if ranks == 1 else 's'} of {device}" for device, ranks in sorted(made))
