import math
import pathlib
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrpath.planning.guard import Fault, Guard
from lrpath.planning.paths import Path, StateKey
from lrpath.records.files import write_json
from lrpath.records.manifest import MANIFEST
from lrpath.records.path_folder import PathFolder
from lrpath.training.loss_monitor import LossMonitor
from lrpath.training.planned_run import PlannedRun
from lrpath.training.rewind import rewind
from lrpath.training.update_result import Anomaly
from tests.planning.strategies import build_guard, recipe_with
from tests.training.test_planned_run import ROOT

VALUES = st.one_of(st.floats(1.0, 3.0), st.sampled_from([2.0, 50.0, math.nan, math.inf]))


def run_of(guard: Guard, *, begin: int = 0) -> PlannedRun:
    path = Path(name="root", recipe=recipe_with(guard=guard), schedule=ROOT.schedule, stream=ROOT.stream)
    return PlannedRun(path=path, begin=begin, end=100, pinned=frozenset(), rolling_every=10, evaluate_every=100)


def anomaly_of(monitor: LossMonitor, figures: tuple[float, float]) -> str:
    loss, grad_norm = figures
    return str(monitor.judge(loss=loss, grad_norm=grad_norm, learning_rate=0.1).anomaly)


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=30), st.integers(0, 30), st.integers(4, 8))
def test_a_run_that_begins_anywhere_finds_what_the_run_from_the_start_finds(
    figures: list[tuple[float, float]], begin: int, window: int
) -> None:
    begin = min(begin, len(figures))
    guard = build_guard(policy="skip", spike=3.0, window=window)
    with tempfile.TemporaryDirectory() as place:
        folder = PathFolder(pathlib.Path(place))
        whole = LossMonitor(run_of(guard), folder=folder, publish=str)
        found = [anomaly_of(whole, pair) for pair in figures]
        # rows after the beginning are there when a stretch of the past is run again
        folder.metrics.append((at, loss, 0.1, norm, 8) for at, (loss, norm) in enumerate(figures, start=1))
        rest = LossMonitor(run_of(guard, begin=begin), folder=folder, publish=str)

        assert [anomaly_of(rest, pair) for pair in figures[begin:]] == found[begin:]
        assert str(rest.spike()) == str(whole.spike())


@pytest.mark.parametrize(
    ("losses", "spike"),
    [
        ([2.0, 1.0, 3.0, 2.0, 6.5], "loss 6.5 is above its bound 6.4478"),  # 2 + 6 × 1.4826 × .5
        ([2.0, 1.0, 3.0, 2.0, 6.4], "None"),
        ([2.0, 1.0, 3.0, 99.0], "None"),  # of fewer losses nothing can be said
        ([2.0, math.nan], "loss nan is not finite"),
        ([], "None"),
    ],
)
def test_a_state_lies_in_a_spike_if_its_last_loss_does(tmp_path: pathlib.Path, losses: list[float], spike: str) -> None:
    monitor = LossMonitor(run_of(build_guard(window=4, policy="skip")), folder=PathFolder(tmp_path), publish=str)

    for loss in losses:
        monitor.judge(loss=loss, grad_norm=1.0, learning_rate=0.1)

    assert str(monitor.spike()) == spike


def anomaly(position: int) -> Anomaly:
    return Anomaly(
        position=position, fault=Fault(quantity="loss", value=math.nan, bound=math.inf), loss=math.nan, grad_norm=1.0
    )


@pytest.mark.parametrize(
    ("made", "needed", "kept", "first", "begin"),
    [
        ([10, 20, 30], [], [10, 20], 26, 20),  # 25 is the last position with all weights before it
        ([10, 20, 25, 26], [], [10, 20, 25], 26, 25),
        ([10, 20, 28], [28], [10, 20, 28], 29, 28),
        ([], [], [], 26, 0),
        ([10, 20, 40], [], [10, 20, 40], 26, 20),  # a later state is there when a stretch of the past is run again
    ],
)
def test_a_path_goes_back_as_far_as_it_must_and_never_behind_a_needed_state(
    tmp_path: pathlib.Path, made: list[int], needed: list[int], kept: list[int], first: int, begin: int
) -> None:
    folder, run, reported = PathFolder(tmp_path), run_of(build_guard(policy="rewind", back=5), begin=20), []
    for position in made:
        write_json(folder.state(position) / MANIFEST, {})
    pinned = {StateKey(run.path.id, position) for position in needed} | {StateKey("another", 25)}

    back = rewind(run, anomaly(31), folder=folder, pinned=lambda: pinned, publish=reported.append)

    assert (back.begin, back.end) == (begin, run.end)
    assert folder.positions() == kept
    assert folder.skipped() == [range(first, 32)]
    assert reported == [
        f"root: loss nan is not finite at position 31; going back to {begin} and skipping updates to positions "
        f"{first} to 31"
    ]


def test_states_that_a_rewind_may_go_back_to_are_kept() -> None:
    assert run_of(build_guard(policy="rewind", back=15)).oldest_kept(40, [10, 20, 30, 40]) == 20
    assert run_of(build_guard(policy="rewind", back=15)).oldest_kept(10, [10]) == 0
    assert (
        run_of(build_guard(policy="skip")).oldest_kept(40, [10, 20, 30, 40]) == 30
    )  # the newest two, whatever the guard
