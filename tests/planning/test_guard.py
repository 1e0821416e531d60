import math
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrpath.errors import PlanError
from lrpath.planning.guard import Fault, Guard
from tests.planning.strategies import build_guard, recipe_with
from tests.refusals import refused

LOSSES = st.lists(st.floats(0.1, 20.0), min_size=4, max_size=40)
RULE = build_guard(policy="skip", spike=3.0, window=4)
CALM = (2.0, 1.0, 3.0, 2.0)
"""Median 2, median deviation .5: the bound of three deviations is 2 + 3 × 1.4826 × .5."""


def fault_of(loss: float, norm: float = 2.0, *, before: tuple[float, ...] = CALM, guard: Guard = RULE) -> str | None:
    """Return the quantity that is at fault, or None."""
    found = guard.fault(loss=loss, norm=norm, losses=before, norms=before)
    return None if found is None else found.quantity


@pytest.mark.parametrize(
    ("loss", "norm", "fault"),
    [
        (4.2239, 4.2239, None),  # the bound itself
        (4.224, 2.0, "loss"),
        (2.0, 4.224, "gradient norm"),
        (9.0, 9.0, "loss"),
        (0.0, 0.0, None),
        (math.nan, math.nan, "loss"),
        (2.0, math.inf, "gradient norm"),
    ],
)
def test_what_is_above_the_bound_or_not_finite_is_at_fault(loss: float, norm: float, fault: str | None) -> None:
    assert fault_of(loss, norm) == fault


def test_a_fault_says_the_value_and_its_bound_or_that_it_is_not_finite() -> None:
    above, lost = (RULE.fault(loss=loss, norm=2.0, losses=CALM, norms=CALM) for loss in (9.0, math.nan))

    assert above == Fault(quantity="loss", value=9.0, bound=RULE.bound(CALM, spike=RULE.spike))
    assert "9" in str(above)
    assert "4.2239" in str(above)
    assert "finite" in str(lost)


def test_nothing_is_a_spike_before_the_window_is_full_or_without_a_rule() -> None:
    assert fault_of(1e9, before=CALM[:3]) is None
    assert fault_of(1e9, guard=build_guard()) is None
    assert fault_of(math.nan, before=()) == "loss"


@given(LOSSES, st.floats(0.1, 10.0))
def test_the_bound_is_median_and_deviation_of_the_last_values_alone(losses: list[float], spike: float) -> None:
    guard = build_guard(window=4)
    last = losses[-4:]
    middle = statistics.median(last)
    deviation = statistics.median(abs(value - middle) for value in last)

    assert guard.bound(losses, spike=spike) == pytest.approx(middle + spike * deviation / 0.67449, rel=1e-5)
    assert guard.bound([1e9, *losses], spike=spike) == guard.bound(losses, spike=spike)


@given(LOSSES, st.floats(0.1, 10.0), st.floats(0.0, 1.0))
def test_what_is_not_above_the_median_is_no_spike_and_a_wider_rule_finds_no_more(
    losses: list[float], spike: float, share: float
) -> None:
    guard, wider = (build_guard(policy="skip", spike=value, window=4) for value in (spike, 2 * spike))
    usual = share * statistics.median(losses[-4:])

    assert guard.fault(loss=usual, norm=usual, losses=losses, norms=losses) is None
    for loss in losses:
        found = guard.fault(loss=loss, norm=usual, losses=losses, norms=losses)
        assert found or not wider.fault(loss=loss, norm=usual, losses=losses, norms=losses)


@given(st.lists(st.floats(1.0, 3.0), min_size=9, max_size=9), st.lists(st.floats(1e3, 1e9), max_size=3))
def test_a_few_spikes_in_the_window_do_not_hide_the_next(losses: list[float], spikes: list[float]) -> None:
    values = [*losses[: 9 - len(spikes)], *spikes]

    assert build_guard(window=9).bound(values, spike=6.0) < 20.0  # a median deviation is at most 2 here


@pytest.mark.parametrize(
    ("fields", "identity"),
    [
        ({}, {}),
        ({"spike": 6.0, "window": 10}, {}),
        ({"policy": "skip", "window": 10, "back": 7}, {"policy": "skip"}),
        ({"policy": "skip", "spike": 6.0, "limit": 3}, {"policy": "skip", "spike": 6.0, "window": 128}),
        ({"policy": "rewind", "back": 7}, {"policy": "rewind", "back": 7}),
    ],
)
def test_only_what_determines_the_numbers_is_part_of_a_paths_identity(
    fields: dict[str, Any], identity: dict[str, Any]
) -> None:
    guard = build_guard(**fields)

    assert guard.identity() == identity
    assert recipe_with(guard=guard).as_record().get("guard", {}) == identity
    assert build_guard(**identity).identity() == identity


@pytest.mark.parametrize(
    ("field", "value"),
    [("policy", "warn"), ("spike", -1.0), ("spike", math.inf), ("window", 3), ("back", 0), ("limit", 0)],
)
def test_a_guard_that_could_not_guard_is_refused(field: str, value: object) -> None:
    with refused(PlanError, field=f"guard.{field}", value=value):
        build_guard(**{field: value})
