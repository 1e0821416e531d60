"""What each way to choose α costs on the ladders of `ladders.sh`: the loss of the chosen α less that of the best of
eight.

    OMP_NUM_THREADS=1 python experiments/08_auto_alpha/ladders.py OUTPUTS [STUDY …]

Writes ladders.csv (a row for each choice), ladders_summary.csv with
intervals, and shapes.csv (1 − sqrt against linear at equal length), beside itself.
"""

import csv
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lrpath.config.laws import fit_settings
from lrpath.errors import LrpathError
from lrpath.laws.loss_view import LossView
from lrpath.laws.path_curves import paths_of
from lrpath.laws.path_fit import fit_paths
from lrpath.laws.probes import ObservedBranch, averages, fit_parabola, observed_branches
from lrpath.records.study import Study

HERE = Path(__file__).parent
LAWS = ("last_iterate", "multi_power", "annealing", "chinchilla")
FITTED = {
    "one short (v2 α=.2)": [("v2", 0.2)],
    "one long (v2 α=.8)": [("v2", 0.8)],
    "two (v2 α=.1, .6)": [("v2", 0.1), ("v2", 0.6)],
}
PARABOLA = (0.1, 0.4, 1.0)
NEAR = 0.005


@dataclass(frozen=True)
class Ladder:
    """The branches of one study: losses by version and α, and the paths."""

    study: Study
    view: LossView
    main: str
    branches: dict[tuple[str, float, str], ObservedBranch]
    increments: dict[str, int]

    @classmethod
    def of(cls, study: Study) -> "Ladder":
        view = LossView.of(study, fit_settings(set="*", fit=None))
        paths = paths_of(study)
        (main,) = {path.path.id for path in paths if path.path.parent is None}
        ends = {version: path.end for path in paths for version in path.releases if path.path.parent is not None}
        versions = sorted(ends)
        sizes = {version: ends[version] - ends.get(f"v{int(version[1:]) - 1}", 0) for version in versions}
        found = {(one.version, round(one.alpha, 2), one.shape): one for one in observed_branches(view, sizes)}
        return cls(study, view, main, found, sizes)

    def losses(self, version: str, shape: str = "one_minus_sqrt") -> dict[float, float]:
        return {alpha: one.loss for (v, alpha, s), one in sorted(self.branches.items()) if (v, s) == (version, shape)}

    def regret(self, version: str, alpha: float) -> float:
        losses = self.losses(version)
        nearest = min(losses, key=lambda one: abs(one / alpha - 1) if one > alpha else abs(alpha / one - 1))
        return losses[nearest] - min(losses.values())


def by_laws(ladder: Ladder) -> Iterator[list[object]]:
    for text, choices in FITTED.items():
        ids = (ladder.main, *(ladder.branches[v, round(a, 2), "one_minus_sqrt"].path.path.id for v, a in choices))
        for law in LAWS:
            settings = fit_settings(law=law, set="*", fit=ids, bootstrap_samples=200, extrapolate=True)
            fitted = fit_paths(ladder.view, settings, patterns=ids)
            rule = fitted.rule(settings)
            for version in ladder.increments:
                predicted, inside = {}, []
                for (v, alpha, shape), one in ladder.branches.items():
                    if v != version:
                        continue
                    losses, low, high = rule.around(fitted.fit, ladder.view.planned(one.path))
                    if shape == "one_minus_sqrt":
                        predicted[alpha] = float(losses[-1])
                    if one.path.path.id not in ids:
                        inside.append((low[-1] <= one.loss <= high[-1], float(losses[-1]) - one.loss))
                best = min(predicted, key=lambda alpha: predicted[alpha])
                cheap = min(alpha for alpha, loss in predicted.items() if loss <= predicted[best] + NEAR)
                refuses = "; ".join(fitted.reasons_against_advice)
                regrets = [ladder.regret(version, alpha) for alpha in (best, cheap)]
                worst = max((error for _, error in inside), key=abs)
                held = sum(one for one, _ in inside), len(inside)
                yield [text, law, version, best, regrets[0], cheap, regrets[1], *held, worst, refuses]


def without_law(ladder: Ladder) -> Iterator[list[object]]:
    totals = dict(zip(ladder.increments, _sums(list(ladder.increments.values())), strict=True))
    first = ladder.losses("v2")
    found = fit_parabola(list(PARABOLA), [first[alpha] for alpha in PARABOLA])
    share = (found[0] if found else min(first, key=lambda a: first[a])) * ladder.increments["v2"] / totals["v2"]
    window = {}
    for one in averages(ladder.view):
        best = window.get(one.version)
        window[one.version] = one if best is None or one.loss < best.loss else best
    for version, size in ladder.increments.items():
        alpha = share * totals[version] / size
        yield ["three (v2 α=.1, .4, 1)", "parabola, its share", version, alpha, ladder.regret(version, alpha)]
        yield ["none", "always α=.6", version, 0.6, ladder.regret(version, 0.6)]
        yield ["none", "always a share of .2", version, 0.2 * totals[version] / size,
               ladder.regret(version, 0.2 * totals[version] / size)]  # fmt: skip
        if version in window:  # a mean over a window has the mean age of a linear decay over twice as long
            alpha = 2 * window[version].window * totals[version] / size
            yield ["none", "averages, twice the best window", version, alpha, ladder.regret(version, alpha)]


def _sums(sizes: Sequence[int]) -> list[int]:
    return [sum(sizes[: number + 1]) for number in range(len(sizes))]


def shapes(ladder: Ladder) -> Iterator[list[object]]:
    """Yield the sign of 1 − sqrt − linear at equal length, observed and by each law."""
    ids = (ladder.main, ladder.branches["v2", 0.2, "one_minus_sqrt"].path.path.id)
    for law in LAWS:
        settings = fit_settings(law=law, set="*", fit=ids, bootstrap_samples=0, extrapolate=True)
        fit = fit_paths(ladder.view, settings, patterns=ids).fit
        for (version, alpha, shape), one in ladder.branches.items():
            other = ladder.branches.get((version, alpha, "one_minus_sqrt"))
            if shape == "linear" and other is not None:
                said = [
                    float(fit.predict(ladder.view.planned(b.path), extrapolate=True).losses_P[-1]) for b in (other, one)
                ]
                yield [law, version, alpha, f"{other.loss - one.loss:.5f}", f"{said[0] - said[1]:.5f}"]


def write(name: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with (HERE / name).open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([f"{cell:.5g}" if isinstance(cell, float) else cell for cell in row] for row in rows)


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    outputs = Path(sys.argv[1])
    names = sys.argv[2:] or sorted(path.name for path in outputs.glob("ladder_*") if path.is_dir())
    rows, bare, pairs = [], [], []
    for name in names:
        try:
            ladder = Ladder.of(Study.existing(outputs, name))
            rows += [[name, *row] for row in by_laws(ladder)]
            bare += [[name, *row] for row in without_law(ladder)]
            pairs += [[name, *row] for row in shapes(ladder)]
        except (LrpathError, KeyError) as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    header = ["study", "fitted", "law", "version", "best_alpha", "regret", "cheapest_alpha", "its_regret",
              "inside", "of", "worst_error", "reasons_against_advice"]  # fmt: skip
    write("ladders.csv", header, [*rows, *([*row, *[""] * 6] for row in bare)])
    write("shapes.csv", ["study", "law", "version", "alpha", "observed", "predicted"], pairs)
    summary = []
    for fitted, law in dict.fromkeys((row[1], row[2]) for row in [*rows, *bare]):
        some = [row for row in [*rows, *bare] if (row[1], row[2]) == (fitted, law)]
        regrets = [float(str(row[5])) for row in some]
        inside = [(row[8], row[9]) for row in some if len(row) > 9]
        held = sum(int(str(one)) for one, _ in inside) / max(sum(int(str(of)) for _, of in inside), 1)
        near = statistics.fmean(regret <= NEAR for regret in regrets)
        summary.append([fitted, law, len(some), statistics.fmean(regrets), max(regrets), near, held if inside else ""])
    write("ladders_summary.csv", ["fitted", "law", "choices", "mean_regret", "worst", "within_005", "inside"], summary)
    signs = {law: [float(row[4]) * float(row[5]) > 0 for row in pairs if row[1] == law] for law in LAWS}
    for row in summary:
        print(*(f"{cell:.4f}" if isinstance(cell, float) else cell for cell in row), sep=" | ")
    for law, right in signs.items():
        print(f"sign of 1 − sqrt against linear, {law}: {sum(right)} of {len(right)}")


if __name__ == "__main__":
    main()
