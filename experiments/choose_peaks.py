"""Prints, for each paradigm of a study that swept `peak=`, the best peak as an override of the training command.

Best is the lowest held-out loss of the last version, in the mean over seeds. A best peak at the edge of what was tried
is named on standard error: the true one may lie beyond.

    python experiments/choose_peaks.py outputs/paradigms_tuning
"""

import sys
from pathlib import Path

from lrpath.analysis.compare import read_outcomes
from lrpath.analysis.seeds import Summary, summarise
from lrpath.records.study import Study


def main(folder: str) -> None:
    """Write one override a line."""
    study = Study.existing(Path(folder).parent, Path(folder).name)
    tried: dict[str, dict[float, Summary]] = {}
    for one in summarise(read_outcomes(study)):
        series = one.first.series
        if one.first.version == series.plan.versions[-1]:
            tried.setdefault(series.paradigm, {})[float(series.settings["peak"])] = one
    for paradigm, found in tried.items():
        best = min(found, key=lambda peak: found[peak].loss.mean)
        losses = ", ".join(f"{peak:g}: {one.loss.mean:.4f}" for peak, one in sorted(found.items()))
        edge = "  AT THE EDGE" if best in (min(found), max(found)) else ""
        sys.stderr.write(f"{paradigm}: {losses}{edge}\n")
        sys.stdout.write(f"paradigms.{paradigm}.peak={best:g}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
