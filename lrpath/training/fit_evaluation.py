"""The one way in which the model of a fit is evaluated: with the weights that are released, not the live ones.

Callbacks evaluate through it and through nothing else: under an optimizer that releases an average, losses of the live
weights look as good as any, and are those of no release. A test of the house holds this.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import lightning
import torch
from torch.distributed.fsdp import FSDPModule

from lrpath.models import CausalLM
from lrpath.records.document_losses import DocumentLoss
from lrpath.training.distributed.process_group import ProcessGroup
from lrpath.training.document_losses import DocumentSets, evaluate_documents
from lrpath.training.evaluation import HeldOutSet, HeldOutSets, evaluate
from lrpath.training.lit_module import LitCausalLM
from lrpath.training.optimizers import evaluation_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class FitEvaluation:
    """Evaluates the model of a fit as its releases will be.

    Args:
        held_out: Windows of every held-out set.
        documents: Windows of every set and split, with their documents.
        precision: `fp32` or `bf16`, the precision it is trained with.
        process_group: The ranks that train together, all of which evaluate.
    """

    held_out: HeldOutSets
    documents: DocumentSets
    precision: str
    process_group: ProcessGroup

    def losses(self, trainer: lightning.Trainer, module: LitCausalLM) -> dict[HeldOutSet, tuple[float, int]]:
        """Return the summed loss [nats] and the number of tokens of every held-out set, the same on all ranks."""
        with self._released(trainer, module) as backbone:
            return evaluate(
                backbone,
                self.held_out,
                device=module.device,
                precision=self.precision,
                process_group=self.process_group,
            )

    def document_losses(self, trainer: lightning.Trainer, module: LitCausalLM) -> list[DocumentLoss]:
        """Return the summed loss [nats] and the number of tokens of every document, the same on all ranks."""
        with self._released(trainer, module) as backbone:
            return evaluate_documents(
                backbone,
                self.documents,
                device=module.device,
                precision=self.precision,
                process_group=self.process_group,
            )

    @contextlib.contextmanager
    def _released(self, trainer: lightning.Trainer, module: LitCausalLM) -> Iterator[CausalLM]:
        # Blocks that are compiled for updates would be compiled again for every size of batch here, and a state that is
        # evaluated later, by a model that is not compiled, would have another loss in its last digits.
        is_compiled = module.backbone.is_compiled
        eager = torch.compiler.set_stance("force_eager") if is_compiled else contextlib.nullcontext()
        with evaluation_weights(trainer.optimizers[0], settings=module.settings), eager:
            yield module.backbone
            if isinstance(module.backbone, FSDPModule):
                module.backbone.reshard()  # embedding and head stay gathered until a backward pass that never comes
