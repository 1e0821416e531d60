"""Tells the watchdog of a rank which phase of an update the rank is in."""

from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Checkpoint

from lrpath.training.distributed.watchdog import Watchdog


class HeartbeatCallback(Checkpoint):
    """Enters the phases of an update.

    It is a `Checkpoint`, though it saves nothing, so that Lightning calls it last of all: when ForkCheckpoint has
    saved, and before the next batch is read.

    Args:
        watchdog: Where phases are entered.
        begin: Position that the fit starts from.
        compiles: Whether blocks are compiled, in the first update, which may then take any time.
    """

    def __init__(self, watchdog: Watchdog, *, begin: int, compiles: bool) -> None:
        self._watchdog = watchdog
        self._begin = begin
        self._unlimited = compiles

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """The first batch is read."""
        self._watchdog.enter_phase("data", position=self._begin)

    def on_train_batch_start(
        self,
        trainer: lightning.Trainer,  # noqa: ARG002 (Lightning's signature)
        pl_module: lightning.LightningModule,  # noqa: ARG002
        batch: Any,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """The batch is there."""
        self._watchdog.enter_phase("forward", unlimited=self._unlimited)

    def on_before_backward(
        self,
        trainer: lightning.Trainer,  # noqa: ARG002 (Lightning's signature)
        pl_module: lightning.LightningModule,  # noqa: ARG002
        loss: torch.Tensor,  # noqa: ARG002
    ) -> None:
        """The loss is there."""
        self._watchdog.enter_phase("backward", unlimited=self._unlimited)

    def on_before_optimizer_step(
        self,
        trainer: lightning.Trainer,  # noqa: ARG002 (Lightning's signature)
        pl_module: lightning.LightningModule,  # noqa: ARG002
        optimizer: torch.optim.Optimizer,  # noqa: ARG002
    ) -> None:
        """The gradient is there."""
        self._watchdog.enter_phase("optimizer", unlimited=self._unlimited)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,  # noqa: ARG002 (Lightning's signature)
        outputs: Any,  # noqa: ARG002
        batch: Any,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """The micro-batch is done, and what was due after it; the next batch is read."""
        if trainer.global_step:
            self._unlimited = False
        self._watchdog.enter_phase("data", position=self._begin + trainer.global_step)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """Expect no progress until the next fit."""
        self._watchdog.leave_fit()
