"""Evaluates states after their training: on the held-out text of a later version, or more often than was asked for.

The rows stand in a table of their own beside the path's, which belongs to the runs that wrote it: states keep digests
of that one. This one has its digest in a file beside it, which is gone while it is written.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

import torch

from lrpath.analysis.compare import read_plans
from lrpath.models import CausalLM
from lrpath.planning.paths import Release, StateKey
from lrpath.planning.recipe import Recipe
from lrpath.records.document_losses import read_document_losses
from lrpath.records.files import DIGEST_SUFFIX, check_digest_beside, digest_file, write_whole
from lrpath.records.held_out import HeldOutSet, SetName
from lrpath.records.path_folder import PathFolder
from lrpath.records.row_digests import rewrite_documents
from lrpath.records.rows import EvaluationRow
from lrpath.records.study import Study
from lrpath.training.checkpoints.releases import OwnModels, load_release
from lrpath.training.document_losses import DocumentSets, evaluate_documents
from lrpath.training.evaluation import HeldOutSets, evaluate


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterEvaluation:
    """One state that lacks its loss on some held-out sets.

    Args:
        folder: The path's folder.
        position: The state's position.
        lacking: The sets.
        documents: Sets, by split, version and domain, that lack the losses of their documents.
    """

    folder: PathFolder
    position: int
    lacking: frozenset[SetName]
    documents: frozenset[tuple[str, str, str]]


def lacking_evaluations(
    study: Study,
    *,
    recipe: Recipe,
    sets: Mapping[SetName, HeldOutSet],
    documents: Collection[tuple[str, str, str]],
    every_state: bool,
) -> list[LaterEvaluation]:
    """Return the states on disk that lack the loss on some sets, and whose model reads the same tokens.

    Args:
        study: The study.
        recipe: What the held-out sets are given for: paths of another tokenizer or window are left out.
        sets: Digest and sizes of every set.
        documents: The sets whose documents have losses of their own, which releases alone have.
        every_state: Whether all states count, not only those that releases are made of.

    Raises:
        MismatchError: If a path was evaluated on other tokens under the name of a set: its losses are not those asked
            for. Where a version has other data in plans of the study, a path keeps what it was evaluated on.
    """
    released = {key for plan in read_plans(study) for release in plan.tree.releases for key, _ in release.parts}
    alike, found = list(_alike(study, recipe)), []
    study.held_out.check([one.path_id for one in alike], sets, exchanged=study.exchanged_versions())
    for folder in alike:
        rows = folder.evaluations()
        for position in folder.positions():
            is_release = StateKey(folder.path_id, position) in released
            if is_release or every_state:
                known = {row.held_out for row in rows if row.position == position}
                read = read_document_losses(folder.document_losses(position)) if is_release else []
                by_document = {(one.split, one.version, one.domain) for one in read}
                found.append(
                    LaterEvaluation(
                        folder=folder,
                        position=position,
                        lacking=frozenset(set(sets) - known),
                        documents=frozenset(set(documents) - by_document) if is_release else frozenset(),
                    )
                )
    return [one for one in found if one.lacking or one.documents]


def _alike(study: Study, recipe: Recipe) -> Iterator[PathFolder]:
    record = recipe.as_record()
    for folder in study.folders():
        known = folder.recipe()
        if all(known.get(name) == record[name] for name in ("data", "tokens_per_sequence")):
            yield folder


def evaluate_later(  # noqa: PLR0913  what an evaluation may be told
    study: Study,
    wanted: Collection[LaterEvaluation],
    *,
    held_out: HeldOutSets,
    documents: DocumentSets,
    described: dict[SetName, HeldOutSet],
    device: torch.device,
    show: Callable[[str], None],
    own_models: OwnModels | None = None,
) -> None:
    """Evaluate states and append what they lack; one that is killed goes on with the next state.

    Args:
        study: The study.
        wanted: States, and what they lack.
        held_out: Windows of every set.
        documents: Windows of every set and split, with their documents.
        described: Digest and sizes of every set.
        device: Where to evaluate.
        show: Told of every state before it is loaded.
        own_models: Makes models of your own.

    Raises:
        MismatchError: If a path was evaluated on other tokens under the name of a set.
        BusyError: If a path is being trained.
        StateError: If a state was altered.
    """
    study.held_out.add({one.folder.path_id for one in wanted}, described)
    for number, one in enumerate(wanted, start=1):
        show(f"[{number}/{len(wanted)}] {one.folder.folder.name} at {one.position:,}")
        with one.folder.lock():
            key = StateKey(one.folder.path_id, one.position)
            release = Release(paradigm="state", version=str(one.position), parts=((key, 1.0),))
            model = load_release(study, release, own_models=own_models)
            _evaluate(one, model.to(device), held_out, documents, device=device)


def _evaluate(
    one: LaterEvaluation, model: CausalLM, held_out: HeldOutSets, documents: DocumentSets, *, device: torch.device
) -> None:
    precision = one.folder.recipe()["precision"]
    sets = {name: windows_NL for name, windows_NL in held_out.items() if name in one.lacking}
    if sets:
        found = evaluate(model, sets, device=device, precision=precision)
        digest = one.folder.later_evaluation.file.with_suffix(DIGEST_SUFFIX)
        check_digest_beside(one.folder.later_evaluation.file)
        digest.unlink(missing_ok=True)
        one.folder.later_evaluation.cut(10**18 - 1)  # a row that a kill left incomplete
        one.folder.later_evaluation.append(
            EvaluationRow(position=one.position, version=version, domain=domain, nll=nll, tokens=tokens)
            for (version, domain), (nll, tokens) in found.items()
        )
        write_whole(digest, digest_file(one.folder.later_evaluation.file) + "\n")
    wanted = {name: documents[name] for name in sorted(one.documents)}
    if wanted:
        file = one.folder.document_losses(one.position)
        losses = evaluate_documents(model, wanted, device=device, precision=precision)
        rewrite_documents(one.folder, one.position, [*read_document_losses(file), *losses])
