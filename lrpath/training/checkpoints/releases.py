"""Turns releases into models: loads their state, or the weighted mean of several, and writes Hugging Face folders."""

import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from lrpath.analysis.scores import release_folder
from lrpath.errors import DataError, StateError
from lrpath.models import CausalLM
from lrpath.planning import optimizers
from lrpath.planning.paths import Release, StateKey
from lrpath.records.files import atomic_folder
from lrpath.records.lease import owned
from lrpath.records.path_folder import PathFolder
from lrpath.records.study import Study
from lrpath.records.tables import EvaluationRow, Table
from lrpath.training.checkpoints.states import load_state, read_tensors
from lrpath.training.evaluation import HeldOutSets, evaluate
from lrpath.training.optimizers import combined

if TYPE_CHECKING:
    from lrpath.data.store import TokenStore

BACKBONE = "backbone"
"""Folder beside the states of a path that holds the model's configuration and tokenizer, without weights."""


def keep_backbone(folder: PathFolder, *, model: CausalLM, store: "TokenStore") -> None:
    """Write the model's configuration and tokenizer into a path's folder, from which any release of it is exported."""
    if (folder.folder / BACKBONE).exists():
        return
    with atomic_folder(folder.folder / BACKBONE) as temporary:
        if store.tokenizer_file is not None and store.end_id is not None:
            tokenizer = Tokenizer.from_file(str(store.tokenizer_file))
            wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=tokenizer.id_to_token(store.end_id))
            wrapped.save_pretrained(temporary)
        model.lm.config.save_pretrained(temporary)


def load_release(study: Study, release: Release) -> CausalLM:
    """Return the model of a release on the CPU; several states become their weighted mean, summed in float64.

    Raises:
        StateError: If a state is missing or altered, or its path's folder says nothing of the model.
    """
    folders = {key.path_id: study.find(key.path_id) for key, _ in release.parts}
    missing = [key for key, _ in release.parts if not study.has_state(key)]
    if missing:
        raise StateError(
            f"release {release.paradigm}/{release.version} of study {study.name} is not made yet: "
            f"{len(missing)} of {len(release.parts)} states are missing; run its plan with lrpath.train"
        )
    first = folders[release.parts[0][0].path_id]
    assert first is not None
    model = _empty_model(first)
    sums: dict[str, torch.Tensor] = {}
    for key, weight in release.parts:
        folder = folders[key.path_id]
        assert folder is not None
        load_state(folder.state(key.position), key=key, module=model, optimizer=None)
        _combine(model, folder, key)
        if len(release.parts) > 1:
            _add(sums, dict(model.named_parameters()), weight)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in sums:
                parameter.copy_(sums[name])
    return model


def _combine(model: CausalLM, folder: PathFolder, key: StateKey) -> None:
    """Put the weights that the path's optimizer releases in place of the live ones that are in the model."""
    settings = optimizers.from_record(folder.recipe()["optimizer"])
    others = settings.released.keys() - {"model"}
    if not others:
        return
    kept: dict[str, dict[str, torch.Tensor]] = {}
    for full_name, tensor in read_tensors(folder.state(key.position)):
        kind, _, name = full_name.partition(".")
        if kind in others:
            kept.setdefault(name, {})[kind] = tensor
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(combined({"model": parameter.detach()} | kept[name], settings=settings))


def _add(sums: dict[str, torch.Tensor], parameters: Mapping[str, nn.Parameter], weight: float) -> None:
    for name, parameter in parameters.items():
        part = parameter.detach().double() * weight
        sums[name] = sums[name] + part if name in sums else part


def _empty_model(folder: PathFolder) -> CausalLM:
    place = folder.folder / BACKBONE
    if not (place / "config.json").exists():
        raise StateError(f"{place / 'config.json'} is missing; restore it from a copy, or run the plan again")
    config = AutoConfig.from_pretrained(place, trust_remote_code=False, local_files_only=True)
    return CausalLM(AutoModelForCausalLM.from_config(config, dtype=torch.float32, trust_remote_code=False))


def evaluate_merged(
    study: Study, release: Release, held_out: HeldOutSets, *, device: torch.device, precision: str
) -> None:
    """Evaluate a release that is a mean of states, once; releases of one state are evaluated while they are trained.

    Raises:
        BusyError: If another process is doing so.
    """
    table = Table(release_folder(study, release=release) / "evaluation.csv", EvaluationRow)
    if len(release.parts) == 1 or {row.held_out for row in table.rows()} == set(held_out):
        return
    with owned(table.file.with_name("lock")):
        _evaluate(study, release, held_out, table, device=device, precision=precision)


def _evaluate(
    study: Study,
    release: Release,
    held_out: HeldOutSets,
    table: Table[EvaluationRow],
    *,
    device: torch.device,
    precision: str,
) -> None:
    table.cut(0)  # rows of a killed evaluation, or of fewer sets
    model = load_release(study, release).to(device)
    found = evaluate(model, held_out, device=device, precision=precision)
    table.append(
        EvaluationRow(position=release.last.position, version=version, domain=domain, nll=nll, tokens=tokens)
        for (version, domain), (nll, tokens) in found.items()
    )


def export_release(study: Study, release: Release, *, folder: pathlib.Path, card: str) -> None:
    """Write a release as a Hugging Face folder that transformers loads without lrpath.

    Args:
        study: Where its states are.
        release: The release.
        folder: Folder to make; must not hold files yet.
        card: Text of the model card.

    Raises:
        DataError: If the folder holds files.
        StateError: As `load_release`.
    """
    if folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder} holds files already; choose another folder or remove them")
    model = load_release(study, release)
    origin = study.find(release.last.path_id)
    assert origin is not None
    backbone = origin.folder / BACKBONE
    with atomic_folder(folder) as temporary:
        model.lm.save_pretrained(temporary)
        if (backbone / "tokenizer.json").exists():
            PreTrainedTokenizerFast.from_pretrained(backbone, local_files_only=True).save_pretrained(temporary)
        (temporary / "README.md").write_text(card, encoding="utf-8")
