"""What both callbacks share: which update a module is at, whatever its optimizers, micro-batches and precision.

Lightning counts optimizer steps in `Trainer.global_step`: once an update under automatic optimization, whatever
`accumulate_grad_batches`; under manual optimization once for every optimizer. A step that mixed precision skips, since
a gradient was not finite, counts too: its batch has been read, and the plan goes on.
"""

from collections.abc import Callable
from typing import Any

import lightning
import torch

from lrpath.errors import ConfigError, TrainingError
from lrpath.lightning.path_run import PathRun


class PathCallback(lightning.Callback):
    """Knows the position of a module on its path, and ends the fit where the path ends.

    Args:
        run: The path.
    """

    def __init__(self, run: PathRun) -> None:
        self.run = run
        self._steps: dict[int, int] = {}
        self._hooks: list[Any] = []

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """Check that the Trainer counts from 0, and follow the steps of its optimizers."""
        if trainer.global_step or trainer.ckpt_path is not None:
            raise ConfigError(
                f"{type(self).__name__} counts updates from {self.run.begin:,}, but this Trainer has made "
                f"{trainer.global_step:,} already, or was given ckpt_path; make a new Trainer, and let PathForks "
                "restore the state",
                field="ckpt_path",
                value=trainer.ckpt_path,
            )
        self._release()
        self._steps = {id(optimizer): 0 for optimizer in trainer.optimizers}
        for optimizer in trainer.optimizers:
            before, after = self._hook(trainer, before=True), self._hook(trainer, before=False)
            self._hooks += [optimizer.register_step_pre_hook(before), optimizer.register_step_post_hook(after)]

    def _hook(self, trainer: lightning.Trainer, *, before: bool) -> Callable[..., None]:
        def follow(optimizer: torch.optim.Optimizer, *_: Any) -> None:
            if before:
                self.before_step(trainer, optimizer)
            else:
                self.after_step(trainer, optimizer)
                self._steps[id(optimizer)] += 1

        return follow

    def before_step(self, trainer: lightning.Trainer, optimizer: torch.optim.Optimizer) -> None:
        """Act before an optimizer steps."""

    def after_step(self, trainer: lightning.Trainer, optimizer: torch.optim.Optimizer) -> None:
        """Act after an optimizer has stepped."""

    def update_of(self, trainer: lightning.Trainer, optimizer: torch.optim.Optimizer) -> int:
        """Return the update that an optimizer's next step belongs to."""
        automatic = trainer.lightning_module.automatic_optimization
        return self.run.begin + (trainer.global_step if automatic else self._steps[id(optimizer)])

    def position(self, trainer: lightning.Trainer) -> int:
        """Return how many updates the path has made, between two batches.

        Raises:
            TrainingError: If optimizers have stepped unequally often, so that no position says where the module is.
        """
        if trainer.lightning_module.automatic_optimization:
            return self.run.begin + trainer.global_step
        counts = sorted(set(self._steps.values()))
        if len(counts) != 1:
            raise TrainingError(
                f"the optimizers of {type(trainer.lightning_module).__name__} have stepped unequally often: {counts}. "
                "An update is one step of each; let them step together, or plan them apart"
            )
        return self.run.begin + counts[0]

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,  # noqa: ARG002 (Lightning's signature)
        outputs: Any,  # noqa: ARG002
        batch: Any,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """End the fit where the path ends."""
        if self.position(trainer) >= self.run.end:
            trainer.should_stop = True

    def teardown(
        self,
        trainer: lightning.Trainer,  # noqa: ARG002 (Lightning's signature)
        pl_module: lightning.LightningModule,  # noqa: ARG002
        stage: str,  # noqa: ARG002
    ) -> None:
        """Leave the optimizers."""
        self._release()

    def on_exception(
        self,
        trainer: lightning.Trainer,  # noqa: ARG002 (Lightning's signature)
        pl_module: lightning.LightningModule,  # noqa: ARG002
        exception: BaseException,  # noqa: ARG002
    ) -> None:
        """Leave the optimizers."""
        self._release()

    def _release(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
