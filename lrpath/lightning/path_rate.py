"""Sets the plan's rate before every optimizer step of any module, and checks after it that nothing has changed it."""

import math

import lightning
import torch
from lightning.pytorch.utilities import rank_zero_info

from lrpath.errors import ConfigError, TrainingError
from lrpath.lightning.path_callback import PathCallback
from lrpath.lightning.path_run import PathRun


class PathRate(PathCallback):
    """Gives every update the rate of its path.

    The plan's rate is that of the first parameter group of the first optimizer. Other groups and optimizers keep the
    ratio to it that `configure_optimizers` has given them, and the first line that is logged says so.

    Args:
        run: The path.

    Raises (when the fit begins):
        ConfigError: If the module has a learning-rate scheduler of its own, ratios cannot be told, or the Trainer would
            end before the path does.
    """

    def __init__(self, run: PathRun) -> None:
        super().__init__(run)
        self.multipliers: dict[int, list[float]] = {}

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Refuse what would set rates besides the plan, and note the ratios of the groups."""
        super().on_fit_start(trainer, pl_module)
        if trainer.lr_scheduler_configs:
            names = ", ".join(type(config.scheduler).__name__ for config in trainer.lr_scheduler_configs)
            raise ConfigError(
                f"{type(pl_module).__name__}.configure_optimizers returns a learning-rate scheduler ({names}), and the "
                "plan sets the rate; return the optimizer alone",
                field="lr_scheduler",
                value=names,
            )
        self.multipliers = _multipliers(trainer.optimizers)
        flat = [one for multipliers in self.multipliers.values() for one in multipliers]
        if len(set(flat)) > 1:
            listed = ", ".join(f"{one:g}" for one in flat)
            rank_zero_info(
                f"PathRate: parameter groups run at the plan's rate times {listed}, their ratios to the first"
            )

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """Check that the Trainer goes on until the path ends, now that it has its data loaders."""
        steps = trainer.max_steps if trainer.max_steps >= 0 else math.inf
        if trainer.lightning_module.automatic_optimization:
            steps = min(steps, trainer.estimated_stepping_batches)
        if steps < self.run.updates:
            raise ConfigError(
                f"the Trainer would end after {steps:,.0f} updates, and {self.run.path.name} needs "
                f"{self.run.updates:,} from {self.run.begin:,} to {self.run.end:,}; give it max_steps=run.updates, "
                "max_epochs=-1 and a data loader that is long enough",
                field="max_steps",
                value=trainer.max_steps,
            )
        if (trainer.min_steps or 0) > self.run.updates:
            raise ConfigError(
                f"the Trainer would go on for min_steps={trainer.min_steps} updates, past the end of "
                f"{self.run.path.name}; leave min_steps out",
                field="min_steps",
                value=trainer.min_steps,
            )

    def before_step(self, trainer: lightning.Trainer, optimizer: torch.optim.Optimizer) -> None:
        """Set the rate: some optimizers read it before they compute the loss."""
        self._set(trainer, optimizer)

    def on_before_optimizer_step(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,  # noqa: ARG002 (Lightning's signature)
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """Set the rate again, after the module's own code has run."""
        self._set(trainer, getattr(optimizer, "optimizer", optimizer))

    def after_step(self, trainer: lightning.Trainer, optimizer: torch.optim.Optimizer) -> None:
        """Raise if the step, the first after a fork above all, did not run at the plan's rate."""
        expected = self._rates(trainer, optimizer)
        used = [_value(group["lr"]) for group in optimizer.param_groups]
        if used != expected:
            update = self.update_of(trainer, optimizer)
            raise TrainingError(
                f"{self.run.path.name}: the update to position {update + 1:,} ran at rates {used}, the plan says "
                f"{expected}; something else changes the optimizer: remove it"
            )

    def _set(self, trainer: lightning.Trainer, optimizer: torch.optim.Optimizer) -> None:
        for group, rate in zip(optimizer.param_groups, self._rates(trainer, optimizer), strict=True):
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def _rates(self, trainer: lightning.Trainer, optimizer: torch.optim.Optimizer) -> list[float]:
        """Return the plan's rate of each group of an optimizer for its next step."""
        update, multipliers = self.update_of(trainer, optimizer), self.multipliers[id(optimizer)]
        if update >= self.run.end:
            raise TrainingError(
                f"{self.run.path.name} ends at {self.run.end:,}, and the Trainer goes on; give it "
                "max_steps=run.updates, and neither min_steps nor min_epochs"
            )
        if len(multipliers) != len(optimizer.param_groups):
            raise TrainingError(
                f"{type(optimizer).__name__} has {len(optimizer.param_groups)} parameter groups, and had "
                f"{len(multipliers)} when the fit began; make all groups in configure_optimizers"
            )
        rate = self.run.path.schedule.rate(update)
        rates = [rate * one for one in multipliers]
        tensors = [group["lr"] for group in optimizer.param_groups]
        return [
            float(torch.tensor(one, dtype=lr.dtype)) if isinstance(lr, torch.Tensor) else one
            for one, lr in zip(rates, tensors, strict=True)
        ]


def _value(rate: float | torch.Tensor) -> float:
    return float(rate)


def _multipliers(optimizers: list[torch.optim.Optimizer]) -> dict[int, list[float]]:
    """Return, by optimizer, each group's rate ÷ that of the first group of all.

    Raises:
        ConfigError: If the first rate is 0 and another is not.
    """
    given = {id(optimizer): [_value(group["lr"]) for group in optimizer.param_groups] for optimizer in optimizers}
    flat = [rate for rates in given.values() for rate in rates]
    if len(set(flat)) == 1:
        return {name: [1.0] * len(rates) for name, rates in given.items()}
    if not all(math.isfinite(rate) for rate in flat) or not flat[0] > 0:
        raise ConfigError(
            f"the parameter groups have rates {flat}, of which the first must be positive: the others keep their ratio "
            "to it; give it one in configure_optimizers",
            field="lr",
            value=flat[0],
        )
    return {name: [rate / flat[0] for rate in rates] for name, rates in given.items()}
