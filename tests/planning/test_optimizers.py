"""Optimizers as settings: their rules, their records, and what a release is made of."""

from dataclasses import replace
from typing import Any

import pytest

from lrpath.errors import ConfigError
from lrpath.planning.optimizers import (
    AdamW,
    AdEMAMix,
    AveragedAdamW,
    Muon,
    Optimizer,
    ScheduleFree,
    ScheduleFreePlus,
    as_record,
    from_record,
    write_optimizer,
)
from tests.planning.strategies import ADAMW, recipe_with
from tests.refusals import refused

FIELDS: dict[str, Any] = {"beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.1, "clip_norm": 1.0}
GROWING: dict[str, Any] = {"share": 0.9, "last_share": 0.965, "share_updates": 100, "average_after": 10}
PLUS = ScheduleFreePlus(**FIELDS, power=0.0, **GROWING)
EVERY_OPTIMIZER: list[Optimizer] = [
    ADAMW,
    AveragedAdamW(**FIELDS, power=4.0),
    ScheduleFree(**FIELDS, power=0.0),
    PLUS,
    Muon(**FIELDS, momentum=0.95, newton_schulz_steps=5),
    AdEMAMix(**FIELDS, beta3=0.999, slow_factor=5.0, growing_updates=100),
]
AVERAGING = EVERY_OPTIMIZER[1:4]


@pytest.mark.parametrize("optimizer", EVERY_OPTIMIZER, ids=lambda one: one.kind)
def test_a_record_is_read_back(optimizer: Optimizer) -> None:
    assert from_record(as_record(optimizer)) == optimizer


def test_the_record_of_adamw_is_what_it_was_when_there_was_no_other() -> None:
    assert as_record(ADAMW) == FIELDS
    assert recipe_with().as_record()["optimizer"] == FIELDS


@pytest.mark.parametrize("optimizer", EVERY_OPTIMIZER, ids=lambda one: one.kind)
def test_the_coefficients_of_a_release_add_up_to_1(optimizer: Optimizer) -> None:
    assert sum(optimizer.released.values()) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("optimizer", EVERY_OPTIMIZER, ids=lambda one: one.kind)
@pytest.mark.parametrize(
    ("field", "value"), [("beta1", 1.0), ("beta2", -0.1), ("eps", 0.0), ("weight_decay", -1.0), ("clip_norm", 0.0)]
)
def test_settings_that_no_optimizer_can_have_are_refused(optimizer: Optimizer, field: str, value: float) -> None:
    with refused(ConfigError, field=f"optimizer.{field}", value=value):
        replace(optimizer, **{field: value})


@pytest.mark.parametrize("optimizer", AVERAGING, ids=lambda one: one.kind)
def test_weights_of_an_average_that_fall_are_refused(optimizer: Optimizer) -> None:
    with refused(ConfigError, field="optimizer.power", value=-1.0):
        replace(optimizer, power=-1.0)


def test_schedule_free_needs_some_of_the_average_where_gradients_are_taken() -> None:
    with refused(ConfigError, field="optimizer.beta1", value=0.0):
        replace(EVERY_OPTIMIZER[2], beta1=0.0)


@pytest.mark.parametrize(
    ("field", "value"), [("share", 1.0), ("last_share", 0.8), ("share_updates", -1), ("average_after", -1)]
)
def test_shares_of_the_average_that_fall_or_leave_nothing_are_refused(field: str, value: float) -> None:
    with refused(ConfigError, field=f"optimizer.{field}", value=value):
        replace(PLUS, **{field: value})


@pytest.mark.parametrize("optimizer", EVERY_OPTIMIZER, ids=lambda one: one.kind)
def test_optimizers_of_other_settings_are_written_otherwise(optimizer: AdamW) -> None:
    """Else a table would take two of them for one; eps and the norm of the gradient stand beside."""
    settings = {name: value for name, value in as_record(optimizer).items() if name not in ("kind", "eps", "clip_norm")}
    others = [replace(optimizer, **{name: 0.999 * value if value else 0.5}) for name, value in settings.items()]

    texts = {write_optimizer(one) for one in (optimizer, *others)}

    assert len(texts) == 1 + len(settings)
