"""Muon against its formulas, and what it leaves to AdamW."""

import pytest
import torch
from torch import nn

from lrpath.planning.optimizers import AdamW, Muon
from lrpath.training.optimizers import build_optimizer, moments, set_learning_rate
from lrpath.training.optimizers.muon import orthogonalized

FIELDS = {"beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.1, "clip_norm": None}
SETTINGS = Muon(**FIELDS, momentum=0.9, newton_schulz_steps=5)


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5)])
def test_singular_values_of_what_is_orthogonalized_are_near_1(shape: tuple[int, int]) -> None:
    values = torch.linalg.svdvals(orthogonalized(randn(*shape), steps=5))

    assert values.min() > 0.5
    assert values.max() < 1.3  # the quintic is chosen for speed and does not converge to 1


def test_directions_are_kept() -> None:
    given = randn(6, 4)
    u, _, v = torch.linalg.svd(given, full_matrices=False)

    found = u.mT @ orthogonalized(given, steps=5) @ v.mT

    torch.testing.assert_close(found, torch.diag(found.diagonal()), rtol=0, atol=1e-5)  # 5 products in fp32


def test_two_updates_are_those_of_the_formulas() -> None:
    weight = nn.Parameter(randn(6, 4))
    optimizer = build_optimizer([weight], settings=SETTINGS, in_blocks=[weight])
    expected, momentum = weight.detach().clone(), torch.zeros(6, 4)

    for number, rate in enumerate((0.02, 0.01), start=1):
        gradient = randn(6, 4, seed=number)
        set_learning_rate(optimizer, rate=rate, settings=SETTINGS)
        weight.grad = gradient.clone()
        optimizer.step()
        momentum = 0.9 * momentum + 0.1 * gradient
        change = orthogonalized(0.9 * momentum + 0.1 * gradient, steps=5)
        expected = expected - rate * (0.2 * 6**0.5 * change + 0.1 * expected)

    torch.testing.assert_close(weight.detach(), expected, rtol=1e-5, atol=1e-6)  # other orders of the same sums
    assert moments(optimizer, weight).keys() == {"momentum"}


def test_what_is_no_matrix_of_a_block_is_updated_by_adamw_to_the_bit() -> None:
    first = {"block": randn(4, 4), "embedding": randn(8, 4), "norm": randn(4)}
    ours, theirs = ({name: nn.Parameter(value.clone()) for name, value in first.items()} for _ in range(2))
    muon = build_optimizer(ours.values(), settings=SETTINGS, in_blocks=[ours["block"], ours["norm"]])
    adamw = build_optimizer(theirs.values(), settings=AdamW(**FIELDS))

    for optimizer, parameters in ((muon, ours), (adamw, theirs)):
        for number in range(3):
            set_learning_rate(optimizer, rate=0.01, settings=SETTINGS)
            for name, parameter in parameters.items():
                parameter.grad = randn(*first[name].shape, seed=number)
            optimizer.step()

    assert torch.equal(ours["embedding"], theirs["embedding"])
    assert torch.equal(ours["norm"], theirs["norm"])
    assert not torch.equal(ours["block"], theirs["block"])
    assert moments(muon, ours["norm"]).keys() == {"step", "exp_avg", "exp_avg_sq"}


def test_a_parameter_without_gradient_and_what_is_kept_for_it_stay() -> None:
    weight = nn.Parameter(randn(4, 4))
    optimizer = build_optimizer([weight], settings=SETTINGS, in_blocks=[weight])
    set_learning_rate(optimizer, rate=0.1, settings=SETTINGS)
    before = weight.detach().clone()

    optimizer.step()

    assert torch.equal(weight, before)
    assert not moments(optimizer, weight)["momentum"].any()
