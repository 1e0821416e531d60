"""Builds the Lightning Trainer of one fit, with everything switched off that lrpath does itself.

Every fit gets a fresh Trainer. One that is used again keeps its counters (`global_step`, batches seen) and its
strategy's references to the module before; they could be reset only through Lightning's private attributes. A fresh
one is a function of its arguments.
"""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator, Sequence

import lightning
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.profilers import Profiler
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy

from lrpath.training.distributed.hardware import Hardware

_PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}


class _NoProfiler(Profiler):
    """Measures nothing, and enters no context: Lightning asks for one some 50 times an update.

    Its own profiler that measures nothing makes a generator for each.
    """

    def start(self, action_name: str) -> None: ...

    def stop(self, action_name: str) -> None: ...

    def profile(self, action_name: str) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]  # noqa: ARG002
        return _NOTHING


_NOTHING = contextlib.nullcontext()


def build_trainer(
    hardware: Hardware, callbacks: Sequence[lightning.Callback], *, precision: str, updates: int, accumulation: int
) -> lightning.Trainer:
    """Return a Trainer for one fit of `updates` updates.

    Args:
        hardware: Ranks and device.
        callbacks: In the order in which they are called; Lightning moves those that are a `Checkpoint` to the end.
        precision: `fp32` or `bf16`.
        updates: Updates of the fit, each of `accumulation` micro-batches.
        accumulation: Micro-batches that a rank accumulates in one update.
    """
    trainer = lightning.Trainer(
        accelerator=hardware.device.type,
        strategy=_strategy(hardware),
        devices=hardware.process_group.local_world_size,
        num_nodes=hardware.process_group.nodes,
        precision=_PRECISIONS[precision],  # type: ignore[arg-type]
        max_steps=updates,
        max_epochs=-1,
        accumulate_grad_batches=accumulation,
        callbacks=list(callbacks),
        # On SLURM, Lightning's own environment requeues jobs and loads any hpc_ckpt_*.ckpt of its root folder. It gets
        # neither: the ranks are described by torchrun's variables, and the root folder can hold no file.
        plugins=[_environment(hardware)],
        default_root_dir=os.devnull,
        logger=False,
        profiler=_NoProfiler(),
        enable_checkpointing=True,  # ForkCheckpoint is the only Checkpoint that saves; Lightning then adds none
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,  # data are functions of position and rank already
        num_sanity_val_steps=0,
        limit_val_batches=0,
    )
    # Lightning starts collectives from within its SIGTERM handler, where another collective may be under way, and its
    # epoch loop broadcasts a tensor twice a micro-batch to ask all ranks for a SIGTERM. StopOnSignal agrees on a stop
    # once an update and without waiting. Lightning has no public switch for either, hence the private attributes.
    trainer._signal_connector.register_signal_handlers = _do_nothing  # type: ignore[method-assign]
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = _do_nothing  # type: ignore[method-assign]
    return trainer


def _environment(hardware: Hardware) -> ClusterEnvironment:
    return LightningEnvironment() if hardware.strategy.name == "single" else TorchElasticEnvironment()


def _strategy(hardware: Hardware) -> Strategy | str:
    if hardware.strategy.name == "ddp":
        # No parameter is unused. But the search for unused ones keeps DDP from rebuilding its buckets after the first
        # update, which changes the order of sums over three or more ranks: a resumed run would differ in its last bits.
        # A static graph whose buckets a dry pass has fixed would do so too, and saves .5 of 14 ms at 20 small tensors
        # on a CPU, some 25 µs a tensor. It is not built: it costs each fit a pass forward and backward, and would
        # change the last bits of paths that exist.
        return DDPStrategy(find_unused_parameters=True, gradient_as_bucket_view=True)
    if hardware.strategy.name == "fsdp":
        # By default, all ranks of a node would be tensor-parallel and read the same data.
        return ModelParallelStrategy(data_parallel_size=hardware.ranks, tensor_parallel_size=1)
    return "auto"


def _do_nothing() -> None:
    pass


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning's banners and its advice about loaders out of the progress display; other warnings stay."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message="find_unused_parameters=True was specified")
        warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).* is deprecated.*")
        try:
            yield
        finally:
            logger.setLevel(level)
