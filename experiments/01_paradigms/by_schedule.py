"""Writes, schedule by schedule, the losses of the three paradigms and their gaps, paired by seed, as a Markdown table.

python experiments/01_paradigms/by_schedule.py outputs/paradigms
"""

import sys
from pathlib import Path

from lrpath.analysis.compare import read_outcomes
from lrpath.analysis.seeds import Interval, interval_of
from lrpath.records.study import Study

SCHEDULES = ("cosine", "knee", "multi_step")
Losses = dict[tuple[str, str], dict[int, float]]


def main(folder: str) -> None:
    """Print the table, then how many seeds show the order and a widening gap."""
    study = Study.existing(Path(folder).parent, Path(folder).name)
    losses: Losses = {}
    for outcome in read_outcomes(study):
        if (score := outcome.headline) is not None:
            seed = outcome.series.recipe.weights_seed
            losses.setdefault((outcome.series.paradigm, outcome.version), {})[seed] = score.loss
    names = {name for name, _ in losses}
    versions = sorted({version for _, version in losses if all((name, version) in losses for name in names)})
    rows = [
        "schedule | version | from scratch | path switching | continual | switching − scratch | continual − switching"
    ]
    rows.append("|".join([":---", ":---", *["---:"] * 5]))
    found = []
    for schedule in SCHEDULES:
        scratch, switching, continual = (
            {version: losses[f"{kind}_{schedule}", version] for version in versions}
            for kind in ("from_scratch", "path_switching", "continual")
        )
        for version in versions:
            means = [_mean(one[version]) for one in (scratch, switching, continual)]
            gaps = [_gap(switching[version], scratch[version]), _gap(continual[version], switching[version])]
            rows.append(" | ".join([schedule, version, *(f"{mean:.4f}" for mean in means), *map(_write, gaps)]))
        last, seeds = versions[-1], sorted(scratch[versions[-1]])
        order = sum(scratch[last][seed] <= switching[last][seed] <= continual[last][seed] for seed in seeds)
        widths = [_gap(continual[version], scratch[version]).mean for version in versions]
        found.append(
            f"{schedule}: {order} of {len(seeds)} seeds show the order at {last}; continual − from scratch "
            + ", ".join(f"{width:+.4f}" for width in widths)
            + (
                f"; {'widens' if widths == sorted(widths) else 'does not widen'} with every version"
                if len(widths) > 1
                else ""
            )
        )
    sys.stdout.write("\n".join([*(f"| {row} |" for row in rows), "", *(f"- {line}" for line in found)]) + "\n")


def _mean(found: dict[int, float]) -> float:
    return interval_of(list(found.values())).mean


def _gap(worse: dict[int, float], better: dict[int, float]) -> Interval:
    return interval_of([worse[seed] - better[seed] for seed in worse if seed in better])


def _write(gap: Interval) -> str:
    return f"{gap.mean:+.4f}" + ("" if gap.half is None else f" ± {gap.half:.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
