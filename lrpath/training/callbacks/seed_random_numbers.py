"""Seeds the random numbers of every update from its position alone, so that no state has to hold a generator's."""

from typing import Any

import lightning

from lrpath.models import seed_generators
from lrpath.training.callbacks.update_callback import FitCallback
from lrpath.training.lit_module import LitCausalLM
from lrpath.training.planned_run import PlannedRun


class SeedRandomNumbers(FitCallback):
    """Seeds torch's generators before the first micro-batch of every update, and each sequence of a model with dropout.

    A sequence is known by its slot in the update, which neither ranks nor micro-batches change: so they do not change
    its dropped units either.
    """

    def __init__(self, run: PlannedRun) -> None:
        """Take the run whose updates are seeded."""
        self.run = run

    def on_train_batch_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Seed at the first micro-batch of an update; the others go on with its numbers."""
        assert isinstance(pl_module, LitCausalLM)
        update = self.run.begin + trainer.global_step
        piece = batch_idx % pl_module.accumulation
        if piece == 0:
            seed_generators(self.run.random_seed(update), device=pl_module.device)
        if pl_module.has_dropout:
            parallel = trainer.distributed_sampler_kwargs  # as in `PathDataModule`
            rank, ranks = (0, 1) if parallel is None else (parallel["rank"], parallel["num_replicas"])
            first = piece * len(batch)
            slots = range(rank + first * ranks, rank + (first + len(batch)) * ranks, ranks)
            pl_module.sequence_seeds = [self.run.random_seed(update, slot=slot) for slot in slots]
