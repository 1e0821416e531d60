"""On what a plan runs: device, micro-batch and precision, none of which is part of a path's id."""

import os
from dataclasses import dataclass

import lightning
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment

from lrpath.errors import ConfigError
from lrpath.planning.paths import Recipe

_PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where the updates run.

    Args:
        accelerator: `cpu`, `gpu`, or `auto` for an NVIDIA or AMD GPU if there is one.
        micro_batch: Sequences of one rank in one forward pass; null takes the rank's whole share of the update.
        threads: Threads of one CPU operation; null leaves torch's choice.
    """

    accelerator: str
    micro_batch: int | None
    threads: int | None

    def __post_init__(self) -> None:
        if self.accelerator not in ("auto", "cpu", "gpu"):
            raise ConfigError(f"strategy.accelerator={self.accelerator} must be auto, cpu or gpu")
        if self.accelerator == "gpu" and not torch.cuda.is_available():
            raise ConfigError("strategy.accelerator=gpu, but torch sees no GPU here; use cpu or auto")
        if self.micro_batch is not None and self.micro_batch < 1:
            raise ConfigError(f"strategy.micro_batch={self.micro_batch} must be at least 1")
        if self.threads is not None and not 1 <= self.threads <= (os.cpu_count() or 1):
            raise ConfigError(f"strategy.threads={self.threads} must lie in [1, {os.cpu_count()}], the cores here")
        ranks = int(os.environ.get("WORLD_SIZE", "1"))
        if ranks > 1:
            raise ConfigError(
                f"strategy=single runs on one rank, but this was started on {ranks}; start it without torchrun"
            )

    @property
    def ranks(self) -> int:
        """Number of processes."""
        return 1

    @property
    def device(self) -> str:
        """Name of the device, for the ledger."""
        return torch.cuda.get_device_name() if self.torch_device.type == "cuda" else "cpu"

    @property
    def torch_device(self) -> torch.device:
        """The device of this process."""
        return torch.device("cuda" if self.accelerator != "cpu" and torch.cuda.is_available() else "cpu")

    def micro_batch_of(self, recipe: Recipe) -> int:
        """Return the sequences of one forward pass.

        Raises:
            ConfigError: If they do not divide the global batch; says what would.
        """
        whole = recipe.sequences_per_update
        size = self.micro_batch or whole // self.ranks
        if whole % (size * self.ranks):
            fitting = [n for n in range(1, whole + 1) if whole % (n * self.ranks) == 0]
            raise ConfigError(
                f"strategy.micro_batch={size} does not divide batch.sequences_per_update={whole}; use one of {fitting}"
            )
        return size

    def accumulate(self, recipe: Recipe) -> int:
        """Return the micro-batches of one update."""
        return recipe.sequences_per_update // (self.micro_batch_of(recipe) * self.ranks)

    def set_threads(self) -> None:
        """Give every operation of this process, evaluations included, the stated number of threads."""
        if self.threads is not None:
            torch.set_num_threads(self.threads)

    def trainer(
        self, callbacks: list[lightning.Callback], *, precision: str, updates: int, accumulate: int
    ) -> lightning.Trainer:
        """Return a Trainer for one fit of `updates` updates, with everything off that lrpath does itself."""
        return lightning.Trainer(
            accelerator=self.torch_device.type,
            devices=1,
            precision=_PRECISIONS[precision],  # type: ignore[arg-type]
            max_steps=updates,
            max_epochs=-1,
            accumulate_grad_batches=accumulate,
            callbacks=callbacks,
            # On SLURM, Lightning requeues jobs itself and loads any hpc_ckpt_*.ckpt of its root folder: it gets none.
            plugins=[LightningEnvironment()],
            default_root_dir=os.devnull,
            logger=False,
            enable_checkpointing=True,  # the fork callback is the only Checkpoint; Lightning adds none beside it
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            limit_val_batches=0,
        )
