"""Show 3: how many losses of public runs that were not fitted lie within intervals of two laws and a margin.

    OMP_NUM_THREADS=1 python experiments/07_laws/interval_coverage.py FOLDER      # FOLDER holds csv_25, csv_100,
    csv_400

Fits every pair of a constant run and one with a drop, single runs with a drop, and the splits of `public_splits.py`,
and predicts all other runs that `lrpath.predict` would not refuse. Writes interval_coverage.csv beside itself.
"""

import csv
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from public import ALL, FITTED, SIZES, read

from lrpath.laws.curves import Curve
from lrpath.laws.fit import Fit, fit_law
from lrpath.laws.last_iterate import LastIterateLaw
from lrpath.laws.multi_power import MultiPowerLaw
from lrpath.laws.saved_fit import USUAL_FIXED

HERE = Path(__file__).parent
MARGINS = (0.0, 0.005, 0.01, 0.0125, 0.015, 0.02)
DROPS = ("wsd_20000_24000", "wsdld_20000_24000", "wsdcon_3", "wsdcon_9", "wsdcon_18")
SPLITS = (
    FITTED,
    ("constant_24000", "wsdcon_3", "wsdcon_9", "wsdcon_18"),
    *((constant, drop) for constant in ("constant_24000", "constant_72000") for drop in DROPS),
    *((drop,) for drop in DROPS),
)


@dataclass(frozen=True)
class Miss:
    """How far a loss lies outside of the two laws' losses, at the end and in the mean over a run's losses; 0 inside."""

    end: float
    every: np.ndarray
    parameters: np.ndarray


def misses(fits: tuple[Fit, Fit], curve: Curve) -> Miss:
    first, second = (fit.predict(curve, extrapolate=True) for fit in fits)
    observed = curve.observed()
    low, high = np.minimum(first.losses_P, second.losses_P), np.maximum(first.losses_P, second.losses_P)
    every = np.maximum(np.maximum(low - observed, observed - high), 0.0)
    inside = (first.low_P <= observed) & (observed <= first.high_P)
    return Miss(end=float(every[-1]), every=every, parameters=inside)


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    rows: list[list[object]] = []
    pooled: dict[str, list[Miss]] = {"all": []}
    for size in SIZES:
        curves = read(Path(sys.argv[1]), size)
        found: list[Miss] = []
        for names in SPLITS:
            fitted = [curves[name].between(4321) for name in names]  # twice the warm-up, as lrpath.predict
            laws = (LastIterateLaw(), MultiPowerLaw())
            fits = tuple(fit_law(law, fitted, fixed=USUAL_FIXED[law.name], bootstrap_samples=200) for law in laws)
            asked = [curves[name].between(4321) for name in ALL if name not in names]
            found += [misses(fits, curve) for curve in asked if not fits[0].validity.violations(curve)]
        pooled[str(size)] = found
        pooled["all"] += found
    for size, found in pooled.items():
        for margin in MARGINS:
            ends = float(np.mean([miss.end <= margin for miss in found]))
            every = float(np.mean([(miss.every <= margin).mean() for miss in found]))
            rows.append([size, f"two laws ± {margin:g}", len(found), f"{ends:.3f}", f"{every:.3f}"])
        ends = float(np.mean([miss.parameters[-1] for miss in found]))
        every = float(np.mean([miss.parameters.mean() for miss in found]))
        rows.append([size, "bootstrap of the parameters", len(found), f"{ends:.3f}", f"{every:.3f}"])
    with (HERE / "interval_coverage.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerows([["size", "interval", "predicted_runs", "last_loss_inside", "losses_inside"], *rows])
    print((HERE / "interval_coverage.csv").read_text())


if __name__ == "__main__":
    main()
