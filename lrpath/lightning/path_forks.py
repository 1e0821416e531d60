"""Saves the states of any module at forks and releases, whole or absent, and starts a path from one.

It is a `Checkpoint`, so that Lightning calls it after all other callbacks. States are those of lrpath: safetensors
shards of all ranks and a manifest with digests, loaded on any number of ranks, without a pickle.
"""

import contextlib
from functools import partial
from typing import Any

import lightning
import torch.distributed as dist
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, SingleDeviceStrategy
from lightning.pytorch.utilities import rank_zero_warn

from lrpath.errors import ConfigError, MismatchError, TrainingError
from lrpath.lightning.batch_digests import BatchDigests
from lrpath.lightning.module_state import empty_tensors, module_record, module_tensors, numbers_of, put_into
from lrpath.lightning.path_callback import PathCallback
from lrpath.lightning.path_run import READING, PathRun
from lrpath.models import seed_generators
from lrpath.planning.later_readings import LaterReadings
from lrpath.planning.lineage import differences
from lrpath.planning.paths import StateKey
from lrpath.planning.streams import WEIGHT_PARTS
from lrpath.records.ledger import RunningCount
from lrpath.records.path_folder import PathFolder
from lrpath.records.shards import stored_tensors
from lrpath.training.checkpoints.loading import checked, load_tensors
from lrpath.training.checkpoints.retention import keep_newest, pinned_states
from lrpath.training.checkpoints.states import ShardWriter, all_finite, write_state
from lrpath.training.distributed.process_group import ProcessGroup


class PathForks(PathCallback, Checkpoint):
    """Starts a module from the state that its path goes on from, and saves one wherever the plan needs it.

    Random numbers of torch are seeded before every update from the plan's seed and the position, so a state holds none.

    Args:
        run: The path.
        check_batches: Whether to compare the first batch with what the path has read at that position before, and with
            the very first batch: a data loader that starts over is the most common fault of a resumed run. False for
            data that repeat.
    """

    def __init__(self, run: PathRun, *, check_batches: bool = True) -> None:
        super().__init__(run)
        self._check_batches = check_batches
        self._owned = contextlib.ExitStack()
        self._ranks = ProcessGroup()
        self._folder: PathFolder | None = None
        self._count: RunningCount | None = None
        self._batches: BatchDigests | None = None
        self._reached = run.begin
        self._seeded = -1
        self._skipped: list[int] = []
        self._scale = 0.0

    @property
    def folder(self) -> PathFolder:
        """The path's folder, while a fit runs."""
        assert self._folder is not None
        return self._folder

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Own the path, and load the state that it goes on from."""
        super().on_fit_start(trainer, pl_module)
        _check_trainer(trainer, pl_module)
        _warn_of_shared_data(self.run)
        self._reached, self._seeded, self._skipped = self.run.begin, -1, []
        self._ranks = _ranks_of(trainer)
        begins = self._ranks.gather(lambda: (self.run.path.id, self.run.begin))
        if len(set(begins)) > 1:
            raise ConfigError(f"the ranks would start from {begins}; open the same PathRun on all of them")
        folder = self._ranks.on_rank_zero(lambda: self.run.open_folder().folder)
        self._folder = PathFolder(folder)
        self._ranks.on_rank_zero(self._own)
        self._batches = BatchDigests(self.run) if self._check_batches else None
        if self.run.planned.starting_state() is not None:
            self._load(trainer, pl_module)
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        self._scale = 0.0 if scaler is None else scaler.get_scale()

    def _own(self) -> None:
        """Own the path, remove what a killed fit has left, and count the updates for the ledger; the first rank."""
        lease = self._owned.enter_context(self.folder.lock())
        self._folder = PathFolder(self.folder.folder, lease=lease)
        self.folder.clear_incomplete()
        newest = max((at for at in self.folder.positions() if at <= self.run.end), default=self.run.path.start)
        if newest != self.run.begin:
            raise MismatchError(
                f"{self.run.path.name} was opened at {self.run.begin:,}, and its newest state is at {newest:,} by now; "
                "open the PathRun again"
            )
        if self.run.updates:
            run = self.run.planned.begun(device="lightning", ranks=self._ranks.world_size, flops_per_token=0.0)
            self._count = self._owned.enter_context(RunningCount(self.folder, ledger=self.run.study.ledger, run=run))

    def _load(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        key = self.run.planned.starting_state()
        assert key is not None
        ranks, source = self._ranks, self.run.study.find(key.path_id)
        assert source is not None
        place = ranks.on_rank_zero(lambda: source.fetched_state(key.position))
        with checked(place, key=key, ranks=ranks) as manifest:
            ours, theirs = _record(trainer), manifest.get("module", {})
            lines = differences({name: theirs.get(name) for name in ours}, ours)
            if lines:
                raise MismatchError(
                    f"{place} was made with other settings of the module: {'; '.join(lines)}. Restore them, or make "
                    "another plan, whose `describes` says what has changed"
                )
            own, kept = empty_tensors(module, trainer.optimizers, ranks.on_rank_zero(lambda: stored_tensors(place)))
            load_tensors(place, own | kept, whole=True, ranks=ranks)
        put_into(module, trainer.optimizers, kept, theirs.get("numbers", {}))
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        if scaler is not None and theirs.get("scaler"):
            scaler.load_state_dict(theirs["scaler"])
        self._skipped = list(theirs.get("skipped", [])) if key.path_id == self.run.path.id else []

    def on_train_batch_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        batch: Any,
        batch_idx: int,  # noqa: ARG002 (Lightning's signature)
    ) -> None:
        """Before the first micro-batch of an update: seed torch, and look at the batch where that can tell a fault."""
        update = self.position(trainer)
        if update == self._seeded:
            return
        self._seeded = update
        slot = self._ranks.rank if self._ranks.world_size > 1 else None
        seed_generators(self.run.planned.random_seed(update, slot=slot), device=pl_module.device)
        if self._batches is not None and self._batches.is_due(update):
            batches = self._batches
            self._ranks.on_rank_zero(lambda: batches.compare(update, batch, ranks=self._ranks.world_size))

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save where the plan needs a state, or the fit is about to stop."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        position = self.position(trainer)
        if position == self._reached:
            return
        self._note_skipped(trainer, position)
        self._reached = position
        if self._count is not None:
            self._count.reach(position)
        if trainer.should_stop or self.run.planned.saves(position):
            self._save(trainer, pl_module, position)

    def _note_skipped(self, trainer: lightning.Trainer, position: int) -> None:
        """Note an update whose step was left out by mixed precision: it counts, and has changed no weight."""
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        if scaler is None:
            return
        scale = scaler.get_scale()
        if scale < self._scale:  # lowered when, and only when, a gradient was not finite
            self._skipped.append(position)
            rank_zero_warn(
                f"{self.run.path.name}: the optimizer step to position {position:,} was skipped, since a gradient was "
                "not finite; it counts as an update of the plan, and the states behind it say so"
            )
        self._scale = scale

    def _save(self, trainer: lightning.Trainer, module: lightning.LightningModule, position: int) -> None:
        ranks, key = self._ranks, StateKey(self.run.path.id, position)
        tensors = module_tensors(module, trainer.optimizers, ranks=ranks)
        trained = {name: one for name, one in tensors.items() if not name.startswith("buffer.")}
        if not all_finite(trained, ranks=ranks):
            raise TrainingError(
                f"{self.run.path.name}: a weight or moment at {position:,} is not finite, so no state was saved; "
                "earlier states are whole"
            )
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        record = _record(trainer) | {
            "numbers": numbers_of(module, trainer.optimizers),
            "scaler": None if scaler is None else scaler.state_dict(),
            "skipped": self._skipped,
        }
        facts = {"name": self.run.path.name, "identity": self.run.path.identity(), "module": record}
        facts |= {READING: LaterReadings(self.run.plan.tree).digest(key)}
        shards = ShardWriter(tensors, ranks=ranks, copied=False)
        shards.take(tensors)
        place = ranks.on_rank_zero(lambda: self.folder.state(position))
        write_state(place, key=key, shards=shards, facts=facts, ranks=ranks, check=self.folder.check_owned)
        pinned = partial(pinned_states, self.run.study, self.run.plan.tree)
        ranks.on_rank_zero(lambda: keep_newest(position, run=self.run.planned, folder=self.folder, pinned=pinned))
        if self._batches is not None:
            self._batches.expect(position)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Save where another callback has stopped the fit early; raise if it has ended early for no reason.

        Raises:
            TrainingError: If the Trainer or its data loader was shorter than the path.
        """
        if self._reached >= self.run.end:
            return
        key = StateKey(self.run.path.id, self._reached)
        if self._reached > self.run.begin and not self._ranks.on_rank_zero(lambda: self.run.study.has_state(key)):
            self._save(trainer, pl_module, self._reached)
        if not trainer.should_stop:
            raise TrainingError(
                f"{self.run.path.name} ended at {self._reached:,} of {self.run.end:,}: the Trainer or its data loader "
                "was shorter than the path. The state it has reached is saved: open the PathRun again to go on"
            )

    def teardown(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Give the path up."""
        super().teardown(trainer, pl_module, stage)
        self._close(None)

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Give the path up; the ledger counts the fit as stopped."""
        super().on_exception(trainer, pl_module, exception)
        self._close(exception)

    def _close(self, error: BaseException | None) -> None:
        self._count = None
        self._owned.__exit__(type(error) if error else None, error, None)
        group, self._ranks = self._ranks.control, ProcessGroup()
        if group is not None and dist.is_initialized() and error is None:
            dist.destroy_process_group(group)


def _record(trainer: lightning.Trainer) -> dict[str, Any]:
    return module_record(trainer.optimizers) | {"precision": str(trainer.precision)}


def _ranks_of(trainer: lightning.Trainer) -> ProcessGroup:
    ranks = ProcessGroup(rank=trainer.global_rank, world_size=trainer.world_size, launched=trainer.world_size > 1)
    if trainer.world_size > 1:
        group = dist.new_group(backend="gloo")
        assert isinstance(group, dist.ProcessGroup)
        ranks.control = group
    return ranks


def _check_trainer(trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
    """Raise for what a state could not hold; warn of what it will not.

    Raises:
        ConfigError: Naming the strategy or the part of the module.
    """
    known = (SingleDeviceStrategy, DDPStrategy, ModelParallelStrategy)
    if not isinstance(trainer.strategy, known):
        name = type(trainer.strategy).__name__
        raise ConfigError(
            f"PathForks saves states of one device, DDP and FSDP2 (ModelParallelStrategy), not of {name}; choose one "
            "of these",
            field="strategy",
            value=name,
        )
    for name, part in module.named_modules():
        if type(part).get_extra_state is not _NO_EXTRA:
            raise ConfigError(
                f"{name or type(module).__name__} keeps an extra state, which can be any object, and a state holds "
                "tensors only; make it a buffer",
                field="get_extra_state",
                value=name,
            )
    if type(module).on_save_checkpoint is not lightning.LightningModule.on_save_checkpoint:
        rank_zero_warn(
            f"{type(module).__name__}.on_save_checkpoint is not called: a state holds parameters, buffers and what "
            "optimizers keep; what else must survive has to be one of these"
        )
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if not isinstance(callback, Checkpoint | PathCallback) and _keeps_a_state(callback):
            rank_zero_warn(
                f"{type(callback).__name__} has a state of its own, an average of weights for example, which no state "
                "holds: where a path goes on, it begins anew"
            )


def _warn_of_shared_data(run: PathRun) -> None:
    """Warn where the plan draws an update from several increments: which samples it reads, the loader decides."""
    spans = run.path.stream.spans(run.begin, run.end)
    if mixed := next((segment for segment, _, _ in spans if len(segment.increments) > 1), None):
        shares = ", ".join(
            f"{part.parts / WEIGHT_PARTS:.0%} of {' and '.join(increment.version for increment in part.increments)}"
            for part in mixed.components
        )
        rank_zero_warn(
            f"{run.path.name} reads {shares} by the plan, and your data loader decides what it is given: nothing here "
            "checks that these are so mixed"
        )


def _keeps_a_state(callback: lightning.Callback) -> bool:
    plain = lightning.Callback
    kind = type(callback)
    return kind.state_dict is not plain.state_dict or kind.on_save_checkpoint is not plain.on_save_checkpoint


_NO_EXTRA = lightning.LightningModule.get_extra_state
