"""Both sides of every fork: recipe, rate and data are as the branch's paradigm says."""

from dataclasses import replace

import pytest

from lrpath.planning.decay import Decay
from lrpath.planning.paradigms import Anchor, Infinite, Paradigm, PathSwitching, Restart, WsdS
from lrpath.planning.schedule import Shape
from tests.analysis.studies import LINEAR, SWITCHING, plan_of
from tests.planning.strategies import build_continual

STAIR = Decay(shape=Shape.STAIR, floor=0.1, shares=(0.5, 0.5), levels=(0.5, 0.1))
RESET = build_continual(peak=1.0, warmup=2, decay=LINEAR)
KINDS: dict[str, tuple[Paradigm, tuple[float, float], bool]] = {
    # the rates of the updates before and after the last fork, and whether the branch reads on where its parent stands
    "path_switching": (SWITCHING, (1.0, 0.85), True),
    "infinite": (Infinite(peak=1.0, warmup=1, cooldown=2, constant=0.5, decay=LINEAR, alpha=0.6), (0.5, 0.425), True),
    "started at the end": (replace(SWITCHING, anchor=Anchor.START), (1.0, 0.85), False),
    "stair": (replace(SWITCHING, decay=STAIR), (1.0, 0.5), True),
    "reset": (RESET, (0.1, 0.91), True),
    "rewarm": (replace(RESET, restart=Restart.REWARM, rewarm=4), (0.1, 0.25), True),
    "constant": (replace(RESET, restart=Restart.CONSTANT), (0.1, 0.1), True),
    "wsd_s": (WsdS(peak=1.0, warmup=2, decay=LINEAR, alpha=0.6), (0.1, 1.0), True),
}


@pytest.mark.parametrize(("paradigm", "rates", "reads_on"), KINDS.values(), ids=KINDS.keys())
def test_both_sides_of_a_fork_are_as_each_paradigm_says(
    paradigm: Paradigm, rates: tuple[float, float], reads_on: bool
) -> None:
    tree = plan_of(10, 10, paradigms={"one": paradigm}).tree
    branch = tree.paths[-1]
    assert branch.parent is not None
    parent = tree.path(branch.parent.path_id)

    begin = max(branch.stream.start, parent.start)
    before, after = (path.stream.spans(begin, branch.start) for path in (branch, parent))
    is_new = branch.first_segment()[0].components[0].first_pass == 0  # where an increment ends at the fork
    same = before == after if begin < branch.start else is_new and parent.stream.end == begin

    assert branch.recipe == parent.recipe  # weight decay and batch too
    assert (tree.rate(parent.id, branch.start - 1), branch.schedule.rate(branch.start)) == pytest.approx(rates)
    assert same is reads_on


@pytest.mark.parametrize("paradigm", [SWITCHING, KINDS["infinite"][0]], ids=["path_switching", "infinite"])
def test_a_branch_s_curve_begins_at_its_parent_s_rate(paradigm: PathSwitching | Infinite) -> None:
    tree = plan_of(10, 10, 10, paradigms={"one": paradigm}).tree

    for branch in tree.paths[1:]:
        assert branch.parent is not None
        assert branch.schedule.pieces[0].first == tree.rate(branch.parent.path_id, branch.start - 1)
