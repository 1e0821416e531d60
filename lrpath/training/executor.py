"""Walks a plan like a build: asks for the states it needs, and runs only the updates that lead to missing ones.

For every release, version by version, the executor finds the nearest earlier state on its path (or, past the path's
beginning, the parent's state at the fork), runs the updates in between in one Lightning fit, and keeps what was asked
for. A plan that is finished runs zero updates; a plan that was killed goes on from its last whole state.
"""

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path as File
from typing import Any, Protocol
from uuid import uuid4

import lightning
import torch
from lightning.pytorch.loggers import Logger
from rich.console import Console

from lrpath.data.datamodule import PathDataModule
from lrpath.data.stream import TokenBatches, compare_readings
from lrpath.errors import BusyError, MismatchError, StateError, TrainingError
from lrpath.models import CausalLM
from lrpath.planning.paths import Path, Recipe, StateKey, Tree
from lrpath.records.ledger import Run, RunningCount, settle
from lrpath.records.manifest import read_manifest
from lrpath.records.path_folder import PathFolder
from lrpath.records.study import Study
from lrpath.training.callbacks import Metrics, PlanProgress, Progress, Rate
from lrpath.training.evaluation import HeldOutSets
from lrpath.training.fork import ForkCallback
from lrpath.training.lit_module import LitCausalLM
from lrpath.training.ranks import ALONE, Ranks
from lrpath.training.releases import evaluate_merged
from lrpath.training.states import explain_disk_error, load_state
from lrpath.training.strategies import Machine
from lrpath.training.walk import Walk


class Workshop(Protocol):
    """Makes what a walk needs; `lrpath.build` implements it from the configuration."""

    def model(self, recipe: Recipe) -> CausalLM:
        """Return the backbone with its initial weights."""

    def keep_backbone(self, folder: PathFolder, *, model: CausalLM) -> None:
        """Write what an export needs besides the weights into a path's folder."""

    def check_data(self) -> None:
        """Raise unless the tokens are those whose digests the states will keep."""

    def batches(self, path: Path) -> TokenBatches:
        """Return the path's data as a function of position."""

    def loggers(self, folder: PathFolder, *, position: int) -> list[Logger]:
        """Return loggers for a path whose next point is at `position + 1`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cadence:
    """How often things are done that do not change the numbers.

    Args:
        log_every: Updates between two writings of metrics.
        evaluate_every: Updates between two evaluations on held-out sets.
        save_every: Updates between two rolling states.
    """

    log_every: int
    evaluate_every: int
    save_every: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Executor:
    """Makes the states of a plan.

    Args:
        tree: The plan.
        order: Versions in order of arrival.
        study: Where states, metrics and ledger are.
        workshop: Makes models, data and loggers.
        machine: Devices, ranks and precision.
        held_out: Windows by (version, domain).
        cadence: How often to log, evaluate and save.
        flops_per_token: Cost of a token, for the ledger.
        console: Where progress is shown.
    """

    tree: Tree
    order: Sequence[str]
    study: Study
    workshop: Workshop
    machine: Machine
    held_out: HeldOutSets
    cadence: Cadence
    flops_per_token: float
    console: Console

    def run(self) -> int:
        """Make every state that is missing and return how many updates that took."""
        self.machine.set_threads()
        with _quiet_lightning(), _disk_errors_explained(self.study.folder):
            walks = self.ranks.decide(self._begin)
            progress = PlanProgress(
                self.console, walks=len(walks), updates=sum(walk.end - walk.begin for walk in walks)
            )
            updates = sum(self._run(walk, progress) for walk in walks)
            self.ranks.decide(self._finish)
        return updates

    @property
    def ranks(self) -> Ranks:
        """The processes that run the plan together; the first decides, and owns the paths for all."""
        return self.machine.group

    def _begin(self) -> list[Walk]:
        """Count what killed runs have made, check what is there, and return what is missing."""
        for folder in self._folders():
            with folder.lock():
                settle(folder.folder, ledger=self.study.ledger)
        self._check_made()
        self._check_held_out()
        walks = list(self.missing())
        if walks:
            self.workshop.check_data()
        return walks

    def _finish(self) -> None:
        """Evaluate the releases that are means of states, and remove the rolling states."""
        for release in self.tree.releases:
            recipe = self.tree.path(release.last.path_id).recipe
            evaluate_merged(
                self.study, release, self.held_out, device=self.machine.torch_device, precision=recipe.precision
            )
        self._sweep()

    def missing(self) -> Iterator[Walk]:
        """Yield the walks that lead to the missing states, each after those it depends on."""
        planned: set[StateKey] = set()
        releases = sorted(self.tree.releases, key=lambda release: self.order.index(release.version))
        for release in releases:
            for key, _ in release.parts:
                yield from self._walks_to(key, planned)

    def _walks_to(self, key: StateKey, planned: set[StateKey]) -> Iterator[Walk]:
        if key in planned or self.study.has_state(key):
            return
        path = self.tree.path(key.path_id)
        if path.parent is not None:
            yield from self._walks_to(path.parent, planned)
        folder = self.study.find(path.id)
        made = {earlier.position for earlier in planned if earlier.path_id == path.id}
        made |= set(folder.positions()) if folder else set()
        begin = max((position for position in made if position < key.position), default=path.start)
        pinned = {needed.position for needed in pinned_states(self.study, self.tree) if needed.path_id == path.id}
        planned |= {StateKey(path.id, position) for position in pinned if begin < position <= key.position}
        yield Walk(
            path=path,
            begin=begin,
            end=key.position,
            pinned=frozenset(pinned),
            rolling_every=self.cadence.save_every,
            evaluate_every=self.cadence.evaluate_every,
        )

    def _check_made(self) -> None:
        """Raise if a state that is there has read other data than the plan says: ids hold the first segment only."""
        for key in self.tree.states():
            if self.study.has_state(key):
                folder = self.study.find(key.path_id)
                assert folder is not None
                check_reading(folder.state(key.position), expected=self._reading(key))

    def _check_held_out(self) -> None:
        """Raise if the study was evaluated on held-out sets of other sizes: its table would compare unequal things."""
        recipe = self.tree.paths[0].recipe
        for folder in self.study.folders():
            known = folder.recipe()
            if (known.get("data"), known.get("tokens_per_sequence")) != (recipe.data, recipe.tokens_per_sequence):
                continue
            for row in folder.evaluation.rows():
                windows_NL = self.held_out.get((row["version"], row["domain"]))
                if windows_NL is not None and windows_NL[:, 1:].size != int(row["tokens"]):
                    raise MismatchError(
                        f"{folder.evaluation.file} has the loss on {row['tokens']} tokens of {row['version']}, "
                        f"{row['domain']}; cadence.held_out_windows now gives {windows_NL[:, 1:].size}: keep the value "
                        "that the study began with, or use another study"
                    )

    def _folders(self) -> list[PathFolder]:
        return [folder for path in self.tree.paths if (folder := self.study.find(path.id)) is not None]

    def _run(self, planned: Walk, progress: PlanProgress) -> int:
        if self.ranks.is_first:
            progress.begin(planned)
        with contextlib.ExitStack() as owned:
            walk, place = self.ranks.decide(lambda: self._own(planned, owned))
            if walk is None:
                return 0
            folder = PathFolder(place)
            batches = self.workshop.batches(walk.path)
            backbone = self.workshop.model(walk.path.recipe)
            self.ranks.decide(lambda: self.workshop.keep_backbone(folder, model=backbone))
            module = LitCausalLM(
                backbone,
                settings=walk.path.recipe.optimizer,
                accumulate=self.machine.accumulate(walk.path.recipe),
                place=partial(self.machine.place, precision=walk.path.recipe.precision),
            )
            later = self.ranks.decide(lambda: _prepare_tables(walk, folder))
            with self._counted(walk, folder) as count:
                self._fit(walk, folder, module, batches, progress, count)
            if later and self.ranks.is_first:
                for table in folder.tables:
                    table.cut(later[-1])  # puts the rows in order again
        return walk.end - walk.begin

    def _own(self, planned: Walk, owned: contextlib.ExitStack) -> tuple[Walk | None, File]:
        """Lock the path of a walk, and return what is left to walk and the path's folder."""
        folder = self.study.open(planned.path)
        owned.enter_context(folder.lock())
        folder.clear_torn()
        # another process may have been here since the plan was compared
        return planned.rest(folder.positions()), folder.folder

    @contextlib.contextmanager
    def _counted(self, walk: Walk, folder: PathFolder) -> Iterator[RunningCount | None]:
        """Count the updates of the block for the ledger, on the first rank."""
        counts: list[RunningCount] = []
        with contextlib.ExitStack() as open_count:
            count = RunningCount(folder, ledger=self.study.ledger, run=self._as_run(walk))
            self.ranks.decide(lambda: counts.append(open_count.enter_context(count)))
            yield counts[0] if counts else None

    def _fit(
        self,
        walk: Walk,
        folder: PathFolder,
        module: LitCausalLM,
        batches: TokenBatches,
        progress: PlanProgress,
        count: RunningCount | None,
    ) -> None:
        metrics = Metrics(
            walk,
            folder=folder,
            loggers=self.workshop.loggers(folder, position=walk.begin) if self.ranks.is_first else [],
            held_out=self.held_out,
            every=self.cadence.log_every,
            count=count,
            ranks=self.ranks,
        )
        fork = ForkCallback(
            walk,
            folder=folder,
            facts=self._facts(walk.path, batches),
            pinned=lambda: pinned_states(self.study, self.tree),
            ranks=self.ranks,
        )
        source = walk.source()
        reading = None if source is None else self._reading(source)
        start = Start(walk, study=self.study, reading=reading, ranks=self.ranks)
        data = PathDataModule(
            batches,
            start=walk.begin,
            end=walk.end,
            micro_batch=self.machine.micro_batch_of(walk.path.recipe),
            accumulate=module.accumulate,
        )
        shown = [Progress(walk, plan=progress, metrics=metrics)] if self.ranks.is_first else []
        callbacks = [start, Rate(walk), metrics, *shown, fork]
        trainer = self.machine.trainer(
            callbacks,
            precision=walk.path.recipe.precision,
            updates=walk.end - walk.begin,
            accumulate=module.accumulate,
        )
        try:
            trainer.fit(module, datamodule=data)
        except SystemExit as stop:  # what Lightning makes of an interrupt or a SIGTERM, with exit code 1 or even 0
            raise TrainingError(_stopped(walk, walk.begin + trainer.global_step)) from stop
        if walk.begin + trainer.global_step != walk.end:
            raise TrainingError(_stopped(walk, walk.begin + trainer.global_step))

    def _reading(self, key: StateKey) -> dict[str, Any]:
        """Return what a state has read by the plan, since its path began."""
        path = self.tree.path(key.path_id)
        return self.workshop.batches(path).reading(path.start, key.position)

    def _facts(self, path: Path, batches: TokenBatches) -> Callable[[int], dict[str, Any]]:
        def facts(position: int) -> dict[str, Any]:
            return {
                "name": path.name,
                "identity": path.identity(),
                "read": batches.reading(path.start, position),
                "device": self.machine.device,
                "ranks": self.machine.ranks,
            }

        return facts

    def _as_run(self, walk: Walk) -> Run:
        return Run(
            id=uuid4().hex,
            path_id=walk.path.id,
            name=walk.path.name,
            begin=walk.begin,
            end=walk.end,
            repeated=0,
            tokens=walk.tokens,
            flops=walk.tokens * self.flops_per_token,
            seconds=None,
            outcome="running",
            device=self.machine.device,
            ranks=self.machine.ranks,
        )

    def _sweep(self) -> None:
        """Remove rolling states of paths whose needed states are all there, unless another process is running them."""
        pinned = pinned_states(self.study, self.tree)
        for path in self.tree.paths:
            folder = self.study.find(path.id)
            if folder is None:
                continue
            with contextlib.suppress(BusyError), folder.lock():
                for position in folder.positions():
                    if StateKey(path.id, position) not in pinned and position < self.tree.end(path.id):
                        folder.remove_state(position)


def _prepare_tables(walk: Walk, folder: PathFolder) -> range:
    """Cut the rows that a walk makes anew, so that none is there twice, and make sure that no other is missing.

    Returns:
        Positions after the walk's end whose rows are kept, because the state at the last of them is on disk.
    """
    later = range(walk.end + 1, max(folder.positions(), default=0) + 1)
    for table in folder.tables:
        table.cut(walk.begin, later=later)
    found = [int(row["position"]) for row in folder.metrics.rows()]
    if found != [*range(walk.path.start + 1, walk.begin + 1), *later]:
        raise StateError(
            f"{folder.metrics.file} lacks rows before position {max([walk.begin, *later])}, whose state is on disk; "
            f"restore the file from a copy, or remove {folder.folder} to run the path again"
        )
    return later


def _stopped(walk: Walk, position: int) -> str:
    return (
        f"{walk.path.name} was stopped at position {position:,} of {walk.end:,}; all saved states are whole: run the "
        "same command again to go on from the last of them"
    )


@contextlib.contextmanager
def _disk_errors_explained(folder: File) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TrainingError(explain_disk_error(error, folder)) from error


class Start(lightning.Callback):
    """Loads the state that a walk begins from, once the strategy has placed the module."""

    def __init__(self, walk: Walk, *, study: Study, reading: dict[str, Any] | None, ranks: Ranks = ALONE) -> None:
        """Take the walk, the study its state is in, what that state has read by the plan, and who loads it."""
        self._walk = walk
        self._study = study
        self._reading = reading
        self._ranks = ranks

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Load weights and moments; a root keeps its initial weights."""
        key = self._walk.source()
        expected = self._reading
        if key is None or expected is None:
            return
        place = self._ranks.decide(lambda: self._find(key, expected=expected))
        assert isinstance(pl_module, LitCausalLM)
        optimizer = trainer.optimizers[0]
        assert isinstance(optimizer, torch.optim.AdamW)
        load_state(place, key=key, module=pl_module.backbone, optimizer=optimizer, ranks=self._ranks)

    def _find(self, key: StateKey, *, expected: dict[str, Any]) -> File:
        folder = self._study.find(key.path_id)
        if folder is None:
            raise StateError(f"the state {key} is missing from {self._study.folder}; run the plan again")
        place = folder.state(key.position)
        check_reading(place, expected=expected)
        return place


def check_reading(place: File, *, expected: dict[str, Any]) -> None:
    """Raise unless a state has read, since its path began, what the plan says it has.

    Raises:
        MismatchError: With the fields that differ, an increment's digest for example.
    """
    read = read_manifest(place).get("read")
    lines = compare_readings(expected, read) if isinstance(read, dict) else []
    if lines or not isinstance(read, dict):
        raise MismatchError(
            f"{place} has read other data than the plan says: {'; '.join(lines) or 'its manifest does not say what'}. "
            "Restore the data or the configuration it was made with, or use another study"
        )


def pinned_states(study: Study, tree: Tree) -> set[StateKey]:
    """Return the states that this plan or any plan kept in the study needs; retention never removes them."""
    pinned = set(tree.states())
    for record in study.plans().values():
        pinned |= {StateKey(path_id, position) for path_id, position in record["states"]}
    return pinned


@contextlib.contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's banners and its advice about loaders out of the progress; other warnings stay."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message="find_unused_parameters=True was specified")
        warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).* is deprecated.*")
        try:
            yield
        finally:
            logger.setLevel(level)
