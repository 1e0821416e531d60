"""Restores the state that a run starts from, after comparing what it has read with the plan."""

import pathlib
from typing import Any

import lightning

from lrpath.errors import MismatchError, StateError
from lrpath.planning.optimizers import Optimizer
from lrpath.planning.paths import StateKey
from lrpath.records.path_folder import PathFolder
from lrpath.records.study import Study
from lrpath.training.callbacks.update_callback import FitCallback
from lrpath.training.checkpoints.begin_released import load_released
from lrpath.training.checkpoints.loading import load_state
from lrpath.training.checkpoints.saved_copy import recall
from lrpath.training.checkpoints.states import tensors_of
from lrpath.training.data_consumed import check_data_consumed
from lrpath.training.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from lrpath.training.lit_module import LitCausalLM
from lrpath.training.planned_run import PlannedRun


class RestoreState(FitCallback):
    """Loads the state that a run begins from, once the strategy has placed the module."""

    def __init__(
        self,
        run: PlannedRun,
        *,
        study: Study,
        folder: PathFolder,
        data_consumed: dict[str, Any] | None,
        released: Optimizer | None = None,
        process_group: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        """Take the run, the study its state is in, what the state has read by the plan, and the ranks that load it.

        `folder` is where the run saves its states, and is looked at first: a part of a run begins with what the part
        before it has saved, which a null fork does outside of the study.

        Of a run that begins with the weights its parent would release, `released` is the parent's optimizer.
        """
        self._run = run
        self._study = study
        self._folder = folder
        self._data_consumed = data_consumed
        self._released = released
        self._process_group = process_group

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Load weights and moments; a root keeps its initial weights."""
        key = self._run.starting_state()
        expected = self._data_consumed
        if key is None or expected is None:
            return
        state_folder = self._process_group.on_rank_zero(lambda: self._find(key, expected=expected))
        assert isinstance(pl_module, LitCausalLM)
        optimizer = trainer.optimizers[0]
        manifest = None
        if self._released is not None:
            manifest = load_released(
                state_folder,
                key=key,
                module=pl_module.backbone,
                optimizer=optimizer,
                parent=self._released,
                ranks=self._process_group,
            )
        elif self._process_group.world_size == 1:
            manifest = recall(state_folder, key=key, wanted=tensors_of(pl_module.backbone, optimizer))
        manifest = manifest or load_state(
            state_folder, key=key, module=pl_module.backbone, optimizer=optimizer, ranks=self._process_group
        )
        if manifest.get("dropout") is not None:
            pl_module.has_dropout = True  # an earlier version took some models for ones with dropout: as they began
        if manifest.get("dropout") != pl_module.dropout_record.get("dropout"):
            raise MismatchError(
                f"{state_folder} was made by an earlier version, in which dropout depended on micro-batches and ranks; "
                "it cannot be gone on with exactly: use another study"
            )

    def _find(self, key: StateKey, *, expected: dict[str, Any]) -> pathlib.Path:
        is_own = key.path_id == self._run.path.id and self._folder.has_state(key.position)
        folder = self._folder if is_own else self._study.find(key.path_id)
        if folder is None:
            raise StateError(f"the state {key} is missing from {self._study.folder}; run the plan again")
        state_folder = folder.state(key.position)
        check_data_consumed(state_folder, expected=expected)
        return folder.fetched_state(key.position)
