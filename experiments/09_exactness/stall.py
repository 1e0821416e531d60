"""How long the updates stand still when a state is saved: blocking against background saves, in turn, A B A B.

    python experiments/09_exactness/stall.py [--rounds 3] [--updates 10]
    torchrun --nproc-per-node 2 experiments/09_exactness/stall.py strategy=fsdp

A LLaMA-shape model of 112 million parameters is trained by lrpath's plan runner, a fresh fit for each save: one rolling
state is saved at half the updates, the rest run while it may be written. Words after the options are overrides. The
figures of each fit are appended to `stall.csv` beside this file.
"""

import argparse
import csv
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from rich.console import Console

from lrpath.assembly.project import Project
from lrpath.assembly.training_factory import ProjectTrainingFactory, build_hardware
from lrpath.config.schema import conf_folder, load
from lrpath.training.callbacks.fork_checkpoint import ForkCheckpoint
from lrpath.training.checkpoints import saver
from lrpath.training.distributed.hardware import Hardware

MODEL = ["model.hidden_size=768", "model.layers=15", "model.heads=12", "model.ffn_size=2048"]
OVERRIDES = [
    "paradigm=[from_scratch]",
    "versions=1",
    "warmup=2",
    "peak=1e-4",
    "batch.sequences_per_update=1",
    "batch.tokens_per_sequence=16",
    "cadence.log_every=1",
    "cadence.evaluate_every=100000",
    "cadence.held_out_windows=1",
    "data=text",
    "strategy.accelerator=cpu",
    "logger=none",
]
FIELDS = ["ranks", "strategy", "mode", "stall_ms", "write_s", "update_ms", "updates_beside", "beside_ms"]
FIELDS += ["lost_updates", "state_bytes"]


def project_in(folder: Path, *, study: str, updates: int, background: bool, changes: list[str]) -> Project:
    texts = write_text(folder / "texts")
    given = [
        f"data.source.paths=[{texts}]",
        f"outputs={folder}",
        f"study={study}",
        f"increment={updates}",
        f"cadence.save_every={updates // 2}",
    ]
    mode = [f"cadence.save_in_background={str(background).lower()}"]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return Project(load(compose("config", overrides=[*OVERRIDES, *MODEL, *given, *mode, *changes])))


def write_text(folder: Path) -> Path:
    """Return a folder with lrpath's own source as the text of v1."""
    file = folder / "v1.jsonl"
    if not file.exists():
        folder.mkdir(exist_ok=True)
        sources = sorted((Path(__file__).resolve().parents[2] / "lrpath").rglob("*.py"))
        file.write_text("".join(json.dumps({"text": source.read_text()}) + "\n" for source in sources))
    return folder


@contextmanager
def timed(owner: Any, name: str, spans: list[tuple[float, float]]) -> Iterator[None]:
    """Note when each call of a function begins and ends."""
    original = getattr(owner, name)

    def recorder(*args: Any, **kwargs: Any) -> Any:
        begun = time.perf_counter()
        try:
            return original(*args, **kwargs)
        finally:
            spans.append((begun, time.perf_counter()))

    setattr(owner, name, recorder)
    try:
        yield
    finally:
        setattr(owner, name, original)


def measure(project: Project, hardware: Hardware) -> dict[str, Any]:
    """Run a fit of the project on this rank and return its figures."""
    stops: list[tuple[float, float]] = []
    saves: list[tuple[float, float]] = []
    writes: list[tuple[float, float]] = []
    ranks, group = hardware.ranks, hardware.process_group
    group.on_rank_zero(project.prepare)
    factory = ProjectTrainingFactory(project=project, store=project.prepare())
    group.on_rank_zero(project.keep_plan)
    with (
        Path("/dev/null").open("w") as nowhere,
        timed(ForkCheckpoint, "on_update", stops),  # the last callback: its end begins the next update
        timed(saver.StateSaver, "save", saves),
        timed(saver, "write_state", writes),
    ):
        runner = factory.runner(hardware, Console(file=nowhere))
        runner.run()
    updates = [(before, begin) for (_, before), (begin, _) in itertools.pairwise(stops)]
    seconds = [end - begin for begin, end in updates]
    half = len(stops) // 2
    alone = statistics.median(seconds[: half - 1])
    blocked = (saves[0][1] - saves[0][0]) if saves else 0.0
    written_at = writes[0][1]
    beside = [end - begin for begin, end in updates[half - 1 :] if begin < written_at]
    slowed = sum(beside) - len(beside) * alone
    states = (project.study.folder / "paths").glob("*/states/*")
    sizes = [sum(file.stat().st_size for file in state.iterdir()) for state in states]
    return {
        "ranks": ranks,
        "strategy": hardware.strategy.name,
        "mode": "background" if project.config.cadence.save_in_background else "blocking",
        "stall_ms": round(1e3 * blocked, 1),
        "write_s": round(writes[0][1] - writes[0][0], 2),
        "update_ms": round(1e3 * alone, 1),
        "updates_beside": len(beside),
        "beside_ms": round(1e3 * statistics.median(beside), 1) if beside else "",
        "lost_updates": round((blocked + slowed) / alone, 2),
        "state_bytes": sizes[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=10)
    options, changes = parser.parse_known_args()
    outputs = Path(__file__).resolve().parents[2] / "outputs"
    outputs.mkdir(exist_ok=True)
    hardware: Hardware | None = None
    with tempfile.TemporaryDirectory(dir=outputs) as own:
        first = project_in(Path(own), study="none", updates=options.updates, background=True, changes=changes)
        hardware = build_hardware(first)
        with hardware.initialized():
            folder = Path(hardware.process_group.on_rank_zero(lambda: own))
            for number in range(options.rounds):
                for background in (False, True):
                    study = f"{number}-{background}"
                    project = project_in(
                        folder, study=study, updates=options.updates, background=background, changes=changes
                    )
                    row = measure(project, hardware)
                    hardware.process_group.on_rank_zero(lambda row=row: report(row))


def report(row: dict[str, Any]) -> None:
    file = Path(__file__).with_name("stall.csv")
    new = not file.exists()
    with file.open("a", newline="") as handle:
        writer = csv.DictWriter(handle, FIELDS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)
    print(row, flush=True)


if __name__ == "__main__":
    main()
