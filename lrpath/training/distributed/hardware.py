"""The hardware of a plan: its ranks and their device. None of this is part of a path's id."""

import contextlib
import os
import resource
import sys
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch

from lrpath.errors import ConfigError
from lrpath.models import CausalLM
from lrpath.planning.recipe import Recipe
from lrpath.training.distributed.parallelize import compile_blocks, recompute_blocks, shard_blocks
from lrpath.training.distributed.process_group import ProcessGroup
from lrpath.training.settings import StrategySettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """The strategy's settings, checked against the devices and ranks that are really there.

    Args:
        strategy: The settings.
        process_group: The ranks that were launched.

    Raises:
        ConfigError: If a device is not here, or the ranks are not those that the strategy needs.
    """

    strategy: StrategySettings
    process_group: ProcessGroup = field(default_factory=ProcessGroup.from_environment)

    def __post_init__(self) -> None:
        accelerator, threads = self.strategy.accelerator, self.strategy.threads
        if accelerator == "gpu" and not torch.cuda.is_available():
            raise ConfigError(
                "strategy.accelerator=gpu, but torch sees no GPU here; use cpu or auto",
                field="strategy.accelerator",
                value=accelerator,
            )
        if threads is not None and threads > (os.cpu_count() or 1):
            raise ConfigError(
                f"strategy.threads={threads} must lie in [1, {os.cpu_count()}], the cores of this computer",
                field="strategy.threads",
                value=threads,
            )
        self._check_launch()
        self._check_shard_ranks()

    def _check_launch(self) -> None:
        name = self.strategy.name
        if name == "single" and self.ranks > 1:
            raise ConfigError(
                f"strategy=single runs on one rank, but this was started on {self.ranks}; start it without torchrun "
                "or srun, or add strategy=ddp or strategy=fsdp",
                field="strategy.name",
                value=name,
            )
        if name != "single" and not self.process_group.launched:
            raise ConfigError(
                f"strategy={name} runs on ranks that torchrun or srun starts: torchrun --nproc-per-node 2 "
                f"-m lrpath.train … strategy={name}, or on SLURM srun --nodes 1 --ntasks-per-node 2 "
                f"python -m lrpath.train … strategy={name}; or use strategy=single",
                field="strategy.name",
                value=name,
            )
        local_ranks = self.process_group.local_world_size
        if self._on_gpu and local_ranks > torch.cuda.device_count():
            raise ConfigError(
                f"{local_ranks} ranks were started on a node where each sees {torch.cuda.device_count()} GPUs; start "
                f"torchrun with --nproc-per-node {torch.cuda.device_count()}, or let every rank of srun see all GPUs "
                "of its node: --gpu-bind=none, and no --gpus-per-task"
            )

    def _check_shard_ranks(self) -> None:
        size = self.strategy.shard_ranks
        if size is not None and self.ranks % self.shard_ranks:
            fitting = ", ".join(str(n) for n in range(1, self.ranks + 1) if self.ranks % n == 0)
            raise ConfigError(
                f"strategy.shard_ranks={size} must divide the {self.ranks} ranks; use one of {fitting}",
                field="strategy.shard_ranks",
                value=size,
            )

    @property
    def shard_ranks(self) -> int:
        """Number of ranks that hold one copy of the model together under `fsdp`."""
        size = self.strategy.shard_ranks
        return self.process_group.local_world_size if isinstance(size, str) else size or self.ranks

    @property
    def ranks(self) -> int:
        """Number of processes."""
        return self.process_group.world_size

    @property
    def _on_gpu(self) -> bool:
        return self.strategy.accelerator != "cpu" and torch.cuda.is_available()

    @property
    def device_name(self) -> str:
        """Name of the device, for the ledger."""
        return torch.cuda.get_device_name() if self._on_gpu else "cpu"

    def forget_memory(self) -> None:
        """Begin to count the largest use of a GPU's memory anew."""
        if self._on_gpu:
            torch.cuda.reset_peak_memory_stats(self.device)

    @property
    def most_memory(self) -> int:
        """Largest use of this rank's GPU since `forget_memory`; on the CPU, of the process since it began [bytes].

        Of a GPU, what tensors took: the allocator's reserve and the CUDA context are not in it.
        """
        if self._on_gpu:
            return torch.cuda.max_memory_allocated(self.device)
        unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes there, KiB on Linux
        return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        if not self._on_gpu:
            return torch.device("cpu")
        if self.strategy.name == "single":
            return torch.device("cuda")
        return torch.device("cuda", self.process_group.local_rank)

    def check_batch(self, recipe: Recipe) -> None:
        """Raise unless the ranks and micro-batches divide every batch that a recipe has at some position.

        Raises:
            ConfigError: As `StrategySettings.check_batch`.
        """
        self.strategy.check_batch(recipe.batch, ranks=self.ranks)

    def micro_batch_size(self, recipe: Recipe, *, position: int) -> int:
        """Return the sequences of one forward pass on one rank, in the update from a position on."""
        return self.strategy.micro_batch_size(recipe.sequences_at(position), ranks=self.ranks)

    def accumulation(self, recipe: Recipe, *, position: int) -> int:
        """Return how many micro-batches a rank accumulates in the update from a position on."""
        return self.strategy.accumulation(recipe.sequences_at(position), ranks=self.ranks)

    def prepare_process(self) -> None:
        """Set what all operations of this process share, evaluations included: threads, and how fp32 is multiplied."""
        if self.strategy.threads is not None:
            torch.set_num_threads(self.strategy.threads)
        if self._on_gpu:  # on the CPU `high` would let oneDNN round factors too
            torch.set_float32_matmul_precision("high" if self.strategy.tf32 else "highest")

    @property
    def compiles(self) -> bool:
        """Whether blocks are compiled."""
        return self._on_gpu if isinstance(self.strategy.compile, str) else self.strategy.compile

    @property
    def kernels(self) -> dict[str, Any]:
        """What kernels compute an update, as far as it is not what the CPU always does; for manifests and people."""
        found: dict[str, Any] = {"compiled": self.compiles} if self.compiles or self._on_gpu else {}
        return found | ({"fp32_products": "tf32" if self.strategy.tf32 else "fp32"} if self._on_gpu else {})

    def describe(self, recipe: Recipe) -> str:
        """Return in a line on what, and how, the updates of a recipe are computed.

        Sums of attention without a mask go to torch's flash kernel in bf16, and to its memory-efficient one in fp32.
        """
        threads = self.strategy.threads or torch.get_num_threads()
        where = self.device_name if self._on_gpu else f"the CPU, threads: {threads}"
        words = [f"{self.ranks} × {where}" if self.ranks > 1 else where]
        products = "fp32 (TF32 products)" if self._on_gpu and self.strategy.tf32 else "fp32"
        words.append("bf16 products over fp32 weights" if recipe.precision == "bf16" else products)
        if self._on_gpu:
            flash = recipe.precision == "bf16" and not recipe.masks_documents
            words.append(f"attention by torch's {'flash' if flash else 'memory-efficient'} kernel")
        words.append("blocks and loss compiled" if self.compiles else "not compiled")
        line = f"computes on {', '.join(words)}"
        if self._on_gpu and recipe.precision == "fp32":
            line += "; precision=bf16 is several times as fast here, and makes another path"
        return line

    def initialized(self) -> contextlib.AbstractContextManager[None]:
        """Return a block in which the ranks can communicate; for one process, an empty one."""
        if self.strategy.name == "single":
            return contextlib.nullcontext()
        minutes = self.strategy.timeout_minutes
        timeout = None if minutes is None else timedelta(minutes=minutes)
        return self.process_group.initialized(self.device, timeout=timeout)

    def parallelize(self, backbone: CausalLM, *, precision: str) -> None:
        """Compile, recompute and shard a model as the strategy says; Lightning moves or wraps it afterwards."""
        asked = {"recompute": self.strategy.recompute, "compile": self.strategy.compile is True}
        if not backbone.blocks and any(asked.values()):  # `auto` then compiles nothing
            name = next(name for name, is_asked in asked.items() if is_asked)
            raise ConfigError(
                f"strategy.{name}=true works on blocks, and the model has none; give your module an attribute "
                f"`blocks`, a ModuleList of its layers, or strategy.{name}=false",
                field=f"strategy.{name}",
                value=True,
            )
        if self.compiles and backbone.blocks:
            compile_blocks(backbone)
        if self.strategy.recompute:
            recompute_blocks(backbone)
        if self.strategy.name == "fsdp":
            mesh = self.process_group.mesh(self.device, shard_ranks=self.shard_ranks)
            shard_blocks(backbone, mesh=mesh, precision=precision)
