"""Prints how the held-out losses of v2 move along the way: where it crosses staying at the floor, and its highest rise.

python experiments/05_rewarm/trajectories.py outputs/rewarm_max_lr constant
"""

import sys
from pathlib import Path

from lrpath.analysis.compare import read_series
from lrpath.records.study import Study

Curve = dict[int, float]


def main(folder: str, reference: str) -> None:
    """Write a line for each seed, setting and held-out set of the second version's path."""
    study = Study.existing(Path(folder).parent, Path(folder).name)
    curves: dict[tuple[int, str], dict[str, Curve]] = {}
    for series in read_series(study):
        release = next(one for one in series.tree.releases if one.version == "v2")
        line = series.tree.line(release.last.path_id)
        found: dict[str, Curve] = {}
        for path, until in zip(line, [*(child.start for child in line[1:]), release.last.position], strict=True):
            for row in study.open(path).evaluation.rows():
                if path.start < row.position <= until:
                    found.setdefault(f"{row.version}/{row.domain}", {})[row.position] = row.loss
        curves[series.recipe.weights_seed, series.paradigm] = found
    for (seed, setting), found in sorted(curves.items()):
        for key, curve in sorted(found.items()):
            start = max(position for position in curve if position <= _boundary(curve))
            after = {position: loss for position, loss in curve.items() if position > start}
            worst = max(after, key=lambda position: after[position])
            other = curves[seed, reference].get(key, {})
            behind = [position for position in after if position in other and after[position] > other[position]]
            last = f", behind {reference} until {max(behind)}" if behind and setting != reference else ""
            sys.stdout.write(
                f"seed {seed} {setting} {key}: {curve[start]:.4f} at {start}, highest {after[worst]:.4f} at {worst}, "
                f"last {curve[max(curve)]:.4f}{last}\n"
            )


def _boundary(curve: Curve) -> int:
    """Return where the second increment begins [updates]: half of the way, as both are of one length."""
    return max(curve) // 2


if __name__ == "__main__":
    main(*sys.argv[1:])
