"""Says, without torch, whether nothing is left to do for a plan, so that a finished plan need not import it.

Importing torch and Lightning takes several times as long as finding out. Whatever is unusual (several ranks, a run that
was killed, a state to be removed, data that differ) counts as unfinished: the plan runner then does or refuses it.
"""

import os
from typing import TYPE_CHECKING

from lrpath.analysis.scores import release_folder
from lrpath.assembly.held_out import held_out_sets
from lrpath.assembly.project import Project
from lrpath.data.stream import compare_readings
from lrpath.planning.paths import StateKey
from lrpath.records.manifest import read_manifest
from lrpath.records.path_folder import oldest_spared
from lrpath.records.rows import EvaluationRow
from lrpath.records.study import Study
from lrpath.records.tables import Table
from lrpath.training.checkpoints.retention import check_releases, pinned_states

if TYPE_CHECKING:
    from lrpath.data.prepare import PreparationProgress


def is_finished(project: Project, *, progress: "PreparationProgress | None" = None) -> bool:
    """Say whether every state, evaluation and table of a project's plan is there, made from the data that it names.

    Raises:
        DataError: As `Project.prepare`, which opens the token store.
        StateError: If a state that a release is made of was altered.
    """
    study, tree = project.study, project.plan.tree
    if project.config.strategy.name != "single" or os.environ.get("WORLD_SIZE", "1") != "1":
        return False
    if not project.is_kept or not all(study.has_state(key) for key in tree.states()):
        return False
    if _is_untidy(study, project):
        return False
    store = project.prepare(progress)
    for path in tree.paths:
        folder, expected = study.find(path.id), project.batches(path, store=store).readings(path.start)
        for position in tree.needed(path.id):
            read = None if folder is None else read_manifest(folder.state(position)).get("read")
            if not isinstance(read, dict) or compare_readings(expected.until(position), read):
                return False
    held_out = held_out_sets(project, store)
    sizes = {key: windows_NL[:, 1:].size for key, windows_NL in held_out.items()}
    if not _is_evaluated(study, project, sizes):
        return False
    check_releases(study, tree)
    return True


def _is_untidy(study: Study, project: Project) -> bool:
    """Say whether a killed run has still to be counted, or a state that nobody needs to be removed."""
    tree = project.plan.tree
    pinned = pinned_states(study, tree)
    for path in tree.paths:
        folder = study.find(path.id)
        if folder is None or (folder.folder / "running.json").exists() or folder.is_ahead():
            return True
        existing, end = folder.positions(), tree.end(path.id)
        spared = oldest_spared(existing, keep=project.config.cadence.keep) if path.schedule.end is None else end
        if any(StateKey(path.id, position) not in pinned and position < min(end, spared) for position in existing):
            return True
    return False


def _is_evaluated(study: Study, project: Project, sizes: dict[tuple[str, str], int]) -> bool:
    """Say whether all releases have losses, on held-out sets of the sizes that these have now.

    A state is evaluated while it is trained, on the sets that there were then; a mean of states on all that there are.
    """
    for release in project.plan.tree.releases:
        is_mean, folder = len(release.parts) > 1, study.find(release.last.path_id)
        if is_mean or folder is None:
            table = Table(release_folder(study, release=release) / "evaluation.csv", EvaluationRow)
        else:
            table = folder.evaluation
        tokens = {row.held_out: row.tokens for row in table.rows() if row.position == release.last.position}
        if not tokens or any(sizes.get(key, size) != size for key, size in tokens.items()):
            return False
        if is_mean and set(tokens) != set(sizes):
            return False
    return True
