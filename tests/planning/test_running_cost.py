"""The costs of versions 1…i, one after another, are those of the trees of versions 1…i."""

from dataclasses import replace
from fractions import Fraction

import pytest

from lrpath.planning.readings import Readings
from tests.analysis.studies import CONTINUAL, MERGED, SCRATCH, SWITCHING, plan_of


@pytest.mark.parametrize(
    "paradigm",
    [
        SCRATCH,
        SWITCHING,
        MERGED,
        CONTINUAL,
        replace(CONTINUAL, replay=0.25),
        replace(SWITCHING, alpha=(0.6, 1.4, 2.0, 0.6)),
    ],
    ids=["from_scratch", "path_switching", "merged", "continual", "replay", "long branches"],
)
def test_costs_version_by_version_are_those_of_each_version_s_tree(paradigm: object) -> None:
    plan = plan_of(20, 30, 10, 40, paradigms={"one": paradigm})

    for number, cost in enumerate(plan.costs("one"), start=1):
        tree = plan.part("one", versions=number)
        seen = Readings(tree).read_once()
        read_once = sum((seen.get(part.version, Fraction(0)) * part.updates for part in plan.increments), Fraction(0))
        assert cost.updates == sum(tree.updates(path.id) for path in tree.paths)
        assert cost.states == len(list(tree.kept_states()))
        assert cost.tokens_first == round(read_once * plan.recipe.tokens_between(0, 1))
