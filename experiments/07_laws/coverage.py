"""Planted parameters: plant a law's parameters in noisy curves, fit them back, and count how often the 90 % interval
holds them.

    OMP_NUM_THREADS=1 python experiments/07_laws/coverage.py {independent,correlated} [--sets 80] [--samples 80]

Noise of log loss has a standard deviation of .002; it is independent, or hangs together as an AR(1) of .7. Writes
coverage_NOISE.csv beside itself.
"""

import argparse
import csv
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from lrpath.laws.continual import ContinualLaw, Domain
from lrpath.laws.curves import Curve, rates_of
from lrpath.laws.fit import fit_law
from lrpath.laws.last_iterate import LastIterateLaw
from lrpath.laws.law import AnnealingLaw, ChinchillaLaw, Law
from lrpath.laws.multi_power import MultiPowerLaw
from lrpath.planning.schedule import Schedule, constant, ramp, warmup

HERE = Path(__file__).parent
PEAK, UPDATES, SPACING, NOISE = 3e-3, 3000, 25, 2e-3


@dataclass(frozen=True)
class Plant:
    """A law, its true parameters, what a fit holds fixed of them, and the curves without losses."""

    law: Law
    true: dict[str, float]
    fixed: tuple[str, ...]
    curves: tuple[Curve, ...]


def curve(name: str, schedule: Schedule, *, boundary: int | None = None) -> Curve:
    return Curve(
        name=name,
        rates_U=rates_of(schedule, updates=UPDATES),
        positions_P=np.arange(100, UPDATES + 1, SPACING),
        boundary=boundary,
    )


def schedules() -> dict[str, Schedule]:
    rise = warmup(PEAK, updates=100)
    flat = constant(PEAK, updates=1400)
    return {
        "constant": Schedule(pieces=(*rise, constant(PEAK))),
        "drop": Schedule(pieces=(*rise, flat, constant(PEAK / 10))),
        "small drop": Schedule(pieces=(*rise, flat, constant(PEAK / 2))),
        "decay": Schedule(pieces=(*rise, flat, ramp(PEAK, PEAK / 20, updates=1500))),
    }


def plants() -> list[Plant]:
    curves = tuple(curve(name, schedule) for name, schedule in schedules().items())
    shifted = tuple(curve(name, schedule, boundary=1000) for name, schedule in schedules().items())
    annealing = {"L0": 3.0, "A": 0.5, "alpha": 0.5, "C": 0.2, "lambda": 0.99}
    power = {"L0": 3.0, "A": 0.5, "alpha": 0.5, "B": 40.0, "C": 1.0, "beta": 0.5, "gamma": 0.5}
    old = {"L0": 3.0, "A": 0.5, "alpha": 0.5, "C1": 0.2, "C2": 0.2, "lambda": 0.99, "B": 0.4, "E": 28.0, "beta": 0.4}
    last = {"L0": 3.0, "A": 0.5, "alpha": 0.5, "B": 10.0, "rho": 0.8, "zeta": 0.05}
    return [
        Plant(ChinchillaLaw(), {"L0": 3.0, "B": 5.0, "beta": 0.5}, (), curves),
        Plant(AnnealingLaw(), annealing, (), curves),
        Plant(MultiPowerLaw(), power, ("beta", "gamma"), curves),
        Plant(ContinualLaw(domain=Domain.OLD), old, ("C1", "lambda"), shifted),
        Plant(MultiPowerLaw(), power, (), curves),
        Plant(LastIterateLaw(), last, ("rho", "zeta"), curves),
        Plant(LastIterateLaw(), last, (), curves),
    ]


def independent(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    return rng.normal(0, NOISE, size)


def correlated(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    return lfilter([np.sqrt(1 - 0.7**2)], [1, -0.7], rng.normal(0, NOISE, size + 50))[50:]


NOISES = (independent, correlated)


def measure(plant: Plant, noise: Callable[..., NDArray[np.float64]], *, sets: int, samples: int) -> list[list[object]]:
    """Return a row for each parameter: how many intervals held it, lay above it, below it, and were warned of."""
    free = [name for name in plant.law.names if name not in plant.fixed]
    count = {name: [0, 0, 0, 0] for name in free}
    for number in range(sets):
        rng = np.random.default_rng([number, *plant.law.name.encode(), len(plant.fixed)])  # no noise serves two laws
        noisy = [
            replace(one, losses_P=plant.law.predict(plant.true, curve=one) * np.exp(noise(rng, one.positions_P.size)))
            for one in plant.curves
        ]
        fit = fit_law(
            plant.law,
            noisy,
            fixed={name: plant.true[name] for name in plant.fixed},
            bootstrap_samples=samples,
            seed=number,
        )
        for name in free:
            low, high = fit.interval(name)
            true = plant.true[name]
            for slot, holds in enumerate((low <= true <= high, true < low, true > high, name in fit.not_identified)):
                count[name][slot] += holds
    label = plant.law.name + (" with " + ", ".join(plant.fixed) + " given" if plant.fixed else "")
    return [[label, noise.__name__, name, plant.true[name], sets, *count[name]] for name in free]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("noise", choices=[noise.__name__ for noise in NOISES])
    parser.add_argument("--sets", type=int, default=80)
    parser.add_argument("--samples", type=int, default=80)
    given = parser.parse_args()
    noise = next(noise for noise in NOISES if noise.__name__ == given.noise)
    header = ["law", "noise", "parameter", "true", "sets", "held", "above", "below", "warned"]
    with (HERE / f"coverage_{given.noise}.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(header)
        for plant in plants():
            writer.writerows(measure(plant, noise, sets=given.sets, samples=given.samples))
            handle.flush()


if __name__ == "__main__":
    main()
