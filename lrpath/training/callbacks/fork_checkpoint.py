"""Saves exactly the states that a plan needs (forks and releases), and rolling ones to restart from.

It knows the plan and not the loss. It is a `Checkpoint`, so Lightning calls it after all other callbacks, and it saves
in `on_train_batch_end`, when the optimizer has stepped: the rows of the update are on disk before its state is.
Lightning's ModelCheckpoint is no base for it: that saves by loss or period, pickles, and knows no fork.
"""

from collections.abc import Callable, Set
from functools import partial
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Checkpoint

from lrpath.errors import TrainingError
from lrpath.planning.paths import StateKey
from lrpath.records.path_folder import PathFolder
from lrpath.training.callbacks.update_callback import UpdateCallback
from lrpath.training.checkpoints.disk import explain_disk_error
from lrpath.training.checkpoints.retention import keep_newest
from lrpath.training.checkpoints.saver import StateSaver
from lrpath.training.checkpoints.states import all_finite, tensors_of
from lrpath.training.distributed.watchdog import Watchdog
from lrpath.training.lit_module import LitCausalLM
from lrpath.training.loss_monitor import LossMonitor
from lrpath.training.planned_run import PlannedRun


class ForkCheckpoint(UpdateCallback, Checkpoint):
    """Saves the state at every position where the plan needs one, a rolling one is due, or the run stops.

    Args:
        run: Which positions these are.
        folder: The path's folder.
        facts: Returns the manifest fields for a position: identity and data consumed.
        pinned: Returns the states that the plans of the study need at this moment, which are never removed.
        saver: Saves the states; whoever made it waits for the last one.
        monitor: Ends the run, or takes its path back, where weights or moments are not finite.
        watchdog: Where this rank notes that it saves.
    """

    def __init__(
        self,
        run: PlannedRun,
        *,
        folder: PathFolder,
        facts: Callable[[int], dict[str, Any]],
        pinned: Callable[[], Set[StateKey]],
        saver: StateSaver,
        monitor: LossMonitor,
        watchdog: Watchdog,
    ) -> None:
        super().__init__(run)
        self._folder = folder
        self._facts = facts
        self._pinned = pinned
        self._saver = saver
        self._monitor = monitor
        self._watchdog = watchdog

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Allocate what saving needs before the updates begin."""
        self._saver.prepare(_tensors(trainer, pl_module))

    def on_update(self, trainer: lightning.Trainer, module: LitCausalLM, position: int) -> None:
        """Save if a state is due; when it is whole, remove the rolling states before it."""
        if not self.saves(trainer, position):
            return
        tensors = _tensors(trainer, module)
        # Before the copy, on the device: what is not finite must not take the place of the last state to go back to.
        if not all_finite(tensors, ranks=self._monitor.process_group):
            self._monitor.refuse_not_finite("weight or moment", position)
        with self._watchdog.phase("saving", unlimited=True):  # a disk may be slow
            self._saver.save(
                self._folder.state(position),
                key=StateKey(self.run.path.id, position),
                tensors=tensors,
                facts=self._facts(position),
                check=self._folder.check_owned,
                before=partial(self._flush_tables, position),
                then=partial(keep_newest, position, run=self.run, folder=self._folder, pinned=self._pinned),
            )

    def _flush_tables(self, position: int) -> None:
        """Let the rows up to the state be on the disk before it is."""
        try:
            self._folder.flush_tables()
        except OSError as error:
            raise TrainingError(explain_disk_error(error, self._folder.state(position))) from error


def _tensors(trainer: lightning.Trainer, module: lightning.LightningModule) -> dict[str, torch.Tensor]:
    assert isinstance(module, LitCausalLM)
    optimizer = trainer.optimizers[0]
    return tensors_of(module.backbone, optimizer)
