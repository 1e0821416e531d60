"""One Lightning fit over the updates of a run, and what has to be let go of after it."""

import gc
from collections.abc import Sequence

import lightning

from lrpath.data.datamodule import PathDataModule
from lrpath.data.stream import TokenBatches
from lrpath.training.distributed.hardware import Hardware
from lrpath.training.lightning_trainer import build_trainer
from lrpath.training.lit_module import LitCausalLM
from lrpath.training.planned_run import PlannedRun
from lrpath.training.rewind import RewindError
from lrpath.training.update_result import Anomaly


def fit_updates(
    run: PlannedRun,
    module: LitCausalLM,
    callbacks: Sequence[lightning.Callback],
    *,
    batches: TokenBatches,
    hardware: Hardware,
) -> Anomaly | None:
    """Fit until the run's end, or until an anomaly for which the path goes back, which is returned.

    Args:
        run: Which updates, all of one batch.
        module: The model, which is empty afterwards.
        callbacks: In the order in which Lightning calls each of their hooks.
        batches: The path's data as a function of position.
        hardware: Ranks and devices.
    """
    recipe = run.path.recipe
    data = PathDataModule(
        batches,
        start=run.begin,
        end=run.end,
        micro_batch=hardware.micro_batch_size(recipe, position=run.begin),
        accumulate=module.accumulation,
    )
    trainer = build_trainer(
        hardware,
        list(callbacks),
        precision=recipe.precision,
        updates=run.end - run.begin,
        accumulation=module.accumulation,
    )
    try:
        trainer.fit(module, datamodule=data)
    except RewindError as error:
        return error.anomaly
    finally:
        hardware.process_group.watchdog.leave_fit()
        data.close()
        _free(trainer, module, ranks=hardware.process_group.world_size)
    return None


def _free(trainer: lightning.Trainer, module: LitCausalLM, *, ranks: int) -> None:
    """Free weights, gradients and moments, of which every state that is wanted has been taken.

    Trainer and callbacks refer to each other, so that they live until a collection; one goes through all objects of
    the process, .3 s for each run. What is small may wait for it. Of sharded weights only a collection frees all.
    """
    if ranks > 1:
        gc.collect()
        return
    for optimizer in trainer.optimizers:
        optimizer.state.clear()
    for parameter in module.parameters():
        parameter.grad = None
        parameter.data = parameter.data.new_empty(0)
