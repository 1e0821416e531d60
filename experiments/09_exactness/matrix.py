"""Saved by some ranks and continued by others, each by each: the samples by digest, and the losses.

    python experiments/09_exactness/matrix.py [--folder DIR]

Writes matrix.csv (a row for each pair) and digests.csv (a row for each update) beside this file and prints the tables
of README.md. A study is begun by one kind up to its first release, copied, and continued by every kind.
"""

import argparse
import csv
import hashlib
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.integration.lab import Job, Lab, losses_of, write_texts

# The main path saves its first fork at 10 and is continued to 60; a branch leaves it there and ends at 70.
STUDY = (
    "increment=[20 updates,50 updates]",
    "alpha=[0.5,0.2]",
    "cadence.save_every=1000",
    "cadence.evaluate_every=1000",
)
FIRST = ("versions=1", "increment=[20 updates]", "alpha=[0.5]", *STUDY[2:])
SAVED = 10


@dataclass(frozen=True)
class Kind:
    """A number of ranks and a strategy."""

    strategy: str
    ranks: int

    def __str__(self) -> str:
        return f"{self.strategy} {self.ranks}"


KINDS = (
    Kind("single", 1),
    *(Kind(strategy, ranks) for ranks in (1, 2, 4) for strategy in ("ddp", "fsdp")),
)


def run(lab: Lab, jobs: list[tuple[Kind, str, tuple[str, ...]]]) -> None:
    """Run jobs (kind, study, overrides) in one torchrun for each number of ranks."""
    for ranks in sorted({kind.ranks for kind, *_ in jobs}):
        listed = [
            Job((f"study={study}", f"strategy={kind.strategy}", *changes))
            for kind, study, changes in jobs
            if kind.ranks == ranks
        ]
        begun = time.monotonic()
        ended = lab.ranked(*listed, ranks=ranks)
        assert lab.codes_of(ranks) == [(0,) * ranks] * len(listed), ended.err
        print(f"{len(listed)} runs on {ranks} ranks: {time.monotonic() - begun:.0f} s", flush=True)


def digests_of(windows_NT: NDArray[np.int64], *, updates: int) -> list[str]:
    """Return the SHA-256 of the token ids of each update's windows, in their global order."""
    parts = np.split(np.ascontiguousarray(windows_NT), updates)
    return [hashlib.sha256(part.tobytes()).hexdigest() for part in parts]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = given.folder or Path(name)
        write_texts(folder / "texts")
        write(*compare(Lab(folder=folder, texts=folder / "texts", stores=folder / "stores")))


def compare(lab: Lab) -> tuple[list[tuple[Kind, Kind, int, float]], list[tuple[str, int, str, int]]]:
    """Return a row for each pair (equal digests, largest difference) and for each update (digest, equal pairs)."""
    lab.run("study=undisturbed", *STUDY)
    undisturbed = losses_of(lab.study("undisturbed"))
    run(lab, [(kind, f"{kind.strategy}{kind.ranks}", FIRST) for kind in KINDS])
    pairs = [(saved, then) for saved in KINDS for then in KINDS]
    names = {pair: "-".join(f"{kind.strategy}{kind.ranks}" for kind in pair) for pair in pairs}
    for saved, then in pairs:
        shutil.copytree(lab.folder / f"{saved.strategy}{saved.ranks}", lab.folder / names[saved, then])
    shutil.copytree(lab.folder / "single1", lab.folder / "planned")
    planned = lab.planned_windows("study=planned", *STUDY)
    wanted = digests_of(np.concatenate(list(planned.values())), updates=len(planned))
    run(lab, [(then, names[saved, then], STUDY) for saved, then in pairs])

    rows, equal_pairs = [], [0] * len(planned)
    for saved, then in pairs:
        found = digests_of(lab.windows_of(names[saved, then], ranks=then.ranks), updates=len(planned))
        equal = [ours == theirs for ours, theirs in zip(found, wanted, strict=True)]
        equal_pairs = [count + one for count, one in zip(equal_pairs, equal, strict=True)]
        losses = losses_of(lab.study(names[saved, then]))
        continued = [key for key in undisturbed if "v1" not in key[0] and key[1] > SAVED]
        assert len(continued) == len(planned)
        rows.append((saved, then, sum(equal), max(abs(losses[key] - undisturbed[key]) for key in continued)))
    updates = [
        (path, update, digest, count)
        for (path, update), digest, count in zip(planned, wanted, equal_pairs, strict=True)
    ]
    return rows, updates


def write(rows: list[tuple[Kind, Kind, int, float]], updates: list[tuple[str, int, str, int]]) -> None:
    """Write both files and print the tables."""
    tables: dict[str, list[tuple[object, ...]]] = {
        "matrix.csv": [("saved", "continued", "updates", "equal_digests", "largest_loss_difference")],
        "digests.csv": [("path", "update", "planned_sha256", "pairs_with_this_digest")],
    }
    tables["matrix.csv"] += [(saved, then, len(updates), equal, difference) for saved, then, equal, difference in rows]
    tables["digests.csv"] += updates
    for name, lines in tables.items():
        with Path(__file__).with_name(name).open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(lines)
    print(f"equal digests: {sum(row[2] for row in rows)} of {len(rows)} pairs × {len(updates)} updates")
    print(f"| saved by ↓, continued by → | {' | '.join(map(str, KINDS))} |")
    print("|---" * (len(KINDS) + 1) + "|")
    for saved in KINDS:
        differences = [difference for before, _, _, difference in rows if before == saved]
        print(f"| {saved} | {' | '.join(f'{difference:.1e}' if difference else '0' for difference in differences)} |")


if __name__ == "__main__":
    main()
