"""Writes the losses on every held-out document where the plan needs a state: a fork or a release."""

from collections.abc import Callable

import lightning

from lrpath.records.document_losses import write_document_losses
from lrpath.records.path_folder import PathFolder
from lrpath.training.callbacks.update_callback import UpdateCallback
from lrpath.training.fit_evaluation import FitEvaluation
from lrpath.training.lit_module import LitCausalLM
from lrpath.training.planned_run import PlannedRun


class DocumentRecorder(UpdateCallback):
    """Evaluates both held-out sets by document, the set to report among them, which no table of the path has.

    Args:
        run: The run.
        folder: Where the files are.
        evaluation: Evaluates the model, on the ranks that train together.
        evaluated: Called after an evaluation, whose time is not training's.
    """

    def __init__(
        self,
        run: PlannedRun,
        *,
        folder: PathFolder,
        evaluation: FitEvaluation,
        evaluated: Callable[[], None],
    ) -> None:
        super().__init__(run)
        self._folder = folder
        self._evaluation = evaluation
        self._evaluated = evaluated

    def on_update(self, trainer: lightning.Trainer, module: LitCausalLM, position: int) -> None:
        """Evaluate where the plan needs a state."""
        if position not in self.run.pinned or not self._evaluation.documents:
            return
        group = self._evaluation.process_group
        with group.watchdog.phase("evaluation"):
            found = self._evaluation.document_losses(trainer, module)
            file = self._folder.document_losses(position)
            group.on_rank_zero(self._folder.check_owned)
            group.on_rank_zero(lambda: write_document_losses(file, found))
        self._evaluated()
