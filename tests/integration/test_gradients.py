"""Gradients are kept from micro-batch to micro-batch, and freed with the update: the next pass has their memory."""

import dataclasses
from typing import Any

import lightning

from tests.integration.lab import Lab


class Watch(lightning.Callback):
    """Notes after each micro-batch, and before each update, how many parameters have a gradient."""

    def __init__(self) -> None:
        self.after: list[int] = []
        self.before: list[int] = []

    def on_before_optimizer_step(self, _: lightning.Trainer, module: lightning.LightningModule, *__: Any) -> None:
        self.before.append(_with_gradient(module))

    def on_train_batch_end(self, _: lightning.Trainer, module: lightning.LightningModule, *__: Any) -> None:
        self.after.append(_with_gradient(module))


def _with_gradient(module: lightning.LightningModule) -> int:
    return sum(parameter.grad is not None for parameter in module.parameters())


def test_gradients_are_summed_over_the_micro_batches_of_an_update_and_freed_behind_it(lab: Lab) -> None:
    watch = Watch()
    changes = ("paradigm=[from_scratch]", "versions=1", "cadence.evaluate_every=1000", "strategy.micro_batch=2")
    runner = lab.runner(*changes)
    dataclasses.replace(runner, path_trainer=dataclasses.replace(runner.path_trainer, extra_callbacks=(watch,))).run()

    all_of_them = max(watch.before)
    assert all_of_them > 0
    assert watch.before == [all_of_them] * 10
    assert watch.after == [all_of_them, 0] * 10
