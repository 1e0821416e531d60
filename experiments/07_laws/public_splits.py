"""Shows 1 and 2: fit laws on some of the public curves, predict the others.

    OMP_NUM_THREADS=1 python experiments/07_laws/public_splits.py FOLDER      # FOLDER holds csv_25, csv_100, csv_400

Writes split.csv, curves.csv, other_splits.csv, details.csv and predicted.png beside itself.
"""

import csv
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from public import ALL, FITTED, LOGGED, PREDICTED, PUBLISHED, SIZES, read

from lrpath.errors import LawError
from lrpath.laws.curves import Curve
from lrpath.laws.fit import DELTA, Fit, PredictionErrors, fit_law
from lrpath.laws.last_iterate import LastIterateLaw
from lrpath.laws.law import AnnealingLaw, ChinchillaLaw, Law
from lrpath.laws.multi_power import MultiPowerLaw

HERE = Path(__file__).parent
REPEATS = 3


@dataclass(frozen=True)
class Way:
    """A law, and what is held fixed in it."""

    label: str
    law: Law
    fixed: dict[str, float] = field(default_factory=dict)


WAYS = (
    Way("chinchilla", ChinchillaLaw()),
    Way("annealing, λ=.999", AnnealingLaw(), {"lambda": 0.999}),
    Way("annealing, λ free", AnnealingLaw()),
    Way("multi-power, free", MultiPowerLaw()),
    Way("multi-power, β=γ=½", MultiPowerLaw(), {"beta": 0.5, "gamma": 0.5}),
    Way("multi-power, β=γ=½, no warm-up", MultiPowerLaw(counts_warmup=False), {"beta": 0.5, "gamma": 0.5}),
    Way("last iterate, ρ=1, ζ=0", LastIterateLaw(), {"rho": 1.0, "zeta": 0.0}),
    Way("last iterate, ρ=.8, ζ=.05", LastIterateLaw(), {"rho": 0.8, "zeta": 0.05}),
    Way("last iterate, ρ=.8, ζ=.1", LastIterateLaw(), {"rho": 0.8, "zeta": 0.1}),
    Way("last iterate, ρ=.8, ζ free", LastIterateLaw(), {"rho": 0.8}),
    Way("last iterate, ρ and ζ free", LastIterateLaw(), {}),
)
OTHER_SPLITS = {
    "stairs": ("constant_24000", "wsdcon_3", "wsdcon_9", "wsdcon_18"),
    "one deep drop": ("constant_24000", "wsdcon_3"),
    "one decay": ("constant_24000", "wsd_20000_24000"),
    "no drop": ("cosine_24000", "constant_24000"),
    "first 12,000 updates": FITTED,
}


def timed_fit(way: Way, curves: Sequence[Curve]) -> tuple[Fit, float, float]:
    """Return the fit and the median processor and wall time of some repeats [s]."""
    cpu, wall = [], []
    for _ in range(REPEATS):
        before = time.process_time(), time.perf_counter()
        fit = fit_law(way.law, curves, fixed=way.fixed)
        cpu.append(time.process_time() - before[0])
        wall.append(time.perf_counter() - before[1])
    return fit, statistics.median(cpu), statistics.median(wall)


def mean(errors: Sequence[PredictionErrors]) -> list[float]:
    """Return means over curves of R², MAE, RMSE, relative and worst error, as the repository publishes them."""
    return [
        statistics.fmean(getattr(one, name) for one in errors) for name in ("r2", "mae", "rmse", "relative", "worst")
    ]


def write(name: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with (HERE / name).open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([f"{cell:.5g}" if isinstance(cell, float) else cell for cell in row] for row in rows)


def show_split(curves: dict[int, dict[str, Curve]]) -> dict[tuple[int, str], Fit]:
    rows, single, fits = [], [], {}
    for size in SIZES:
        rows.append([size, "repository's log", *LOGGED[size], "", "", ""])
        law = MultiPowerLaw()
        theirs = [
            PredictionErrors.of(
                observed=curves[size][name].observed(),
                predicted=law.predict(dict(zip(law.names, PUBLISHED[size], strict=True)), curve=curves[size][name]),
            )
            for name in PREDICTED
        ]
        rows.append([size, "repository's parameters, our sums", *mean(theirs), "", "", ""])
        for way in WAYS:
            fit, cpu, wall = timed_fit(way, [curves[size][name] for name in FITTED])
            fits[size, way.label] = fit
            errors = {name: fit.errors(curves[size][name]) for name in PREDICTED}
            rows.append([size, way.label, *mean(list(errors.values())), cpu, wall, " ".join(fit.not_identified)])
            single += [[size, way.label, name, one.rmse, one.worst, one.last] for name, one in errors.items()]
    write(
        "split.csv",
        ["size", "law", "r2", "mae", "rmse", "relative", "worst", "cpu_s", "wall_s", "not_identified"],
        rows,
    )
    write("curves.csv", ["size", "law", "curve", "rmse", "worst", "last"], single)
    return fits


def show_other_splits(curves: dict[int, dict[str, Curve]]) -> None:
    rows = []
    for split, names in OTHER_SPLITS.items():
        last = 12_000 if split.startswith("first") else None
        for size in SIZES:
            fitted = [curves[size][name].between(1, last) for name in names]
            # of curves that are fitted up to a position, the rest is predicted
            asked = [curves[size][name].between(last + 1 if last and name in names else 1) for name in ALL]
            asked = [curve for curve in asked if last or curve.name not in names]
            for way in (*WAYS[:5], *WAYS[6:]):
                fit = fit_law(way.law, fitted, fixed=way.fixed)
                errors = {curve.name: fit.errors(curve, extrapolate=True) for curve in asked}
                hardest = max(errors, key=lambda name: abs(errors[name].last))
                refused = sum(not within(fit, curve) for curve in asked)
                figures = [
                    statistics.fmean(one.rmse for one in errors.values()),
                    max(one.worst for one in errors.values()),
                ]
                rows.append(
                    [
                        split,
                        size,
                        way.label,
                        *figures,
                        hardest,
                        errors[hardest].last,
                        refused,
                        " ".join(fit.not_identified),
                    ]
                )
    write(
        "other_splits.csv",
        ["split", "size", "law", "rmse", "worst", "hardest", "last", "extrapolated", "not_identified"],
        rows,
    )


def show_details(curves: dict[int, dict[str, Curve]]) -> None:
    """Write λ as different curves tell it, Huber's loss under two sets of parameters, and how far runs differ."""
    rows: list[list[object]] = []
    for size in SIZES:
        for names in (("wsdcon_3",), ("wsd_20000_24000",), ("cosine_24000",), ("cosine_72000",)):
            partner = "constant_72000" if names == ("cosine_72000",) else "constant_24000"
            fit = fit_law(AnnealingLaw(), [curves[size][name] for name in (partner, *names)])
            rows.append([size, f"λ of {partner} and {names[0]}", f"{fit.values['lambda']:.6f}"])
        fit = fit_law(MultiPowerLaw(), [curves[size][name] for name in FITTED])
        theirs = [
            MultiPowerLaw().predict(dict(zip(fit.law.names, PUBLISHED[size], strict=True)), curve=c) for c in fit.curves
        ]
        errors = np.log(np.concatenate([c.observed() for c in fit.curves])) - np.log(np.concatenate(theirs))
        small = np.minimum(np.abs(errors), DELTA)
        rows.append([size, "Huber's loss of the fitted curves, ours", fit.cost])
        rows.append([size, "the same, repository's parameters", float((small * (np.abs(errors) - small / 2)).sum())])
        short, long = curves[size]["constant_24000"], curves[size]["constant_72000"]
        for position in (2176, 6144):
            at = [float(np.interp(position, c.positions_P, c.observed())) for c in (short, long)]
            rows.append([size, f"constant_72000 − constant_24000 at {position}", at[1] - at[0]])
    write("details.csv", ["size", "what", "value"], rows)


def within(fit: Fit, curve: Curve) -> bool:
    try:
        fit.validity.check(curve)
    except LawError:
        return False
    return True


def draw(curves: dict[int, dict[str, Curve]], fits: dict[tuple[int, str], Fit]) -> None:
    """Draw observed and predicted losses of the six curves at 100M, and below each the errors."""
    shown = {"annealing, λ=.999": "#D55E00", "multi-power, β=γ=½": "#0072B2", "last iterate, ρ=.8, ζ=.1": "#009E73"}
    figure = Figure(figsize=(10, 9.5), layout="constrained")
    grid = figure.subplots(4, 3, height_ratios=(2, 1, 2, 1))
    for number, name in enumerate(PREDICTED):
        upper, lower = grid[2 * (number // 3), number % 3], grid[2 * (number // 3) + 1, number % 3]
        curve = curves[100][name]
        upper.plot(curve.positions_P, curve.observed(), color="black", linewidth=2.5, label="observed")
        for label, colour in shown.items():
            predicted = fits[100, label].predict(curve).losses_P
            upper.plot(curve.positions_P, predicted, color=colour, linewidth=1, label=label)
            lower.plot(curve.positions_P, predicted - curve.observed(), color=colour, linewidth=1)
        upper.set_title(name, fontsize=10)
        upper.set_ylim(2.83, 3.35)
        lower.set_ylim(-0.06, 0.06)
        lower.axhline(0, color="black", linewidth=0.5)
        for axes in (upper, lower):
            axes.set_xlim(0, curve.positions_P[-1])
            axes.grid(color="#e6e6e6", linewidth=0.6)
            axes.tick_params(labelsize=8)
            axes.xaxis.set_major_locator(MaxNLocator(4))
        if number % 3 == 0:
            upper.set_ylabel("loss [nats]")
            lower.set_ylabel("predicted −\nobserved")
    grid[0, 0].legend(fontsize=8)
    for axes in grid[3]:
        axes.set_xlabel("position [updates]")
    figure.suptitle("100M: fitted on cosine_24000, constant_24000, wsdcon_9 (none of these)", fontsize=11)
    figure.savefig(HERE / "predicted.png", dpi=110)


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    curves = {size: read(Path(sys.argv[1]), size) for size in SIZES}
    fit_law(AnnealingLaw(), [curves[25][name] for name in FITTED])  # warms up imports and caches, and is not timed
    fits = show_split(curves)
    draw(curves, fits)
    show_other_splits(curves)
    show_details(curves)
    for file in ("split.csv", "other_splits.csv", "details.csv"):
        print((HERE / file).read_text())


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
