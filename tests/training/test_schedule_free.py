"""Schedule-free AdamW against its three sequences, written out slowly in float64."""

from collections.abc import Sequence

import pytest
import torch

from lrpath.training.optimizers.schedule_free import ScheduleFreeAdamW

BETAS, EPS, DECAY = (0.9, 0.95), 1e-8, 0.1


def gradients(count: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(3, 4, generator=generator, dtype=torch.float64) for _ in range(count)]


def reference(
    first: torch.Tensor, given: Sequence[torch.Tensor], rates: Sequence[float], *, power: float
) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
    """Return the point where the next gradient is taken, and all `z` and `x`, by the definition."""
    z, x, v = first.clone(), first.clone(), torch.zeros_like(first)
    weights, largest = 0.0, 0.0
    all_z, all_x = [], []
    for t, (gradient, rate) in enumerate(zip(given, rates, strict=True), start=1):
        y = (1 - BETAS[0]) * z + BETAS[0] * x
        v = BETAS[1] * v + (1 - BETAS[1]) * gradient**2
        step = gradient / ((v / (1 - BETAS[1] ** t)).sqrt() + EPS) + DECAY * y
        z = z - rate * step
        largest = max(largest, rate)
        weight = t**power * largest**2
        weights += weight
        x = (1 - weight / weights) * x + weight / weights * z
        all_z.append(z)
        all_x.append(x)
    return (1 - BETAS[0]) * z + BETAS[0] * x, all_z, all_x


def run(
    first: torch.Tensor, given: Sequence[torch.Tensor], rates: Sequence[float], *, power: float
) -> tuple[torch.nn.Parameter, ScheduleFreeAdamW]:
    parameter = torch.nn.Parameter(first.clone())
    optimizer = ScheduleFreeAdamW([parameter], betas=BETAS, eps=EPS, power=power)
    for gradient, rate in zip(given, rates, strict=True):
        optimizer.param_groups[0].update(lr=rate, weight_decay=DECAY)
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter, optimizer


@pytest.mark.parametrize("power", [0.0, 2.0])
@pytest.mark.parametrize("rates", [[0.01] * 12, [0.005, 0.01] + [0.01] * 8 + [0.004, 0.002]])
def test_updates_are_those_of_the_three_sequences(power: float, rates: list[float]) -> None:
    first = torch.ones(3, 4, dtype=torch.float64)

    parameter, optimizer = run(first, gradients(12), rates, power=power)
    live, all_z, _ = reference(first, gradients(12), rates, power=power)

    torch.testing.assert_close(parameter.detach(), live, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(optimizer.state[parameter]["z"], all_z[-1], rtol=1e-12, atol=1e-14)


def test_at_a_constant_rate_the_released_weights_are_the_mean_of_all_steps() -> None:
    first = torch.ones(3, 4, dtype=torch.float64)

    parameter, optimizer = run(first, gradients(9), [0.01] * 9, power=0.0)
    _, all_z, _ = reference(first, gradients(9), [0.01] * 9, power=0.0)
    released = (parameter.detach() - (1 - BETAS[0]) * optimizer.state[parameter]["z"]) / BETAS[0]

    torch.testing.assert_close(released, torch.stack(all_z).mean(dim=0), rtol=1e-12, atol=1e-14)


def test_a_parameter_without_gradient_and_what_is_kept_for_it_stay() -> None:
    parameter, optimizer = run(torch.ones(3, 4), [one.float() for one in gradients(3)], [0.01] * 3, power=0.0)
    before = [parameter.detach().clone(), *(one.clone() for one in optimizer.state[parameter].values())]
    parameter.grad = None

    optimizer.step()

    after = [parameter.detach(), *optimizer.state[parameter].values()]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
