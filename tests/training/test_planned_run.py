import pytest

from lrpath.planning.paths import Path, StateKey
from lrpath.planning.schedule import Schedule, constant
from lrpath.planning.streams import sequential
from lrpath.training.planned_run import PlannedRun, longest_chain_first
from tests.planning.strategies import RECIPE, increments_of, recipe_with

ROOT = Path(
    name="root", recipe=RECIPE, schedule=Schedule(pieces=(constant(0.1),)), stream=sequential(increments_of(100))
)
BRANCH = Path(
    name="branch",
    recipe=RECIPE,
    schedule=Schedule(start=40, pieces=(constant(0.1),)),
    stream=ROOT.stream,
    parent=StateKey(ROOT.id, 40),
)


def run(path: Path = ROOT, *, begin: int = 0, end: int = 30) -> PlannedRun:
    return PlannedRun(path=path, begin=begin, end=end, pinned=frozenset({25}), rolling_every=10, evaluate_every=20)


@pytest.mark.parametrize(
    ("path", "begin", "source"),
    [
        (ROOT, 0, None),
        (ROOT, 7, StateKey(ROOT.id, 7)),
        (BRANCH, 40, StateKey(ROOT.id, 40)),
        (BRANCH, 41, StateKey(BRANCH.id, 41)),
    ],
)
def test_a_run_starts_from_initial_weights_its_parent_or_its_own_state(
    path: Path, begin: int, source: StateKey | None
) -> None:
    assert run(path, begin=begin, end=60).starting_state() == source


@pytest.mark.parametrize(
    ("existing", "begin"),
    [((), 0), ((10,), 10), ((10, 20, 50), 20), ((29, 31), 29), ((50,), 0), ((10, 30), None), ((30,), None)],
)
def test_what_remains_of_a_run_begins_at_the_last_state_before_its_end(
    existing: tuple[int, ...], begin: int | None
) -> None:
    remaining = run().remaining(existing)

    assert (None if remaining is None else (remaining.begin, remaining.end)) == (None if begin is None else (begin, 30))


def test_a_branch_whose_states_are_gone_begins_at_its_fork_again() -> None:
    remaining = run(BRANCH, begin=50, end=60).remaining([])

    assert remaining is not None
    assert (remaining.begin, remaining.starting_state()) == (40, BRANCH.parent)


def test_states_are_saved_at_needed_and_at_rolling_positions_and_at_the_end() -> None:
    one = run(end=33)

    assert [position for position in range(1, 34) if one.saves(position)] == [10, 20, 25, 30, 33]
    assert [position for position in range(1, 34) if one.evaluates(position)] == [20, 25]


def test_random_seeds_differ_by_update_and_by_the_recipes_seed_and_by_nothing_else() -> None:
    other = Path(name="other", recipe=recipe_with(seed=1), schedule=ROOT.schedule, stream=ROOT.stream)
    seeds = [run().random_seed(update) for update in range(1000)]

    assert len({*seeds, *(run(other).random_seed(update) for update in range(1000))}) == 2000
    assert [run(BRANCH, begin=40, end=60).random_seed(update) for update in range(1000)] == seeds


def test_several_processes_take_the_run_first_that_the_longest_chain_waits_for() -> None:
    short, long = (
        Path(name=name, recipe=recipe_with(seed=seed), schedule=ROOT.schedule, stream=ROOT.stream)
        for name, seed in (("short", 2), ("long", 3))
    )
    planned = [
        run(end=40),
        run(BRANCH, begin=40, end=60),
        run(short, end=10),
        run(begin=40, end=90),
        run(long, end=95),
    ]

    ordered = longest_chain_first(planned)

    # of 90 and, from 40 on, 50 updates; 95; 20; 10
    assert [(one.path.name, one.begin) for one in ordered] == [
        ("long", 0),
        ("root", 0),
        ("root", 40),
        ("branch", 40),
        ("short", 0),
    ]
