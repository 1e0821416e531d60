"""Studies whose losses follow a law exactly but for a little noise, written as training would, without training."""

import pathlib
from collections.abc import Collection, Mapping

import numpy as np

from lrpath.laws.law import AnnealingLaw, Law
from lrpath.laws.path_curves import plan_path, with_shift
from lrpath.planning.paths import Tree
from lrpath.planning.plan import Plan
from lrpath.records.rows import EvaluationRow, MetricsRow
from lrpath.records.study import Study

TRUE = {"L0": 2.6, "A": 0.9, "alpha": 0.5, "C": 0.006, "lambda": 0.98}
NOISE = 2e-4


def losses_of(
    tree: Tree, path_id: str, law: Law, values: Mapping[str, float], *, old: Collection[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return positions and losses of a path by a law, with noise of a seed of its own."""
    curve = plan_path(tree=tree, path_id=path_id)
    if old is not None:
        curve = with_shift(curve, tree=tree, path_id=path_id, old=old)
    noise = np.random.default_rng(int(path_id.removeprefix("~"), 16)).normal(0.0, NOISE, curve.positions_P.size)
    return curve.positions_P, law.predict(values, curve=curve) * np.exp(noise)


def write_metrics(
    study: Study, plan: Plan, names: Collection[str], *, law: Law | None = None, values: Mapping[str, float] = TRUE
) -> None:
    """Write the training losses of some paths of a plan by a law."""
    tree = plan.tree
    for path in tree.paths:
        if path.name in names:
            positions, losses = losses_of(tree, path.id, law or AnnealingLaw(), values)
            rows = [
                MetricsRow(int(at), float(loss), tree.rate(path.id, int(at) - 1), 1.0, 8 * int(at))
                for at, loss in zip(positions, losses, strict=True)
            ]
            study.open(path).metrics.append(rows)


def write_evaluations(
    study: Study,
    plan: Plan,
    names: Collection[str],
    *,
    sets: Mapping[tuple[str, str], tuple[Law, Mapping[str, float]]],
    every: int = 4,
    old: Collection[str] | None = None,
) -> None:
    """Write held-out losses of some paths on sets by (version, domain), each by a law of its own."""
    for path in plan.tree.paths:
        if path.name in names:
            rows = []
            for (version, domain), (law, values) in sets.items():
                positions, losses = losses_of(plan.tree, path.id, law, values, old=old)
                rows += [
                    EvaluationRow(int(at), version, domain, 100 * float(loss), 100)
                    for at, loss in zip(positions, losses, strict=True)
                    if at % every == 0 or at == positions[-1]
                ]
            study.open(path).evaluation.append(sorted(rows))


def study_in(folder: pathlib.Path, plan: Plan, name: str = "toy") -> Study:
    """Return a study that keeps a plan and has run nothing."""
    study = Study(folder / name)
    study.save_plan(plan.as_record())
    return study
