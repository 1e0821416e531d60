"""Prints, for every recipe and version of a ladder, the held-out loss and its paired difference to from scratch.

The loss is that on all held-out sets of the versions so far; the last column has the difference on the newest's alone.

Differences are taken seed by seed; the interval is Student's, 95 %, over seeds. "Same quality" needs its upper end
under .01 nats per token, as the README of this experiment fixed beforehand.

    python experiments/14_recipe/paired.py outputs/ladder_0.04m [seeds.csv]

The second argument is a file for the losses of every seed.
"""

import math
import sys
from collections import defaultdict
from pathlib import Path

from lrpath.analysis.compare import read_outcomes
from lrpath.analysis.seeds import interval_of
from lrpath.records.study import Study

REFERENCE, MARGIN = "from_scratch", 0.01
FEWEST = 2
"""Seeds that an interval needs."""


def main(folder: str, seeds_file: str | None = None) -> None:
    """Write one line a recipe and version, and a row a release to the file."""
    losses: dict[tuple[str, str], dict[tuple[int, int], float]] = defaultdict(dict)
    newest: dict[tuple[str, str], dict[tuple[int, int], float]] = defaultdict(dict)
    for outcome in read_outcomes(Study.existing(Path(folder).parent, Path(folder).name)):
        if outcome.headline is not None:
            place, seed = (outcome.series.paradigm, outcome.version), outcome.series.seed
            losses[place][seed] = outcome.headline.loss
            own = [score for (version, _), score in outcome.scores.items() if version == outcome.version]
            newest[place][seed] = math.fsum(score.nll for score in own) / sum(score.tokens for score in own)
    if seeds_file is not None:
        rows = [
            f"{paradigm},{version},{seed[0]},{loss:.6f},{newest[paradigm, version][seed]:.6f}\n"
            for (paradigm, version), found in sorted(losses.items())
            for seed, loss in sorted(found.items())
        ]
        Path(seeds_file).write_text("".join(["paradigm,version,seed,loss,newest\n", *rows]), encoding="utf-8")
    versions = sorted({version for _, version in losses})
    print(f"{'recipe':24s} version seeds  loss    − {REFERENCE}, paired   same quality  ahead in  newest alone")
    for paradigm in dict.fromkeys(name for name, _ in losses):
        for version in versions:
            ours, theirs = losses[paradigm, version], losses[REFERENCE, version]
            seeds = sorted(ours.keys() & theirs.keys())
            if len(seeds) < FEWEST:
                continue
            differences = [ours[seed] - theirs[seed] for seed in seeds]
            mean, half = _interval(differences)
            same = "yes" if mean + half < MARGIN else "no"
            ahead = sum(difference < 0 for difference in differences)
            alone = [newest[paradigm, version][seed] - newest[REFERENCE, version][seed] for seed in seeds]
            new_mean, new_half = _interval(alone)
            loss = math.fsum(ours[seed] for seed in seeds) / len(seeds)
            print(
                f"{paradigm:24s} {version:7s} {len(seeds):5d}  {loss:.4f}  {mean:+.4f} ± {half:.4f}"
                f"        {same:12s}  {ahead}/{len(seeds)}"
                f"       {new_mean:+.4f} ± {new_half:.4f}"
            )


def _interval(values: list[float]) -> tuple[float, float]:
    found = interval_of(values)
    assert found.half is not None, f"{FEWEST} seeds have an interval"
    return found.mean, found.half


if __name__ == "__main__":
    main(*sys.argv[1:])
