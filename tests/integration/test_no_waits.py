"""An update asks the device for no number: on a GPU the CPU would wait for it, and then it for the CPU.

`Tensor.item()`, `bool(tensor)` and `float(tensor)` are one operation to torch, on the CPU as on a GPU; it is counted
here. Reading losses when rows are written, once in `cadence.log_every` updates, is meant and not looked at.
"""

import dataclasses
import io
from typing import Any

import lightning
import pytest
import torch
from rich.console import Console
from torch.utils._python_dispatch import TorchDispatchMode

from lrpath.assembly.runner import build_runner
from lrpath.assembly.training_factory import ProjectTrainingFactory, build_hardware
from tests.integration.lab import Lab

READS = {torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default}
"""What needs a number, or the size of a result, from the device."""


class Reads(TorchDispatchMode):
    """Collects the operations that read from the device."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Any] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in READS:
            self.found.append(func)
        return func(*args, **(kwargs or {}))


class Watch(lightning.Callback):
    """Watches everything from the batch to the end of the optimizer's step."""

    def __init__(self) -> None:
        self.reads = Reads()
        self.updates = 0

    def on_train_batch_start(self, *_: Any) -> None:
        self.reads.__enter__()

    def on_before_zero_grad(self, *_: Any) -> None:
        self.updates += 1  # Lightning calls this before the forward pass

    def on_train_batch_end(self, *_: Any) -> None:
        self.reads.__exit__(None, None, None)


@pytest.mark.parametrize("changes", [(), ("strategy.micro_batch=2", "precision=bf16")])
def test_an_update_reads_no_number_from_the_device(lab: Lab, changes: tuple[str, ...]) -> None:
    project = lab.project("paradigm=[from_scratch]", "versions=1", "cadence.evaluate_every=1000", *changes)
    factory = ProjectTrainingFactory(project=project, store=project.prepare())
    watch = Watch()
    # Without held-out sets: the evaluation at the end, between the same two hooks, is not part of an update.
    changed = {"extra_callbacks": (watch,), "held_out": {}, "documents": {}}
    trainer = dataclasses.replace(factory.path_trainer(build_hardware(project)), **changed)
    build_runner(project, trainer, Console(file=io.StringIO())).run()

    assert watch.updates == 10
    assert watch.reads.found == []
