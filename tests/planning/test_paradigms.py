import math
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrpath.errors import ConfigError, PlanError
from lrpath.planning import tree_record
from lrpath.planning.decay import Decay
from lrpath.planning.optimizers import AdamW, AveragedAdamW, ScheduleFree
from lrpath.planning.paradigms import (
    Anchor,
    Anytime,
    FromScratch,
    Infinite,
    Paradigm,
    PathSwitching,
    Reads,
    Restart,
    WsdS,
    merge_weights,
)
from lrpath.planning.paths import Path, StateKey, Tree
from lrpath.planning.schedule import Shape
from lrpath.planning.shared_paths import unite
from tests.planning.strategies import (
    COSINE,
    LINEAR,
    build_continual,
    build_merged,
    build_switching,
    coverage,
    decays,
    setting_of,
    sizes,
)
from tests.refusals import refused

SCRATCH = FromScratch(peak=1.0, warmup=2, decay=LINEAR)
CONTINUAL = build_continual(peak=1.0, warmup=2, decay=LINEAR)
SWITCHING = build_switching(peak=1.0, warmup=2, decay=LINEAR, alpha=0.4)
INFINITE = Infinite(peak=1.0, warmup=2, cooldown=2, constant=0.5, decay=LINEAR, alpha=0.4)
WSD_S = WsdS(peak=1.0, warmup=2, decay=LINEAR, alpha=0.4)
MERGED = build_merged(peak=1.0, warmup=2, states=3, spacing=2)
SCHEDULE_FREE = ScheduleFree(beta1=0.9, beta2=0.95, eps=1e-8, weight_decay=0.1, clip_norm=1.0, power=0.0)
ANYTIME = Anytime(peak=1.0, warmup=2, optimizer=SCHEDULE_FREE, alpha=0.0, reads="own")
EVERY_PARADIGM: list[Paradigm] = [SCRATCH, CONTINUAL, SWITCHING, INFINITE, WSD_S, MERGED, ANYTIME]


def updates_of(tree: Tree) -> int:
    return sum(tree.updates(path.id) for path in tree.paths)


def forks_of(tree: Tree) -> list[int]:
    return [path.parent.position for path in tree.paths if path.parent is not None]


def rates_of(tree: Tree, path: Path) -> list[float]:
    """Return the rates of a path's own updates."""
    return [tree.rate(path.id, update) for update in range(path.start, tree.end(path.id))]


@given(size=st.integers(3, 2000), count=st.integers(1, 8))
def test_training_from_scratch_costs_half_n_times_n_plus_1_increments(size: int, count: int) -> None:
    tree = SCRATCH.plan(setting_of(*[size] * count))

    assert updates_of(tree) == size * count * (count + 1) // 2


@given(size=st.integers(3, 2000), count=st.integers(1, 8))
def test_continuing_costs_n_increments(size: int, count: int) -> None:
    for paradigm in (CONTINUAL, replace(WSD_S, warmup=1)):
        assert updates_of(paradigm.plan(setting_of(*[size] * count))) == size * count


@given(parts=st.integers(1, 9), tenths=st.integers(1, 200), count=st.integers(1, 8))
def test_path_switching_costs_n_increments_and_n_less_1_branches(parts: int, tenths: int, count: int) -> None:
    size, alpha = 10 * tenths, parts / 10
    tree = replace(SWITCHING, warmup=1, alpha=alpha).plan(setting_of(*[size] * count))

    assert updates_of(tree) == size * count + (count - 1) * parts * tenths


@given(parts=st.integers(1, 30), tenths=st.integers(1, 200), count=st.integers(1, 8))
def test_branches_from_the_ends_of_increments_cost_n_increments_and_n_branches(
    parts: int, tenths: int, count: int
) -> None:
    size = 10 * tenths
    paradigm = replace(SWITCHING, warmup=1, alpha=parts / 10, anchor=Anchor.START)

    assert updates_of(paradigm.plan(setting_of(*[size] * count))) == size * count + count * parts * tenths


@given(sizes=st.lists(st.integers(10, 500), min_size=1, max_size=6), alpha=st.floats(0.1, 0.8))
def test_uneven_increments_cost_their_sum_and_all_branches_but_the_last(sizes: list[int], alpha: float) -> None:
    lengths = [round(alpha * size) for size in sizes]

    tree = replace(SWITCHING, alpha=alpha).plan(setting_of(*sizes))

    assert updates_of(tree) == sum(sizes) + sum(lengths[:-1])
    assert updates_of(SCRATCH.plan(setting_of(*sizes))) == sum(sum(sizes[: n + 1]) for n in range(len(sizes)))
    assert updates_of(CONTINUAL.plan(setting_of(*sizes))) == sum(sizes)


@given(sizes=st.lists(st.integers(10, 500), min_size=1, max_size=6))
def test_merging_costs_the_main_path(sizes: list[int]) -> None:
    assert updates_of(MERGED.plan(setting_of(*sizes))) == sum(sizes)


@pytest.mark.parametrize(
    ("alpha", "count", "share"),
    [(0.2, 4, 0.46), (0.4, 4, 0.52), (0.6, 4, 0.58), (0.8, 4, 0.64), (0.6, 10, 0.28)],  # the paper's figures
)
def test_the_paper_s_relative_costs_come_out(alpha: float, count: int, share: float) -> None:
    setting = setting_of(*[10_000] * count)
    scratch = updates_of(replace(SCRATCH, warmup=2000).plan(setting))

    switching = updates_of(replace(SWITCHING, warmup=2000, alpha=alpha).plan(setting))

    assert round(switching / scratch, 2) == share


@pytest.mark.parametrize("paradigm", EVERY_PARADIGM, ids=lambda paradigm: paradigm.kind)
def test_every_version_is_released_once_and_in_order(paradigm: Paradigm) -> None:
    tree = paradigm.plan(setting_of(10, 20, 30, label="ours"))

    assert [(release.paradigm, release.version) for release in tree.releases] == [
        ("ours", "v1"),
        ("ours", "v2"),
        ("ours", "v3"),
    ]
    assert [release.last.position for release in tree.releases] == [10, 30, 60]


@pytest.mark.parametrize("paradigm", EVERY_PARADIGM, ids=lambda paradigm: paradigm.kind)
def test_an_appended_version_changes_no_path_that_was_there(paradigm: Paradigm) -> None:
    before = paradigm.plan(setting_of(10, 20))
    after = paradigm.plan(setting_of(10, 20, 30))

    assert {path.id for path in before.paths} <= {path.id for path in after.paths}
    assert after.releases[:2] == before.releases
    assert unite([before, after]) == after
    assert unite([after, before]).paths == after.paths


@pytest.mark.parametrize("paradigm", EVERY_PARADIGM, ids=lambda paradigm: paradigm.kind)
@pytest.mark.parametrize("change", [{"peak": 0.9}, {"warmup": 1}])
def test_another_peak_or_warm_up_is_another_path(paradigm: Paradigm, change: dict[str, Any]) -> None:
    setting = setting_of(10, 20)

    before, after = paradigm.plan(setting), replace(paradigm, **change).plan(setting)

    assert not {path.id for path in before.paths} & {path.id for path in after.paths}


@pytest.mark.parametrize("peak", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("paradigm", EVERY_PARADIGM, ids=lambda paradigm: paradigm.kind)
def test_a_peak_that_is_no_positive_rate_is_refused(paradigm: Paradigm, peak: float) -> None:
    with refused(PlanError):
        replace(paradigm, peak=peak).plan(setting_of(10, 20))


@pytest.mark.parametrize("paradigm", EVERY_PARADIGM, ids=lambda paradigm: paradigm.kind)
def test_lengths_may_be_written_in_tokens(paradigm: Paradigm) -> None:
    setting = setting_of(10, 20)

    assert replace(paradigm, warmup="128 tokens").plan(setting) == paradigm.plan(setting)  # 64 tokens per update


@given(decay=decays(), peak=st.floats(1e-5, 1.0))
def test_every_release_ends_exactly_at_the_floor(decay: Decay, peak: float) -> None:
    setting = setting_of(100, 60)
    trees = [
        FromScratch(peak=peak, warmup=5, decay=decay).plan(setting),
        build_continual(peak=peak, warmup=5, decay=decay).plan(setting),
        build_switching(peak=peak, warmup=5, decay=decay, alpha=0.5).plan(setting),
        WsdS(peak=peak, warmup=5, decay=decay, alpha=0.5).plan(setting),
    ]

    for tree in trees:
        for release in tree.releases:
            assert tree.rate(release.last.path_id, release.last.position - 1) == decay.floor * peak


def test_from_scratch_is_the_hand_worked_tree() -> None:
    tree = SCRATCH.plan(setting_of(4, 2))

    first, second = tree.paths
    assert [path.name for path in tree.paths] == ["path.v1", "path.v2"]
    assert [path.parent for path in tree.paths] == [None, None]
    assert rates_of(tree, first) == [0.5, 1.0, 0.5, 0.0]
    assert rates_of(tree, second) == [0.5, 1.0, 0.75, 0.5, 0.25, 0.0]
    assert [[part.version for part in path.stream.segments[0].components[0].increments] for path in tree.paths] == [
        ["v1"],
        ["v1", "v2"],
    ]


def test_continual_is_the_hand_worked_chain() -> None:
    tree = CONTINUAL.plan(setting_of(4, 2, 4))

    first, second, third = tree.paths
    assert second.parent == StateKey(first.id, 4)
    assert third.parent == StateKey(second.id, 6)
    assert rates_of(tree, first) == [0.5, 1.0, 0.5, 0.0]
    assert rates_of(tree, second) == [0.5, 0.0]  # reset: back at the peak at once
    assert rates_of(tree, third) == [0.75, 0.5, 0.25, 0.0]
    assert [tree.rate(third.id, update) for update in (0, 3, 4, 5)] == [0.5, 0.0, 0.5, 0.0]  # before the fork


def test_a_continual_version_may_warm_up_again_to_a_peak_of_its_own() -> None:
    paradigm = replace(CONTINUAL, restart=Restart.REWARM, rewarm=2, rewarm_peak=0.5)

    tree = paradigm.plan(setting_of(4, 4))

    assert rates_of(tree, tree.paths[0]) == [0.5, 1.0, 0.5, 0.0]
    assert rates_of(tree, tree.paths[1]) == [0.25, 0.5, 0.25, 0.0]


def test_a_reset_may_have_a_peak_of_its_own() -> None:
    tree = replace(CONTINUAL, rewarm_peak=0.5).plan(setting_of(4, 4))

    assert rates_of(tree, tree.paths[1]) == [0.375, 0.25, 0.125, 0.0]


def test_a_rewarm_peak_of_0_is_refused_and_not_taken_for_none() -> None:
    with refused(PlanError):
        replace(CONTINUAL, rewarm_peak=0.0).plan(setting_of(4, 4))


def test_a_continual_version_may_stay_at_the_floor() -> None:
    paradigm = build_continual(peak=1.0, warmup=2, decay=COSINE, restart=Restart.CONSTANT)

    tree = paradigm.plan(setting_of(4, 3))

    assert rates_of(tree, tree.paths[1]) == [0.1, 0.1, 0.1]


def test_continual_replays_earlier_increments() -> None:
    tree = replace(CONTINUAL, replay=0.25).plan(setting_of(4, 4))

    parts = [(part.parts, part.increments[0].version) for part in tree.paths[1].first_segment()[0].components]
    assert parts == [(750, "v2"), (250, "v1")]


def test_versions_trained_from_scratch_may_read_their_own_increment_alone() -> None:
    tree = replace(SCRATCH, reads=Reads.OWN).plan(setting_of(4, 6))

    first, second = tree.paths
    assert first.id == SCRATCH.plan(setting_of(4, 6)).paths[0].id
    assert (second.parent, tree.end(second.id)) == (None, 6)
    assert rates_of(tree, second) == [0.5, 1.0, 0.75, 0.5, 0.25, 0.0]
    assert coverage(tree.reads(tree.releases[1].last)) == {"v2": 1}


def test_a_cycle_longer_than_the_version_ends_before_the_decay_is_complete() -> None:
    tree = replace(CONTINUAL, cycle=(2.0, 1.0)).plan(setting_of(6, 4))  # a line over 12 − 2 updates, cut off at 6

    first, second = tree.paths
    assert rates_of(tree, first) == pytest.approx([0.5, 1.0, 0.9, 0.8, 0.7, 0.6], abs=1e-12)
    assert rates_of(tree, second) == [0.75, 0.5, 0.25, 0.0]
    assert second.parent == StateKey(first.id, 6)


def test_a_version_without_a_cycle_stays_at_the_peak_and_is_the_main_path() -> None:
    setting = setting_of(10, 10)

    tree = replace(CONTINUAL, cycle=(None, 1.0)).plan(setting)

    main = SWITCHING.plan(setting).paths[0]
    assert rates_of(tree, tree.paths[0]) == [0.5] + [1.0] * 9
    assert tree.paths[0].id == main.id
    assert len(unite([tree, SWITCHING.plan(setting)]).paths) == 1 + 1 + 2


def test_first_stages_that_stay_at_the_peak_are_one_path_whatever_is_replayed_later() -> None:
    setting = setting_of(10, 10)
    ours = replace(CONTINUAL, cycle=(None, 1.0))

    tree = unite([ours.plan(setting), replace(ours, replay=0.5).plan(setting)])

    assert len(tree.paths) == 3


def test_one_cycle_of_1_for_all_versions_changes_nothing() -> None:
    setting = setting_of(10, 20, 30)

    assert replace(CONTINUAL, cycle=(1.0, 1.0, 1.0)).plan(setting) == CONTINUAL.plan(setting)


@pytest.mark.parametrize("cycle", [0.5, math.inf, math.nan, (1.0, 0.0)])
def test_a_cycle_shorter_than_the_version_is_refused(cycle: Any) -> None:
    with refused(ConfigError):
        replace(CONTINUAL, cycle=cycle)


def test_a_list_of_cycles_has_one_for_each_version() -> None:
    with refused(PlanError):
        replace(CONTINUAL, cycle=(2.0,)).plan(setting_of(10, 10))


def test_a_version_may_leave_the_one_before_ahead_of_its_end() -> None:
    tree = replace(CONTINUAL, leave_after=3).plan(setting_of(10, 4, 8))

    first, second, third = tree.paths
    assert [path.start for path in tree.paths] == [0, 3, 6]
    assert (second.parent, third.parent) == (StateKey(first.id, 3), StateKey(second.id, 6))
    assert [release.last.position for release in tree.releases] == [10, 7, 14]
    assert tree.needed(first.id) == (3, 10)
    assert updates_of(tree) == 10 + 4 + 8
    assert coverage(tree.reads(tree.releases[2].last)) == {"v1": Fraction(3, 10), "v2": Fraction(3, 4), "v3": 1}


def test_leaving_after_the_whole_version_is_leaving_from_its_release() -> None:
    setting = setting_of(10, 10)

    assert replace(CONTINUAL, leave_after="10 updates").plan(setting) == CONTINUAL.plan(setting)


@pytest.mark.parametrize("leave_after", [0, 11])
def test_leaving_before_the_first_or_after_the_last_update_is_refused(leave_after: int) -> None:
    with refused(PlanError):
        replace(CONTINUAL, leave_after=leave_after).plan(setting_of(10, 20))


def test_version_1_from_scratch_and_version_1_continual_are_one_path() -> None:
    setting = setting_of(10, 20)
    scratch = SCRATCH.plan(replace(setting, label="ptfs"))
    continual = CONTINUAL.plan(replace(setting, label="cpt"))

    tree = unite([scratch, continual])

    assert scratch.paths[0].id == continual.paths[0].id
    assert len(tree.paths) == 3
    assert len(tree.releases) == 4
    assert updates_of(tree) == 10 + 30 + 20


@pytest.mark.parametrize(
    "fields",
    [
        {"rewarm": 5},
        {"restart": Restart.REWARM},
        {"restart": Restart.CONSTANT, "rewarm_peak": 0.1},
        {"restart": Restart.CONSTANT},
    ],
)
def test_a_restart_that_means_nothing_is_refused(fields: dict[str, Any]) -> None:
    with refused(ConfigError):
        replace(CONTINUAL, **fields)


@pytest.mark.parametrize("replay", [1.0, -0.5])
def test_a_replay_that_is_no_share_is_refused(replay: float) -> None:
    with refused(PlanError):
        replace(CONTINUAL, replay=replay).plan(setting_of(10, 10))


def test_a_warm_up_without_room_for_the_decay_is_refused() -> None:
    for paradigm in (SCRATCH, CONTINUAL):
        with refused(PlanError):
            paradigm.plan(setting_of(2, 10))
    with refused(PlanError):
        replace(CONTINUAL, restart=Restart.REWARM, rewarm=5).plan(setting_of(10, 3))


def test_path_switching_is_the_hand_worked_tree() -> None:
    tree = SWITCHING.plan(setting_of(5, 10))  # α = 0.4: branches of 2 and 4 updates

    main, first, second = tree.paths
    assert [path.name for path in tree.paths] == ["path.main", "path.v1", "path.v2"]
    assert first.parent == StateKey(main.id, 3)
    assert second.parent == StateKey(main.id, 11)
    assert tree.needed(main.id) == (3, 11)
    assert tree.needed(first.id) == (5,)
    assert tree.needed(second.id) == (15,)
    assert rates_of(tree, main) == [0.5] + [1.0] * 10
    assert rates_of(tree, first) == [0.5, 0.0]
    assert rates_of(tree, second) == [0.75, 0.5, 0.25, 0.0]
    assert [tree.rate(second.id, update) for update in (0, 1, 10, 11, 14)] == [0.5, 1.0, 1.0, 0.75, 0.0]


AVERAGED = AveragedAdamW(beta1=0.9, beta2=0.95, eps=1e-8, weight_decay=0.1, clip_norm=1.0, power=4.0)


def test_a_branch_from_the_average_has_its_own_peak_and_goes_on_with_adamw() -> None:
    plain = replace(SWITCHING, optimizer=AVERAGED).plan(setting_of(5, 10))
    tree = replace(SWITCHING, optimizer=AVERAGED, from_average=0.5).plan(setting_of(5, 10))

    (main, *branches), (as_before, *others) = tree.paths, plain.paths
    assert main == as_before
    assert [branch.from_released for branch in tree.paths] == [False, True, True]
    assert {type(branch.recipe.optimizer) for branch in branches} == {AdamW}
    assert rates_of(tree, branches[1]) == [0.375, 0.25, 0.125, 0.0]
    assert not {branch.id for branch in branches} & {branch.id for branch in others}
    assert tree_record.from_record(tree_record.as_record(tree)) == tree


def test_branches_of_a_falling_main_path_begin_at_its_rate() -> None:
    tree = replace(SWITCHING, inverse_sqrt_from=4).plan(setting_of(6, 10))

    main, _, last = tree.paths
    assert [tree.rate(main.id, update) for update in (2, 3, 15)] == [1.0, 1.0, 0.5]
    assert tree.rate(last.id, 15) == 0.0
    assert max(rates_of(tree, last)) <= tree.rate(main.id, last.start - 1) < 1.0


def test_the_released_branch_of_a_falling_anytime_path_has_the_rates_of_the_path() -> None:
    tree = replace(ANYTIME, inverse_sqrt_from=3, alpha=0.5, reads="union").plan(setting_of(6, 10))

    main, branch = tree.paths
    assert rates_of(tree, branch) == [tree.rate(main.id, update) for update in range(branch.start, branch.start + 5)]
    assert tree_record.from_record(tree_record.as_record(tree)) == tree


@pytest.mark.parametrize("paradigm", [ANYTIME, SWITCHING], ids=lambda paradigm: paradigm.kind)
def test_a_main_path_may_replay_earlier_increments_at_no_extra_cost(paradigm: Anytime | PathSwitching) -> None:
    plain, replayed, even = (
        replace(paradigm, replay=replay).plan(setting_of(6, 6, 12)) for replay in (0.0, 0.25, "union")
    )

    assert updates_of(plain) == updates_of(replayed) == updates_of(even)
    assert [[part.parts for part in segment.components] for segment in even.paths[0].stream.segments] == [
        [1000],
        [500, 500],
        [500, 500],
    ]
    assert [part.parts for part in replayed.paths[0].stream.segments[2].components] == [750, 250]
    with refused(PlanError, field="replay", value=1.0):
        replace(paradigm, replay=1.0).plan(setting_of(6, 6))


def test_a_falling_rate_does_not_depend_on_how_many_versions_are_planned() -> None:
    few, more = (replace(ANYTIME, inverse_sqrt_from=3).plan(setting_of(*sizes)) for sizes in ((6, 6), (6, 6, 6)))

    assert few.paths[0].id == more.paths[0].id


@pytest.mark.parametrize("paradigm", [ANYTIME, SWITCHING])
def test_a_rate_that_falls_before_it_is_reached_is_refused(paradigm: Anytime | PathSwitching) -> None:
    with refused(PlanError, field="inverse_sqrt_from", value=1):
        replace(paradigm, warmup=2, inverse_sqrt_from=1).plan(setting_of(6, 10))


def test_a_live_branch_and_one_from_the_average_are_two_paths() -> None:
    path = SWITCHING.plan(setting_of(5, 10)).paths[-1]

    assert replace(path, from_released=True).id != path.id


def test_a_branch_from_an_average_that_is_not_kept_is_refused() -> None:
    with refused(ConfigError, field="from_average"):
        replace(SWITCHING, from_average=0.5).plan(setting_of(5, 10))


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_a_peak_from_the_average_that_is_no_share_is_refused(share: float) -> None:
    with refused(ConfigError, field="from_average", value=share):
        replace(SWITCHING, from_average=share)


def test_a_branch_has_no_rate_past_its_end_and_the_main_path_goes_on() -> None:
    tree = SWITCHING.plan(setting_of(5, 10))

    main, first, _ = tree.paths
    with refused(PlanError):
        tree.rate(first.id, 5)
    assert tree.rate(main.id, 10**6) == 1.0


@given(sizes=st.lists(st.integers(50, 200), min_size=1, max_size=5), alpha=st.floats(0.4, 0.9), decay=decays())
def test_a_branch_never_rises(sizes: list[int], alpha: float, decay: Decay) -> None:
    tree = build_switching(peak=1.0, warmup=2, decay=decay, alpha=alpha).plan(setting_of(*sizes))

    for branch in tree.paths[1:]:
        rates = [tree.rate(branch.id, branch.start - 1), *rates_of(tree, branch)]
        # 4 roundings of a rate near 1, 2^-53 each
        assert all(after <= before + 2**-51 for before, after in pairwise(rates))


def test_another_alpha_has_the_same_main_path_and_other_branches() -> None:
    setting = setting_of(10, 10)

    less, more = SWITCHING.plan(setting), replace(SWITCHING, alpha=0.6).plan(setting)

    assert less.paths[0].id == more.paths[0].id
    assert not {path.id for path in less.paths[1:]} & {path.id for path in more.paths[1:]}


@pytest.mark.parametrize("labels", [["a", "b", "c", "d"], ["same"] * 4])
def test_a_sweep_of_alpha_runs_one_main_path_with_all_forks(labels: list[str]) -> None:
    alphas = (0.2, 0.4, 0.6, 0.8)

    tree = unite(
        replace(SWITCHING, alpha=alpha).plan(setting_of(10, 10, label=label))
        for alpha, label in zip(alphas, labels, strict=True)
    )

    main = tree.paths[0]
    assert tree.needed(main.id) == (2, 4, 6, 8, 12, 14, 16, 18)
    assert len(tree.paths) == 1 + 4 * 2
    assert len(tree.releases) == 4 * 2
    assert updates_of(tree) == 18 + 2 * (2 + 4 + 6 + 8)


def test_alpha_may_be_a_list_with_one_value_a_version() -> None:
    tree = replace(SWITCHING, alpha=(0.2, 0.4, 0.6)).plan(setting_of(10, 10, 10))

    assert forks_of(tree) == [8, 16, 24]


def test_a_branch_with_alpha_above_1_begins_in_an_earlier_increment() -> None:
    tree = replace(SWITCHING, alpha=(0.5, 1.5, 2.5)).plan(setting_of(10, 10, 10))

    assert forks_of(tree) == [5, 5, 5]
    assert [tree.end(path.id) for path in tree.paths] == [5, 10, 20, 30]
    spans = tree.paths[3].stream.spans(5, 30)
    assert [(part.components[0].increments[0].version, first, last) for part, first, last in spans] == [
        ("v1", 5, 10),
        ("v2", 0, 10),
        ("v3", 0, 10),
    ]


@pytest.mark.parametrize(
    "alpha",
    [
        (0.5, 0.5),
        (),
        0.0,
        -0.5,
        0.01,
        math.nan,
        math.inf,
        (0.5, 0.5, 0.0),
    ],
)
@pytest.mark.parametrize("paradigm", [SWITCHING, INFINITE, WSD_S], ids=lambda paradigm: paradigm.kind)
def test_an_alpha_without_a_branch_is_refused(paradigm: Any, alpha: Any) -> None:
    with refused(PlanError):
        replace(paradigm, alpha=alpha).plan(setting_of(10, 10, 10))


def test_a_branch_may_leave_where_the_peak_is_reached_and_not_before() -> None:
    at_the_peak = replace(SWITCHING, alpha=0.8).plan(setting_of(10))

    assert forks_of(at_the_peak) == [2]
    assert at_the_peak.rate(at_the_peak.paths[0].id, 1) == 1.0  # the update that reaches the fork
    with refused(PlanError):
        replace(SWITCHING, alpha=0.9).plan(setting_of(10))


def test_a_branch_cannot_leave_at_the_initial_weights() -> None:
    with refused(PlanError):
        replace(SWITCHING, warmup=0, alpha=1.0).plan(setting_of(10))
    with refused(PlanError):
        replace(SWITCHING, warmup=0, alpha=(0.5, 2.0)).plan(setting_of(10, 10))


def test_branches_that_start_at_the_end_of_an_increment_read_it_a_second_time() -> None:
    tree = replace(SWITCHING, anchor=Anchor.START).plan(setting_of(5, 10))

    main, first, second = tree.paths
    assert [path.parent for path in (first, second)] == [StateKey(main.id, 5), StateKey(main.id, 15)]
    assert [release.last.position for release in tree.releases] == [7, 19]
    assert [(path.stream.start, path.stream.end) for path in (first, second)] == [(5, 7), (15, 19)]
    assert [path.stream.segments[0].components[0].first_pass for path in tree.paths] == [0, 1, 1]
    assert rates_of(tree, first) == [0.5, 0.0]


def test_infinite_is_the_hand_worked_tree() -> None:
    tree = INFINITE.plan(setting_of(10))  # a cosine from 1 to 0.5 over 2 updates, then a branch of 4 from 6

    main, branch = tree.paths
    assert rates_of(tree, main) == [0.5, 1.0, 0.75, 0.5, 0.5, 0.5]
    assert rates_of(tree, branch) == [0.375, 0.25, 0.125, 0.0]


def test_the_floor_of_infinite_is_a_share_of_its_constant_rate() -> None:
    tree = replace(INFINITE, decay=Decay(shape=Shape.EXPONENTIAL, floor=0.1)).plan(setting_of(10))

    assert rates_of(tree, tree.paths[1])[-1] == 0.1 * 0.5


@pytest.mark.parametrize("constant", [0.0, 1.0, 1.5, -0.5, math.nan])
def test_a_constant_rate_that_is_no_share_of_the_peak_is_refused(constant: float) -> None:
    with refused(ConfigError):
        replace(INFINITE, constant=constant)


def test_a_cool_down_needs_an_update() -> None:
    with refused(PlanError):
        replace(INFINITE, cooldown=0).plan(setting_of(10))


def test_a_branch_of_infinite_leaves_after_the_cool_down() -> None:
    with refused(PlanError):
        replace(INFINITE, cooldown=6).plan(setting_of(10))


def test_wsd_s_is_the_hand_worked_chain() -> None:
    tree = WSD_S.plan(setting_of(5, 10))  # decays over 2 and 4 updates

    first, second = tree.paths
    assert second.parent == StateKey(first.id, 5)
    assert rates_of(tree, first) == [0.5, 1.0, 1.0, 0.5, 0.0]
    assert rates_of(tree, second) == [1.0] * 6 + [0.75, 0.5, 0.25, 0.0]


def test_wsd_s_may_decay_over_a_whole_increment() -> None:
    tree = replace(WSD_S, warmup=0, alpha=1.0).plan(setting_of(4, 2))

    assert [rates_of(tree, path) for path in tree.paths] == [[0.75, 0.5, 0.25, 0.0], [0.5, 0.0]]


def test_wsd_s_refuses_a_decay_longer_than_its_increment() -> None:
    with refused(PlanError):
        replace(WSD_S, alpha=0.8).plan(setting_of(5, 10))
    with refused(PlanError):
        replace(WSD_S, alpha=(0.2, 1.2)).plan(setting_of(10, 10))


def test_merged_releases_the_last_states_of_the_main_path() -> None:
    tree = MERGED.plan(setting_of(6, 10))  # three states, 2 updates apart

    (main,) = tree.paths
    assert tree.needed(main.id) == (2, 4, 6, 12, 14, 16)
    assert [[key.position for key, _ in release.parts] for release in tree.releases] == [[2, 4, 6], [12, 14, 16]]
    for release in tree.releases:
        assert [weight for _, weight in release.parts] == pytest.approx([1 / 3] * 3, abs=1e-15)


@pytest.mark.parametrize(
    ("fields", "first"), [({"states": 4}, 0), ({"spacing": 3}, 0), ({"warmup": 3}, 2), ({"spacing": 0}, 6)]
)
def test_states_from_before_the_peak_cannot_be_merged(fields: dict[str, Any], first: int) -> None:
    with refused(PlanError):
        replace(MERGED, **fields).plan(setting_of(6, 10))


def test_one_state_alone_is_no_merge() -> None:
    with refused(ConfigError):
        replace(MERGED, states=1)


@pytest.mark.parametrize("shape", ["power", "exponential", "harmonic", "stair", "knee"])
def test_a_shape_without_weights_cannot_be_merged(shape: str) -> None:
    with refused(ConfigError):
        replace(MERGED, shape=Shape(shape))


MERGEABLE = [Shape.LINEAR, Shape.COSINE, Shape.ONE_MINUS_SQRT, Shape.SQUARE]


@pytest.mark.parametrize("shape", MERGEABLE)
@given(states=st.integers(2, 500))
def test_merge_weights_are_shares_that_add_up_to_1(shape: Shape, states: int) -> None:
    weights = merge_weights(shape, states=states)

    assert len(weights) == states
    assert min(weights) > 0
    assert math.fsum(weights) == pytest.approx(1.0, abs=states * 2**-53)  # a rounding for each difference


@pytest.mark.parametrize(
    ("shape", "weights"),
    [
        (Shape.LINEAR, [1 / 4, 1 / 4, 1 / 4, 1 / 4]),
        (Shape.ONE_MINUS_SQRT, [1 / 2, (2**0.5 - 1) / 2, (3**0.5 - 2**0.5) / 2, 1 - 3**0.5 / 2]),
        (Shape.SQUARE, [1 / 16, 3 / 16, 5 / 16, 7 / 16]),
        (Shape.COSINE, [(1 - 2**-0.5) / 2, 2**-0.5 / 2, 2**-0.5 / 2, (1 - 2**-0.5) / 2]),
    ],
)
def test_weights_of_four_states_are_the_hand_worked_ones(shape: Shape, weights: list[float]) -> None:
    assert merge_weights(shape, states=4) == pytest.approx(weights, abs=1e-15)  # roundings of numbers near 1


@pytest.mark.parametrize("shape", MERGEABLE)
def test_merging_repeats_a_decay_of_equal_updates(shape: Shape) -> None:
    """Update j of equal size counts in all later states, so its weight in the mean is the decay's `w_j`."""
    states = 8

    weights = merge_weights(shape, states=states)

    curve = Decay(shape=shape, floor=0.0).pieces(updates=states, peak=1.0)[0]
    later = [math.fsum(weights[j:]) for j in range(1, states)]
    assert later == pytest.approx([curve.rate(j - 1) for j in range(1, states)], abs=1e-15)


@pytest.mark.parametrize("paradigm", EVERY_PARADIGM, ids=lambda paradigm: paradigm.kind)
@settings(max_examples=30)  # of each paradigm
@given(sizes=sizes)
def test_a_state_has_read_as_many_updates_as_it_has_made(paradigm: Paradigm, sizes: list[int]) -> None:
    tree = paradigm.plan(setting_of(*[size + 10 for size in sizes]))

    for key in tree.states():
        assert sum(updates for _, updates in tree.reads(key)) == key.position


@pytest.mark.parametrize("paradigm", EVERY_PARADIGM, ids=lambda paradigm: paradigm.kind)
def test_a_release_has_read_all_of_its_own_and_of_earlier_increments(paradigm: Paradigm) -> None:
    tree = paradigm.plan(setting_of(10, 20, 30))

    seen = [coverage(tree.reads(release.last)) for release in tree.releases]

    assert seen == [{"v1": 1}, {"v1": 1, "v2": 1}, {"v1": 1, "v2": 1, "v3": 1}]


def test_an_anytime_path_is_released_as_it_is_and_costs_its_updates_alone() -> None:
    tree = ANYTIME.plan(setting_of(10, 20, 30))

    (main,) = tree.paths
    assert [release.parts for release in tree.releases] == [
        ((StateKey(main.id, position), 1.0),) for position in (10, 30, 60)
    ]
    assert updates_of(tree) == 60
    assert set(rates_of(tree, main)[2:]) == {1.0}
    assert main.recipe.optimizer == SCHEDULE_FREE


def test_branches_of_an_anytime_path_read_a_union_at_the_same_rate_and_version_1_has_none() -> None:
    tree = replace(ANYTIME, alpha=0.5, reads="union").plan(setting_of(10, 20, 30))

    main, *branches = tree.paths
    assert [(branch.start, tree.end(branch.id)) for branch in branches] == [(20, 30), (45, 60)]
    assert [
        [increment.version for increment in branch.stream.segments[0].components[0].increments] for branch in branches
    ] == [["v1", "v2"], ["v1", "v2", "v3"]]
    assert all(set(rates_of(tree, branch)) == {1.0} for branch in branches)
    assert tree.releases[0].last == StateKey(main.id, 10)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"alpha": 1.5, "reads": "union"}, "alpha"),
        ({"alpha": -0.1, "reads": "union"}, "alpha"),
        ({"alpha": 0.5, "reads": "own"}, "alpha"),
        ({"reads": 1.0}, "reads"),
        ({"reads": 0.0}, "reads"),
    ],
)
def test_an_anytime_path_whose_branches_make_no_sense_is_refused(fields: dict[str, Any], field: str) -> None:
    with refused(ConfigError, field=field, value=fields[field]):
        replace(ANYTIME, **fields)


def test_a_branch_may_read_a_union_of_all_increments_at_no_extra_cost() -> None:
    own, union = SWITCHING.plan(setting_of(10, 20)), replace(SWITCHING, reads="union").plan(setting_of(10, 20))

    assert updates_of(union) == updates_of(own)
    assert own.paths[:2] == union.paths[:2]  # version 1 has nothing else to read
    (component,) = union.paths[2].stream.segments[0].components
    assert [increment.version for increment in component.increments] == ["v1", "v2"]
    assert own.paths[2].id != union.paths[2].id


def test_a_branch_may_read_a_stated_share_of_the_newest_increment() -> None:
    tree = replace(SWITCHING, reads=0.75).plan(setting_of(10, 20, 30))

    new, old = tree.paths[3].stream.segments[0].components
    assert [(one.version, new.parts) for one in new.increments] == [("v3", 750)]
    assert ([one.version for one in old.increments], old.parts) == (["v1", "v2"], 250)


def test_a_branch_that_starts_at_the_end_of_its_increment_reads_no_union() -> None:
    with refused(ConfigError, field="reads", value="union"):
        replace(SWITCHING, anchor=Anchor.START, reads="union")


def test_plans_of_before_branches_could_read_something_else_have_the_same_paths() -> None:
    assert replace(SWITCHING, reads=None).plan(setting_of(10, 20)) == replace(SWITCHING, reads="own").plan(
        setting_of(10, 20)
    )


def test_a_paradigm_may_have_an_optimizer_of_its_own() -> None:
    ours = replace(SWITCHING, optimizer=SCHEDULE_FREE).plan(setting_of(10, 20))
    usual = SWITCHING.plan(setting_of(10, 20))

    assert {path.recipe.optimizer for path in ours.paths} == {SCHEDULE_FREE}
    assert not {path.id for path in ours.paths} & {path.id for path in usual.paths}


def test_training_from_scratch_may_read_the_increments_in_order() -> None:
    shuffled = SCRATCH.plan(setting_of(10, 20)).paths
    in_order = replace(SCRATCH, reads=Reads.IN_ORDER).plan(setting_of(10, 20)).paths

    assert [path.schedule for path in in_order] == [path.schedule for path in shuffled]
    assert [len(path.stream.segments) for path in in_order] == [1, 2]
    assert in_order[0] == shuffled[0]


def test_a_name_in_which_a_rest_seems_to_stand_is_no_rest() -> None:
    tree = unite(
        replace(SWITCHING, peak=peak).plan(replace(setting_of(6, 10), label=label))
        for label, peak in (("weights", 1.0), ("weights_from_average", 2.0))
    )

    assert {tree.path(path_id).name for path_id in tree.named(["weights", "weights.main"])} == {
        "weights.main",
        "weights.v1",
        "weights.v2",
    }


def test_a_shared_path_is_found_under_the_name_of_every_paradigm_that_shares_it() -> None:
    setting = setting_of(6, 10)
    one, other = (
        replace(SWITCHING, alpha=alpha).plan(replace(setting, label=label)) for label, alpha in (("a", 0.4), ("b", 0.2))
    )
    tree = unite([one, other])

    (main,) = (path for path in tree.paths if path.parent is None)
    assert tree.named(["b.main"]) == {main.id: 14}
    assert tree.named(["a.main"]) == tree.named(["main"]) == {main.id: tree.end(main.id)}
    assert len(tree.named(["b.*"])) == len(tree.named(["b"])) == 3
