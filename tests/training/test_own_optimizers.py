"""An optimizer of a user's own that keeps something beside its state is refused before it trains anything."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lrpath.errors import ConfigError
from lrpath.planning.optimizers import OwnOptimizer
from lrpath.training.optimizers import build_optimizer
from tests.own_code import Lion
from tests.refusals import refused


class Momentum(torch.optim.Optimizer):
    """The momentum that it returns, divided by a count that it does not."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, {"lr": 0.0, "weight_decay": 0.0})
        self.count = 0

    def state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        state = self.state[parameter]
        if not state:
            state["momentum"], state["square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        return {"momentum": state["momentum"]}

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        with torch.enable_grad():
            loss = closure() if closure is not None else None
        self.count += 1
        for group in self.param_groups:
            for one in group["params"]:
                one.sub_(self.change(one) * group["lr"])
        return loss

    def change(self, one: Tensor) -> Tensor:
        momentum: Tensor = self.state_of(one)["momentum"]
        return momentum.lerp_(one.grad, 0.1) / (1 - 0.9**self.count)


class Squares(Momentum):
    """The momentum that it returns, divided by squares that it keeps in its state and does not return."""

    def change(self, one: Tensor) -> Tensor:
        momentum = self.state_of(one)["momentum"].lerp_(one.grad, 0.1)
        square = self.state[one]["square"].mul_(0.9).addcmul_(one.grad, one.grad, value=0.1)
        return momentum / (square.sqrt() + 1e-8)


class Plain(Momentum):
    """The momentum alone."""

    def change(self, one: Tensor) -> Tensor:
        return self.state_of(one)["momentum"].lerp_(one.grad, 0.1)


class Unable(Momentum):
    """One that cannot be tried on a few numbers."""

    def change(self, one: Tensor) -> Tensor:
        raise RuntimeError("no kernel for a CPU")


def built(kind: type) -> torch.optim.Optimizer:
    settings = OwnOptimizer.of_own_code(
        {"kind": f"{kind.__module__}:{kind.__name__}", "weight_decay": 0.1, "clip_norm": None}, place="optimizer"
    )
    return build_optimizer([nn.Parameter(torch.ones(4, 3)), nn.Parameter(torch.ones(2))], settings=settings)


@pytest.mark.parametrize("kind", [Momentum, Squares])
def test_an_optimizer_that_keeps_more_than_it_returns_is_refused(kind: type) -> None:
    with refused(ConfigError, field="optimizer.kind"):
        built(kind)


@pytest.mark.parametrize("kind", [Plain, Lion, Unable])
def test_an_optimizer_that_returns_all_it_keeps_or_cannot_be_tried_is_taken(kind: type) -> None:
    optimizer = built(kind)

    assert all(one.equal(torch.ones_like(one)) for group in optimizer.param_groups for one in group["params"])
