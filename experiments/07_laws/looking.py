"""Looks for a better last-iterate law on the public curves: ρ and ζ tried, freed within priors, other kernels.

    OMP_NUM_THREADS=1 python experiments/07_laws/looking.py FOLDER      # FOLDER holds csv_25, csv_100, csv_400

For each of the splits below, every (ρ, ζ, kernel) of a grid is fitted (L0, A, α, B free) and asked for the curves that
were not fitted. From this table come the ways to choose ρ and ζ: given; the fit's own least cost; its least cost with
priors; and the best of the two other sizes, which this size has no part in. Writes looking.csv beside itself.
"""

import csv
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from public import ALL, FITTED, SIZES, read

from lrpath.laws.curves import Curve
from lrpath.laws.fit import fit_law
from lrpath.laws.last_iterate import LastIterateLaw, NoiseAreas

HERE = Path(__file__).parent
RHOS = (0.6, 0.7, 0.8, 0.9, 1.0)
ZETAS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)
KERNELS = (0.8, 0.9, 1.0, 1.1, 1.2)
PRIORS = {"narrow": (0.05, 0.025), "middle": (0.1, 0.05), "wide": (0.2, 0.1)}
"""Standard deviations of ρ about .8 and of ζ about .05."""
DROPS = ("wsd_20000_24000", "wsdld_20000_24000", "wsdcon_3", "wsdcon_9", "wsdcon_18")
SPLITS = {
    "multi-power's": FITTED,
    "stairs": ("constant_24000", "wsdcon_3", "wsdcon_9", "wsdcon_18"),
    **{f"constant and {drop}": ("constant_24000", drop) for drop in DROPS},
    "cosine and constant": ("cosine_24000", "constant_24000"),
}
Key = tuple[float, float, float]
GIVEN: Key = (0.8, 0.05, 1.0)


@dataclass(frozen=True)
class Powers:
    """Noise `Σ ηₖ²·max(ΔS, ηₖ)^(−q)` in place of Γ, which it is for q = 1 but for the last few updates."""

    power: float

    def of(self, curve: Curve) -> np.ndarray:
        rates = curve.rates_U
        area = np.cumsum(rates)
        found = []
        for position in curve.positions_P:
            past = rates[:position]
            since = np.maximum(area[position - 1] - area[:position], past)
            found.append(float((past**2 * since**-self.power)[past > 0].sum()))
        return np.array(found)


@dataclass(frozen=True, slots=True)
class KernelLaw(LastIterateLaw):
    """The last-iterate law with another power of its kernel."""

    power: float = 1.0

    def prepare(self, curves: Sequence[Curve]) -> NoiseAreas:
        parts = []
        for curve in curves:  # of 800 fits to the same curves
            key = (self.power, curve.name, curve.positions_P.size, int(curve.positions_P[0]))
            if key not in _KNOWN:
                areas = NoiseAreas.of([curve])
                noise = areas.log_noise_N if self.power == 1.0 else np.log(Powers(self.power).of(curve))
                _KNOWN[key] = areas.log_S1_N, noise
            parts.append(_KNOWN[key])
        areas, noises = (np.concatenate(one) for one in zip(*parts, strict=True))
        return NoiseAreas(log_S1_N=areas, log_noise_N=noises)


_KNOWN: dict[tuple[float, str, int, int], tuple[np.ndarray, np.ndarray]] = {}


def tried(curves: dict[str, Curve], names: Sequence[str], keys: Iterable[Key]) -> dict[Key, tuple[float, float, int]]:
    """Return, by ρ, ζ and q, the mean RMSE of the curves that were not fitted, the fit's cost and its losses."""
    fitted = [curves[name] for name in names]
    found = {}
    for rho, zeta, power in keys:
        fit = fit_law(KernelLaw(power=power), fitted, fixed={"rho": rho, "zeta": zeta})
        errors = [fit.errors(curves[name], extrapolate=True).rmse for name in ALL if name not in names]
        found[rho, zeta, power] = statistics.fmean(errors), fit.cost, round(fit.residuals_N.size / fit.memory)
    return found


def chosen(table: dict[Key, tuple[float, float, int]], prior: tuple[float, float] | None) -> Key:
    """Return the ρ and ζ of the least cost, with or without a prior: n/2·log cost is −log likelihood."""
    keys = [key for key in table if key[2] == 1.0]

    def minus_log(key: Key) -> float:
        _, cost, count = table[key]
        rest = 0.0
        if prior is not None:
            rest = ((key[0] - 0.8) / prior[0]) ** 2 / 2 + ((key[1] - 0.05) / prior[1]) ** 2 / 2
        return count / 2 * float(np.log(cost)) + rest

    return min(keys, key=minus_log)


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    keys = [(rho, zeta, 1.0) for rho in RHOS for zeta in ZETAS] + [(0.8, 0.05, q) for q in KERNELS if q != 1.0]
    tables: dict[tuple[str, int], dict[Key, tuple[float, float, int]]] = {}
    for size in SIZES:
        _KNOWN.clear()
        curves = read(Path(sys.argv[1]), size)
        for split, names in SPLITS.items():
            tables[split, size] = tried(curves, names, keys)
    rows: list[list[object]] = []
    for split in SPLITS:
        for size in SIZES:
            table = tables[split, size]
            others = [tables[one, other] for one in SPLITS for other in SIZES if other != size]
            means = {key: statistics.fmean(one[key][0] for one in others) for key in keys if key[2] == 1.0}
            ways = {"given .8, .05": GIVEN, "given .8, .1": (0.8, 0.1, 1.0), "theory 1, 0": (1.0, 0.0, 1.0)}
            ways |= {"freed": chosen(table, None)} | {
                f"prior {name}": chosen(table, one) for name, one in PRIORS.items()
            }
            ways |= {"best of the other sizes": min(means, key=lambda key: means[key])}
            ways |= {f"kernel power {q:g}": (0.8, 0.05, q) for q in KERNELS if q != 1.0}
            rows += [[split, size, way, *key, f"{table[key][0]:.5f}"] for way, key in ways.items()]
    with (HERE / "looking.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerows([["split", "size", "way", "rho", "zeta", "kernel_power", "rmse"], *rows])
    base = {(row[0], row[1]): float(str(row[6])) for row in rows if row[2] == "given .8, .05"}
    for way in dict.fromkeys(str(row[2]) for row in rows):
        some = [row for row in rows if row[2] == way]
        means = [statistics.fmean(float(str(row[6])) for row in some if row[1] == size) for size in SIZES]
        first = [row[6] for row in some if row[0] == "multi-power's"]
        better = sum(float(str(row[6])) < base[row[0], row[1]] for row in some)
        print(
            way,
            " / ".join(f"{one:.4f}" for one in means),
            "|",
            " / ".join(map(str, first)),
            "|",
            f"{better} of {len(some)}",
        )


if __name__ == "__main__":
    main()
