"""A LightningModule that knows nothing of lrpath, and how it is trained with the two callbacks.

As a script, on the ranks of torchrun: `plain.py STRATEGY:FOLDER:PATH[:UPDATE[:kill]] …` trains paths one after another.
At an update all ranks get an error, or are killed.
"""

import contextlib
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.utils.data import DataLoader, Dataset

from lrpath.lightning import PathForks, PathRate, PathRun, plan_module
from lrpath.planning.decay import Decay
from lrpath.planning.paradigms import Anchor, PathSwitching
from lrpath.planning.plan import Plan
from lrpath.planning.schedule import Shape

BATCH = 8


class Net(lightning.LightningModule):
    """Dropout, batch normalization, SGD with momentum, and a head that runs at a tenth of the rate."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.body = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2))
        self.head = nn.Linear(8, 1)
        self.rates: list[tuple[float, float]] = []

    def configure_model(self) -> None:
        if isinstance(self.trainer.strategy, ModelParallelStrategy) and not hasattr(
            self.body, "set_requires_all_reduce"
        ):
            fully_shard(self.body, mesh=self.device_mesh["data_parallel"])
            fully_shard(self.head, mesh=self.device_mesh["data_parallel"])

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        inputs, targets = batch
        return nn.functional.mse_loss(self.head(self.body(inputs)).squeeze(-1), targets)

    def configure_optimizers(self) -> Any:
        groups = [{"params": self.body.parameters()}, {"params": self.head.parameters(), "lr": 0.1}]
        return torch.optim.SGD(groups, lr=1.0, momentum=0.9, weight_decay=1e-3)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        optimizer.step(closure=optimizer_closure)
        self.rates.append(tuple(group["lr"] for group in optimizer.param_groups))


class Samples(Dataset):
    """The samples of the updates from one position on, as a function of position."""

    def __init__(self, begin: int, *, rank: int = 0, ranks: int = 1) -> None:
        self.begin, self.rank, self.ranks = begin, rank, ranks

    def __len__(self) -> int:
        return 1000 * BATCH

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(self.begin * BATCH + index * self.ranks + self.rank)
        inputs = torch.randn(6, generator=generator)
        return inputs, inputs.sum()


class Dying(lightning.Callback):
    """Ends the fit with an error, as a kill would, after an update."""

    def __init__(self, after: int, *, hard: bool = False) -> None:
        self.after, self.hard = after, hard

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        if trainer.global_step == self.after:
            if self.hard:
                os._exit(9)
            raise RuntimeError("killed")


def plan(**describes: Any) -> Plan:
    """Return two versions of 10 updates each: forks at 4 and 14, branches to 10 and 20."""
    switching = PathSwitching(
        peak=0.05, warmup=2, alpha=0.6, anchor=Anchor.END, decay=Decay(shape=Shape.COSINE, floor=0.1)
    )
    return plan_module(
        "net",
        describes={"optimizer": "sgd", "data": "sums"} | describes,
        increments={"v1": 10, "v2": 10},
        paradigms={"switching": switching},
        batch=BATCH,
        seed=1,
    )


def run(folder: Path, path: str, **options: Any) -> PathRun:
    return PathRun.open(plan(), path, folder=folder, **options)


def fit(
    run: PathRun,
    *more: lightning.Callback,
    module: lightning.LightningModule | None = None,
    begin: int | None = None,
    strategy: str | Strategy = "auto",
    ranks: int = 1,
    accumulate: int = 1,
    **options: Any,
) -> lightning.LightningModule:
    """Train a path to its end and return the module."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    module = module or Net()
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=ranks,
        strategy=strategy,
        callbacks=[PathForks(run), PathRate(run), *more],
        accumulate_grad_batches=accumulate,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=run.study.folder,
        use_distributed_sampler=False,  # Lightning's shuffles, whatever the loader says
        **({"max_steps": run.updates, "max_epochs": -1} | options),
    )
    samples = Samples(run.begin if begin is None else begin, rank=trainer.global_rank, ranks=ranks)
    loader = DataLoader(samples, batch_size=BATCH // accumulate // ranks)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(module, loader)
    return module


def strategies(name: str) -> Strategy:
    return DDPStrategy() if name == "ddp" else ModelParallelStrategy(data_parallel_size=2, tensor_parallel_size=1)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for job in sys.argv[1:]:
        name, place, path, *die = job.split(":")
        deaths = [Dying(int(die[0]), hard=len(die) > 1)] if die else []
        with contextlib.suppress(RuntimeError) if die else contextlib.nullcontext():
            fit(run(Path(place), path, save_every=3), *deaths, strategy=strategies(name), ranks=2)
    torch.distributed.destroy_process_group()
