"""SIGKILL at random moments, and the same command again until the plan is finished; everything is then compared.

    python experiments/09_exactness/kills.py [--kills 100] [--seed 1] [--most 6] [--strategies single ddp fsdp] [--cold]

Writes a row for each kill to kills.csv, or kills_cold.csv, beside this file; exit code 1 if anything differed.
"""

import argparse
import csv
import itertools
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, fields
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.integration.harness import RANKS, Kill, Standby, kill_until_finished, run_undisturbed
from tests.integration.lab import Lab, write_texts


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=100, help="at least so many in all")
    parser.add_argument("--seed", type=int, default=1, help="of the first plan on each strategy")
    parser.add_argument("--most", type=int, default=6, help="kills of one plan, after which it is left alone")
    parser.add_argument("--strategies", nargs="+", choices=tuple(RANKS), default=tuple(RANKS))
    parser.add_argument("--cold", action="store_true", help="start every run by its command line, torchrun …")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_texts(folder / "texts")
        lab = Lab(folder=folder, texts=folder / "texts", stores=folder / "stores")
        with Standby(lab, cold=given.cold) as standby:
            kills = run(standby, given.strategies, kills=given.kills, seed=given.seed, most=given.most)
    print_summary(kills)
    sys.exit(any(kill.outcome != "equal" for kill in kills))


def run(standby: Standby, strategies: list[str], *, kills: int, seed: int, most: int) -> list[Kill]:
    """Kill plan after plan, on one strategy after another, and write each plan's rows when it is compared."""
    made: list[Kill] = []
    columns = [field.name for field in fields(Kill)]
    table = "kills_cold.csv" if standby.cold else "kills.csv"
    with Path(__file__).with_name(table).open("w", newline="") as file:
        rows = csv.DictWriter(file, columns, lineterminator="\n")
        rows.writeheader()
        undisturbed = {strategy: run_undisturbed(standby, strategy) for strategy in strategies}
        for strategy, found in undisturbed.items():
            print(f"{strategy}: {found.updates} updates in {found.seconds:.1f} s, left alone", flush=True)
        begun = time.monotonic()
        for number in itertools.count(seed):
            for strategy in strategies:
                plan = kill_until_finished(standby, strategy, undisturbed[strategy], seed=str(number), most=most)
                made += plan
                rows.writerows(asdict(kill) for kill in plan)
                file.flush()
                left = (time.monotonic() - begun) / max(len(made), 1) * max(kills - len(made), 0)
                outcome = plan[-1].outcome if plan else "finished before its first kill"
                done = f"{len(made)}/{kills} kills, {left:.0f} s left"
                print(f"{done}: {strategy}, seed {number}: {outcome}", flush=True)
            if len(made) >= kills:
                return made
    raise AssertionError("the seeds never end")


def print_summary(kills: list[Kill]) -> None:
    """Print how many kills there were of what, and how many plans equal the undisturbed one."""
    plans = {(kill.strategy, kill.seed): kill.outcome for kill in kills}
    kinds = Counter((kill.strategy, "all" if kill.who == "all" else "one rank") for kill in kills)
    states = Counter(kill.on_disk.split(", ", 1)[1] for kill in kills)
    print("| strategy | plans | equal | kills of all | kills of one rank |")
    print("|---|---|---|---|---|")
    for strategy in dict.fromkeys(strategy for strategy, _ in plans):
        outcomes = [outcome for (name, _), outcome in plans.items() if name == strategy]
        print(
            f"| {strategy} | {len(outcomes)} | {outcomes.count('equal')} | {kinds[strategy, 'all']} "
            f"| {kinds[strategy, 'one rank']} |"
        )
    print(f"{len(kills)} kills; left on disk: {', '.join(f'{found} ({count})' for found, count in states.items())}")


if __name__ == "__main__":
    main()
