"""Runs `lrpath.train` on the ranks of one torchrun, job after job, each in a fork, so that torch is imported once.

    torchrun --nproc-per-node 2 ranked.py jobs.json

A job has overrides, and perhaps a rank that ends itself at a moment of `killing.py`. Each rank writes the exit codes of
its forks to `codes-<rank>.json`, and the windows it was given, in order, to `<study>-<rank>.npy`. With one job and
`--here` there is no fork: torchrun sees how the rank ends.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch

import lrpath.reporting.report
from lrpath import entry, train
from lrpath.training.lit_module import LitCausalLM
from tests.integration.killing import arm
from tests.integration.planting import VARIABLE, plant

RANK = int(os.environ.get("RANK", "0"))


def run(job: dict[str, Any]) -> None:
    """Train as a command line does."""
    sys.argv = ["lrpath.train", *job["overrides"]]
    if job["kill"] is not None and job["kill"][0] == RANK:
        arm(job["kill"][1])
    plant(os.environ.get(VARIABLE, ""))
    seen, step = [], LitCausalLM.training_step

    def noted(module: LitCausalLM, ids_MT: torch.Tensor, batch_idx: int) -> torch.Tensor:
        seen.append(ids_MT.numpy().copy())
        return step(module, ids_MT, batch_idx)

    LitCausalLM.training_step = noted  # type: ignore[method-assign]
    lrpath.reporting.report.write_report = lambda study: study.name  # figures take longer than these runs
    try:
        entry.run(train.train, config_name="config")
    finally:
        (study,) = (word.removeprefix("study=") for word in job["overrides"] if word.startswith("study="))
        np.save(f"{study}-{RANK}.npy", np.concatenate(seen) if seen else np.empty(0))


def run_in_fork(job: dict[str, Any]) -> int:
    """Return how a process that trains has ended; the ranks of a job meet at a port of its own."""
    process = os.fork()
    if not process:
        os.environ |= {"TORCHELASTIC_USE_AGENT_STORE": "False", "MASTER_ADDR": "localhost", "MASTER_PORT": job["port"]}
        code: Any = 1
        try:
            run(job)
            code = 0
        except SystemExit as end:
            code = end.code
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code if isinstance(code, int) else 1)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


if __name__ == "__main__":
    file = Path(sys.argv[1])
    jobs = json.loads(file.read_text())
    if "--here" in sys.argv:
        run(jobs[0])
    else:
        codes = [run_in_fork(job) for job in jobs]
        file.with_name(f"codes-{RANK}.json").write_text(json.dumps(codes))
