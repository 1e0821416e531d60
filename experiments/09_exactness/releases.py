"""The weights of every release of the quickstart's tree at a reduced size: ranks and nodes against one process.

    python experiments/09_exactness/releases.py [--folder DIR]

Writes releases.csv beside this file and prints it as a table for README.md.
"""

import argparse
import csv
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.integration.lab import Job, Lab, tensors_in

TREE = (
    "+exp=quickstart",
    "model=mini",  # with the quickstart's own changes: its model of 41,632 parameters, but for the vocabulary
    "data=python_source",
    "data.source.bytes_per_version=60_000",
    "data.tokenizer.vocab_size=300",
    "paradigm=[path_switching,continual,from_scratch]",
    "versions=3",
    "increment=20 updates",
    "warmup=4 updates",
    "peak=1e-2",
    "batch.tokens_per_sequence=32",
    "cadence.evaluate_every=1000",
    "cadence.save_every=1000",
)
UNCLIPPED = ("optimizer.clip_norm=null",)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Runs that are compared with one run of a single process.

    Args:
        name: Of the batch, for the table.
        changes: Overrides that the single process has too.
        launches: Ranks, nodes, label and strategy overrides of the others.
    """

    name: str
    changes: tuple[str, ...]
    launches: tuple[tuple[int, int, str, tuple[str, ...]], ...]


TWO = ("batch.sequences_per_update=2", "strategy.micro_batch=1")
FOUR = ("batch.sequences_per_update=4", "strategy.micro_batch=1")
DDP, FSDP, HSDP = ("strategy=ddp",), ("strategy=fsdp",), ("strategy=hsdp",)
GROUPS = (
    Group(
        name="2 × 1 sequence",
        changes=TWO,
        launches=tuple((2, nodes, label, to) for nodes in (1, 2) for label, to in (("ddp", DDP), ("fsdp", FSDP))),
    ),
    Group(
        name="2 × 1 sequence, not clipped",
        changes=TWO + UNCLIPPED,
        launches=tuple((2, nodes, "fsdp", FSDP) for nodes in (1, 2)),
    ),
    Group(
        name="4 × 1 sequence",
        changes=FOUR,
        launches=tuple((4, 2, label, to) for label, to in (("ddp", DDP), ("fsdp", FSDP), ("hsdp", HSDP))),
    ),
)
COLUMNS = ("nodes", "ranks", "strategy", "batch", "release", "position", "equal_bits", "largest_difference")


def overrides(study: str, *changes: str) -> tuple[str, ...]:
    """Return the overrides of one run; the last value of a field is the one that counts."""
    return (f"study={study}", *TREE, *changes)


def compare(lab: Lab, study: str, reference: str, *changes: str) -> list[tuple[str, int, bool, float]]:
    """Return release, position, whether all bits of its weights are equal, and the largest difference of a weight."""
    rows = []
    for release in lab.project(*overrides(study, *changes)).plan.tree.releases:
        ((key, _),) = release.parts
        ours, theirs = (weights_of(lab, name, key.path_id, key.position) for name in (study, reference))
        assert ours.keys() == theirs.keys()
        equal = all(ours[name].numpy().tobytes() == theirs[name].numpy().tobytes() for name in ours)
        largest = max(float((ours[name] - theirs[name]).abs().max()) for name in ours)
        rows.append((f"{release.paradigm}/{release.version}", key.position, equal, largest))
    return rows


def weights_of(lab: Lab, study: str, path_id: str, position: int) -> dict[str, torch.Tensor]:
    folder = lab.study(study).find(path_id)
    assert folder is not None, f"{study} lacks path {path_id}"
    tensors = tensors_in(folder.state(position))
    return {name: tensor for name, tensor in tensors.items() if name.startswith("model.")}


def run(lab: Lab) -> list[tuple[object, ...]]:
    """Run everything, as few torchruns as there are shapes of nodes and ranks, and return the rows of the table."""
    jobs: dict[tuple[int, int], list[tuple[str, Group, str, Job]]] = {}
    for number, group in enumerate(GROUPS):
        print(f"one process: {group.name}", flush=True)
        lab.run(*overrides(f"single-{number}", *group.changes))
        for ranks, nodes, label, strategy in group.launches:
            study = f"{label}-{ranks}x{nodes}-{number}"
            job = Job(overrides(study, *strategy, *group.changes))
            jobs.setdefault((ranks, nodes), []).append((study, group, label, job))
    rows: list[tuple[object, ...]] = []
    for (ranks, nodes), listed in jobs.items():
        print(f"{ranks} ranks on {nodes} nodes: {len(listed)} runs", flush=True)
        ended = lab.ranked(*(job for *_, job in listed), ranks=ranks, nodes=nodes)
        assert lab.codes_of(ranks) == [(0,) * ranks] * len(listed), ended.err
        for study, group, label, _ in listed:
            compared = compare(lab, study, f"single-{GROUPS.index(group)}", *group.changes)
            rows += [(nodes, ranks, label, group.name, *row) for row in compared]
    return rows


def print_table(rows: list[tuple[object, ...]]) -> None:
    """Print one line for each run: how many releases are equal, and the largest difference of all."""
    runs: dict[tuple[object, ...], list[tuple[object, ...]]] = {}
    for row in rows:
        runs.setdefault(row[:4], []).append(row[4:])
    print("| nodes | ranks | strategy | batch | releases with equal bits | largest difference of a weight | where |")
    print("|---|---|---|---|---|---|---|")
    for run, releases in runs.items():
        equal = sum(bool(bits) for _, _, bits, _ in releases)
        where, _, _, largest = max(releases, key=lambda release: float(str(release[3])))
        found = f"{largest:.1e} | {where}" if largest else "0 |"
        print(f"| {' | '.join(map(str, run))} | {equal} of {len(releases)} | {found} |")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        lab = Lab(folder=given.folder or Path(name), texts=Path(name), stores=Path(name))
        rows = run(lab)
    with Path(__file__).with_name("releases.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
    print_table(rows)


if __name__ == "__main__":
    main()
