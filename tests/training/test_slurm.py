import os

import pytest

from lrpath.errors import ConfigError
from lrpath.training.distributed.hardware import Hardware
from lrpath.training.distributed.process_group import ProcessGroup
from lrpath.training.settings import StrategySettings
from tests.refusals import refused
from tests.training.test_hardware import SETTINGS

STEP = {
    "SLURM_JOB_ID": "123456",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
    "SLURM_NTASKS": "8",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
}


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget afterwards what was set for torch."""
    monkeypatch.setattr(os, "environ", os.environ.copy())


def started(*, without: tuple[str, ...] = (), **changes: str) -> ProcessGroup:
    os.environ |= {name: value for name, value in (STEP | changes).items() if name not in without}
    return ProcessGroup.from_environment()


def test_ranks_and_nodes_are_those_of_the_step() -> None:
    group = started()

    assert (group.rank, group.world_size, group.local_rank, group.local_world_size, group.nodes) == (5, 8, 1, 4, 2)
    assert group.launched
    assert (os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"], os.environ["GROUP_RANK"]) == ("gpu07", "14928", "1")


def test_where_the_ranks_meet_can_be_set() -> None:
    started(MASTER_ADDR="here", MASTER_PORT="29500")

    assert (os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]) == ("here", "29500")


def test_older_versions_say_the_tasks_of_a_node_in_another_place() -> None:
    group = started(
        without=("SLURM_STEP_NUM_TASKS", "SLURM_STEP_TASKS_PER_NODE"), SLURM_NTASKS_PER_NODE="4", SLURM_NTASKS="8"
    )

    assert (group.world_size, group.local_world_size) == (8, 4)


@pytest.mark.parametrize("step", [None, "4294967290", "4294967291"])
def test_an_allocation_without_a_step_is_one_process_alone(step: str | None) -> None:
    without = () if step else ("SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS")

    group = started(without=without, SLURM_PROCID="0", **({"SLURM_STEP_ID": step} if step else {}))

    assert (group.world_size, group.launched) == (1, False)


def test_a_step_of_one_task_is_one_process_alone() -> None:
    group = started(SLURM_STEP_NUM_TASKS="1", SLURM_PROCID="0")

    assert (group.world_size, group.launched) == (1, False)


def test_torchrun_within_a_step_says_who_the_ranks_are() -> None:
    group = started(RANK="1", WORLD_SIZE="2", LOCAL_RANK="1", LOCAL_WORLD_SIZE="2")

    assert (group.rank, group.world_size) == (1, 2)


def test_one_process_refuses_a_step_of_several() -> None:
    group = started()

    with refused(ConfigError, field="strategy.name", value="single"):
        Hardware(strategy=StrategySettings(**SETTINGS), process_group=group)


@pytest.mark.parametrize(
    ("changes", "without"),
    [
        ({"SLURM_STEP_TASKS_PER_NODE": "4,3"}, ()),
        ({"SLURM_LOCALID": "x"}, ()),
        ({}, ("SLURM_STEP_NODELIST",)),
    ],
)
def test_a_step_that_says_half_of_it_is_refused(changes: dict[str, str], without: tuple[str, ...]) -> None:
    with refused(ConfigError):
        started(without=without, **changes)
