from dataclasses import asdict

import pytest
import torch
from torch import nn

from lrpath.planning.optimizers import AdamW, AdEMAMix, AveragedAdamW, Optimizer, ScheduleFree
from lrpath.training.optimizers import build_optimizer, moments, set_learning_rate

SETTINGS = AdamW(beta1=0.8, beta2=0.9, eps=1e-6, weight_decay=0.1, clip_norm=None)


def test_matrices_decay_and_vectors_do_not() -> None:
    matrix, vector = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))
    optimizer = build_optimizer([vector, matrix], settings=SETTINGS)

    set_learning_rate(optimizer, rate=0.5, settings=SETTINGS)
    matrix.grad, vector.grad = torch.zeros(2, 2), torch.zeros(2)
    optimizer.step()

    assert matrix.tolist() == [[pytest.approx(1 - 0.5 * 0.1)] * 2] * 2
    assert vector.tolist() == [1, 1]


def test_one_update_is_adamw_by_hand() -> None:
    weight = nn.Parameter(torch.tensor([[2.0]], dtype=torch.float64))
    optimizer = build_optimizer([weight], settings=SETTINGS)

    set_learning_rate(optimizer, rate=0.5, settings=SETTINGS)
    weight.grad = torch.tensor([[3.0]], dtype=torch.float64)
    optimizer.step()

    # both moments are corrected to g and g² at the first update: 2·(1 − 0.5·0.1) − 0.5 · 3 / (3 + 1e-6)
    assert weight.item() == pytest.approx(1.9 - 0.5 * 3 / (3 + 1e-6), rel=1e-12)


def test_the_rate_and_the_decay_of_every_group_are_those_that_were_set_last() -> None:
    optimizer = build_optimizer([nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))], settings=SETTINGS)
    for group in optimizer.param_groups:
        group["weight_decay"] = 7.0  # as if from a checkpoint

    set_learning_rate(optimizer, rate=0.25, settings=SETTINGS)

    assert [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups] == [(0.25, 0.1), (0.25, 0.0)]
    assert {group["betas"] for group in optimizer.param_groups} == {(0.8, 0.9)}


def test_frozen_parameters_are_left_out_and_no_group_is_empty() -> None:
    frozen = nn.Parameter(torch.ones(2, 2), requires_grad=False)

    optimizer = build_optimizer([frozen, nn.Parameter(torch.ones(2))], settings=SETTINGS)

    assert [[tuple(p.shape) for p in group["params"]] for group in optimizer.param_groups] == [[(2,)]]


@pytest.mark.parametrize(
    "settings",
    [
        SETTINGS,
        AveragedAdamW(**asdict(SETTINGS), power=9.0),
        ScheduleFree(**asdict(SETTINGS), power=0.0),
        AdEMAMix(**asdict(SETTINGS), beta3=0.99, slow_factor=5.0, growing_updates=9),
    ],
    ids=lambda settings: settings.kind,
)
def test_an_optimizer_keeps_as_many_tensors_for_a_parameter_as_it_says(settings: Optimizer) -> None:
    weight = nn.Parameter(torch.ones(2, 2))

    kept = moments(build_optimizer([weight], settings=settings), weight)

    assert sum(tensor.shape == weight.shape for tensor in kept.values()) == settings.kept
