"""ScheduleFree+ against its three points, written out slowly in float64."""

import math

import pytest
import torch

from lrpath.training.optimizers.schedule_free import ScheduleFreeAdamW
from lrpath.training.optimizers.schedule_free_plus import ScheduleFreePlusAdamC

BETAS, EPS, DECAY = (0.9, 0.95), 1e-8, 0.1
RATES = [0.005, 0.01] + [0.01] * 8 + [0.004, 0.002]


def gradients(count: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(3, 4, generator=generator, dtype=torch.float64) for _ in range(count)]


def reference(
    point: torch.Tensor, *, power: float, shares: tuple[float, float], growing: int, follows: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return y, z and x after the updates, by the definition."""
    y = z = x = point
    m = v = torch.zeros_like(point)
    weights = 0.0
    for t, (gradient, rate) in enumerate(zip(gradients(len(RATES)), RATES, strict=True), start=1):
        m = BETAS[0] * m + (1 - BETAS[0]) * gradient
        v = BETAS[1] * v + (1 - BETAS[1]) * gradient**2
        largest = max(RATES[:t])
        step = (m / (1 - BETAS[0] ** t)) / ((v / (1 - BETAS[1] ** t)).sqrt() + EPS)
        z = z - rate * step - rate**2 / largest * DECAY * y
        if t <= follows:
            x = z
        else:
            weights += t**power * largest**2
            taken = t**power * largest**2 / weights
            x = (1 - taken) * x + taken * z
        progress = min(1.0, t / growing) if growing else 1.0
        share = 1 - math.exp((1 - progress) * math.log(1 - shares[0]) + progress * math.log(1 - shares[1]))
        y = (1 - share) * z + share * x
    return y, z, x


def run(first: torch.Tensor, optimizer_of: object, rates: list[float]) -> tuple[torch.nn.Parameter, dict]:
    parameter = torch.nn.Parameter(first.clone())
    optimizer = optimizer_of(parameter)  # type: ignore[operator]
    for gradient, rate in zip(gradients(len(rates)), rates, strict=True):
        optimizer.param_groups[0].update(lr=rate, weight_decay=DECAY)
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter, optimizer.state_of(parameter)


@pytest.mark.parametrize("power", [0.0, 2.0])
@pytest.mark.parametrize(("shares", "growing"), [((0.9, 0.965), 8), ((0.0, 0.9), 100), ((0.9, 0.9), 0)])
@pytest.mark.parametrize("follows", [0, 3])
def test_updates_are_those_of_the_three_points(
    power: float, shares: tuple[float, float], growing: int, follows: int
) -> None:
    first = torch.ones(3, 4, dtype=torch.float64)

    settings = {"power": power, "shares": shares, "growing": growing, "follows": follows}
    parameter, kept = run(first, lambda one: ScheduleFreePlusAdamC([one], betas=BETAS, eps=EPS, **settings), RATES)
    live, z, x = reference(first, **settings)

    torch.testing.assert_close(parameter.detach(), live, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(kept["z"], z, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(kept["average"], x, rtol=1e-12, atol=1e-14)


def test_without_momentum_and_growth_it_is_schedule_free_adamw() -> None:
    first, rates = torch.ones(3, 4, dtype=torch.float64), [0.01] * 9

    plain, theirs = run(first, lambda one: ScheduleFreeAdamW([one], betas=BETAS, eps=EPS, power=1.0), rates)
    plus, ours = run(
        first,
        lambda one: ScheduleFreePlusAdamC(
            [one], betas=(0.0, BETAS[1]), eps=EPS, power=1.0, shares=(0.9, 0.9), growing=0, follows=0
        ),
        rates,
    )

    torch.testing.assert_close(plus.detach(), plain.detach(), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(ours["z"], theirs["z"], rtol=1e-12, atol=1e-14)


def test_a_parameter_without_gradient_and_what_is_kept_for_it_stay() -> None:
    parameter = torch.nn.Parameter(torch.ones(3, 4))
    optimizer = ScheduleFreePlusAdamC(
        [parameter], betas=BETAS, eps=EPS, power=0.0, shares=(0.9, 0.965), growing=5, follows=0
    )
    kept = {name: one.clone() for name, one in optimizer.state_of(parameter).items()}

    optimizer.step()

    assert torch.equal(parameter.detach(), torch.ones(3, 4))
    assert all(torch.equal(one, kept[name]) for name, one in optimizer.state_of(parameter).items())
