"""What a user might write: one of each that `kind: module:Name` may name. Tests name it `tests.own_code:…`."""

import math
import os
import pathlib
import random
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from lrpath import Path, Schedule, Setting, StateKey, Tree, schedules
from lrpath.errors import TrainingError
from lrpath.planning.paradigms import main_path
from lrpath.training.distributed.signals import WORKER

WORDS = ["path", "rate", "main", "branch", "fork", "state", "token", "window", "update", "version", "plan", "study"]
SCALE = 1.0


def signs(change: Tensor) -> Tensor:
    """Return the signs of a change."""
    return change.sign() * SCALE


class Lion(torch.optim.Optimizer):
    """Lion (arXiv 2302.06675): the sign of a momentum."""

    def __init__(self, params: Any, *, beta1: float = 0.9, beta2: float = 0.99) -> None:
        super().__init__(params, {"lr": 0.0, "weight_decay": 0.0, "beta1": beta1, "beta2": beta2})

    def state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        return state

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for one in group["params"]:
                if one.grad is not None:
                    momentum = self.state_of(one)["momentum"]
                    change = signs(momentum.lerp(one.grad, 1 - group["beta1"]))
                    one.mul_(1 - group["lr"] * group["weight_decay"]).sub_(change, alpha=group["lr"])
                    momentum.lerp_(one.grad, 1 - group["beta2"])
        return loss


class StoppedLion(Lion):
    """Lion in a process that gets the first signal of the file `signals` at its third step, and each signal once."""

    updates = 0

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        loss = super().step(closure)
        StoppedLion.updates += 1
        names = pathlib.Path("signals").read_text().split()
        if StoppedLion.updates == 3 and names:
            pathlib.Path("signals").write_text(" ".join(names[1:]))
            signal.raise_signal(signal.Signals[names[0]])
        return loss


class MeanModel(nn.Module):
    """A token is predicted from the mean of those before it."""

    def __init__(self, vocab_size: int, width: int = 8, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.blocks = nn.ModuleList([nn.Linear(width, width)])
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, vocab_size)

    def forward(self, ids: Tensor) -> Tensor:
        counts = torch.arange(1, ids.shape[1] + 1, device=ids.device)
        hidden = self.embedding(ids).cumsum(1) / counts[:, None]
        for block in self.blocks:
            hidden = hidden + torch.relu(block(hidden))
        return self.head(self.dropout(hidden))


def wave(progress: float, *, floor: float, cycles: int = 1) -> float:
    """Return a cosine that rises again."""
    return floor + (1 - floor) * (1 + math.cos((2 * cycles + 1) * math.pi * progress)) / 2


def halves(setting: Setting, *, peak: float) -> Tree:
    """Return a flat main path, which a branch at half its rate leaves for the last quarter of every version."""
    main = main_path(setting, (schedules.constant(peak),))
    paths, releases = [main], []
    for number, (end, increment) in enumerate(zip(setting.totals, setting.increments, strict=True)):
        fork = StateKey(main.id, end - increment.updates // 4)
        pieces = (schedules.constant(peak / 2, updates=end - fork.position),)
        branch = Path(
            name=f"{setting.label}.{increment.version}",
            recipe=setting.recipe,
            schedule=Schedule(start=fork.position, pieces=pieces),
            stream=main.stream,
            parent=fork,
        )
        paths.append(branch)
        releases.append(setting.release(number, branch, end))
    return Tree(paths=tuple(paths), releases=tuple(releases))


def texts(number: int, *, words: int = 40) -> Iterator[str]:
    """Yield 60 short texts for a version."""
    draw = random.Random(number)
    for text in range(60):
        yield " ".join(draw.choices(WORDS, k=words)) + f" {number}.{text}"


class Meeting(lightning.Callback):
    """Lets worker 1 stand still at its third update until worker 2 is at its third, which then sends a signal.

    Args:
        number: The signal; 0 for none, and below that worker 2 fails as training does.
        to: Who gets it: worker 1, the parent of the other, or worker 2. Whom worker 1 was to stop waits to be stopped.
    """

    def __init__(self, *, number: int, to: int) -> None:
        self.number = number
        self.to = to
        self.updates = 0

    def on_train_batch_end(self, *_: Any) -> None:
        self.updates += 1
        if self.updates != 3:
            return
        if WORKER not in os.environ:
            pathlib.Path("meeting").read_text()  # a pipe with a name, which the other opens
            return
        self.stop_when_told()
        pathlib.Path("meeting").write_text("here")
        if self.number < 0:
            raise TrainingError("the disk of this worker is full")
        if self.number:
            os.kill(os.getppid() if self.to == 1 else os.getpid(), self.number)
            self.told.wait()

    def stop_when_told(self) -> None:
        """Have the handler of SIGTERM say that it was called."""
        handle, self.told = signal.getsignal(signal.SIGTERM), threading.Event()

        def say(*arguments: Any) -> None:
            self.told.set()
            assert callable(handle)
            handle(*arguments)

        signal.signal(signal.SIGTERM, say)
