import os

import pytest

from lrpath.errors import ConfigError
from lrpath.training.strategies import Machine
from tests.planning.strategies import recipe_with

RECIPE = recipe_with(sequences_per_update=12)


def machine(*, accelerator: str = "cpu", micro_batch: int | None = None, threads: int | None = None) -> Machine:
    return Machine(accelerator=accelerator, micro_batch=micro_batch, threads=threads)


@pytest.mark.parametrize(("micro_batch", "size", "accumulate"), [(None, 12, 1), (12, 12, 1), (4, 4, 3), (1, 1, 12)])
def test_micro_batches_make_up_the_global_batch(micro_batch: int | None, size: int, accumulate: int) -> None:
    one = machine(micro_batch=micro_batch)

    assert (one.micro_batch_of(RECIPE), one.accumulate(RECIPE)) == (size, accumulate)


@pytest.mark.parametrize("micro_batch", [5, 13, 24])
def test_a_micro_batch_that_does_not_divide_the_batch_is_refused_with_those_that_do(micro_batch: int) -> None:
    with pytest.raises(ConfigError, match=r"=12; use one of \[1, 2, 3, 4, 6, 12\]"):
        machine(micro_batch=micro_batch).accumulate(RECIPE)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"accelerator": "tpu"}, r"strategy\.accelerator=tpu must be auto, cpu or gpu"),
        ({"micro_batch": 0}, r"strategy\.micro_batch=0 must be at least 1"),
        ({"threads": 0}, rf"strategy\.threads=0 must lie in \[1, {os.cpu_count()}\]"),
        ({"threads": 10_000}, r"strategy\.threads=10000 must lie in"),
    ],
)
def test_a_machine_that_is_not_there_is_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        machine(**settings)


def test_one_process_refuses_to_be_one_of_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")

    with pytest.raises(ConfigError, match="was started on 2; start it without torchrun"):
        machine()
