"""Prints, for every recipe and version of a ladder, the held-out loss and its paired difference to from scratch.

The loss is that on all held-out sets of the versions so far: its mean over seeds, with the standard deviation over
them. Differences are taken seed by seed; the interval is Student's, 95 %, over seeds. "Same quality" needs its upper
end under .01 nats per token, as the README of this experiment fixed beforehand. The last column has the difference on
the newest version's held-out text alone.

    python experiments/14_recipe/paired.py outputs/ladder_0.04m
    python experiments/14_recipe/paired.py outputs/ladder_0.04m --to seeds.csv
    python experiments/14_recipe/paired.py experiments/14_recipe/seeds_0.1m.csv

The second writes every release to a file; the third reads such files. Several are joined, and must agree.
"""

import argparse
import csv
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from lrpath.analysis.compare import read_outcomes
from lrpath.analysis.seeds import interval_of
from lrpath.records.study import Study

REFERENCE, MARGIN = "from_scratch", 0.01
FEWEST = 2
"""Seeds that an interval needs."""
ROUNDED = 5e-5
"""By how much a loss may differ from itself where one file has four digits of it."""


Release = tuple[str, str, int]
"""Paradigm, version and seed."""


def main() -> None:
    """Write one line a recipe and version, and a row a release to the file that was asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("places", nargs="+", type=Path, help="studies, or files that --to has written")
    parser.add_argument("--to", type=Path, help="a file for the losses of every release")
    asked = parser.parse_args()
    found: dict[Release, tuple[float, float | None]] = {}
    for place in asked.places:
        for release, loss, alone in _of_file(place) if place.is_file() else _of_study(place):
            known, _ = found.setdefault(release, (loss, alone))
            if abs(known - loss) > ROUNDED:
                sys.exit(
                    f"{place} has {loss:.6f} for {release}, another has {known:.6f}: they are of other text or recipes"
                )
    if asked.to is not None:
        rows = [
            f"{paradigm},{version},{seed},{loss:.6f},{'' if alone is None else format(alone, '.6f')}\n"
            for (paradigm, version, seed), (loss, alone) in sorted(found.items())
        ]
        asked.to.write_text("".join(["paradigm,version,seed,loss,newest\n", *rows]), encoding="utf-8")
    _print(found)


def _of_study(folder: Path) -> Iterator[tuple[Release, float, float | None]]:
    for outcome in read_outcomes(Study.existing(folder.parent, folder.name)):
        if outcome.headline is not None:
            own = [score for (version, _), score in outcome.scores.items() if version == outcome.version]
            alone = math.fsum(score.nll for score in own) / sum(score.tokens for score in own)
            yield (outcome.series.paradigm, outcome.version, outcome.series.seed[0]), outcome.headline.loss, alone


def _of_file(file: Path) -> Iterator[tuple[Release, float, float | None]]:
    with file.open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            alone = float(row["newest"]) if row.get("newest") else None
            yield (row["paradigm"], row["version"], int(row["seed"])), float(row["loss"]), alone


def _print(found: dict[Release, tuple[float, float | None]]) -> None:
    seeds: dict[tuple[str, str], list[int]] = defaultdict(list)
    for paradigm, version, seed in sorted(found):
        seeds[paradigm, version].append(seed)
    print(
        f"{'recipe':30s} version seeds  loss ± deviation  − {REFERENCE}, paired  same quality  ahead in  newest alone"
    )
    for (paradigm, version), ours in seeds.items():
        losses = [found[paradigm, version, seed][0] for seed in ours]
        deviation = f"± {statistics.stdev(losses):.4f}" if len(losses) >= FEWEST else ""
        line = f"{paradigm:30s} {version:7s} {len(ours):5d}  {statistics.fmean(losses):.4f} {deviation:8s}  "
        shared = [seed for seed in ours if (REFERENCE, version, seed) in found]
        if len(shared) >= FEWEST and paradigm != REFERENCE:
            differences = [found[paradigm, version, seed][0] - found[REFERENCE, version, seed][0] for seed in shared]
            mean, half = _interval(differences)
            ahead = f"{sum(difference < 0 for difference in differences)}/{len(shared)}"
            line += f"{mean:+.4f} ± {half:.4f}          {'yes' if mean + half < MARGIN else 'no':12s}  {ahead:8s}"
            pairs = [(found[paradigm, version, seed][1], found[REFERENCE, version, seed][1]) for seed in shared]
            alone = [ours - theirs for ours, theirs in pairs if ours is not None and theirs is not None]
            if len(alone) >= FEWEST:
                mean, half = _interval(alone)
                line += f"  {mean:+.4f} ± {half:.4f}"
        print(line.rstrip())


def _interval(values: list[float]) -> tuple[float, float]:
    found = interval_of(values)
    assert found.half is not None, f"{FEWEST} seeds have an interval"
    return found.mean, found.half


if __name__ == "__main__":
    main()
