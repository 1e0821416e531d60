"""What paths read of each increment is what adding up the readings of every state's whole line gives."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrpath.errors import PlanError
from lrpath.planning.paradigms import Anchor, FromScratch, Infinite, Paradigm, WsdS
from lrpath.planning.paths import StateKey, Tree
from lrpath.planning.readings import DataConsumed, Readings
from tests.planning.strategies import LINEAR, build_continual, build_merged, build_switching, coverage, setting_of

PARADIGMS: dict[str, Paradigm] = {
    "from_scratch": FromScratch(peak=1.0, warmup=1, decay=LINEAR),
    "continual": build_continual(peak=1.0, warmup=1, decay=LINEAR),
    "replay": build_continual(peak=1.0, warmup=1, decay=LINEAR, replay=0.3),
    "left early": build_continual(peak=1.0, warmup=1, decay=LINEAR, leave_after=3),
    "switching": build_switching(peak=1.0, warmup=1, decay=LINEAR, alpha=0.6),
    "long branches": build_switching(peak=1.0, warmup=1, decay=LINEAR, alpha=(0.5, 1.3)),
    "from the end": build_switching(peak=1.0, warmup=1, decay=LINEAR, alpha=0.6, anchor=Anchor.START),
    "infinite": Infinite(peak=1.0, warmup=1, cooldown=1, constant=0.5, decay=LINEAR, alpha=0.3),
    "wsd_s": WsdS(peak=1.0, warmup=1, decay=LINEAR, alpha=0.5),
    "merged": build_merged(peak=1.0, warmup=1, states=2, spacing=1),
}


def shares(tree: Tree, key: StateKey) -> dict[str, Fraction]:
    return coverage(tree.reads(key))


@pytest.mark.parametrize("name", PARADIGMS)
@settings(max_examples=30)  # of each paradigm
@given(sizes=st.lists(st.integers(4, 30), min_size=2, max_size=4))
def test_shares_are_those_of_the_whole_line(name: str, sizes: list[int]) -> None:
    try:
        tree = PARADIGMS[name].plan(setting_of(*sizes))
    except PlanError:  # lengths that do not fit these sizes
        return
    readings = Readings(tree)

    for key in tree.states():
        found = shares(tree, key)
        assert {version: readings.share(key, version) for version in found} == found
    most = {
        version: max(shares(tree, one.last).get(version, Fraction(0)) for one in tree.releases) for version in found
    }
    assert {version: share for version, share in readings.read_once().items() if version in most} == most


@pytest.mark.parametrize("name", PARADIGMS)
def test_a_path_reads_first_what_its_state_has_and_its_parent_has_not(name: str) -> None:
    sizes = (10, 20) if name == "long branches" else (10, 20, 15)
    tree = PARADIGMS[name].plan(setting_of(*sizes))
    readings = Readings(tree)

    for path in tree.paths:
        before = {} if path.parent is None else shares(tree, path.parent)
        after = shares(tree, StateKey(path.id, tree.end(path.id)))
        for version, one in readings.of_path(path).items():
            assert one.first == after[version] - before.get(version, Fraction(0))
            assert one.again >= 0


def test_a_branch_that_starts_at_the_end_reads_its_increment_again() -> None:
    tree = PARADIGMS["from the end"].plan(setting_of(10, 10))

    assert Readings(tree).of_path(tree.paths[1]) == {"v1": DataConsumed(first=Fraction(0), again=Fraction(6, 10))}


def test_a_branch_that_ends_with_its_increment_reads_nothing_again() -> None:
    tree = PARADIGMS["switching"].plan(setting_of(10, 10))

    assert Readings(tree).of_path(tree.paths[2]) == {"v2": DataConsumed(first=Fraction(6, 10), again=Fraction(0))}
