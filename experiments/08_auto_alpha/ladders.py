"""What each way to choose α costs on the ladders of `ladders.sh`, and how often intervals hold.

    OMP_NUM_THREADS=1 python experiments/08_auto_alpha/ladders.py OUTPUTS [STUDY …]

A study that lacks a branch with 1 − sqrt, or the averages, is left out; straight lines are taken where they are there.
What has been worked out for a study is kept in outputs/ladders_known of this repository, and not worked out again until
it has more branches; delete it after a change of the law. Writes beside itself

- ladders_choices.csv   a row for each choice: its α, and its regret, the loss there less the least of the eight α
- ladders_summary.csv   regret by the way to choose
- ladders_coverage.csv  the share of branches that were not fitted whose last loss lies in its interval
- ladders_shapes.csv    the sign of 1 − sqrt less linear at equal length, observed and by each law
- ladders.md            the tables of the summary, the coverage and the signs, for people
- ladders.png           regrets by way, and errors of predicted last losses
"""

import csv
import json
import math
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from lrpath.config.laws import fit_settings
from lrpath.errors import LrpathError
from lrpath.laws.curves import Curve
from lrpath.laws.intervals import annealing_gain, conformal_width
from lrpath.laws.loss_view import LossView
from lrpath.laws.path_curves import paths_of
from lrpath.laws.path_fit import fit_paths
from lrpath.laws.probes import ObservedBranch, averages, fit_parabola, observed_branches
from lrpath.records.study import Study

HERE = Path(__file__).parent
LAWS = {
    "last_iterate": ("last_iterate", None),
    "multi_power": ("multi_power", None),
    "annealing": ("annealing", None),
    "chinchilla": ("chinchilla", None),
    "last_iterate, ζ=.05": ("last_iterate", {"rho": 0.8, "zeta": 0.05}),
}
"""Law and what is given, by label; the last was the default when the expectations were written."""
FITTED = {
    "one short (v2 α=.2)": [("v2", 0.2)],
    "one long (v2 α=.8)": [("v2", 0.8)],
    "two (v2 α=.1, .6)": [("v2", 0.1), ("v2", 0.6)],
}
SQRT, LINEAR = "one_minus_sqrt", "linear"
WHOLE = 4 * 8 - 1
"""Branches with 1 − sqrt of a complete ladder: v1's longest is .8, twice."""
PARABOLA = (0.1, 0.4, 1.0)
NEAR = 0.005
CHOSEN_ON = ("ladder_mini_python_1", "ladder_mini_other_1")
"""Ladders that were looked at when the default rule and the margins were settled; all others are the test."""
LEVEL = fit_settings().level
MARGINS = ((fit_settings().margin, fit_settings().gain_margin), (0.0, 0.0), (0.015, 0.0), (0.03, 0.0), (0.0075, 0.1),
           (0.0075, 0.2))  # fmt: skip
"""Margins of intervals and shares of the predicted gain of annealing: first the product's, then others."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Ladder:
    """The branches of one study: losses by version, α and shape, and the paths."""

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
        sizes = {version: ends[version] - ends.get(f"v{int(version[1:]) - 1}", 0) for version in sorted(ends)}
        found = {(one.version, round(one.alpha, 2), one.shape): one for one in observed_branches(view, sizes)}
        return cls(view, main, found, sizes)

    def losses(self, version: str) -> dict[float, float]:
        return {alpha: one.loss for (v, alpha, s), one in sorted(self.branches.items()) if (v, s) == (version, SQRT)}

    def nearest(self, version: str, alpha: float) -> float:
        return min(self.losses(version), key=lambda one: abs(math.log(one / alpha)))

    def regret(self, version: str, alpha: float) -> float:
        losses = self.losses(version)
        return losses[self.nearest(version, alpha)] - min(losses.values())

    def end(self, one: ObservedBranch) -> Curve:
        """Return the rates of a branch, asked for at its end alone."""
        return self.view.planned(one.path).between(one.path.end)


def worked_out(ladder: Ladder) -> dict[str, list[Row]]:
    """Return choices, predictions and shapes of a study."""
    choices, predictions = list(without_law(ladder)), []
    for text, fitted in FITTED.items():
        ids = (ladder.main, *(ladder.branches[v, a, SQRT].path.path.id for v, a in fitted))
        for law, (name, fixed) in LAWS.items():
            samples = 200 if law == "last_iterate" else 0
            settings = fit_settings(
                law=name, fixed=fixed, set="*", fit=ids, bootstrap_samples=samples, extrapolate=True
            )
            found = fit_paths(ladder.view, settings, patterns=ids)
            rule = replace(found.rule(settings), margin=0.0, gain_margin=0.0)
            for (version, alpha, shape), one in ladder.branches.items():
                curve = ladder.end(one)
                losses, low, high = rule.around(found.fit, curve)
                predictions.append(
                    {
                        "fitted": text, "law": law, "version": version, "alpha": alpha, "shape": shape,
                        "is_fitted": one.path.path.id in ids, "observed": one.loss, "predicted": float(losses[-1]),
                        "low": float(low[-1]), "high": float(high[-1]),
                        "gain": float(annealing_gain(found.fit, curve, losses)[-1]),
                        "reasons_against": "; ".join(found.reasons_against_advice),
                    }
                )  # fmt: skip
        choices += by_laws(ladder, text, [row for row in predictions if row["fitted"] == text])
    return {"choices": choices, "predictions": predictions}


def by_laws(ladder: Ladder, text: str, predictions: Sequence[Row]) -> Iterator[Row]:
    for version in ladder.increments:
        best = {}
        for law in LAWS:
            predicted = {
                row["alpha"]: row["predicted"]
                for row in predictions
                if (row["law"], row["version"], row["shape"]) == (law, version, SQRT)
            }
            best[law] = min(predicted, key=lambda alpha: predicted[alpha])
            yield choice(ladder, text, f"{law}, its best", version, best[law])
            cheapest = min(alpha for alpha, loss in predicted.items() if loss <= predicted[best[law]] + NEAR)
            yield choice(ladder, text, f"{law}, shortest within .005", version, cheapest)
        middle = math.sqrt(best["last_iterate"] * best["multi_power"])
        yield choice(ladder, text, "middle of last_iterate and multi_power", version, middle)


def choice(ladder: Ladder, fitted: str, way: str, version: str, alpha: float) -> Row:
    nearest = ladder.nearest(version, alpha)
    return {
        "fitted": fitted, "way": way, "version": version, "alpha": round(alpha, 4), "nearest": nearest,
        "updates": round(nearest * ladder.increments[version]), "regret": ladder.regret(version, alpha),
    }  # fmt: skip


def without_law(ladder: Ladder) -> Iterator[Row]:
    totals, so_far = {}, 0
    for version, size in ladder.increments.items():
        totals[version] = so_far = so_far + size
    first = ladder.losses("v2")
    found = fit_parabola(list(PARABOLA), [first[alpha] for alpha in PARABOLA])
    share = (found[0] if found else min(first, key=lambda a: first[a])) * ladder.increments["v2"] / totals["v2"]
    window: dict[str, Any] = {}
    for one in averages(ladder.view):
        best = window.get(one.version)
        window[one.version] = one if best is None or one.loss < best.loss else best
    for version, size in ladder.increments.items():
        yield choice(ladder, "three (v2 α=.1, .4, 1)", "parabola, its share", version, share * totals[version] / size)
        yield choice(ladder, "none", "always α=.6", version, 0.6)
        for always in (0.2, 0.25):
            yield choice(ladder, "none", f"always a share of {always:g}", version, always * totals[version] / size)
        if version in window:  # a mean over a window has the mean age of a linear decay over twice as long
            alpha = 2 * window[version].window * totals[version] / size
            yield choice(ladder, "none", "averages, twice the best window", version, alpha)


def summary_of(choices: Sequence[Row]) -> Iterator[Row]:
    """Yield regrets by way to choose, and how often they are within the aim: at all, from v2 on, and on the test."""
    for fitted, way in dict.fromkeys((row["fitted"], row["way"]) for row in choices):
        some = [row for row in choices if (row["fitted"], row["way"]) == (fitted, way)]
        regrets = [row["regret"] for row in some]
        near = statistics.fmean(regret <= NEAR for regret in regrets)
        later = statistics.fmean(row["regret"] <= NEAR for row in some if row["version"] != "v1")
        test = [row["regret"] <= NEAR for row in some if row["study"] not in CHOSEN_ON]
        yield {
            "fitted": fitted, "way": way, "choices": len(some), "mean_regret": statistics.fmean(regrets),
            "worst": max(regrets), "within_005": near, "within_005_v2_to_v4": later,
            "of_the_test": len(test), "within_005_test": statistics.fmean(test) if test else "",
            "mean_alpha": statistics.fmean(row["nearest"] for row in some),
        }  # fmt: skip


def coverage_of(predictions: Mapping[str, Sequence[Row]]) -> Iterator[Row]:
    """Yield shares of the branches that were not fitted whose loss lies in an interval of the last-iterate law.

    Intervals are the product's, and conformal ones: as wide as the errors of all branches of the other ladders are, and
    of the study's own branches of earlier versions.
    """
    kinds = ("text", "size", "fitted", "version", "chosen on", "all")
    found: dict[tuple[str, str, str], list[bool]] = {}
    for study, rows in predictions.items():
        mine = [row for row in rows if row["law"] == "last_iterate" and not row["is_fitted"]]
        for row in mine:
            _, size, text, _ = study.split("_")
            error = abs(row["predicted"] - row["observed"])
            inside = {}
            for margin, share in MARGINS:
                width = margin + share * row["gain"]
                name = f"two laws ± {margin:g}" + (f" ± {share:g} of the gain" if share else "")
                inside[name] = row["low"] - width <= row["observed"] <= row["high"] + width
            others = [
                abs(one["predicted"] - one["observed"])
                for other, ones in predictions.items()
                if other != study and other.split("_")[2] != text
                for one in ones
                if one["law"] == "last_iterate" and not one["is_fitted"] and one["fitted"] == row["fitted"]
            ]
            if others:
                inside["errors of the ladders on the other text"] = error <= conformal_width(others, level=LEVEL)
            earlier = [
                abs(one["predicted"] - one["observed"])
                for one in mine
                if one["fitted"] == row["fitted"] and one["version"] < row["version"]
            ]
            if len(earlier) > 9:
                width = conformal_width(earlier, level=LEVEL)
                inside["errors of this ladder's earlier versions"] = error <= width
            seen = "yes" if study in CHOSEN_ON else "no"
            groups = dict(zip(kinds, (text, size, row["fitted"], row["version"], seen, "all"), strict=True))
            for interval, holds in inside.items():
                for kind, value in groups.items():
                    found.setdefault((interval, kind, value), []).append(holds)
    for (interval, kind, value), held in found.items():
        yield {
            "interval": interval, "by": kind, "value": value, "branches": len(held), "inside": statistics.fmean(held),
        }  # fmt: skip


def shapes_of(predictions: Mapping[str, Sequence[Row]]) -> Iterator[Row]:
    """Yield 1 − sqrt less linear at equal length, observed and predicted from one short branch."""
    for study, rows in predictions.items():
        some = {
            (r["law"], r["version"], r["alpha"], r["shape"]): r for r in rows if r["fitted"].startswith("one short")
        }
        for (law, version, alpha, shape), row in some.items():
            other = some.get((law, version, alpha, SQRT))
            if shape == LINEAR and other is not None:
                yield {
                    "study": study, "law": law, "version": version, "alpha": alpha,
                    "observed": other["observed"] - row["observed"], "predicted": other["predicted"] - row["predicted"],
                }  # fmt: skip


def draw(choices: Sequence[Row], predictions: Mapping[str, Sequence[Row]]) -> None:
    ways = [key for key in dict.fromkeys((r["way"], r["fitted"]) for r in choices) if "annealing" not in key[0]]
    figure = Figure(figsize=(12, 7), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    for number, (way, fitted) in enumerate(reversed(ways)):
        regrets = [row["regret"] for row in choices if (row["way"], row["fitted"]) == (way, fitted)]
        left.plot(regrets, [number] * len(regrets), "o", markersize=3, alpha=0.5, color="#0072B2")
        left.plot(statistics.fmean(regrets), number, "|", markersize=14, color="black")
    left.set_yticks(range(len(ways)), [f"{way}; {fitted}" for way, fitted in reversed(ways)], fontsize=7)
    left.axvline(NEAR, color="#D55E00", linewidth=1)
    left.set_xscale("symlog", linthresh=0.001)
    left.set_xlabel("regret [nats]: dots are choices, bars their means, the line is the aim")
    for law, colour in (("last_iterate", "#009E73"), ("multi_power", "#0072B2"), ("annealing", "#D55E00")):
        some = [
            row
            for rows in predictions.values()
            for row in rows
            if row["law"] == law and row["fitted"].startswith("one short") and row["shape"] == SQRT
        ]
        alphas = [row["alpha"] for row in some]
        right.plot(alphas, [r["predicted"] - r["observed"] for r in some], "o", markersize=3, color=colour, label=law)
    right.axhline(0, color="black", linewidth=0.5)
    right.set_xscale("log")
    right.set_xlabel("α")
    right.set_ylabel("predicted − observed last loss [nats], one short branch fitted")
    right.legend(fontsize=8)
    figure.savefig(HERE / "ladders.png", dpi=110)


def write(name: str, rows: Sequence[Row]) -> None:
    with (HERE / name).open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(rows[0])
        for row in rows:
            writer.writerow([f"{cell:.5g}" if isinstance(cell, float) else cell for cell in row.values()])


def as_markdown(names: Sequence[str], summary: Sequence[Row], coverage: Sequence[Row], shapes: Sequence[Row]) -> str:
    """Return what people look at first: regrets, coverage and signs of shapes as tables."""
    lines = [f"{len(names)} ladders: {', '.join(names)}. Made by ladders.py.", ""]
    lines += ["| way to choose | fitted | mean regret | worst | within .005 | of those not looked at before | mean α |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for row in summary:
        test = f"{row['within_005_test']:.0%} of {row['of_the_test']}" if row["of_the_test"] else "none"
        lines.append(
            f"| {row['way']} | {row['fitted']} | {row['mean_regret']:.4f} | {row['worst']:.4f} | "
            f"{row['within_005']:.0%} of {row['choices']} | {test} | {row['mean_alpha']:.2f} |"
        )
    lines += ["", "| interval | by | value | branches | inside |", "|---|---|---|---|---|"]
    for row in coverage:
        lines.append("| " + " | ".join(map(str, list(row.values())[:-1])) + f" | {row['inside']:.0%} |")
    lines += ["", "| law | sign of 1 − sqrt less linear right |", "|---|---|"]
    for law in LAWS:
        right = [row["observed"] * row["predicted"] > 0 for row in shapes if row["law"] == law]
        lines.append(f"| {law} | {sum(right)} of {len(right)} |")
    return "\n".join(lines) + "\n"


def known(outputs: Path, name: str) -> dict[str, list[Row]] | None:
    """Return what has been worked out for a study, now or before; None if it is not complete."""
    kept = HERE.parents[1] / "outputs" / "ladders_known" / f"{name}.json"
    try:
        ladder = Ladder.of(Study.existing(outputs, name))
        count = sum(shape == SQRT for _, _, shape in ladder.branches)
        if count < WHOLE or not averages(ladder.view):
            print(f"{name} is left out: {count} of {WHOLE} branches", file=sys.stderr)
            return None
        if kept.exists():
            before = json.loads(kept.read_text(encoding="utf-8"))
            if len(before["predictions"]) == len(ladder.branches) * len(FITTED) * len(LAWS):
                return before
        found = worked_out(ladder)
    except (LrpathError, KeyError, ValueError) as error:
        print(f"{name} is left out: {error}", file=sys.stderr)
        return None
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(json.dumps(found, indent=0), encoding="utf-8")
    return found


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    outputs = Path(sys.argv[1])
    names = sys.argv[2:] or sorted(path.name for path in outputs.glob("ladder_*") if path.is_dir())
    every = {name: found for name in names if (found := known(outputs, name)) is not None}
    predictions = {name: found["predictions"] for name, found in every.items()}
    choices = [{"study": name, **row} for name, found in every.items() for row in found["choices"]]
    summary, coverage, shapes = list(summary_of(choices)), list(coverage_of(predictions)), list(shapes_of(predictions))
    write("ladders_choices.csv", choices)
    write("ladders_summary.csv", summary)
    write("ladders_coverage.csv", coverage)
    write("ladders_shapes.csv", shapes)
    draw(choices, predictions)
    text = as_markdown(list(every), summary, coverage, shapes)
    (HERE / "ladders.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
