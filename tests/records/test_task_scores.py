"""Scores on tasks: one file for each task and state, written once, found again, and refused where it was altered."""

from pathlib import Path

import pytest

from lrpath.errors import StateError
from lrpath.records.task_scores import TaskScore, path_task_file, task_scores_of_path


def score(value: float = 0.5, *, digest: str = "d" * 64) -> TaskScore:
    return TaskScore(
        task="words",
        metric="acc",
        filter="none",
        value=value,
        standard_error=0.1,
        documents=20,
        examples=0,
        higher_is_better=True,
        digest=digest,
    )


def test_scores_are_found_by_what_was_asked_and_by_position(tmp_path: Path) -> None:
    file = path_task_file(tmp_path, 20)
    file.write("a" * 64, [score()], harness="harness 1")

    assert file.has("a" * 64)
    assert not file.has("b" * 64)
    assert not path_task_file(tmp_path, 10).has("a" * 64)
    assert task_scores_of_path(tmp_path) == {20: (score(),)}


def test_a_score_that_two_files_have_counts_once(tmp_path: Path) -> None:
    file = path_task_file(tmp_path, 20)
    for asked in ("a", "b"):
        file.write(asked * 64, [score()], harness="harness 1")

    assert file.scores() == (score(),)


def test_an_altered_file_is_refused(tmp_path: Path) -> None:
    file = path_task_file(tmp_path, 20)
    file.write("a" * 64, [score()], harness="harness 1")
    place = file.file("a" * 64)
    place.write_text(place.read_text().replace("0.5", "0.9"))

    with pytest.raises(StateError) as refused:
        file.scores()

    assert str(place) in str(refused.value)
