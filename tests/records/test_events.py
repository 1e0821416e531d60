import os
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from lrpath.records.events import EventFile, PathEvents, rewrite_path_events, scalars
from lrpath.records.path_folder import PathFolder
from lrpath.records.rows import EvaluationRow, MetricsRow, SpeedRow


@pytest.fixture
def folder(tmp_path: Path) -> PathFolder:
    """Return a path's folder, made at second 1,000."""
    (tmp_path / "path.json").write_text("{}")
    os.utime(tmp_path / "path.json", (1000, 1000))
    return PathFolder(tmp_path)


def updates(*positions: int) -> list[MetricsRow]:
    return [MetricsRow(position, position / 2, 0.5, 1.0, position * 8) for position in positions]


def read(folder: Path) -> list[tuple[str, int, float]]:
    """Return tag, position and value of all points in all files, as they are before TensorBoard leaves any out."""
    return [
        (value.tag, event.step, value.tensor.float_val[0])
        for file in sorted(folder.iterdir())
        for event in EventFileLoader(str(file)).Load()
        for value in event.summary.value
    ]


def losses(folder: PathFolder) -> list[tuple[int, float]]:
    return [(position, value) for tag, position, value in read(folder.tensorboard) if tag == "train/loss"]


def test_a_path_is_written_as_its_tables_are(folder: PathFolder) -> None:
    folder.metrics.append(updates(1, 2, 3, 4))
    folder.evaluation.append([EvaluationRow(4, "v1", "code", 20.0, 10)])
    folder.speed.append([SpeedRow(2, 5.0, 3.2), SpeedRow(4, 7.0, 2.3)])

    with PathEvents(folder, until=2) as events:
        events.append(metrics=updates(3, 4), speed=[SpeedRow(4, 7.0, 2.3)])
        events.append(evaluation=[EvaluationRow(4, "v1", "code", 20.0, 10)])

    found = EventAccumulator(str(folder.tensorboard))
    found.Reload()
    assert losses(folder) == [(1, 0.5), (2, 1.0), (3, 1.5), (4, 2.0)]
    assert [event.wall_time for event in found.Scalars("train/loss")] == [1005, 1005, 1012, 1012]
    assert [(event.step, event.value) for event in found.Scalars("held_out_loss/v1.code")] == [(4, 2.0)]
    assert [event.value for event in found.Scalars("perplexity/v1.code")] == pytest.approx([7.38906], rel=1e-6)
    assert [event.step for event in found.Scalars("speed/tokens_per_second")] == [2, 4]
    written = read(folder.tensorboard)
    with PathEvents(folder):
        assert sorted(read(folder.tensorboard)) == sorted(written)


def test_of_two_writers_only_the_later_is_read(folder: PathFolder) -> None:
    folder.metrics.append(updates(1, 2))
    with PathEvents(folder) as earlier, PathEvents(folder) as later:
        later.append(metrics=updates(3))
        earlier.append(metrics=[MetricsRow(3, 9.0, 9.0, 9.0, 9)])

        assert losses(folder) == [(1, 0.5), (2, 1.0), (3, 1.5)]
        assert [file.stat().st_size > 0 for file in sorted(folder.tensorboard.iterdir())] == [False, True]


def test_what_a_killed_writer_left_is_replaced(folder: PathFolder) -> None:
    folder.metrics.append(updates(1))
    folder.tensorboard.mkdir()
    incomplete = folder.tensorboard / "events.out.tfevents.1763700000.host.17.0"
    incomplete.write_bytes(b"\x18\0\0\0")
    (folder.tensorboard / ".tmp-0a1b2c3d4e5f.0000000001").write_bytes(b"half")

    for _ in range(3):
        rewrite_path_events(folder)

    names = [f"events.out.tfevents.{number}" for number in (1763700002, 1763700003)]
    assert sorted(file.name for file in folder.tensorboard.iterdir()) == names
    assert losses(folder) == [(1, 0.5)]


def test_a_tensorboard_that_is_looking_forgets_what_was_replaced(folder: PathFolder) -> None:
    folder.metrics.append(updates(1, 2))
    with PathEvents(folder) as killed:
        killed.append(metrics=updates(3, 4))
        looking = EventAccumulator(str(folder.tensorboard))
        looking.Reload()
        with PathEvents(folder) as again:
            again.append(metrics=updates(3))

            looking.Reload()
            assert [event.step for event in looking.Scalars("train/loss")] == [1, 2, 3]


def test_an_event_file_that_cannot_be_made_leaves_the_older(tmp_path: Path) -> None:
    EventFile(tmp_path, [scalars(1, {"a": 1.0})]).close()

    with pytest.raises(TypeError, match="must be real number"):
        EventFile(tmp_path, [scalars(2, {"a": "no number"})])  # type: ignore[dict-item]

    assert read(tmp_path) == [("a", 1, 1.0)]
