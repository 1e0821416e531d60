"""A sweep over α, killed at random moments and run again until it is finished, beside one that was left alone.

    python experiments/02_alpha/killed_sweep.py [--kills 3] [--seed 1] [--save-every 100] [--outputs build/killed_sweep]

A kill is SIGKILL to the whole process group once the ledger has counted a drawn number of updates, and a drawn part of
a second more. Prints the plan, the kills, and what was compared; exit code 1 if anything differed.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lrpath.analysis.comparison import StudyComparison
from lrpath.records.ledger import reached
from lrpath.records.study import Study
from tests.integration.lab import REPOSITORY, states_of, tables_of

SWEEP = ("+exp=paper/alpha", "scale=mini")
ALPHAS = ("0.2", "0.4", "0.6", "0.8")
TABLES = ("table.md", "table.csv", "summary.md", "summary.csv", "summary.tex", "seeds.csv")
"""Tables of the report that hold no time and no count of repeated updates, as cost.csv does."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    parser.add_argument("--save-every", type=int, default=100, help="updates between rolling states, of both sweeps")
    parser.add_argument("--outputs", type=Path, default=Path("build/killed_sweep"), help="a folder to make anew")
    given = parser.parse_args()
    shutil.rmtree(given.outputs, ignore_errors=True)
    increment, apart = planned_apart()
    alone, killed = Study(given.outputs / "alone"), Study(given.outputs / "killed")
    began = time.monotonic()
    assert start(alone, save_every=given.save_every).wait() == 0, "the sweep that was left alone has failed"
    print(f"left alone: {time.monotonic() - began:.0f} s, text and imports included")
    total = StudyComparison.read(alone).executions[0].ran
    show_cost(alone, increment=increment, apart=apart)
    kill_until_finished(killed, total=total, kills=given.kills, seed=given.seed, save_every=given.save_every)
    show_cost(killed, increment=increment, apart=apart)
    sys.exit(0 if compare(alone, killed) else 1)


def planned_apart() -> tuple[int, int]:
    """Print what each value of α takes in a study of its own, by `lrpath.plan`; return an increment and the sum."""
    updates, increment = [], 0
    for alpha in ALPHAS:
        words = [*SWEEP, f"alpha={alpha}", "format=json"]
        printed = subprocess.run(
            [sys.executable, "-m", "lrpath.plan", *words], cwd=REPOSITORY, capture_output=True, text=True, check=True
        ).stdout
        plan = json.loads(printed)
        increment = plan["increments"][0]["updates"]
        updates.append(sum(path["end"] - path["start"] for path in plan["paths"]))
        print(f"plan, α = {alpha} alone: {updates[-1]:,} updates = {updates[-1] / increment:g} T")
    print(f"plan, four studies apart: {sum(updates):,} updates = {sum(updates) / increment:g} T")
    return increment, sum(updates)


def start(study: Study, *, save_every: int) -> subprocess.Popen[bytes]:
    """Start the sweep, in a process group of its own; what it prints goes to a file beside the study."""
    place = study.folder.resolve()
    places = (f"outputs={place.parent}", f"data.folder={place.parent / 'text'}", f"study={study.name}")
    words = ["-m", *SWEEP, f"alpha={','.join(ALPHAS)}", f"cadence.save_every={save_every}", *places]
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "lrpath.train", *words],
            cwd=REPOSITORY,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def kill_until_finished(study: Study, *, total: int, kills: int, seed: int, save_every: int) -> None:
    """Run the sweep again and again, killed at drawn moments, and to its end after the last."""
    chance = random.Random(seed)
    for number, moment in enumerate(sorted(chance.sample(range(1, total), kills)), start=1):
        process, more = start(study, save_every=save_every), chance.random() / 2
        while counted(study) < moment and process.poll() is None:
            time.sleep(0.01)
        time.sleep(more)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        assert code == -signal.SIGKILL, f"the sweep ended with {code} before its kill at {moment:,}"
        at = [f"{folder.folder.name} at {reached(folder):,}" for folder in study.folders() if reached(folder)]
        left = len(list(study.folder.glob("paths/*/states/.[0-9]*")))
        drawn = f"drawn {moment:,} updates + {more:.2f} s"
        where = ", ".join(at) or "between two paths"
        print(f"kill {number}: {drawn}; hit at {counted(study):,} on {where}; {left} state half written", flush=True)
    code = start(study, save_every=save_every).wait()
    assert code == 0, f"the sweep ended with {code}; see {study.folder.with_suffix('.log')}"
    print(f"run once more, to the end: exit code {code}")


def counted(study: Study) -> int:
    """Return how many updates have run, those of a run that goes on, or was killed, among them."""
    known = {run.id: run.updates for run in study.ledger.runs()}
    for folder in study.folders():
        with contextlib.suppress(FileNotFoundError, ValueError):
            running = json.loads((folder.folder / "running.json").read_text())
            if running["id"] not in known:
                known[running["id"]] = max(0, (reached(folder) or 0) - running["begin"])
    return sum(known.values())


def show_cost(study: Study, *, increment: int, apart: int) -> None:
    """Print the ledger against the plans, by path."""
    found = StudyComparison.read(study).executions[0]
    print(f"{study.name}: {found.sentence()}")
    main = sum(path.ran - path.repeated for path in found.paths if path.name.endswith(".main"))
    branches = found.ran - found.repeated - main
    print(
        f"{study.name}: main path {main:,} + branches {branches:,} = {main + branches:,} updates = "
        f"{(main + branches) / increment:g} T, {apart / increment:g} T apart"
    )


def compare(alone: Study, killed: Study) -> bool:
    """Print what is equal and what differs."""
    plans = [sorted(study.plans()) for study in (alone, killed)]
    tables, states = [tables_of(study) for study in (alone, killed)], [states_of(study) for study in (alone, killed)]
    rows = [sum(text.count(b"\n") - 1 for text in found.values()) for found in tables]
    reports = [{name: (study.report / name).read_bytes() for name in TABLES} for study in (alone, killed)]
    asked = [StudyComparison.read(study).executions[0] for study in (alone, killed)]
    once = [sum(path.ran - path.repeated == path.planned for path in found.paths) for found in asked]
    facts = {
        "plans": (plans, f"{len(plans[0])} of them"),
        "tables of the report": (reports, f"{', '.join(TABLES)}, by their bytes"),
        "metrics.csv and evaluation.csv of every path": (tables, f"{len(tables[0])} files, {rows[0]:,} rows, by bytes"),
        "states": (states, f"{len(states[0])} of them, every tensor by its bits"),
        "paths with just the planned updates, repeats apart": (once, f"{once[0]} of {len(asked[0].paths)}"),
    }
    for what, (found, count) in facts.items():
        print(f"{what}: {'equal' if found[0] == found[1] else 'DIFFERENT'} ({count})")
    print((killed.report / "table.md").read_text())
    return all(found[0] == found[1] for found, _ in facts.values()) and once[0] == len(asked[0].paths)


if __name__ == "__main__":
    main()
