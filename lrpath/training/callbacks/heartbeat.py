"""The callback that tells a rank's watch what the rank does, phase by phase of an update."""

from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Checkpoint

from lrpath.training.distributed.watchdog import Watchdog


class HeartbeatCallback(Checkpoint):
    """Marks the phases of an update. A `Checkpoint` and the last of them: after it, the next data are read.

    Args:
        watchdog: Where they are marked.
        begin: Position that the fit starts from.
        patient_start: Whether the first update may take as long as it likes, because blocks are compiled in it.
    """

    def __init__(self, watchdog: Watchdog, *, begin: int, patient_start: bool) -> None:
        self._watch = watchdog
        self._begin = begin
        self._patient = patient_start

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """Begin with the first data."""
        self._watch.mark("data", position=self._begin)

    def on_train_batch_start(
        self,
        trainer: lightning.Trainer,  # noqa: ARG002 (Lightning's signature)
        pl_module: lightning.LightningModule,  # noqa: ARG002
        batch: Any,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """The data are there."""
        self._watch.mark("forward", patient=self._patient)

    def on_before_backward(
        self,
        trainer: lightning.Trainer,  # noqa: ARG002 (Lightning's signature)
        pl_module: lightning.LightningModule,  # noqa: ARG002
        loss: torch.Tensor,  # noqa: ARG002
    ) -> None:
        """The loss is there."""
        self._watch.mark("backward", patient=self._patient)

    def on_before_optimizer_step(
        self,
        trainer: lightning.Trainer,  # noqa: ARG002 (Lightning's signature)
        pl_module: lightning.LightningModule,  # noqa: ARG002
        optimizer: torch.optim.Optimizer,  # noqa: ARG002
    ) -> None:
        """The gradient is there."""
        self._watch.mark("optimizer", patient=self._patient)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,  # noqa: ARG002 (Lightning's signature)
        outputs: Any,  # noqa: ARG002
        batch: Any,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Everything that belongs to the update is done."""
        if trainer.global_step:
            self._patient = False
        self._watch.mark("data", position=self._begin + trainer.global_step)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """Stop watching until the next fit."""
        self._watch.rest()
