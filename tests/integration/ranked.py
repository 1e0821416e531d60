"""Runs `lrpath.train` on several ranks, job after job, each in a fork, so that torch is imported once a node.

    python ranked.py jobs.json --ranks 2 --nodes 1 --endpoint localhost:29500
    torchrun --nproc-per-node 2 ranked.py jobs.json

The first is torchrun's agent of one node, whose ranks are forks of it. A job has overrides, and perhaps a rank that
ends itself at a moment of `killing.py`. Each rank writes the exit codes of its forks to `codes-<rank>.json`, and the
windows it was given, in order, to `<study>-<rank>.npy`. Started by a real torchrun, it runs the first job without a
fork: torchrun sees how the rank ends.
"""

import argparse
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

import lrpath.reporting.report
import tests.integration.preloaded  # noqa: F401
from lrpath import entry, train
from lrpath.training.lit_module import LitCausalLM
from tests.integration.forks import start_fork, wait_for
from tests.integration.killing import arm
from tests.integration.planting import VARIABLE, plant


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def launch(
    function: Callable[..., None], *given: Any, ranks: int, nodes: int = 1, endpoint: str = "localhost:0"
) -> None:
    """Be torchrun's agent of one node, and run a function on its ranks, which are forks of this process.

    Raises:
        ChildFailedError: If a rank ended with another exit code than 0.
    """
    config = LaunchConfig(
        min_nodes=nodes,
        max_nodes=nodes,
        nproc_per_node=ranks,
        run_id="jobs",
        rdzv_backend="c10d",
        rdzv_endpoint=endpoint,
        max_restarts=0,
        start_method="fork",
    )
    elastic_launch(config, function)(*given)


def forget_handlers() -> None:
    """Handle signals as a process does that was started anew, not as the agent that this is a fork of."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def run(job: dict[str, Any]) -> None:
    """Train as a command line does."""
    sys.argv = ["lrpath.train", *job["overrides"]]
    if job["kill"] is not None and job["kill"][0] == rank():
        arm(job["kill"][1])
    plant(os.environ.get(VARIABLE, ""))
    seen, step = [], LitCausalLM.training_step

    def recorder(module: LitCausalLM, ids_MT: torch.Tensor, batch_idx: int) -> torch.Tensor:
        seen.append(ids_MT.numpy().copy())
        return step(module, ids_MT, batch_idx)

    LitCausalLM.training_step = recorder  # type: ignore[method-assign]
    lrpath.reporting.report.write_report = lambda study: study.name  # figures take longer than these runs
    try:
        entry.run(train.train, config_name="config")
    finally:
        (study,) = (word.removeprefix("study=") for word in job["overrides"] if word.startswith("study="))
        np.save(f"{study}-{rank()}.npy", np.concatenate(seen) if seen else np.empty(0))


def run_in_fork(job: dict[str, Any]) -> int:
    """Return how a process that trains has ended; the ranks of a job meet at a port of its own."""

    def act() -> None:
        forget_handlers()
        os.environ |= {"TORCHELASTIC_USE_AGENT_STORE": "False", "MASTER_ADDR": "localhost", "MASTER_PORT": job["port"]}
        run(job)

    return wait_for(start_fork(act))


def run_all(file: Path) -> None:
    """Run all jobs as one rank."""
    codes = [run_in_fork(job) for job in json.loads(file.read_text())]
    file.with_name(f"codes-{rank()}.json").write_text(json.dumps(codes))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    for name, kind in (("--ranks", int), ("--nodes", int), ("--endpoint", str)):
        parser.add_argument(name, type=kind)
    asked = parser.parse_args()
    if asked.ranks is None:
        run(json.loads(asked.file.read_text())[0])
    else:
        with contextlib.suppress(ChildFailedError):
            launch(run_all, asked.file, ranks=asked.ranks, nodes=asked.nodes, endpoint=asked.endpoint)
            sys.exit(0)
        sys.exit(1)
