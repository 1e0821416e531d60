"""Updates per second of lrpath, callbacks on, against a bare PyTorch loop: the same model, optimizer and text, A B A B.

    python experiments/10_throughput/measure.py [--rounds 5] [--updates 60]

The bare loop reads random windows from the memory map, sets the rate, clips, and steps; it writes nothing. lrpath runs
its plan as `lrpath.train` does, with TensorBoard, a metrics row an update, and the count of the ledger. Both are timed
between the end of update 10 and the end of the last update, so neither start-up, nor evaluation, nor the state
at the end is in the figures.
"""

import argparse
import math
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from rich.console import Console

from lrpath.assembly.project import Project
from lrpath.assembly.training_factory import ProjectTrainingFactory, build_hardware
from lrpath.config.schema import conf_folder, load
from lrpath.data.store import TokenStore
from lrpath.models import CausalLM, build_model
from lrpath.records.ledger import RunningCount
from lrpath.training.optimizers import build_optimizer, set_learning_rate

SKIPPED = 10
OVERRIDES = [
    "paradigm=[from_scratch]",
    "versions=1",
    "warmup=5",
    "peak=1e-3",
    "model.hidden_size=128",
    "model.ffn_size=344",
    "batch.sequences_per_update=16",
    "cadence.evaluate_every=100000",
    "cadence.save_every=100000",
    "cadence.held_out_windows=1",
    "strategy.threads=1",
    "strategy.accelerator=cpu",
]


def project_in(folder: Path, *, study: str, updates: int, data: Path, sequences: int) -> Project:
    given = [f"outputs={folder}", f"study={study}", f"increment={updates}", f"data.folder={data}"]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        size = [f"batch.sequences_per_update={sequences}"]
        return Project(load(compose("config", overrides=[*OVERRIDES, *size, *given])))


def time_lrpath(project: Project, store: TokenStore) -> float:
    """Return seconds an update, by the clock at each update's count."""
    ends: list[float] = []
    reach = RunningCount.reach

    def recorder(self: RunningCount, position: int) -> None:
        reach(self, position)
        ends.append(time.perf_counter())

    RunningCount.reach = recorder  # type: ignore[method-assign]
    try:
        with Path("/dev/null").open("w") as nowhere:
            ProjectTrainingFactory(project=project, store=store).runner(
                build_hardware(project), Console(file=nowhere)
            ).run()
    finally:
        RunningCount.reach = reach  # type: ignore[method-assign]
    ends = ends[1:]  # the first call marks the start
    return (ends[-1] - ends[SKIPPED - 1]) / (len(ends) - SKIPPED)


def time_bare(project: Project, store: TokenStore, *, updates: int) -> float:
    """Return seconds an update of a loop with nothing around it."""
    recipe = project.recipe
    model = CausalLM(build_model(project.shape, seed=recipe.seed))
    optimizer = build_optimizer(model.parameters(), settings=recipe.optimizer)
    tokens = store.tokens("v1")
    generator = np.random.default_rng(1)
    length = recipe.tokens_per_sequence
    for update in range(updates):
        if update == SKIPPED:
            begun = time.perf_counter()
        starts = generator.integers(0, len(tokens) - length - 1, recipe.sequences_per_update)
        ids = torch.from_numpy(np.stack([tokens[s : s + length + 1] for s in starts]).astype(np.int64))
        loss = model(ids)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        set_learning_rate(
            optimizer, rate=1e-3 * 0.5 * (1 + math.cos(math.pi * update / updates)), settings=recipe.optimizer
        )
        optimizer.step()
        optimizer.zero_grad()
    return (time.perf_counter() - begun) / (updates - SKIPPED)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=60)
    parser.add_argument("--sequences", type=int, default=16)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pairs = []
        for number in range(arguments.rounds + 1):
            project = project_in(
                folder,
                study=f"round{number}",
                updates=arguments.updates,
                data=folder / "data",
                sequences=arguments.sequences,
            )
            store = project.prepare()
            ours = time_lrpath(project, store)
            bare = time_bare(project, store, updates=arguments.updates)
            if number:  # the first round warms up
                pairs.append((ours, bare))
                print(f"round {number}: lrpath {ours * 1e3:.1f} ms, bare {bare * 1e3:.1f} ms, ratio {bare / ours:.3f}")
    ratios = [bare / ours for ours, bare in pairs]
    extra = [1e3 * (ours - bare) for ours, bare in pairs]
    print(f"updates per second, lrpath / bare: median {statistics.median(ratios):.3f}, of {sorted(ratios)}")
    print(f"lrpath adds {statistics.median(extra):.2f} ms an update")


if __name__ == "__main__":
    main()
