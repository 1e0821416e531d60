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
from lrpath.laws.intervals import annealing_gain
from lrpath.laws.last_iterate import LastIterateLaw
from lrpath.laws.multi_power import MultiPowerLaw
from lrpath.laws.saved_fit import USUAL_FIXED

HERE = Path(__file__).parent
MARGINS = ((0.0, 0.0), (0.005, 0.0), (0.01, 0.0), (0.015, 0.0), (0.02, 0.0), (0.005, 0.1), (0.0075, 0.1),
           (0.0075, 0.15), (0.0075, 0.2), (0.01, 0.1), (0.01, 0.2))  # fmt: skip
"""Margins, and shares of what annealing is predicted to gain that are added to them."""
DROPS = ("wsd_20000_24000", "wsdld_20000_24000", "wsdcon_3", "wsdcon_9", "wsdcon_18")
SPLITS = (
    FITTED,
    ("constant_24000", "wsdcon_3", "wsdcon_9", "wsdcon_18"),
    *((constant, drop) for constant in ("constant_24000", "constant_72000") for drop in DROPS),
    *((drop,) for drop in DROPS),
)


@dataclass(frozen=True)
class Miss:
    """How far a run's losses lie outside of the two laws' losses, 0 inside; the predicted gain of annealing; and
    whether they lie within intervals from parameters alone."""

    every: np.ndarray
    gains: np.ndarray
    parameters: np.ndarray

    def inside(self, margin: float, share: float) -> np.ndarray:
        return self.every <= margin + share * self.gains


def misses(fits: tuple[Fit, Fit], curve: Curve) -> Miss:
    first, second = (fit.predict(curve, extrapolate=True) for fit in fits)
    observed = curve.observed()
    low, high = np.minimum(first.losses_P, second.losses_P), np.maximum(first.losses_P, second.losses_P)
    every = np.maximum(np.maximum(low - observed, observed - high), 0.0)
    inside = (first.low_P <= observed) & (observed <= first.high_P)
    return Miss(every=every, gains=annealing_gain(fits[0], curve, first.losses_P), parameters=inside)


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
        for margin, share in MARGINS:
            inside = [miss.inside(margin, share) for miss in found]
            width = float(np.mean([margin + share * miss.gains[-1] for miss in found]))
            name = f"two laws ± {margin:g}" + (f" ± {share:g} of the gain" if share else "")
            ends, every = (float(np.mean(one)) for one in ([i[-1] for i in inside], [i.mean() for i in inside]))
            rows.append([size, name, len(found), f"{ends:.3f}", f"{every:.3f}", f"{width:.4f}"])
        ends = float(np.mean([miss.parameters[-1] for miss in found]))
        every = float(np.mean([miss.parameters.mean() for miss in found]))
        rows.append([size, "bootstrap of the parameters", len(found), f"{ends:.3f}", f"{every:.3f}", ""])
    with (HERE / "interval_coverage.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerows(
            [
                ["size", "interval", "predicted_runs", "last_loss_inside", "losses_inside", "mean_margin_at_the_end"],
                *rows,
            ]
        )
    print((HERE / "interval_coverage.csv").read_text())


if __name__ == "__main__":
    main()
