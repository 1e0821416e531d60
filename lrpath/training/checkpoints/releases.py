"""Turns releases into models: loads their state, or the weighted mean of several, and evaluates the latter."""

from collections.abc import Callable, Mapping

import torch
from torch import nn

from lrpath.analysis.scores import release_folder
from lrpath.errors import StateError
from lrpath.models import CausalLM, model_of
from lrpath.planning import optimizers
from lrpath.planning import recipe as recipes
from lrpath.planning.own_code import OWN
from lrpath.planning.paths import Release, StateKey
from lrpath.planning.recipe import Recipe
from lrpath.records.files import DIGEST_SUFFIX, digest_file, write_whole
from lrpath.records.lease import owned
from lrpath.records.manifest import check_made_here
from lrpath.records.path_folder import PathFolder
from lrpath.records.rows import EvaluationRow
from lrpath.records.study import Study
from lrpath.records.tables import Table
from lrpath.training.checkpoints.backbone import read_backbone
from lrpath.training.checkpoints.loading import load_state, read_tensors
from lrpath.training.evaluation import HeldOutSets, evaluate
from lrpath.training.optimizers import combined

OwnModels = Callable[[Recipe], CausalLM]
"""Makes the module of your own that states of a path are of: a study alone never imports code."""


def load_release(study: Study, release: Release, *, own_models: OwnModels | None = None) -> CausalLM:
    """Return the model of a release on the CPU; several states become their weighted mean, summed in float64.

    Args:
        study: Where the states are.
        release: The release.
        own_models: Makes models of your own; without it, only models of lrpath are loaded.

    Raises:
        StateError: If a state is missing or altered, or its path's folder says nothing of the model.
    """
    folders = folders_of(study, release)
    model = _empty_model(folders[0], own_models)
    sums: dict[str, torch.Tensor] = {}
    for (key, weight), folder in zip(release.parts, folders, strict=True):
        load_weights(model, folder, key)
        if len(release.parts) > 1:
            _add(sums, dict(model.named_parameters()), weight)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in sums:
                parameter.copy_(sums[name])
    return model


def load_weights(model: CausalLM, folder: PathFolder, key: StateKey) -> None:
    """Load the weights of a state that its path's optimizer releases, which are also those that are evaluated.

    Raises:
        StateError: If the state is missing, incomplete or altered, or was made for another model.
    """
    load_state(folder.fetched_state(key.position), key=key, module=model, optimizer=None)
    _combine(model, folder, key)


def _combine(model: CausalLM, folder: PathFolder, key: StateKey) -> None:
    """Put the weights that the path's optimizer releases in place of the live ones that are in the model."""
    settings = optimizers.from_record(folder.recipe()["optimizer"])
    others = settings.released.keys() - {"model"}
    if not others:
        return
    kept: dict[str, dict[str, torch.Tensor]] = {}
    for full_name, tensor in read_tensors(folder.fetched_state(key.position)):
        kind, _, name = full_name.partition(".")
        if kind in others:
            kept.setdefault(name, {})[kind] = tensor
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(combined({"model": parameter.detach()} | kept[name], settings=settings))


def folders_of(study: Study, release: Release) -> list[PathFolder]:
    """Return the path folder of each state of a release.

    Raises:
        StateError: If a state is missing, or was made by another trainer.
    """
    folders = [study.find(key.path_id) for key, _ in release.parts]
    there = [folder for folder in folders if folder is not None]
    missing = sum(not study.has_state(key) for key, _ in release.parts)
    if missing or len(there) < len(folders):
        raise StateError(
            f"release {release.paradigm}/{release.version} of study {study.name} is not made yet: "
            f"{missing} of {len(release.parts)} states are missing; run its plan with lrpath.train"
        )
    for (key, _), folder in zip(release.parts, there, strict=True):
        check_made_here(folder.state(key.position))
    return there


def _add(sums: dict[str, torch.Tensor], parameters: Mapping[str, nn.Parameter], weight: float) -> None:
    for name, parameter in parameters.items():
        part = parameter.detach().double() * weight
        sums[name] = sums[name] + part if name in sums else part


def _empty_model(folder: PathFolder, own_models: OwnModels | None) -> CausalLM:
    recipe = folder.recipe()
    if own_models is not None and recipe["model"].get("family") == OWN:
        return own_models(recipes.from_record(recipe))
    backbone = read_backbone(folder)
    return CausalLM(model_of(backbone.config), document_end=backbone.document_end)


def evaluate_merged(
    study: Study,
    release: Release,
    held_out: HeldOutSets,
    *,
    device: torch.device,
    precision: str,
    own_models: OwnModels | None = None,
) -> None:
    """Evaluate a release that is a mean of states, once; releases of one state are evaluated while they are trained.

    Raises:
        BusyError: If another process is doing so.
    """
    file = release_folder(study, release=release) / "evaluation.csv"
    known = Table(file, EvaluationRow).rows()
    if len(release.parts) == 1 or {row.held_out for row in known} == set(held_out):
        return
    with owned(file.with_name("lock")) as lease:
        table = Table(file, EvaluationRow, check=lease.check)
        model = load_release(study, release, own_models=own_models).to(device)
        _evaluate(model, release, held_out, table, device=device, precision=precision)


def _evaluate(
    model: CausalLM,
    release: Release,
    held_out: HeldOutSets,
    table: Table[EvaluationRow],
    *,
    device: torch.device,
    precision: str,
) -> None:
    table.file.with_suffix(DIGEST_SUFFIX).unlink(missing_ok=True)
    table.cut(0)  # rows of a killed evaluation, or of fewer sets
    found = evaluate(model, held_out, device=device, precision=precision)
    table.append(
        EvaluationRow(position=release.last.position, version=version, domain=domain, nll=nll, tokens=tokens)
        for (version, domain), (nll, tokens) in found.items()
    )
    write_whole(table.file.with_suffix(DIGEST_SUFFIX), digest_file(table.file) + "\n")
