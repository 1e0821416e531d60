"""Owners that stand still while another takes their path over, and then wake up; everything is then compared.

    python experiments/09_exactness/takeovers.py [--takeovers 20] [--seed 1]

So many with locks of the file system, which are not carried between machines, and so many on a file system without.
Writes a row for each to takeovers.csv beside this file; exit code 1 if anything differed.
"""

import argparse
import csv
import random
import sys
import tempfile
from dataclasses import asdict, fields
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.integration.harness import Standby
from tests.integration.lab import Lab, states_of, tables_of, write_texts
from tests.integration.takeovers import Takeover, take_over

MOMENTS = {"reach": 30, "row": 42, "shards": 13, "rename": 13, "manifest": 13, "micro": 26, "evaluated": 6}
"""How often a process that makes the small study comes to each."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--takeovers", type=int, default=20, help="with locks, and as many without")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    chance = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_texts(folder / "texts")
        lab = Lab(folder=folder, texts=folder / "texts", stores=folder / "stores")
        with Standby(lab, name="first") as first, Standby(lab, name="second") as second:
            lab.run("study=undisturbed")
            undisturbed = states_of(lab.study("undisturbed")), tables_of(lab.study("undisturbed"))
            made: list[Takeover] = []
            for number in range(2 * given.takeovers):
                moment = chance.choice(sorted(MOMENTS))
                moment = f"{moment}:{chance.randint(1, MOMENTS[moment])}"
                flock = number < given.takeovers
                study, machines = f"study-{number}", (first, second)
                made.append(take_over(machines, study, moment=moment, flock=flock, undisturbed=undisturbed))
                locks = "flock" if flock else "no flock"
                print(f"{number + 1}: {moment}, {locks}, {made[-1].codes}: {made[-1].outcome}", flush=True)
    with Path(__file__).with_name("takeovers.csv").open("w", newline="") as file:
        rows = csv.DictWriter(file, [field.name for field in fields(Takeover)], lineterminator="\n")
        rows.writeheader()
        rows.writerows(asdict(one) for one in made)
    sys.exit(any(one.outcome != "equal" for one in made))


if __name__ == "__main__":
    main()
