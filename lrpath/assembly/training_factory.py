"""What training needs, built from a project: models, data and the plan runner."""

import pathlib
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import lightning
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from transformers import PreTrainedModel

from lrpath.assembly.held_out import describe_held_out_sets, held_out_sets
from lrpath.assembly.project import Project
from lrpath.assembly.runner import build_runner
from lrpath.assembly.worker_pool import with_share_of_cores
from lrpath.data.prepare import Notice, PreparationProgress
from lrpath.data.store import TokenStore
from lrpath.data.stream import TokenBatches, held_out_documents, held_out_windows
from lrpath.data.verified import VerifiedFiles
from lrpath.errors import ConfigError, MismatchError
from lrpath.models import (
    CausalLM,
    build_model,
    build_own_model,
    check_documents_are_apart,
    count_parameters,
    hf_config,
    load_pretrained,
)
from lrpath.planning.cost import flops_per_token, state_bytes
from lrpath.planning.lineage import differences
from lrpath.planning.own_code import find_code, own_settings
from lrpath.planning.own_model import OwnModel
from lrpath.planning.paths import Path
from lrpath.planning.recipe import Recipe
from lrpath.planning.shape import ModelShape
from lrpath.records.held_out import HeldOutSet, SetName
from lrpath.records.path_folder import PathFolder
from lrpath.records.weight_folder import refusal
from lrpath.training.checkpoints.backbone import keep_backbone
from lrpath.training.distributed.hardware import Hardware
from lrpath.training.distributed.process_group import ProcessGroup
from lrpath.training.document_losses import DocumentSet
from lrpath.training.path_trainer import PathTrainer
from lrpath.training.plan_runner import PlanRunner


@dataclass(frozen=True, kw_only=True)
class ProjectTrainingFactory:
    """Makes models and data for the plan runner.

    Args:
        project: The configuration.
        store: Its prepared tokens.
    """

    project: Project
    store: TokenStore

    def model(self, recipe: Recipe) -> CausalLM:
        """Return the backbone with weights of any value, which a state will replace."""
        return self._build(recipe, drawn=False)

    def _build(self, recipe: Recipe, *, drawn: bool) -> CausalLM:
        """Return the backbone; drawn, its weights depend on the recipe's model and seed alone."""
        shape = self.project.shape
        if isinstance(shape, OwnModel):
            return build_own_model(shape, seed=recipe.weights_seed)
        return self._with_loss(build_model(shape, seed=recipe.weights_seed, drawn=drawn), recipe)

    def _with_loss(self, model: PreTrainedModel, recipe: Recipe) -> CausalLM:
        """Return a model with the loss of a recipe, which may end attention at the borders of documents."""
        end_id = self.store.end_id if recipe.masks_documents else None
        if end_id is not None and self.project.shape.family == "file":  # tests hold the other families to it
            check_documents_are_apart(model, end_id=end_id)
        return CausalLM(model, document_end=end_id)

    def own_model(self, recipe: Recipe) -> CausalLM:
        """Return the module of your own that the states of a path are of, for loading them.

        Raises:
            MismatchError: If the configuration has another model.
        """
        shape = self.project.shape
        if recipe.model != shape.as_record() or not isinstance(shape, OwnModel):
            lines = differences(recipe.model, shape.as_record())
            raise MismatchError(
                f"a state was made by another model than the configuration has ({'; '.join(lines)}); name that model, "
                "with the source it then had",
                field="model",
            )
        return self.model(recipe)

    def initial_model(self, recipe: Recipe) -> CausalLM:
        """Return the backbone with the weights that a root path begins with: those of a folder, or drawn from its seed.

        Every rank reads the folder, and compares the digest of what it has read with that of the recipe: ranks on other
        nodes may see another folder under the same name.

        Raises:
            ConfigError: As `load_pretrained`, or if the folder is gone or has changed since it was planned.
        """
        if recipe.weights is None:
            return self._build(recipe, drawn=True)
        model = load_weights(self.project)
        weights = self.project.weights
        assert weights is not None
        if (found := weights.current_digest()) != recipe.weights:
            raise refusal(
                weights.given,
                f"has digest {found[:12]}, and the plan was made of {recipe.weights[:12]}; it has changed since: "
                "restore it, or plan again",
            )
        return self._with_loss(model, recipe)

    def batches(self, path: Path) -> TokenBatches:
        """Return the path's data as a function of position."""
        return self.project.batches(path, store=self.store)

    def check_data(self) -> None:
        """Compare the tokens of every version of the plan with their digests, about a second for each gigabyte.

        Files that were verified before, and look as they did, are not read again.

        Raises:
            DataError: If a file was cut or altered.
        """
        verified = VerifiedFiles(self.store.folder)
        for version in self.project.plan.versions:
            self.store.check(version, contents=True, verified=verified)

    def keep_backbone(self, folder: PathFolder, *, model: CausalLM) -> None:
        """Write the model's configuration and tokenizer beside the path's states."""
        window = self.project.config.batch.tokens_per_sequence
        keep_backbone(folder, model=model, store=self.store, window=window)

    def held_out(self) -> dict[tuple[str, str], NDArray[np.int64]]:
        """Return the held-out windows of every version and domain.

        Raises:
            DataError: If there is not one held-out set, so that no release could be judged.
        """
        return held_out_sets(self.project, self.store)

    def describe_held_out(self) -> dict[SetName, HeldOutSet]:
        """Return digest and sizes of every held-out set, as it is evaluated."""
        return describe_held_out_sets(self.project, self.store)

    def document_sets(self) -> dict[tuple[str, str, str], DocumentSet]:
        """Return the held-out windows with the document of each of their tokens, by split, version and domain."""
        length = self.project.config.batch.tokens_per_sequence
        limit = self.project.config.cadence.held_out_windows
        found = {}
        for version in self.project.plan.versions:
            for split in ("valid", "test"):
                for domain in self.store.manifest(version).domains_of(split):
                    place = {"version": version, "domain": domain, "split": split}
                    found[split, version, domain] = DocumentSet(
                        windows_NL=held_out_windows(self.store, **place, length=length, limit=limit),
                        documents_NL=held_out_documents(self.store, **place, length=length, limit=limit),
                    )
        return found

    def increment_lines(self) -> list[str]:
        """Return what each version was made of, and how much of it the plan reads."""
        return [facts.line() for facts in self.project.increment_facts(self.store)]

    def _counted_shape(self) -> ModelShape | OwnModel:
        """Return the model's sizes with its parameters counted, if need be by torch."""
        shape = self.project.shape
        if isinstance(shape, OwnModel):
            built = build_own_model(shape, seed=0)
            return replace(shape, stated_parameters=sum(one.numel() for one in built.parameters()))
        return shape if shape.parameters is not None else replace(shape, stated_parameters=count_parameters(shape))

    def path_trainer(self, hardware: Hardware) -> PathTrainer:
        """Return what makes the updates of the project's paths."""
        config, shape = self.project.config, self._counted_shape()
        return PathTrainer(
            study=self.project.study,
            factory=self,
            hardware=hardware,
            held_out=self.held_out(),
            documents=self.document_sets(),
            cadence=config.cadence,
            open_sink=config.logger.opener(),
            flops_per_token=flops_per_token(shape, sequence_length=config.batch.tokens_per_sequence),
            state_bytes=state_bytes(shape, optimizer=self.project.recipe.optimizer),
            extra_callbacks=build_callbacks(config.callbacks),
            profile=config.profile,
        )

    def runner(self, hardware: Hardware, console: Console, **workers: Any) -> PlanRunner:
        """Return the plan runner of the project's plan; see `build_runner`."""
        return build_runner(self.project, self.path_trainer(hardware), console, **workers)


def build_callbacks(settings: Sequence[Mapping[str, Any]]) -> tuple[lightning.Callback, ...]:
    """Return the user's Lightning callbacks: classes that `kind` names, made with the other fields as arguments.

    They see every run of every path, on all ranks. They are no part of a path's id, so they should change no number.

    Raises:
        ConfigError: If a class is not found, refuses its arguments, or is no callback.
    """
    found = []
    for number, given in enumerate(settings):
        field, fields = f"callbacks[{number}]", dict(given)
        code = find_code(fields.pop("kind"), group="callbacks", field=f"{field}.kind")
        callback = code.value(**own_settings(code, fields, field=field))
        if not isinstance(callback, lightning.Callback):
            text = f"{field}.kind={code.name} makes a {type(callback).__name__}, which must be a lightning.Callback"
            raise ConfigError(text, field=f"{field}.kind", value=code.name)
        found.append(callback)
    return tuple(found)


def load_weights(project: Project) -> PreTrainedModel:
    """Return the model of the folder that `model.weights` names, whatever its digest.

    Raises:
        ConfigError: As `load_pretrained`, or if the folder is gone.
    """
    weights = project.weights
    assert weights is not None
    if weights.folder is None:
        raise refusal(
            weights.given, "is gone, and a path that begins with its weights has no state yet; restore the folder"
        )
    assert isinstance(project.shape, ModelShape), "one of your own begins with weights of its own"
    return load_pretrained(project.shape, folder=weights.folder)


def open_training_factory(
    project: Project,
    process_group: ProcessGroup,
    *,
    progress: PreparationProgress | None = None,
    notice: Notice | None = None,
) -> ProjectTrainingFactory:
    """Prepare the text on the first rank; return the training factory over its store, which each rank opens.

    Raises:
        ConfigError: If a model from a file is refused.
        DataError: As `Project.prepare`.
    """

    def prepare() -> None:
        if isinstance(project.shape, OwnModel):
            build_own_model(project.shape, seed=0)  # what is refused of it is said before text is prepared for hours
        elif project.shape.family == "file":
            # What transformers or lrpath refuses is said before text is prepared for hours.
            hf_config(project.shape)
            weights, is_new = project.weights, len(project.stored.increments) < project.config.versions
            if weights is not None and is_new and (weights.folder is not None or not _has_begun(project)):
                load_weights(project)
        project.prepare(progress, notice=notice)

    process_group.on_rank_zero(prepare)
    return ProjectTrainingFactory(project=project, store=project.prepare())


def _has_begun(project: Project) -> bool:
    """Return whether the study has planned a path from these weights; with its states it goes on without the folder."""
    return any(path.recipe.weights == project.recipe.weights for path in project.known_paths.values())


def build_hardware(project: Project) -> Hardware:
    """Return where the updates run, checked against this computer and the global batch before anything is prepared.

    Raises:
        ConfigError: If the device is not here, the ranks are not those of the strategy, or ranks and micro-batch do not
            divide the global batch.
    """
    hardware = Hardware(strategy=with_share_of_cores(project.config))
    hardware.check_batch(project.recipe)
    return hardware


_LOOKS = 30
"""How often a file is looked for, a second apart: a network file system may remember that it was not there."""


def _appears(file: pathlib.Path) -> bool:
    for number in range(_LOOKS):
        if file.exists():
            return True
        time.sleep(1.0 if number < _LOOKS - 1 else 0.0)
    return False


def _shared_place(project: Project) -> str:
    """Return what names the place that all nodes must see: of a study at a URL, the first rank uploads for all."""
    return "outputs" if project.study.url is None else "the working copy (variable LRPATH_CACHE)"


def check_same(process_group: ProcessGroup, project: Project) -> None:
    """Check that all ranks were given one plan, and see the one study folder in which the first rank has kept it.

    Raises:
        ConfigError: Naming the rank and host that differs from the first rank, and in what.
    """
    plan = project.plan.id
    name = next((kept.id for kept in project.kept_plans if kept.plan_id == plan), plan)
    folder = project.study.folder.absolute()
    sees = _appears(folder / "plans" / f"{name}.json")
    answers = process_group.gather(lambda: (socket.gethostname(), plan, str(folder), sees))
    _, first_plan, first_folder, _ = answers[0]
    for rank, (host, its_plan, its_folder, it_sees) in enumerate(answers):
        whose = f"rank {rank} on {host}"
        if its_plan != first_plan:
            raise ConfigError(f"{whose} plans {its_plan}, rank 0 plans {first_plan}; give all ranks one configuration")
        if its_folder != first_folder:
            raise ConfigError(f"{whose} writes to {its_folder}, rank 0 to {first_folder}; make outputs absolute")
        if not it_sees:
            raise ConfigError(
                f"{whose} does not see what rank 0 wrote to {first_folder}; {_shared_place(project)} must lie on a "
                "file system that all nodes share"
            )
