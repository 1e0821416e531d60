"""Decays of your own: a table of rates, and a function of the progress."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from lrpath.errors import ConfigError
from lrpath.planning.decay import MOST_PARTS, Decay
from lrpath.planning.plain import as_plain, typed
from lrpath.planning.schedule import Schedule, Shape, as_record, from_record
from tests.refusals import refused

MODULE = """
import math

def wave(progress, *, floor, cycles: int = 2):
    return floor + (1 - floor) * (1 + math.cos((2 * cycles + 1) * math.pi * progress)) / 2

def low(progress):
    return 0.5 * (1 - progress)

def negative(progress):
    return -progress
"""


@pytest.fixture
def curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave a module `curves` in the current folder."""
    (tmp_path / "curves.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "curves", raising=False)
    monkeypatch.syspath_prepend(tmp_path)


def decay(**fields: Any) -> Decay:
    return typed(Decay, {"floor": 0.0} | fields, place="schedule")


def rates(decay: Decay, *, updates: int, peak: float = 2.0) -> list[float]:
    schedule = Schedule(pieces=decay.pieces(updates=updates, peak=peak))
    return [schedule.rate(update) for update in range(updates)]


def test_over_as_many_updates_as_it_has_numbers_a_table_is_its_numbers() -> None:
    assert rates(decay(shape="table", table=[0.9, 0.95, 0.3, 0.0]), updates=4) == [1.8, 1.9, 0.6, 0.0]


def test_over_other_lengths_straight_lines_run_through_its_numbers() -> None:
    table = decay(shape="table", table=[0.5, 0.0])

    assert rates(table, updates=8, peak=1.0) == [0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0.0]
    assert rates(table, updates=1, peak=1.0) == [0.0]


def test_a_file_of_numbers_is_the_numbers_wherever_it_lies(tmp_path: Path) -> None:
    (tmp_path / "rates.txt").write_text("# my curve\n0.9, 0.5\n0.1  # the floor\n")

    read = decay(shape="table", table=str(tmp_path / "rates.txt"), floor=0.1)

    assert read == decay(shape="table", table=[0.9, 0.5, 0.1], floor=0.1)
    assert as_plain(read)["table"] == [0.9, 0.5, 0.1]


@pytest.mark.usefixtures("curves")
def test_a_function_of_the_progress_is_a_decay() -> None:
    found = rates(decay(shape="curves:wave", floor=0.1, settings={"cycles": 1}), updates=6, peak=1.0)

    assert found == pytest.approx([0.55, 0.1, 0.55, 1.0, 0.55, 0.1], abs=1e-9)


@pytest.mark.usefixtures("curves")
def test_its_schedule_is_read_back_without_the_function() -> None:
    schedule = Schedule(pieces=decay(shape="curves:wave", floor=0.1).pieces(updates=7, peak=1.0))
    Path("curves.py").unlink()

    read = from_record(json.loads(json.dumps(as_record(schedule))))

    assert read == schedule
    assert typed(Decay, {"shape": "curves:wave", "floor": 0.1}, place="decay").shape == "curves:wave"


@pytest.mark.usefixtures("curves")
def test_the_same_rates_are_the_same_schedule_whatever_gave_them() -> None:
    named = decay(shape="curves:wave", floor=0.1).pieces(updates=5, peak=1.0)
    numbers = [piece / 1.0 for piece in named[0].values]

    listed = decay(shape="table", table=numbers, floor=0.1).pieces(updates=5, peak=1.0)

    assert as_record(Schedule(pieces=named)) == as_record(Schedule(pieces=listed))


@pytest.mark.usefixtures("curves")
def test_of_a_long_curve_some_thousand_rates_are_kept_and_lines_run_between_them() -> None:
    (piece,) = decay(shape="curves:wave", floor=0.1).pieces(updates=10 * MOST_PARTS, peak=1.0)

    assert len(piece.values) == MOST_PARTS
    assert piece.rate(10 * MOST_PARTS - 1) == 0.1


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"shape": "table"}, "schedule.table"),
        ({"shape": "table", "table": [0.5, 0.1]}, "schedule.floor"),
        ({"shape": "table", "table": [-0.5, 0.0]}, "schedule.table"),
        ({"shape": "table", "table": "nowhere.txt"}, "schedule.table"),
        ({"shape": "linear", "table": [0.0]}, "schedule.table"),
        ({"shape": "linear", "settings": {"cycles": 1}}, "schedule.settings"),
        ({"shape": "lineal"}, "schedule.shape"),
    ],
)
def test_an_impossible_decay_of_your_own_is_refused(fields: dict[str, Any], field: str) -> None:
    with refused(ConfigError, field=field):
        decay(**fields)


@pytest.mark.usefixtures("curves")
@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"shape": "curves:low", "floor": 0.1}, "floor"),
        ({"shape": "curves:negative"}, "shape"),
        ({"shape": "curves:high"}, "shape"),
        ({"shape": "curves:wave", "settings": {"cycle": 1}}, "settings.cycle"),
        ({"shape": "curves:wave", "settings": {"cycles": 1.5}}, "settings.cycles"),
    ],
)
def test_a_function_that_gives_no_decay_is_refused_when_it_is_placed(fields: dict[str, Any], field: str) -> None:
    with refused(ConfigError, field=field):
        decay(**fields).pieces(updates=4, peak=1.0)


def test_a_shape_of_lrpath_is_still_a_shape() -> None:
    assert decay(shape="cosine").shape is Shape.COSINE
