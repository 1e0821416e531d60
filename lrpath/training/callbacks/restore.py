"""How a run begins: the state it starts from is found, compared with the plan, and loaded."""

import pathlib
from typing import Any

import lightning
import torch

from lrpath.data.stream import compare_readings
from lrpath.errors import MismatchError, StateError
from lrpath.planning.paths import StateKey
from lrpath.records.manifest import read_manifest
from lrpath.records.study import Study
from lrpath.training.checkpoints.states import load_state
from lrpath.training.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from lrpath.training.lit_module import LitCausalLM
from lrpath.training.planned_run import PlannedRun


class RestoreState(lightning.Callback):
    """Loads the state that a run begins from, once the strategy has placed the module."""

    def __init__(
        self, run: PlannedRun, *, study: Study, reading: dict[str, Any] | None, ranks: ProcessGroup = SINGLE_PROCESS
    ) -> None:
        """Take the run, the study its state is in, what that state has read by the plan, and who loads it."""
        self._run = run
        self._study = study
        self._reading = reading
        self._ranks = ranks

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Load weights and moments; a root keeps its initial weights."""
        key = self._run.source()
        expected = self._reading
        if key is None or expected is None:
            return
        place = self._ranks.on_rank_zero(lambda: self._find(key, expected=expected))
        assert isinstance(pl_module, LitCausalLM)
        optimizer = trainer.optimizers[0]
        assert isinstance(optimizer, torch.optim.AdamW)
        load_state(place, key=key, module=pl_module.backbone, optimizer=optimizer, ranks=self._ranks)

    def _find(self, key: StateKey, *, expected: dict[str, Any]) -> pathlib.Path:
        folder = self._study.find(key.path_id)
        if folder is None:
            raise StateError(f"the state {key} is missing from {self._study.folder}; run the plan again")
        place = folder.state(key.position)
        check_reading(place, expected=expected)
        return place


def check_reading(place: pathlib.Path, *, expected: dict[str, Any]) -> None:
    """Raise unless a state has read, since its path began, what the plan says it has.

    Raises:
        MismatchError: With the fields that differ, an increment's digest for example.
    """
    read = read_manifest(place).get("read")
    lines = compare_readings(expected, read) if isinstance(read, dict) else []
    if lines or not isinstance(read, dict):
        raise MismatchError(
            f"{place} has read other data than the plan says: {'; '.join(lines) or 'its manifest does not say what'}. "
            "Restore the data or the configuration it was made with, or use another study"
        )
