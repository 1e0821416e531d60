"""The bases of callbacks: those that act at the ends of a fit, and those that act once an update, by position."""

from typing import TYPE_CHECKING, Any

import lightning
from lightning.pytorch.utilities.types import STEP_OUTPUT

from lrpath.training.lit_module import LitCausalLM
from lrpath.training.planned_run import PlannedRun


class FitCallback(lightning.Callback):
    """Is called by Lightning at the ends of a fit, and in a micro-batch only where a subclass defines a hook.

    Lightning calls every hook of every callback in every micro-batch, unless it is not callable; to call those that do
    nothing takes some 2 % of a small model's update.
    """

    if not TYPE_CHECKING:
        on_train_batch_start = on_before_backward = on_after_backward = None
        on_before_optimizer_step = on_before_zero_grad = on_train_batch_end = None


class UpdateCallback(FitCallback):
    """Calls `on_update` after each optimizer step with the position that it reached.

    Lightning calls its hooks once a micro-batch and knows no position.
    """

    def __init__(self, run: PlannedRun) -> None:
        """Take the run whose positions are counted."""
        self.run = run
        self.position = run.begin

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: STEP_OUTPUT,  # noqa: ARG002 (Lightning's signature)
        batch: Any,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Pass on micro-batches that completed an update; ignore the others."""
        position = self.run.begin + trainer.global_step
        if position > self.position:
            self.position = position
            assert isinstance(pl_module, LitCausalLM)
            self.on_update(trainer, pl_module, position)

    def on_update(self, trainer: lightning.Trainer, module: LitCausalLM, position: int) -> None:
        """Act on the update that led to `position`."""

    def saves(self, trainer: lightning.Trainer, position: int) -> bool:
        """Say whether a state is saved at this position: by the plan, or because the run stops here."""
        return trainer.should_stop or self.run.saves(position)
