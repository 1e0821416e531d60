"""Describes the ranks that `srun` starts in the environment variables that torchrun would set.

A job step of several tasks is a command on as many ranks. An allocation without a step (`salloc`, the script of
`sbatch` itself) is one process, however many tasks were allocated.

Of Lightning's SLURMEnvironment only the expansion of node lists is used. Tried in its place, it refuses `srun -n 8`
without `--ntasks-per-node`, takes every allocation for a step, does not tell steps of a job apart (they would share a
port), and imports torch, which a sweep that counts its tasks need not.
"""

import os
import re

from lrpath.errors import ConfigError

_FIRST_RESERVED_STEP = 0xFFFFFFF0
"""From here on SLURM numbers what `srun` did not start: the shell of an allocation, a batch script."""


def step_tasks() -> int:
    """Return the number of tasks of the step that this process belongs to; 0 outside of a step.

    Raises:
        ConfigError: If a variable of SLURM is not a number.
    """
    if not {"SLURM_STEP_ID", "SLURM_PROCID"} <= os.environ.keys() or _number("SLURM_STEP_ID") >= _FIRST_RESERVED_STEP:
        return 0
    return _number("SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in os.environ else "SLURM_NTASKS")


def set_environment() -> None:
    """Set the variables that torchrun sets, in a step of several tasks that torchrun did not start.

    MASTER_ADDR and MASTER_PORT stay as they are where they are set.

    Raises:
        ConfigError: If a variable is missing or not a number, or nodes run different numbers of tasks.
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
    """Return the tasks of each node from SLURM's notation: `4`, `4(x2)` or `4,4`.

    >>> os.environ["SLURM_STEP_TASKS_PER_NODE"] = "4(x2)"
    >>> _tasks_per_node()
    4
    >>> del os.environ["SLURM_STEP_TASKS_PER_NODE"]
    """
    text = os.environ.get("SLURM_STEP_TASKS_PER_NODE") or os.environ.get("SLURM_NTASKS_PER_NODE", "")
    sizes = {re.sub(r"\(x[0-9]+\)$", "", part) for part in text.split(",")}
    if len(sizes) != 1 or not min(sizes).isdecimal():
        raise ConfigError(
            f"SLURM_STEP_TASKS_PER_NODE={text}: every node must run the same number of tasks; start this with "
            "srun --nodes N --ntasks-per-node M"
        )
    return int(sizes.pop())


def _first_node() -> str:
    nodes = os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_JOB_NODELIST", "")
    if not nodes:
        raise ConfigError("SLURM_STEP_NODELIST is missing, which srun sets; set MASTER_ADDR to the first node's name")
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment  # torch, which a sweep goes without

    return SLURMEnvironment.resolve_root_node_address(nodes)


def _port(*, job: int, step: int) -> int:
    """Return a port below the ephemeral ones (32,768); neighbouring jobs and steps get different ports.

    >>> _port(job=123456, step=0), _port(job=123456, step=1)
    (14928, 14929)
    """
    return 10_000 + (job * 13 + step) % 20_000
