"""The LightningModule around the backbone: it knows the loss and the optimizer, and nothing of the plan."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

import lightning
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from lrpath.errors import TrainingError
from lrpath.models import CausalLM
from lrpath.planning.optimizers import Optimizer
from lrpath.training.optimizers import build_optimizer, learning_rate_of


class UpdateObserver(Protocol):
    """Takes an update whose gradient is there; returns whether the optimizer may apply it."""

    def __call__(self, *, loss: Tensor, grad_norm: Tensor, learning_rate: float) -> bool:
        """See `LossMonitor.observe`."""


class LitCausalLM(lightning.LightningModule):
    """Next-token training of a causal language model.

    Args:
        backbone: Model that maps token ids [B, L + 1] to the mean loss [nats per token].
        settings: The optimizer's settings.
        accumulation: Micro-batches per update.
        observe: Takes every update before the optimizer applies it.
        parallelize: Compiles and shards the backbone once Lightning has set up the ranks; None for nothing.

    Attributes:
        update_loss: This rank's mean loss over the micro-batches of the update so far.
        has_dropout: Whether an update draws random numbers.
        sequence_seeds: Of the random numbers of each sequence of the next micro-batch; None without dropout.
    """

    # Not called in every micro-batch, as in `FitCallback`. The gradients that Lightning would free between forward and
    # backward pass are gone (see `optimizer_step`).
    if not TYPE_CHECKING:
        on_train_batch_start = on_train_batch_end = on_before_backward = on_after_backward = None
        on_before_optimizer_step = on_before_zero_grad = optimizer_zero_grad = None

    def __init__(
        self,
        backbone: CausalLM,
        *,
        settings: Optimizer,
        accumulation: int,
        observe: UpdateObserver,
        parallelize: Callable[[CausalLM], None] | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.settings = settings
        self.accumulation = accumulation
        self._observe = observe
        self._parallelize = parallelize
        self._clipped: list[torch.nn.Parameter] | None = None
        self._trained = _count_trained(self.parameters())
        self.update_loss: Tensor = torch.zeros(())
        self.has_dropout = backbone.has_dropout
        self.sequence_seeds: list[int] | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; Lightning sets the name of each hook around its call, some 40 times an update.

        A module looks at every value, whether it is a parameter, a module or a buffer: 1 % of a small model's update.
        """
        if name == "_current_fx_name":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    @property
    def dropout_record(self) -> dict[str, str]:
        """What the manifest of a state says of its random numbers; nothing without dropout.

        States of before they followed from a sequence's slot, but from the micro-batch, say nothing either.
        """
        return {"dropout": "by sequence"} if self.has_dropout else {}

    def configure_model(self) -> None:
        """Parallelize the backbone, once: Lightning calls this hook again."""
        parallelize, self._parallelize = self._parallelize, None
        if parallelize is not None:
            self._check_trained(self.parameters())
            parallelize(self.backbone)
            self._trained = _count_trained(self.parameters())  # of tensors that took the place of those before

    def training_step(self, ids_BL: Tensor, batch_idx: int) -> Tensor:
        """Return the mean loss of a micro-batch."""
        if isinstance(self.backbone, FSDPModule):  # Lightning defers the reduction of gradients under DDP only
            self.backbone.set_requires_gradient_sync((batch_idx + 1) % self.accumulation == 0)
        loss: Tensor = self.backbone(ids_BL, seeds=self.sequence_seeds)
        share = loss.detach() / self.accumulation
        self.update_loss = share if batch_idx % self.accumulation == 0 else self.update_loss + share
        return loss

    def optimizer_step(
        self,
        epoch: int,  # noqa: ARG002 (Lightning's signature)
        batch_idx: int,  # noqa: ARG002
        optimizer: torch.optim.Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Make an update, and free its gradients at once.

        Lightning would keep them through the next forward pass, which then cannot have their memory, nor the caches
        of a CPU that hold it.
        """
        optimizer.step(closure=optimizer_closure)
        self.trainer.optimizers[0].zero_grad()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer without a torch scheduler: rates are functions of position."""
        self._check_trained(self.parameters())
        in_blocks = (parameter for block in self.backbone.blocks for parameter in block.parameters())
        return build_optimizer(self.parameters(), settings=self.settings, in_blocks=in_blocks)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,  # noqa: ARG002
        gradient_clip_algorithm: str | None = None,  # noqa: ARG002
    ) -> None:
        """Clip the gradient's norm, and drop the gradient of an update that is not to be applied.

        Done here because Lightning's own clipping refuses fused AdamW under bf16, and because this hook is the last
        one before the optimizer's step: all callbacks have set what they set. AdamW leaves weights and moments of a
        parameter without gradient as they are, so an update without gradients is left out.
        """
        limit = self.settings.clip_norm
        if self._clipped is None:  # found once: to go through all modules takes longer than to clip a small model
            self._clipped = list(self.parameters())
        self._check_trained(self._clipped)
        norm = torch.nn.utils.clip_grad_norm_(self._clipped, float("inf") if limit is None else limit)
        grad_norm = (norm.full_tensor() if isinstance(norm, DTensor) else norm).detach()
        if not self._observe(loss=self.update_loss, grad_norm=grad_norm, learning_rate=learning_rate_of(optimizer)):
            optimizer.zero_grad(set_to_none=True)

    def _check_trained(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Raise if other parameters are trained than the model was built with, which is what a path's id stands for.

        A callback may have frozen some. The path would be trained under the id of one that trains them all.
        """
        if (trained := _count_trained(parameters)) != self._trained:
            raise TrainingError(
                f"a callback or an optimizer has changed which parameters are trained: {trained:,} tensors require a "
                f"gradient, of {self._trained:,} that the model was built with. Freeze with an optimizer of yours "
                "whose step sets the gradients of what is frozen to None, or in a model of yours, since a path's id "
                "tells these apart; docs/own_code.md shows both"
            )


def _count_trained(parameters: Iterable[torch.nn.Parameter]) -> int:
    return sum(one.requires_grad for one in parameters)
