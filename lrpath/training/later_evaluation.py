"""Evaluates states after their training: on the held-out text of a later version, or more often than was asked for.

The rows stand in a table of their own beside the path's, which belongs to the runs that wrote it: states keep digests
of that one.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import torch

from lrpath.analysis.compare import read_plans
from lrpath.planning.paths import Recipe, Release, StateKey
from lrpath.records.held_out import HeldOutSet, SetName
from lrpath.records.path_folder import PathFolder
from lrpath.records.study import Study
from lrpath.records.tables import EvaluationRow
from lrpath.training.checkpoints.releases import load_release
from lrpath.training.evaluation import HeldOutSets, evaluate


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterEvaluation:
    """One state that lacks its loss on some held-out sets.

    Args:
        folder: The path's folder.
        position: The state's position.
        lacking: The sets.
    """

    folder: PathFolder
    position: int
    lacking: frozenset[SetName]


def lacking_evaluations(
    study: Study, *, recipe: Recipe, sets: Collection[SetName], every_state: bool
) -> list[LaterEvaluation]:
    """Return the states on disk that lack the loss on some sets, and whose model reads the same tokens.

    Args:
        study: The study.
        recipe: What the held-out sets are given for: paths of another tokenizer or window are left out.
        sets: The sets.
        every_state: Whether all states count, not only those that releases are made of.
    """
    released = {key for plan in read_plans(study) for release in plan.tree.releases for key, _ in release.parts}
    return [
        LaterEvaluation(folder=folder, position=position, lacking=frozenset(lacking))
        for folder in _alike(study, recipe)
        for position in folder.positions()
        if every_state or StateKey(folder.path_id, position) in released
        if (lacking := set(sets) - {row.held_out for row in folder.evaluations() if row.position == position})
    ]


def _alike(study: Study, recipe: Recipe) -> Iterator[PathFolder]:
    record = recipe.as_record()
    for folder in study.folders():
        known = folder.recipe()
        if all(known.get(name) == record[name] for name in ("data", "tokens_per_sequence")):
            yield folder


def evaluate_later(
    study: Study,
    wanted: Collection[LaterEvaluation],
    *,
    held_out: HeldOutSets,
    described: dict[SetName, HeldOutSet],
    device: torch.device,
    show: Callable[[str], None],
) -> None:
    """Evaluate states and append what they lack; one that is killed goes on with the next state.

    Args:
        study: The study.
        wanted: States, and what they lack.
        held_out: Windows of every set.
        described: Digest and sizes of every set.
        device: Where to evaluate.
        show: Told of every state before it is loaded.

    Raises:
        MismatchError: If a path was evaluated on other tokens under the name of a set.
        BusyError: If a path is being trained.
        StateError: If a state was altered.
    """
    study.held_out.add({one.folder.path_id for one in wanted}, described)
    for number, one in enumerate(wanted, start=1):
        show(f"[{number}/{len(wanted)}] {one.folder.folder.name} at {one.position:,}")
        sets = {name: windows_NL for name, windows_NL in held_out.items() if name in one.lacking}
        with one.folder.lock():
            key = StateKey(one.folder.path_id, one.position)
            model = load_release(study, Release(paradigm="state", version=str(one.position), parts=((key, 1.0),)))
            found = evaluate(model.to(device), sets, device=device, precision=one.folder.recipe()["precision"])
            one.folder.later_evaluation.cut(10**18 - 1)  # a row that a kill left incomplete
            one.folder.later_evaluation.append(
                EvaluationRow(position=one.position, version=version, domain=domain, nll=nll, tokens=tokens)
                for (version, domain), (nll, tokens) in found.items()
            )
