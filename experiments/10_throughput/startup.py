"""What a start and a switch between paths cost, in several trees of lrpath: CPU seconds, in turn, A B A B.

    git worktree add /tmp/before 5646bd3
    python experiments/10_throughput/startup.py before=/tmp/before after=. [--rounds 3] [--large]

Starts are whole processes, imports and all: `lrpath.plan`, `lrpath.train` on a study that is finished, `lrpath.report`
of a study of 101 paths. A switch is what lies between the last update of one path and the first of the next: the state
that is saved, another model and Trainer, the state that is loaded.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZES = {
    "41k": ("model.hidden_size=32", "model.layers=2", "model.heads=2", "model.ffn_size=88"),
    "8.4M": ("model.hidden_size=256", "model.layers=8", "model.heads=4", "model.ffn_size=1024"),
    "85M": ("model.hidden_size=768", "model.layers=12", "model.heads=12", "model.ffn_size=2048"),
}


def cpu_of(command: list[str], tree: Path, folder: Path) -> float:
    """Return the CPU seconds of a process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *command], cwd=folder, env={**os.environ, "PYTHONPATH": str(tree)}, check=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def plant(folder: Path) -> None:
    """Plant texts and a study of 101 paths; runs in a process of the tree."""
    sys.path.insert(0, str(Path(__file__).parent))
    from growth import ONE, plan_of, plant_study

    from lrpath.records.study import Study
    from tests.integration.lab import write_texts

    write_texts(folder / "texts")
    os.fsync = lambda _: None
    plant_study(Study(folder / "outputs" / "paths101"), plan_of(*[100] * 100, paradigms=ONE))


def switch(folder: Path, size: str) -> None:
    """Print CPU and wall seconds of each switch of a small study; runs in a process of the tree."""
    from lrpath.training.lit_module import LitCausalLM
    from tests.integration.lab import Lab, write_texts

    if not (folder / "texts").exists():
        write_texts(folder / "texts")
    lab = Lab(folder=folder / size, texts=folder / "texts", stores=folder / "stores")
    runner = lab.runner("versions=3", "cadence.save_every=1000", "cadence.evaluate_every=1000", *SIZES[size])
    ends: list[tuple[LitCausalLM, float, float]] = []
    found: list[tuple[float, float]] = []
    step = LitCausalLM.training_step

    def timed(module: LitCausalLM, *given: object) -> object:
        if ends and ends[-1][0] is not module:
            found.append((time.process_time() - ends[-1][1], time.perf_counter() - ends[-1][2]))
        result = step(module, *given)
        ends[:] = [(module, time.process_time(), time.perf_counter())]
        return result

    LitCausalLM.training_step = timed
    runner.run()
    sys.stdout.write("\n" + json.dumps(found) + "\n")


def switches(size: str, tree: Path, folder: Path) -> tuple[float, float]:
    """Return the medians of CPU and wall seconds."""
    command = [sys.executable, str(Path(__file__).resolve()), "--switch", str(folder), size]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return statistics.median(cpu for cpu, _ in found), statistics.median(wall for _, wall in found)


def starts_of(tree: Path, folder: Path) -> dict[str, list[str]]:
    """Prepare what the starts need, with the tree's own code, and return their commands."""
    cpu_of([str(Path(__file__).resolve()), "--plant", str(folder)], tree, folder)
    given = "model=tiny data=text data.source.paths=[texts] data.tokenizer.vocab_size=300 versions=3 increment=10"
    more = "warmup=2 batch.sequences_per_update=4 batch.tokens_per_sequence=16 strategy.threads=1 study=finished"
    train = ["-m", "lrpath.train", *given.split(), *more.split()]
    cpu_of(train, tree, folder)
    return {
        "lrpath.plan": ["-m", "lrpath.plan"],
        "lrpath.train, finished study": train,
        "lrpath.report, 101 paths": ["-m", "lrpath.report", "study=paths101"],
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("trees", nargs="*", help="name=folder")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large", action="store_true", help="switch at 85 million parameters too, 1 GB a state")
    parser.add_argument("--plant", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--switch", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.plant:
        plant(given.plant)
        return
    if given.switch:
        switch(Path(given.switch[0]), given.switch[1])
        return
    trees = {name: Path(folder).resolve() for name, _, folder in (one.partition("=") for one in given.trees)}
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    with tempfile.TemporaryDirectory() as place:
        folders, commands = {}, {}
        for name, tree in trees.items():
            folder = folders[name] = Path(place) / name
            folder.mkdir()
            commands[name] = starts_of(tree, folder)
        found: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for number in range(given.rounds):
            for name, tree in trees.items():
                for what, command in commands[name].items():
                    found.setdefault((what, name), []).append((cpu_of(command, tree, folders[name]), 0.0))
                for size in SIZES if given.large else list(SIZES)[:-1]:
                    place_of = folders[name] / f"round{number}"
                    place_of.mkdir(exist_ok=True)
                    found.setdefault((f"switch, {size}", name), []).append(switches(size, tree, place_of))
        for (what, name), values in found.items():
            cpu, wall = (statistics.median(one) for one in zip(*values, strict=True))
            print(f"{what:32} {name:8} CPU {cpu:6.2f} s" + (f", wall {wall:6.2f} s" if wall else ""))


if __name__ == "__main__":
    main()
