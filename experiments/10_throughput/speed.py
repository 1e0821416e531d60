"""Seconds and memory of an update: lrpath against a bare PyTorch loop, Lightning, Hugging Face's Trainer and litgpt.

    python experiments/10_throughput/speed.py --sizes 41k 8.9M --threads 1 --rounds 3

Every contender runs in a process of its own, in turn, A B C … A B C …, each as it comes and at its best
(contenders.py says what that is). Before a time counts, three gates: equal numbers of parameters, equal first losses on
equal weights and windows, equal threads. HF and LITGPT in the environment name the Pythons that have these libraries.
Timed is from the end of the first updates, which warm up, to the end of the last but one: at the last, trainers
evaluate and save. "Whole" is from the start of the process to its exit, imports, compilation and saving with it.
"""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import torch
from contenders import CONTENDERS, Job, lrpath_project

SIZES = {  # vocabulary, width, inner width, layers, heads, window; sequences of an update; updates, untimed ones first
    "tiny": ((64, 16, 44, 1, 2, 16), 2, 5, 2),
    "41k": ((512, 32, 88, 2, 2, 128), 8, 300, 50),
    "8.9M": ((5000, 256, 688, 8, 8, 256), 8, 9, 3),
    "20.5M": ((5000, 384, 1296, 8, 8, 256), 8, 7, 3),
}
FIELDS = ("vocab_size", "hidden_size", "ffn_size", "layers", "heads", "context")
TIED = ("tiny", "41k")
PYTHONS = {"HF Trainer": "HF", "litgpt": "LITGPT"}
LOSS_GATE = {False: 1e-5, True: 2e-2}
"""By which share first losses may differ: in fp32 by the order of sums, in bf16 by what is rounded where."""


def job_of(size: str, *, threads: int, is_best: bool, ids: Path, folder: Path) -> Job:
    model, sequences, updates, skipped = SIZES[size]
    return Job(
        size=dict(zip(FIELDS, model, strict=True)) | {"tied": size in TIED},
        updates=updates,
        skipped=skipped,
        sequences=sequences,
        micro_batch=sequences,
        device="cpu",
        threads=threads,
        is_best=is_best,
        ids=str(ids),
        folder=str(folder),
    )


def write_inputs(job: Job) -> None:
    """Write ids, then the windows and the initial weights that lrpath's plan gives, for all contenders."""
    from lrpath.models import build_model

    ids = Path(job.ids)
    generator = np.random.default_rng(1)
    length = job.size["context"]
    for name, count in (("ids", (job.updates * job.sequences + 1) * length + 1), ("held_out", 4 * length)):
        drawn = job.size["vocab_size"] * generator.random(count) ** 3  # uneven, so that there is something to learn
        drawn.astype("<u2").tofile(ids / f"{name}.bin")
    project = lrpath_project(dataclasses.replace(job, increments=1))
    store = project.prepare()
    (path,) = project.plan.tree.paths
    batches = project.batches(path, store=store)
    np.save(ids / "windows.npy", np.stack([batches.batch(update) for update in range(job.updates)]))
    if job.same_weights:
        model = build_model(project.shape, seed=project.recipe.weights_seed)
        torch.save({name: one.detach() for name, one in model.named_parameters()}, ids / "weights.pt")


def run(name: str, job: Job, *, seconds: float = 3600.0) -> dict:
    """Run one contender, and return its report with the CPU and wall time of its whole process.

    Raises:
        RuntimeError: If it fails, or is not done after `seconds`.
    """
    folder = Path(job.folder)
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps(dataclasses.asdict(job)))
    python = os.environ.get(PYTHONS.get(name, ""), sys.executable)
    script = Path(__file__).parent / "contenders.py"
    environment = os.environ | {"OMP_NUM_THREADS": str(job.threads), "TOKENIZERS_PARALLELISM": "false"}
    with (folder / "log.txt").open("w") as log:
        child = subprocess.Popen(
            [python, str(script), name, str(folder / "job.json")], stdout=log, stderr=log, env=environment
        )
        limit = threading.Timer(seconds, child.kill)
        limit.start()
        _, status, used = os.wait4(child.pid, 0)
        limit.cancel()
        child.returncode = status
    if status:
        raise RuntimeError(f"{name} failed, or took over {seconds:.0f} s:\n{(folder / 'log.txt').read_text()[-3000:]}")
    report = json.loads((folder / "report.json").read_text())
    if not report["ends"]:
        return report
    first, last = report["ends"][job.skipped - 1], report["ends"][-2]
    updates = len(report["ends"]) - 1 - job.skipped
    report |= {"wall": (last[0] - first[0]) / updates, "cpu": (last[1] - first[1]) / updates}
    return report | {"whole_cpu": used.ru_utime + used.ru_stime, "whole_memory": 1024 * used.ru_maxrss}


def check(reports: dict[str, dict], *, is_best: bool) -> None:
    """Hold the gates: what is compared must be the same work."""
    ours = reports["lrpath"]
    for name, report in reports.items():
        for fact in ("parameters", "threads"):
            if report[fact] != ours[fact]:
                raise SystemExit(f"{name} has {report[fact]:,} {fact}, lrpath {ours[fact]:,}: not the same work")
        if abs(report["first_loss"] / ours["first_loss"] - 1) > LOSS_GATE[is_best]:
            raise SystemExit(f"{name}: first loss {report['first_loss']}, lrpath {ours['first_loss']}")


def table(found: dict[str, list[dict]]) -> str:
    """Return medians over the rounds, and the ratio to lrpath's within each round."""
    lines = [
        "| contender | CPU [ms] | wall [ms] | CPU ÷ lrpath's | wall ÷ lrpath's | whole CPU [s] | peak memory [MB] |"
    ]
    lines.append("|---|---|---|---|---|---|---|")

    def median(name: str, fact: str) -> float:
        return statistics.median(one[fact] for one in found[name])

    for name, reports in found.items():
        ratios = []
        for fact in ("cpu", "wall"):
            one = sorted(them[fact] / us[fact] for them, us in zip(reports, found["lrpath"], strict=True))
            ratios.append(f"{statistics.median(one):.3f} [{one[0]:.3f}, {one[-1]:.3f}]")
        lines.append(
            f"| {name} | {1e3 * median(name, 'cpu'):.1f} | {1e3 * median(name, 'wall'):.1f} | {' | '.join(ratios)} | "
            f"{median(name, 'whole_cpu'):.1f} | {median(name, 'whole_memory') / 1e6:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", nargs="+", default=["41k"], choices=SIZES)
    parser.add_argument("--threads", nargs="+", type=int, default=[1])
    parser.add_argument("--modes", nargs="+", default=["comes", "best"], choices=["comes", "best"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--contenders", nargs="+", default=list(CONTENDERS), choices=CONTENDERS)
    parser.add_argument("--json", type=Path, help="where every report is written to")
    given = parser.parse_args()
    kept = []
    for size in given.sizes:
        for threads in given.threads:
            for mode in given.modes:
                # "own parts" has neither bf16 nor compilation of its own: it is lrpath's fp32 parts in a bare loop.
                names = [name for name in given.contenders if not (mode == "best" and name == "own parts")]
                found: dict[str, list[dict]] = {name: [] for name in names}
                with tempfile.TemporaryDirectory() as place:
                    ids = Path(place)
                    settings = {"threads": threads, "is_best": mode == "best", "ids": ids}
                    write_inputs(job_of(size, folder=ids / "inputs", **settings))
                    for number in range(given.rounds):
                        for name in names:
                            job = job_of(size, folder=ids / f"{number} {name}", **settings)
                            found[name].append(run(name, job))
                        check({name: reports[-1] for name, reports in found.items()}, is_best=mode == "best")
                parameters = found["lrpath"][0]["parameters"]
                print(f"\n{size} ({parameters:,} parameters), {threads} threads, {mode}, {given.rounds} rounds")
                print(table(found), flush=True)
                kept.append({"size": size, "threads": threads, "mode": mode, "found": found})
                if given.json:
                    given.json.write_text(json.dumps(kept))


if __name__ == "__main__":
    main()
