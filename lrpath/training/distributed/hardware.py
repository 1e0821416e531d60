"""On what a plan runs: device, ranks, micro-batch and precision, none of which is part of a path's id."""

import contextlib
import os
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

import lightning
import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy

from lrpath.errors import ConfigError
from lrpath.models import CausalLM
from lrpath.planning.paths import Recipe
from lrpath.training.distributed.placement import compile_blocks, recompute_blocks, shard_blocks
from lrpath.training.distributed.process_group import ProcessGroup

NAMES = ("single", "ddp", "fsdp")

_PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """Where the updates run.

    Args:
        name: `single`, one process; `ddp`, everything on every rank; `fsdp`, weights, gradients and moments cut into
            shards.
        accelerator: `cpu`, `gpu`, or `auto` for an NVIDIA or AMD GPU if there is one.
        micro_batch: Sequences of one rank in one forward pass; null takes the rank's whole share of the update.
        threads: Threads of one CPU operation; null leaves torch's choice.
        shard_ranks: Ranks that hold one copy of the model under `fsdp`: a number, `node` for those of a node, or null
            for all of them.
        recompute: Whether blocks are computed again in the backward pass, to save memory.
        compile: Whether blocks are compiled.
        timeout_minutes: How long a rank may show no change in an update; null for no watch, and torch's own limit.
        group: The ranks.
    """

    name: str = "single"
    accelerator: str
    micro_batch: int | None
    threads: int | None
    shard_ranks: int | Literal["node"] | None = None
    recompute: bool = False
    compile: bool = False
    timeout_minutes: float | None = None
    group: ProcessGroup = field(default_factory=ProcessGroup.from_environment)

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise ConfigError(f"strategy.name={self.name} must be one of {', '.join(NAMES)}")
        if self.accelerator not in ("auto", "cpu", "gpu"):
            raise ConfigError(f"strategy.accelerator={self.accelerator} must be auto, cpu or gpu")
        if self.accelerator == "gpu" and not torch.cuda.is_available():
            raise ConfigError("strategy.accelerator=gpu, but torch sees no GPU here; use cpu or auto")
        if self.micro_batch is not None and self.micro_batch < 1:
            raise ConfigError(f"strategy.micro_batch={self.micro_batch} must be at least 1")
        if self.threads is not None and not 1 <= self.threads <= (os.cpu_count() or 1):
            raise ConfigError(f"strategy.threads={self.threads} must lie in [1, {os.cpu_count()}], the cores here")
        if self.timeout_minutes is not None and not self.timeout_minutes > 0:
            raise ConfigError(f"strategy.timeout_minutes={self.timeout_minutes} must be more than 0")
        self._check_launch()
        self._check_shards()

    def _check_launch(self) -> None:
        if self.name == "single" and self.ranks > 1:
            raise ConfigError(
                f"strategy=single runs on one rank, but this was started on {self.ranks}; start it without torchrun "
                "or srun, or add strategy=ddp or strategy=fsdp"
            )
        if self.name != "single" and not self.group.launched:
            raise ConfigError(
                f"strategy={self.name} runs on ranks that torchrun or srun starts: torchrun --nproc-per-node 2 "
                f"-m lrpath.train … strategy={self.name}, or on SLURM srun --nodes 1 --ntasks-per-node 2 "
                f"python -m lrpath.train … strategy={self.name}; or use strategy=single"
            )
        if self._on_gpu and self.group.local_count > torch.cuda.device_count():
            raise ConfigError(
                f"{self.group.local_count} ranks were started where each sees {torch.cuda.device_count()} GPUs; start "
                f"torchrun with --nproc-per-node {torch.cuda.device_count()}, or let every rank of srun see all GPUs "
                "of its node: --gpu-bind=none, and no --gpus-per-task"
            )

    def _check_shards(self) -> None:
        size = self.shard_ranks
        if size is None:
            return
        if self.name != "fsdp":
            raise ConfigError(f"strategy.shard_ranks={size} is for strategy=fsdp, not {self.name}; remove it")
        if isinstance(size, str) and size != "node":
            raise ConfigError(f"strategy.shard_ranks={size} must be a number, node or null")
        if self.copy_ranks < 1 or self.ranks % self.copy_ranks:
            fitting = [n for n in range(1, self.ranks + 1) if self.ranks % n == 0]
            raise ConfigError(f"strategy.shard_ranks={size} must divide the {self.ranks} ranks; use one of {fitting}")

    @property
    def copy_ranks(self) -> int:
        """Number of ranks that hold one copy of the model together under `fsdp`."""
        return self.group.local_count if isinstance(self.shard_ranks, str) else self.shard_ranks or self.ranks

    @property
    def ranks(self) -> int:
        """Number of processes."""
        return self.group.count

    @property
    def _on_gpu(self) -> bool:
        return self.accelerator != "cpu" and torch.cuda.is_available()

    @property
    def device(self) -> str:
        """Name of the device, for the ledger."""
        return torch.cuda.get_device_name() if self._on_gpu else "cpu"

    @property
    def torch_device(self) -> torch.device:
        """The device of this process."""
        if not self._on_gpu:
            return torch.device("cpu")
        return torch.device("cuda") if self.name == "single" else torch.device("cuda", self.group.local_rank)

    def micro_batch_of(self, recipe: Recipe) -> int:
        """Return the sequences of one forward pass on one rank.

        Raises:
            ConfigError: If ranks × micro-batch × accumulation cannot make the global batch; says what would.
        """
        whole = recipe.sequences_per_update
        if whole % self.ranks:
            fitting = [n for n in range(1, whole + 1) if whole % n == 0]
            raise ConfigError(
                f"{self.ranks} ranks cannot share batch.sequences_per_update={whole} evenly; start one of {fitting}"
            )
        size = self.micro_batch or whole // self.ranks
        if whole % (size * self.ranks):
            fitting = [n for n in range(1, whole + 1) if whole % (n * self.ranks) == 0]
            shared = f" over {self.ranks} ranks" if self.ranks > 1 else ""
            raise ConfigError(
                f"strategy.micro_batch={size} does not divide batch.sequences_per_update={whole}{shared}; "
                f"use one of {fitting}"
            )
        return size

    def accumulate(self, recipe: Recipe) -> int:
        """Return the micro-batches of one update on one rank."""
        return recipe.sequences_per_update // (self.micro_batch_of(recipe) * self.ranks)

    def set_threads(self) -> None:
        """Give every operation of this process, evaluations included, the stated number of threads."""
        if self.threads is not None:
            torch.set_num_threads(self.threads)

    def joined(self) -> contextlib.AbstractContextManager[None]:
        """Return a block in which the ranks can talk; for one process, an empty one."""
        if self.name == "single":
            return contextlib.nullcontext()
        return self.group.joined(self.torch_device, timeout=self._timeout)

    @property
    def _timeout(self) -> timedelta | None:
        return None if self.timeout_minutes is None else timedelta(minutes=self.timeout_minutes)

    def place(self, backbone: CausalLM, *, precision: str) -> None:
        """Put a model on the ranks; Lightning moves or wraps it afterwards."""
        if self.recompute:
            recompute_blocks(backbone)
        if self.compile:
            compile_blocks(backbone)
        if self.name == "fsdp":
            mesh = self.group.mesh(self.torch_device, shard_ranks=self.copy_ranks)
            shard_blocks(backbone, mesh=mesh, precision=precision)

    def trainer(
        self, callbacks: list[lightning.Callback], *, precision: str, updates: int, accumulate: int
    ) -> lightning.Trainer:
        """Return a Trainer for one fit of `updates` updates, with everything off that lrpath does itself."""
        trainer = lightning.Trainer(
            accelerator=self.torch_device.type,
            strategy=self._strategy(),
            devices=self.group.local_count,
            num_nodes=self.group.nodes,
            precision=_PRECISIONS[precision],  # type: ignore[arg-type]
            max_steps=updates,
            max_epochs=-1,
            accumulate_grad_batches=accumulate,
            callbacks=callbacks,
            # On SLURM, Lightning requeues jobs itself and loads any hpc_ckpt_*.ckpt of its root folder: it gets none.
            plugins=[self._environment()],
            default_root_dir=os.devnull,
            logger=False,
            enable_checkpointing=True,  # the fork callback is the only Checkpoint; Lightning adds none beside it
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            limit_val_batches=0,
        )
        # Lightning answers SIGTERM with collectives from within the handler, and asks all ranks for it twice a
        # micro-batch; `lrpath.training.callbacks.stop` does it once an update and without waiting. There is no public
        # switch.
        trainer._signal_connector.register_signal_handlers = _nothing  # type: ignore[method-assign]
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = _nothing  # type: ignore[method-assign]
        return trainer

    def _environment(self) -> ClusterEnvironment:
        return LightningEnvironment() if self.name == "single" else TorchElasticEnvironment()

    def _strategy(self) -> Strategy | str:
        if self.name == "ddp":
            # Looking for unused parameters finds none, but keeps DDP from cutting its buckets anew after the first
            # update: that changes the order of sums over three or more ranks, and a resumed run differs in last bits.
            return DDPStrategy(find_unused_parameters=True, gradient_as_bucket_view=True)
        if self.name == "fsdp":
            # By default, all ranks of a node would be tensor-parallel and read the same data.
            return ModelParallelStrategy(data_parallel_size=self.ranks, tensor_parallel_size=1)
        return "auto"


def _nothing() -> None:
    pass
