"""AdEMAMix against its formulas, at its ends, and over a pause."""

import math

import pytest
import torch
from torch import nn

from lrpath.errors import ConfigError
from lrpath.planning.optimizers import AdamW, AdEMAMix
from lrpath.training.optimizers import build_optimizer, moments, set_learning_rate
from tests.refusals import refused

FIELDS = {"beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.1, "clip_norm": None}
SETTINGS = AdEMAMix(**FIELDS, beta3=0.999, slow_factor=5.0, growing_updates=4)


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def updated(settings: AdamW, updates: int) -> nn.Parameter:
    weight = nn.Parameter(randn(6, 4))
    optimizer = build_optimizer([weight], settings=settings, in_blocks=[weight])
    for number in range(1, updates + 1):
        set_learning_rate(optimizer, rate=0.02 / number, settings=settings)
        weight.grad = randn(6, 4, seed=number)
        optimizer.step()
    return weight


def test_updates_are_those_of_the_formulas_while_the_slow_average_grows_and_after() -> None:
    expected, fast, second, slow = randn(6, 4), *(torch.zeros(6, 4, dtype=torch.float64) for _ in range(3))
    for number in range(1, 7):
        gradient, p = randn(6, 4, seed=number), min(1.0, number / 4)
        # A half-life is ln ½ / ln β − 1 in the paper, which draws a line from that of β₁ to that of β₃.
        b = math.exp(math.log(0.9) * math.log(0.999) / ((1 - p) * math.log(0.999) + p * math.log(0.9)))
        fast, second = 0.9 * fast + 0.1 * gradient, 0.95 * second + 0.05 * gradient**2
        slow = b * slow + (1 - b) * gradient
        step = (fast / (1 - 0.9**number) + 5.0 * p * slow) / ((second / (1 - 0.95**number)).sqrt() + 1e-8)
        expected = expected - 0.02 / number * (step + 0.1 * expected)

    torch.testing.assert_close(updated(SETTINGS, 6).detach(), expected, rtol=1e-12, atol=1e-12)


def test_without_the_slow_average_it_is_adamw() -> None:
    alone = AdEMAMix(**FIELDS, beta3=0.999, slow_factor=0.0, growing_updates=0)

    torch.testing.assert_close(updated(alone, 5), updated(AdamW(**FIELDS), 5), rtol=1e-12, atol=1e-12)


def test_memory_and_factor_grow_from_the_first_moments_to_their_last_values() -> None:
    weight = nn.Parameter(randn(6, 4))
    optimizer = build_optimizer([weight], settings=SETTINGS, in_blocks=[weight])

    assert optimizer.slow(4) == optimizer.slow(100) == (5.0, pytest.approx(0.999))  # type: ignore[attr-defined]
    growing = [optimizer.slow(update) for update in range(5)]  # type: ignore[attr-defined]
    assert growing == sorted(growing)
    assert growing[0] == (0.0, pytest.approx(0.9))
    assert moments(optimizer, weight).keys() == {"updates", "exp_avg", "exp_avg_sq", "slow"}


def test_what_grows_goes_on_from_what_is_kept_and_not_from_the_optimizer() -> None:
    """Another one that is given weights and moments while the slow average grows makes the same updates, to the bit."""
    weight, kept = nn.Parameter(randn(6, 4)), {}
    for numbers in (range(1, 3), range(3, 7)):
        optimizer = build_optimizer([weight], settings=SETTINGS, in_blocks=[weight])
        for name, value in kept.items():
            moments(optimizer, weight)[name].copy_(value)
        for number in numbers:
            set_learning_rate(optimizer, rate=0.02 / number, settings=SETTINGS)
            weight.grad = randn(6, 4, seed=number)
            optimizer.step()
        kept = {name: value.clone() for name, value in moments(optimizer, weight).items()}

    assert torch.equal(weight, updated(SETTINGS, 6))


def test_a_parameter_without_gradient_and_what_is_kept_for_it_stay() -> None:
    weight = nn.Parameter(randn(6, 4))
    optimizer = build_optimizer([weight], settings=SETTINGS, in_blocks=[weight])
    set_learning_rate(optimizer, rate=0.1, settings=SETTINGS)

    optimizer.step()

    assert torch.equal(weight, randn(6, 4))
    assert not any(value.any() for value in moments(optimizer, weight).values())


@pytest.mark.parametrize(
    ("name", "value"),
    [("beta1", 0.0), ("beta3", 0.5), ("beta3", 1.0), ("slow_factor", -1.0), ("growing_updates", -1)],
)
def test_settings_that_mean_nothing_are_refused(name: str, value: float) -> None:
    given = {**FIELDS, "beta3": 0.999, "slow_factor": 5.0, "growing_updates": 4} | {name: value}

    with refused(ConfigError, field=f"optimizer.{name}", value=value):
        AdEMAMix(**given)
