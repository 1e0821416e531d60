"""Sets the learning rate of every update from its position alone."""

import lightning
import torch

from lrpath.errors import TrainingError
from lrpath.training.callbacks.update_callback import UpdateCallback
from lrpath.training.lit_module import LitCausalLM
from lrpath.training.optimizers import learning_rate_of, set_learning_rate


class SetLearningRate(UpdateCallback):
    """Sets rate and weight decay before every update, and checks afterwards that nothing has changed the rate.

    Not a torch scheduler: those carry a state, which a fork would have to edit.
    """

    def on_before_optimizer_step(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """Set the rate of the update that is about to be made."""
        assert isinstance(pl_module, LitCausalLM)
        rate = self.run.path.schedule.rate(self.run.begin + trainer.global_step)
        set_learning_rate(optimizer, rate=rate, settings=pl_module.settings)

    def on_update(self, trainer: lightning.Trainer, module: LitCausalLM, position: int) -> None:  # noqa: ARG002
        """Raise if the update, the first after a fork above all, did not run at the plan's rate."""
        expected = self.run.path.schedule.rate(position - 1)
        used = learning_rate_of(trainer.optimizers[0])
        if used != expected:
            raise TrainingError(
                f"{self.run.path.name}: the update to position {position} ran at rate {used}, the plan says "
                f"{expected}; another callback changes the optimizer: remove it"
            )
