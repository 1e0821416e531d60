"""States saved in the background: what reaches the disk, one save at a time, and how a failure comes to light."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lrpath.errors import TrainingError
from lrpath.planning.paths import StateKey
from lrpath.records.manifest import check_state
from lrpath.training.checkpoints import states
from lrpath.training.checkpoints.saver import StateSaver
from lrpath.training.checkpoints.states import ShardWriter
from tests.integration.lab import tensors_in
from tests.refusals import refused

PATH_ID = "0123456789ab"
MOST_SECONDS = 60  # until a thread that should end counts as one that does not


def save(saver: StateSaver, folder: Path, position: int, tensor: torch.Tensor, **rest: Any) -> Path:
    """Save a state of one tensor and return its place."""
    place, key = folder / f"{position:09d}", StateKey(PATH_ID, position)
    saver.save(place, key=key, tensors={"weight": tensor}, facts={}, **rest)
    return place


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Return what lets the writing of shards begin."""
    opened, write = threading.Event(), states._write_shards

    def wait_and_write(folder: Path, shards: ShardWriter) -> dict[str, Any]:
        assert opened.wait(MOST_SECONDS)
        return write(folder, shards)

    monkeypatch.setattr(states, "_write_shards", wait_and_write)
    return opened


def fail_with(number: int) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_a_state_holds_what_the_tensors_were_when_it_was_saved(tmp_path: Path, gate: threading.Event) -> None:
    tensor = torch.arange(6.0)

    with StateSaver(background=True) as saver:
        first = save(saver, tmp_path, 1, tensor)
        tensor.fill_(-1)
        there_while_held = first.exists()
        gate.set()
        second = save(saver, tmp_path, 2, tensor)  # into the same copy, when the first is on the disk
        tensor.fill_(-2)

    assert not there_while_held
    assert torch.equal(tensors_in(first)["weight"], torch.arange(6.0))
    assert torch.equal(tensors_in(second)["weight"], torch.full((6,), -1.0))
    check_state(first, key=StateKey(PATH_ID, 1))


def test_what_follows_a_save_is_done_when_the_state_is_whole_and_before_the_next(tmp_path: Path) -> None:
    seen: list[list[str]] = []

    def note() -> None:
        seen.append(sorted(file.parent.name for file in tmp_path.glob("*/state.json")))

    with StateSaver(background=True) as saver:
        for position in (1, 2, 3):
            save(saver, tmp_path, position, torch.zeros(2), then=note)

    assert [len(there) for there in seen] == [1, 2, 3]


def test_a_copy_is_made_in_the_same_memory_every_time(tmp_path: Path) -> None:
    saver, tensors = StateSaver(background=True), {"weight": torch.zeros(4)}
    saver.prepare(tensors)
    assert saver._shards is not None
    (copy,) = saver._shards._planner.copies.values()

    with saver:
        save(saver, tmp_path, 1, torch.ones(4))

    assert torch.equal(copy, torch.ones(4))


def test_a_failure_ends_the_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saver = StateSaver(background=True)
    with refused(TrainingError), saver:
        first = save(saver, tmp_path, 1, torch.ones(2))
        saver.wait()
        assert saver.failure is None
        monkeypatch.setattr(states, "_write_shards", fail_with(errno.ENOSPC))
        save(saver, tmp_path, 2, torch.zeros(2))

    assert saver.failure is not None
    assert [file.name for file in tmp_path.iterdir()] == ["000000001"]
    check_state(first, key=StateKey(PATH_ID, 1))


def test_a_failure_ends_the_next_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "_write_shards", fail_with(errno.EIO))
    saver = StateSaver(background=True)
    save(saver, tmp_path, 1, torch.ones(2))

    with refused(TrainingError):
        save(saver, tmp_path, 2, torch.ones(2))

    assert list(tmp_path.iterdir()) == []


def test_an_error_in_the_block_waits_for_the_save_and_is_the_one_that_is_raised(
    tmp_path: Path, gate: threading.Event
) -> None:
    saver = StateSaver(background=True)
    with pytest.raises(ZeroDivisionError), saver:  # noqa: PT012
        place = save(saver, tmp_path, 1, torch.ones(2))
        threading.Timer(0, gate.set).start()
        raise ZeroDivisionError

    check_state(place, key=StateKey(PATH_ID, 1))


def test_a_copy_that_does_not_fit_into_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> torch.Tensor:
        raise RuntimeError("can't allocate memory")

    monkeypatch.setattr(torch, "empty", refuse)
    with refused(TrainingError):
        StateSaver(background=True).prepare({"weight": torch.ones(2)})


def test_a_save_that_is_waited_for_holds_no_copy(tmp_path: Path) -> None:
    saver = StateSaver(background=False)

    place = save(saver, tmp_path, 1, torch.ones(2))

    check_state(place, key=StateKey(PATH_ID, 1))
    assert saver._shards is not None
    assert saver._shards._planner.copies == {}
