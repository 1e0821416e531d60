"""Prints, version by version, the losses of every α of a study and their gaps to the best, paired by seed.

Intervals are Student's, 95 %, over seeds. Writes the losses of every seed beside itself.

    python experiments/02_alpha/again.py outputs/alpha_again
"""

import sys
from collections import defaultdict
from pathlib import Path

from lrpath.analysis.compare import read_outcomes
from lrpath.analysis.seeds import interval_of
from lrpath.records.study import Study


def main(folder: str) -> None:
    """Print a line a version and α."""
    losses: dict[str, dict[float, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for outcome in read_outcomes(Study.existing(Path(folder).parent, Path(folder).name)):
        if outcome.headline is not None:
            alpha, seed = float(outcome.series.settings["alpha"]), outcome.series.recipe.weights_seed
            losses[outcome.version][alpha][seed] = outcome.headline.loss
    rows = ["version,alpha,seed,loss\n"]
    for version, by_alpha in sorted(losses.items()):
        means = {alpha: sum(found.values()) / len(found) for alpha, found in by_alpha.items()}
        best = min(means, key=means.__getitem__)
        for alpha, found in sorted(by_alpha.items()):
            gap = interval_of([loss - by_alpha[best][seed] for seed, loss in sorted(found.items())])
            half = "" if gap.half is None else f" ± {gap.half:.4f}"
            print(f"{version}  α {alpha}  seeds {gap.count}  loss {means[alpha]:.4f}  {gap.mean:+.4f}{half}")
            rows += [f"{version},{alpha},{seed},{loss:.6f}\n" for seed, loss in sorted(found.items())]
    (Path(__file__).parent / "again.csv").write_text("".join(rows), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
