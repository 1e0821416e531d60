"""Show 5: on our own runs with a change of domain, fit on some schedules, predict the others, and rank them.

    OMP_NUM_THREADS=1 python experiments/07_laws/own_runs.py OUTPUTS [STUDY …]

OUTPUTS holds studies of `+exp=cpt_dynamics/… scale=mini`. Every schedule is predicted from a fit to all others of its
study (leave one out), on old data (v1) and new (v2), by three laws; named splits hold out several. The v1 path of a
schedule is left out with it unless another shares it. Writes own_runs.csv and own_summary.csv.
"""

import csv
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lrpath.analysis.compare import read_plans
from lrpath.config.laws import fit_settings
from lrpath.errors import LrpathError
from lrpath.laws.loss_view import LossView
from lrpath.laws.path_curves import NamedPath, has_losses, paths_of
from lrpath.laws.path_fit import fit_paths
from lrpath.laws.prediction import PredictedPaths, Ranking, predict_paths
from lrpath.records.study import Study

HERE = Path(__file__).parent
STUDIES = ("cpt_loss_potential_mini", "cpt_peak_lr_mini", "cpt_transfer_points_mini", "cpt_replay_mini")
LAWS = ("chinchilla", "annealing", "last_iterate", "continual", "shifted_last_iterate")
SETS = {"old": "v1", "new": "v2"}
SPLITS = {
    "cpt_loss_potential_mini": {"potentials 0, .5, 1": ("potential_0", "potential_50", "potential_100")},
    "cpt_peak_lr_mini": {"peaks ¼, 2": ("peak_quarter", "peak_double"), "peaks 1, 2": ("peak_same", "peak_double")},
    "cpt_transfer_points_mini": {"after ⅓, ⅔": ("after_1_third", "after_2_thirds")},
    "cpt_replay_mini": {"replays 0, .25, .75": ("replay_0", "replay_25", "replay_75")},
}
"""By study: name of a split, and the schedules that are fitted."""


@dataclass(frozen=True)
class Schedules:
    """A study's schedules: the paths of each, and the one that releases v2."""

    study: Study
    paths: dict[str, tuple[NamedPath, ...]]

    @classmethod
    def of(cls, study: Study) -> "Schedules":
        known = {path.path.id: path for path in paths_of(study)}
        found = {}
        for plan in read_plans(study):
            for label in plan.paradigms:
                paths = tuple(known[path.id] for path in plan.part(label).paths)
                if all(has_losses(study, path.path) for path in paths):
                    found[label] = paths
        return cls(study, found)

    def ids(self, labels: Sequence[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(path.path.id for label in labels for path in self.paths[label]))

    def last(self, label: str) -> NamedPath:
        return self.paths[label][-1]


def predicted(
    schedules: Schedules, law: str, domain: str, fitted: Sequence[str], asked: Sequence[str]
) -> PredictedPaths:
    ids = schedules.ids(fitted)
    fixed: dict[str, float] | None = {} if law in ("annealing", "continual") else None  # λ was free in the README
    settings = fit_settings(law=law, fixed=fixed, set=SETS[domain], fit=ids, bootstrap_samples=0, extrapolate=True)
    view = LossView.of(schedules.study, settings)
    paths = tuple(schedules.last(label) for label in asked)
    return predict_paths(fit_paths(view, settings, patterns=ids), view, paths, settings)


def tau(rows: Sequence[dict[str, object]]) -> Ranking:
    return Ranking.of([[(float(str(row["predicted"])), float(str(row["observed"]))) for row in rows]])


def rows_of(schedules: Schedules, law: str, domain: str, split: str, fitted: Sequence[str], asked: Sequence[str]):
    found = predicted(schedules, law, domain, fitted, asked)
    for label, one in zip(asked, found.predictions, strict=True):
        assert one.errors is not None
        yield {
            "study": schedules.study.name, "law": law, "set": domain, "split": split, "schedule": label,
            "predicted": f"{one.final[1]:.5f}", "observed": f"{one.observed_final:.5f}",
            "last": f"{one.errors.last:.5f}", "rmse": f"{one.errors.rmse:.5f}", "r2": f"{one.errors.r2:.4f}",
            "violations": "; ".join(one.violations), "not_identified": " ".join(found.fitted.fit.not_identified),
        }  # fmt: skip


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    outputs, names = Path(sys.argv[1]), sys.argv[2:] or [n for n in STUDIES if (Path(sys.argv[1]) / n).is_dir()]
    rows: list[dict[str, object]] = []
    summary: list[dict[str, object]] = []
    for name in names:
        schedules = Schedules.of(Study.existing(outputs, name))
        labels = list(schedules.paths)
        splits = {"leave one out": None} | SPLITS.get(name, {})
        for law in LAWS:
            for domain in SETS:
                for split, fitted in splits.items():
                    turns = [([o for o in labels if o != label], [label]) for label in labels]
                    if fitted is not None:
                        turns = [(list(fitted), [label for label in labels if label not in fitted])]
                    try:
                        some = [row for turn in turns for row in rows_of(schedules, law, domain, split, *turn)]
                    except (LrpathError, KeyError) as error:
                        print(f"{name}, {law}, {domain}, {split}: {error}")
                        continue
                    rows += some
                    ranking = tau(some)
                    summary.append(
                        {
                            "study": name, "law": law, "set": domain, "split": split, "schedules": len(some),
                            "rmse": f"{statistics.fmean(float(str(r['rmse'])) for r in some):.4f}",
                            "worst_last": f"{max((float(str(r['last'])) for r in some), key=abs):+.4f}",
                            "spread": f"{max(o := [float(str(r['observed'])) for r in some]) - min(o):.4f}",
                            "tau": f"{ranking.tau:.2f}", "pairs": ranking.right + ranking.wrong,
                        }
                    )  # fmt: skip
                    print(*summary[-1].values(), sep=" | ")
    for file, found in (("own_runs.csv", rows), ("own_summary.csv", summary)):
        with (HERE / file).open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, fieldnames=list(found[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(found)


if __name__ == "__main__":
    main()
