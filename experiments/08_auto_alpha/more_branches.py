"""After the fact: what would other short spendings have told? Reads outputs/auto_alpha_truth; prints a Markdown table.

OMP_NUM_THREADS=1 python experiments/08_auto_alpha/more_branches.py
"""

import statistics
from pathlib import Path

from lrpath.config.laws import fit_settings
from lrpath.laws.loss_view import LossView
from lrpath.laws.path_curves import NamedPath, choose_paths, paths_of
from lrpath.laws.path_fit import fit_paths
from lrpath.laws.prediction import predict_paths
from lrpath.records.study import Study

ALPHAS = {38: 0.1, 76: 0.2, 114: 0.3, 152: 0.4, 228: 0.6, 304: 0.8, 380: 1.0}
FITTED = {
    "v2 α=.2": [("v2", 0.2)],
    "v2, v3 α=.2": [("v2", 0.2), ("v3", 0.2)],
    "v2 α=.2, .4": [("v2", 0.2), ("v2", 0.4)],
    "v2 α=.1, .6": [("v2", 0.1), ("v2", 0.6)],
    "v2 α=1": [("v2", 1.0)],
}


def main() -> None:
    study = Study(Path("outputs/auto_alpha_truth"))
    every = paths_of(study)
    cosine = [path for path in every if path.path.schedule.pieces[0].shape == "cosine" and path.releases != ("v1",)]
    by_choice: dict[tuple[str, float], NamedPath] = {
        (path.releases[0], ALPHAS[path.end - path.path.start]): path for path in cosine
    }
    (main_path,) = choose_paths(every, ["main"], field="fit")
    print("| fitted besides the main path | branch updates | law | RMS error at the end | best α predicted | τ |")
    print("|---|---|---|---|---|---|")
    for text, choices in FITTED.items():
        ids = (main_path.path.id, *(by_choice[choice].path.id for choice in choices))
        for law in ("last_iterate", "annealing", "multi_power"):
            settings = fit_settings(law=law, set="*", fit=ids, bootstrap_samples=0, extrapolate=True)
            view = LossView.of(study, settings)
            rest = [path for choice, path in by_choice.items() if choice not in choices]
            starts = {path.name: path.path.start for path in rest}
            found = predict_paths(fit_paths(view, settings, patterns=ids), view, rest, settings)
            errors, best = [], []
            for version in ("v2", "v3", "v4"):
                some = [one for one in found.predictions if one.releases == (version,)]
                errors.append(statistics.fmean(one.errors.last**2 for one in some if one.errors) ** 0.5)
                least = min(some, key=lambda one: one.final[1])
                best.append(f"{ALPHAS[least.end - starts[least.name]]:g}")
            updates = sum(round(380 * alpha) for _, alpha in choices)
            shown = " / ".join(f"{error:.3f}" for error in errors)
            print(f"| {text} | {updates} | {law} | {shown} | {', '.join(best)} | {found.ranking.tau:.2f} |")


if __name__ == "__main__":
    main()
