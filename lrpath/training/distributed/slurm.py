"""The ranks that `srun` starts, told to torch in the variables that torchrun would set.

A step of several tasks is a run of as many ranks. An allocation without a step (`salloc`, the script of `sbatch`
itself) is one process alone, however many tasks it was given.
"""

import os
import re

from lrpath.errors import ConfigError

_RESERVED_STEPS = 0xFFFFFFF0
"""SLURM numbers what is no step of srun's from here on: the shell of an allocation, a batch script."""


def step_tasks() -> int:
    """Return the tasks of the step this process belongs to; 0 outside of one.

    Raises:
        ConfigError: If a variable of SLURM is no number.
    """
    if not {"SLURM_STEP_ID", "SLURM_PROCID"} <= os.environ.keys() or _number("SLURM_STEP_ID") >= _RESERVED_STEPS:
        return 0
    return _number("SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in os.environ else "SLURM_NTASKS")


def set_environment() -> None:
    """Set what torchrun sets, in a step of several tasks whose tasks were not started by torchrun.

    MASTER_ADDR and MASTER_PORT stay as they are where they are set.

    Raises:
        ConfigError: If a variable is missing or no number, or nodes run different numbers of tasks.
    """
    if os.environ.get("WORLD_SIZE") or step_tasks() < 2:
        return
    found = {
        "RANK": _number("SLURM_PROCID"),
        "WORLD_SIZE": step_tasks(),
        "LOCAL_RANK": _number("SLURM_LOCALID"),
        "LOCAL_WORLD_SIZE": _tasks_per_node(),
        "GROUP_RANK": _number("SLURM_NODEID") if "SLURM_NODEID" in os.environ else 0,
    }
    os.environ |= {name: str(number) for name, number in found.items()}
    os.environ.setdefault("MASTER_ADDR", _first_node())
    os.environ.setdefault("MASTER_PORT", str(_port(job=_number("SLURM_JOB_ID"), step=_number("SLURM_STEP_ID"))))


def _number(name: str) -> int:
    text = os.environ.get(name, "")
    if not text.isdecimal():
        raise ConfigError(f"{name}={text} must be a whole number, as srun sets it; start this with srun or torchrun")
    return int(text)


def _tasks_per_node() -> int:
    """Read `4`, `4(x2)` or `4,4`: tasks of a node, and on how many nodes.

    >>> os.environ["SLURM_STEP_TASKS_PER_NODE"] = "4(x2)"
    >>> _tasks_per_node()
    4
    >>> del os.environ["SLURM_STEP_TASKS_PER_NODE"]
    """
    text = os.environ.get("SLURM_STEP_TASKS_PER_NODE") or os.environ.get("SLURM_NTASKS_PER_NODE", "")
    sizes = {re.sub(r"\(x[0-9]+\)$", "", part) for part in text.split(",")}
    if len(sizes) != 1 or not min(sizes).isdecimal():
        raise ConfigError(
            f"SLURM_STEP_TASKS_PER_NODE={text}: every node must run as many tasks; start this with srun --nodes N "
            "--ntasks-per-node M"
        )
    return int(sizes.pop())


def _first_node() -> str:
    nodes = os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_JOB_NODELIST", "")
    if not nodes:
        raise ConfigError("SLURM_STEP_NODELIST is missing, which srun sets; set MASTER_ADDR to the first node's name")
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment  # a sweep asks for its tasks without torch

    return SLURMEnvironment.resolve_root_node_address(nodes)


def _port(*, job: int, step: int) -> int:
    """Return a port below those that systems give to clients (32,768), for neighbouring jobs and steps another one.

    >>> _port(job=123456, step=0), _port(job=123456, step=1)
    (14928, 14929)
    """
    return 10_000 + (job * 13 + step) % 20_000
