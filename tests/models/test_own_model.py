"""A module of your own: what it must be, and what is refused before it is trained."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lrpath.errors import ConfigError
from lrpath.models import build_own_model
from lrpath.planning.own_model import OwnModel
from tests.own_code import MeanModel
from tests.refusals import refused

FIELDS: dict[str, Any] = {"vocab_size": 32, "context": 16, "stated_parameters": None}


def own(kind: object, **settings: Any) -> OwnModel:
    name = f"{kind.__module__}:{kind.__qualname__}"
    return OwnModel.of_own_code({"kind": name} | FIELDS | settings, place="model")


class Losses(MeanModel):
    """Gives the losses itself."""

    def token_nll(self, ids: Tensor) -> Tensor:
        logits = self.forward(ids[:, :-1])
        return nn.functional.cross_entropy(logits.mT, ids[:, 1:], reduction="none")


class Wrapped(MeanModel):
    """Gives logits as transformers does."""

    def forward(self, ids: Tensor) -> Any:
        return type("Output", (), {"logits": super().forward(ids)})


class Peeking(MeanModel):
    def forward(self, ids: Tensor) -> Tensor:
        return super().forward(ids.flip(1)).flip(1)


class Narrow(MeanModel):
    def forward(self, ids: Tensor) -> Tensor:
        return super().forward(ids)[..., :5]


class Flat(MeanModel):
    def forward(self, ids: Tensor) -> Tensor:
        return super().forward(ids).mean(1)


class Infinite(MeanModel):
    def forward(self, ids: Tensor) -> Tensor:
        return super().forward(ids) / 0


class Failing(MeanModel):
    def forward(self, ids: Tensor) -> Tensor:
        return self.missing(ids)


class Counting(MeanModel):
    def __init__(self, vocab_size: int) -> None:
        super().__init__(vocab_size)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, ids: Tensor) -> Tensor:
        self.seen += 1
        return super().forward(ids)


class Forgetful(MeanModel):
    """Becomes surer with every call, by a number that no state holds."""

    def forward(self, ids: Tensor) -> Tensor:
        self.calls = getattr(self, "calls", 0) + 1
        return super().forward(ids) * self.calls


class Chancy(MeanModel):
    """Draws from a generator that is not torch's."""

    def forward(self, ids: Tensor) -> Tensor:
        return super().forward(ids) * (np.random.rand() if self.training else 1.0)  # noqa: NPY002


class Half(MeanModel):
    def __init__(self, vocab_size: int) -> None:
        super().__init__(vocab_size)
        self.half()


class Frozen(MeanModel):
    def __init__(self, vocab_size: int) -> None:
        super().__init__(vocab_size)
        self.requires_grad_(requires_grad=False)


def nothing(vocab_size: int) -> int:
    return vocab_size


@pytest.mark.parametrize(
    "kind",
    [Peeking, Narrow, Flat, Infinite, Failing, Counting, Forgetful, Chancy, Half, Frozen, nothing],
    ids=lambda one: one.__name__,
)
def test_a_module_that_could_not_be_trained_as_planned_is_refused(kind: object) -> None:
    with refused(ConfigError, field="model.kind"):
        build_own_model(own(kind), seed=0)


def test_weights_are_a_function_of_the_seed_and_leave_the_generators_as_they_were() -> None:
    before = torch.default_generator.get_state()

    one, same, other = (build_own_model(own(MeanModel), seed=seed).state_dict() for seed in (1, 1, 2))

    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["lm.head.weight"], other["lm.head.weight"])
    assert torch.equal(torch.default_generator.get_state(), before)


@pytest.mark.parametrize("kind", [Losses, Wrapped])
def test_losses_and_wrapped_logits_are_as_good_as_logits(kind: object) -> None:
    ids = torch.randint(32, (3, 9), generator=torch.Generator().manual_seed(0))
    expected, found = (build_own_model(own(one), seed=1) for one in (MeanModel, kind))

    assert torch.equal(found(ids), expected(ids))
    assert torch.equal(found.nll(ids), expected.token_nll(ids).sum(dim=-1, dtype=torch.float64))


def test_a_module_that_draws_random_numbers_is_told_from_one_that_does_not() -> None:
    assert build_own_model(own(MeanModel, dropout=0.5), seed=0).has_dropout
    assert not build_own_model(own(MeanModel), seed=0).has_dropout


def test_vocabulary_and_context_are_given_to_what_has_such_a_parameter() -> None:
    assert own(MeanModel).settings == {"vocab_size": 32, "width": 8, "dropout": 0.0}


def test_its_record_names_neither_module_nor_place() -> None:
    record = own(MeanModel).as_record()

    assert record.keys() == {"family", "name", "code", "settings", "vocab_size"}
    assert "tests" not in str(record)
