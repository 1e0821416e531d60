"""The LightningModule around the backbone: it knows the loss and the optimizer, and nothing of the plan."""

from collections.abc import Callable

import lightning
import torch
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from lrpath.models import CausalLM
from lrpath.planning.paths import Optimizer
from lrpath.training.optim import build_optimizer


class LitCausalLM(lightning.LightningModule):
    """Next-token training of a causal language model.

    Args:
        backbone: Model that maps token ids [B, L + 1] to the mean loss [nats per token].
        settings: AdamW's settings.
        accumulate: Micro-batches per update.
        place: Puts the backbone on the ranks, once Lightning has set them up; None where there is nothing to do.
        allows: Says whether an update may be made, once its loss and gradient are there; None for all.
    """

    def __init__(
        self,
        backbone: CausalLM,
        *,
        settings: Optimizer,
        accumulate: int,
        place: Callable[[CausalLM], None] | None = None,
        allows: Callable[["LitCausalLM"], bool] | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.settings = settings
        self.accumulate = accumulate
        self._place = place
        self._allows = allows
        self.update_loss: Tensor = torch.zeros(())
        self.grad_norm: Tensor = torch.zeros(())

    def configure_model(self) -> None:
        """Place the backbone; Lightning may call this again."""
        place, self._place = self._place, None
        if place is not None:
            place(self.backbone)

    def training_step(self, ids_BL: Tensor, batch_idx: int) -> Tensor:
        """Return the mean loss of a micro-batch; this rank's mean over an update is kept in `update_loss`."""
        if isinstance(self.backbone, FSDPModule):  # Lightning defers the sum over ranks under DDP only
            self.backbone.set_requires_gradient_sync((batch_idx + 1) % self.accumulate == 0)
        loss: Tensor = self.backbone(ids_BL)
        share = loss.detach() / self.accumulate
        self.update_loss = share if batch_idx % self.accumulate == 0 else self.update_loss + share
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW without a torch scheduler: rates are functions of position."""
        return build_optimizer(self.parameters(), settings=self.settings)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,  # noqa: ARG002
        gradient_clip_algorithm: str | None = None,  # noqa: ARG002
    ) -> None:
        """Clip the whole gradient's norm, here because Lightning's own clipping refuses fused AdamW under bf16.

        Without gradients, AdamW leaves weights and moments as they are: so an update is left out.
        """
        limit = self.settings.clip_norm
        norm = torch.nn.utils.clip_grad_norm_(self.parameters(), float("inf") if limit is None else limit)
        self.grad_norm = (norm.full_tensor() if isinstance(norm, DTensor) else norm).detach()
        if self._allows is not None and not self._allows(self):
            optimizer.zero_grad(set_to_none=True)
