"""Plants updates at fault: multiplies the loss of stated updates, in this process, by stated factors.

`main:7=nan main:9=100` spoils updates 7 and 9 of the paths whose name ends in `main`; `main:7=nan@1` does so on rank 1
only. Processes of `killing.py` and `ranked.py` take this text from the variable PLANTED.
"""

import math
import os

import torch

from lrpath.training.callbacks.set_learning_rate import SetLearningRate
from lrpath.training.lit_module import LitCausalLM

VARIABLE = "PLANTED"


def plant(text: str) -> None:
    """Spoil the losses that the text names."""
    factors = {}
    for word in text.split():
        place, _, value = word.partition("=")
        factor, _, rank = value.partition("@")
        if not rank or rank == os.environ.get("RANK", "0"):
            factors[place] = float(factor)
    step = LitCausalLM.training_step

    def planted(module: LitCausalLM, ids_MT: torch.Tensor, batch_idx: int) -> torch.Tensor:
        (rate,) = [callback for callback in module.trainer.callbacks if isinstance(callback, SetLearningRate)]  # type: ignore[attr-defined]
        update = rate.run.begin + module.trainer.global_step
        factor = factors.get(f"{rate.run.path.name.split('.')[-1]}:{update}", 1.0)
        before, loss = module.update_loss, step(module, ids_MT, batch_idx)
        if math.isnan(factor) or factor != 1:
            loss = loss * factor
            share = loss.detach() / module.accumulation
            module.update_loss = share if batch_idx % module.accumulation == 0 else before + share
        return loss

    LitCausalLM.training_step = planted  # type: ignore[method-assign]
