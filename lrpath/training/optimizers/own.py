"""Tries whether an optimizer of a user's own keeps all of its state where states are made of it."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

_UPDATES = 3
_RATE = 1e-2

Groups = list[dict[str, Any]]


def keeps_more_than_its_state(groups: Groups, build: Callable[[Groups], torch.optim.Optimizer]) -> bool:
    """Say whether an update is another one after the state was given to a new optimizer, as a run that goes on does.

    It makes a few updates of small parameters on the CPU. One that cannot be tried so is taken to keep nothing more.

    Args:
        groups: Groups of the model's parameters; of each, the smallest shape is tried.
        build: Makes the optimizer of groups.
    """
    shapes = [min((one.shape for one in group["params"]), key=torch.Size.numel) for group in groups]
    try:
        with torch.random.fork_rng(devices=()):
            tried = _Trial(shapes, groups, build)
            for update in range(_UPDATES):
                tried.step(update)
            again = _Trial(shapes, groups, build)
            again.load(tried)
            for one in (tried, again):
                one.step(_UPDATES)
    except (RuntimeError, NotImplementedError, TypeError, ValueError, AssertionError, IndexError, KeyError):
        return False  # for example one whose kernels are a GPU's
    return not all(torch.equal(one, other) for one, other in zip(tried.tensors(), again.tensors(), strict=True))


class _Trial:
    """An optimizer of one small parameter for each group."""

    def __init__(
        self, shapes: Sequence[torch.Size], groups: Groups, build: Callable[[Groups], torch.optim.Optimizer]
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        self._parameters = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
        given = [group | {"params": [one]} for group, one in zip(groups, self._parameters, strict=True)]
        self._optimizer: Any = build(given)

    def step(self, update: int) -> None:
        """Make an update with gradients that are a function of its number."""
        for group in self._optimizer.param_groups:
            group["lr"] = _RATE

        def closure() -> Tensor:
            generator = torch.Generator().manual_seed(update + 1)
            for one in self._parameters:
                one.grad = torch.randn(one.shape, generator=generator)
            return torch.zeros(())

        torch.default_generator.manual_seed(update)
        self._optimizer.step(closure)

    @torch.no_grad()
    def load(self, other: "_Trial") -> None:
        """Take over parameters and state, as from a state on disk."""
        for mine, theirs in zip(self.tensors(), other.tensors(), strict=True):
            mine.copy_(theirs)

    def tensors(self) -> list[Tensor]:
        """Return parameters and what is kept for them."""
        kept = [self._optimizer.state_of(one) for one in self._parameters]
        return [
            *(one.detach() for one in self._parameters),
            *(value for state in kept for _, value in sorted(state.items())),
        ]
