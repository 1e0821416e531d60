"""What a state has read that no id says: other text behind the beginning of a path, and nothing else."""

from dataclasses import replace

from lrpath.planning.later_readings import LaterReadings
from lrpath.planning.paths import StateKey, Tree
from tests.analysis.studies import CONTINUAL, SWITCHING, plan_of

TEXTS = {"v1": "a" * 64, "v2": "b" * 64, "v3": "c" * 64}


def switched(**texts: str) -> Tree:
    return plan_of(10, 10, 10, paradigms={"path_switching": SWITCHING}, texts=TEXTS | texts).tree


def test_states_are_told_apart_from_the_first_update_on_that_reads_other_text() -> None:
    one, other = switched(), switched(v2="d" * 64)
    main = one.paths[0].id
    assert other.paths[0].id == main

    positions = [at for at in range(1, 25) if LaterReadings(one).digest(StateKey(main, at)) == ""]
    equal = [
        at
        for at in range(1, 25)
        if LaterReadings(one).digest(StateKey(main, at)) == LaterReadings(other).digest(StateKey(main, at))
    ]

    assert positions == equal == list(range(1, 11))


def test_a_branch_carries_what_its_main_path_has_read_before() -> None:
    one, other = switched(), switched(v2="d" * 64)
    last = one.releases[-1].last  # the branch of v3, whose id says v3 and v1

    assert other.releases[-1].last == last
    assert LaterReadings(one).digest(last) != LaterReadings(other).digest(last)
    assert LaterReadings(one).digest(one.releases[0].last) == ""


def test_a_growth_of_the_batch_behind_the_beginning_counts() -> None:
    tree = switched()
    main = tree.paths[0]
    grown = replace(main, recipe=replace(main.recipe, growth=((15, 4),)))
    assert grown.id == main.id

    for at, is_equal in ((10, True), (14, False), (18, False)):
        digests = {
            LaterReadings(
                Tree(paths=(path,), releases=(replace(tree.releases[0], parts=((StateKey(main.id, 20), 1.0),)),))
            ).digest(StateKey(main.id, at))
            for path in (main, grown)
        }
        assert (len(digests) == 1) is is_equal


def test_a_line_of_a_thousand_versions_is_no_recursion() -> None:
    tree = plan_of(*([4] * 1000), paradigms={"continual": CONTINUAL}).tree

    assert LaterReadings(tree).digest(tree.releases[-1].last) == ""
