"""Writes the losses on every held-out document where the plan needs a state: a fork or a release."""

from collections.abc import Callable

import lightning

from lrpath.records.document_losses import write_document_losses
from lrpath.records.path_folder import PathFolder
from lrpath.training.callbacks.update_callback import UpdateCallback
from lrpath.training.distributed.process_group import ProcessGroup
from lrpath.training.document_losses import DocumentSets, evaluate_documents
from lrpath.training.lit_module import LitCausalLM
from lrpath.training.optimizers import evaluation_weights
from lrpath.training.planned_run import PlannedRun


class DocumentRecorder(UpdateCallback):
    """Evaluates both held-out sets by document, the set to report among them, which no table of the path has.

    Args:
        run: The run.
        folder: Where the files are.
        documents: Windows and their documents.
        process_group: The ranks that train together.
        evaluated: Called after an evaluation, whose time is not training's.
    """

    def __init__(
        self,
        run: PlannedRun,
        *,
        folder: PathFolder,
        documents: DocumentSets,
        process_group: ProcessGroup,
        evaluated: Callable[[], None],
    ) -> None:
        super().__init__(run)
        self._folder = folder
        self._documents = documents
        self._process_group = process_group
        self._evaluated = evaluated

    def on_update(self, trainer: lightning.Trainer, module: LitCausalLM, position: int) -> None:
        """Evaluate where the plan needs a state."""
        if position not in self.run.pinned or not self._documents:
            return
        with self._process_group.watchdog.phase("evaluation"):
            with evaluation_weights(trainer.optimizers[0], settings=module.settings):
                found = evaluate_documents(
                    module.backbone,
                    self._documents,
                    device=module.device,
                    precision=self.run.path.recipe.precision,
                    process_group=self._process_group,
                )
            file = self._folder.document_losses(position)
            self._process_group.on_rank_zero(self._folder.check_owned)
            self._process_group.on_rank_zero(lambda: write_document_losses(file, found))
        self._evaluated()
