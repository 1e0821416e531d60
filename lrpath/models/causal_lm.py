"""The module that training and evaluation call: token ids in, loss out, logits never held as a whole.

Shapes: B sequences, L + 1 ids of which L are read and L predicted, T = L positions, D hidden features, V vocabulary.
"""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lrpath.errors import ConfigError
from lrpath.models.loss import causal_loss, token_nll

NAME_PREFIX = "lm."
"""What stands before transformers' own parameter names in the names of `CausalLM`; a release strips it."""


class CausalLM(nn.Module):
    """A transformers model with next-token loss.

    The wrapped model is the attribute `lm`, so every parameter is named `NAME_PREFIX` + its transformers name. Every
    use of a weight lies inside `forward`: under FSDP2, shard the layers and then this module, and its hooks gather the
    output head.

    Args:
        lm: A causal language model; its head is linear and without bias.
    """

    def __init__(self, lm: PreTrainedModel) -> None:
        super().__init__()
        self.lm = lm

    @property
    def blocks(self) -> nn.ModuleList:
        """The decoder layers, for sharding, compiling and checkpointing one by one."""
        backbone, _ = backbone_and_head(self.lm)
        depth = self.lm.config.num_hidden_layers
        return next(part for part in backbone.modules() if isinstance(part, nn.ModuleList) and len(part) == depth)

    def forward(self, ids: Tensor, *, per_sequence: bool = False, per_token: bool = False) -> Tensor:
        """Return the mean negative log-likelihood [nats per token] of `ids[:, 1:]` given what precedes.

        Args:
            ids: Token ids, `[B, L + 1]`, int64.
            per_sequence: Return the sum of each sequence instead, `[B]` in float64, without gradient.
            per_token: Return the value of each token instead, `[B, L]`, without gradient.
        """
        backbone, weight_VD = backbone_and_head(self.lm)
        hidden_BTD = backbone(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
        targets_BT = ids[:, 1:]
        if per_token:
            return token_nll(hidden_BTD, weight_VD, targets_BT)
        if per_sequence:
            return token_nll(hidden_BTD, weight_VD, targets_BT).sum(dim=-1, dtype=torch.float64)
        return causal_loss(hidden_BTD, weight_VD, targets_BT, reduction="mean")

    @torch.no_grad()
    def nll(self, ids: Tensor) -> Tensor:
        """Return the sum of the negative log-likelihood [nats] of each sequence, `[B]` in float64, for evaluation.

        Args:
            ids: Token ids, `[B, L + 1]`, int64.
        """
        sums: Tensor = self(ids, per_sequence=True)  # through __call__, so that the hooks of FSDP2 run
        return sums

    @torch.no_grad()
    def token_nll(self, ids: Tensor) -> Tensor:
        """Return the negative log-likelihood [nats] of each token, `[B, L]`, for evaluation by document.

        Args:
            ids: Token ids, `[B, L + 1]`, int64.
        """
        values: Tensor = self(ids, per_token=True)
        return values


def backbone_and_head(model: PreTrainedModel) -> tuple[nn.Module, Tensor]:
    """Return the module that gives the final hidden states `[B, T, D]`, and the weight `[V, D]` of the output head.

    Raises:
        ConfigError: If the model has no output head of its own, or one that is not a linear map without bias.
    """
    backbone, head = model.base_model, model.get_output_embeddings()
    has_bias = getattr(head, "bias", None) is not None
    if backbone is model or not isinstance(head, nn.Linear) or has_bias:
        kind = f"{type(head).__name__} with a bias" if has_bias else type(head).__name__
        raise ConfigError(
            f"{type(model).__name__} must have a backbone and a linear output head without bias, its head is {kind}; "
            "choose another model"
        )
    return backbone, head.weight


@torch.no_grad()
def check_head_is_linear(model: PreTrainedModel) -> None:
    """Check on a few tokens that a model's logits are `hidden · weightᵀ` and nothing more.

    Some models scale, cap or project what lies between: their loss here would be another function than theirs. The head
    is enlarged during the check, since a cap changes large logits only; by a power of two, which restores every bit.

    Raises:
        ConfigError: If the logits differ.
    """
    backbone, weight_VD = backbone_and_head(model)
    ids = torch.arange(8, device=weight_VD.device).remainder(weight_VD.shape[0])[None]
    was_training = model.training
    model.eval()
    weight_VD.mul_(1024)
    try:
        hidden_BTD = backbone(input_ids=ids, use_cache=False).last_hidden_state
        logits_BTV = model(input_ids=ids, use_cache=False).logits
        fits = hidden_BTD.shape[-1] == weight_VD.shape[-1]
        is_linear = fits and torch.allclose(logits_BTV, hidden_BTD @ weight_VD.T, rtol=1e-3, atol=1e-3)
    finally:
        weight_VD.div_(1024)
        model.train(was_training)
    if not is_linear:
        raise ConfigError(
            f"{type(model).__name__} does more than a linear map after its backbone (a scale, cap or projection); "
            "lrpath would train it on another loss, so choose another model"
        )
