"""The module that training and evaluation call: token ids in, loss out, logits never held as a whole.

Shapes: B sequences, L + 1 ids of which L are read and L predicted, T = L positions, D hidden features, V vocabulary.
"""

import pathlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lrpath.errors import ConfigError
from lrpath.models.attention import choose_attention
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
        document_end: Id of the end mark behind which a new document begins, to which nothing before it is shown; None
            shows a token all of its window before it.

    Attributes:
        is_compiled: Whether blocks, and the loss where it has a gradient, are compiled.
    """

    is_compiled = False

    def __init__(self, lm: PreTrainedModel, *, document_end: int | None = None) -> None:
        super().__init__()
        self.lm = lm
        self.document_end = document_end
        choose_attention(lm, documents_apart=document_end is not None)

    @property
    def blocks(self) -> nn.ModuleList:
        """The decoder layers, for sharding, compiling and checkpointing one by one."""
        backbone, _ = backbone_and_head(self.lm)
        depth = self.lm.config.get_text_config().num_hidden_layers
        return next(part for part in backbone.modules() if isinstance(part, nn.ModuleList) and len(part) == depth)

    def save_config(self, folder: pathlib.Path) -> None:
        """Write the model's configuration into a folder, as transformers does."""
        self.lm.config.save_pretrained(folder)

    @property
    def head_weight(self) -> Tensor:
        """The weight of the output head, `[V, D]`."""
        return backbone_and_head(self.lm)[1]

    @property
    def has_dropout(self) -> bool:
        """Whether training draws random numbers: some module drops, or some field of the configuration says so.

        Every GPT-NeoX has a `classifier_dropout` of .1, which no causal model reads.
        """
        modules = any(isinstance(part, nn.Dropout) and part.p > 0 for part in self.lm.modules())
        fields = self.lm.config.get_text_config().to_dict().items()
        drops = (value for name, value in fields if "drop" in name and name != "classifier_dropout")
        return modules or any(type(value) is float and value > 0 for value in drops)

    def forward(
        self,
        ids: Tensor,
        *,
        per_sequence: bool = False,
        per_token: bool = False,
        seeds: Sequence[int] | None = None,
    ) -> Tensor:
        """Return the mean negative log-likelihood [nats per token] of `ids[:, 1:]` given what precedes.

        Args:
            ids: Token ids, `[B, L + 1]`, int64.
            per_sequence: Return the sum of each sequence instead, `[B]` in float64, without gradient.
            per_token: Return the value of each token instead, `[B, L]`, without gradient.
            seeds: Of the random numbers of each sequence. One after another, each then draws the numbers that it would
                draw in any other micro-batch and on any other rank: torch draws one mask for a whole batch, so that is
                the only way, and models without dropout are spared it.
        """
        if seeds is not None:
            losses = []
            for row, seed in zip(ids.split(1), seeds, strict=True):
                seed_generators(seed, device=ids.device)
                losses.append(self._loss(row))
            return torch.stack(losses).mean()
        return self._loss(ids, per_sequence=per_sequence, per_token=per_token)

    def _loss(self, ids: Tensor, *, per_sequence: bool = False, per_token: bool = False) -> Tensor:
        weight_VD, hidden_BTD, targets_BT = self.head_weight, self.hidden(ids[:, :-1]), ids[:, 1:]
        if per_token:
            return token_nll(hidden_BTD, weight_VD, targets_BT)
        if per_sequence:
            return token_nll(hidden_BTD, weight_VD, targets_BT).sum(dim=-1, dtype=torch.float64)
        return causal_loss(hidden_BTD, weight_VD, targets_BT, compiled=self.is_compiled)

    def hidden(self, ids_BT: Tensor) -> Tensor:
        """Return the final hidden states, `[B, T, D]`, of token ids."""
        backbone, _ = backbone_and_head(self.lm)
        states: Tensor = backbone(input_ids=ids_BT, use_cache=False, **self._positions(ids_BT)).last_hidden_state
        return states

    def _positions(self, ids_BT: Tensor) -> dict[str, Tensor]:
        """Return the positions that transformers is given; nothing where documents are not told apart.

        transformers takes positions that do not rise by one for the beginning of another sequence of a packed row, and
        builds the block-diagonal mask from them, also that of layers with a sliding window
        (`transformers.masking_utils.find_packed_sequence_indices`). A mask of four axes given instead would be used as
        it is in every layer, and so undo the sliding windows.
        """
        return (
            {} if self.document_end is None else {"position_ids": document_positions(ids_BT, end_id=self.document_end)}
        )

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


def document_positions(ids_BT: Tensor, *, end_id: int) -> Tensor:
    """Return the position of each token in its document, from 0; an end mark is the last token of its document.

    A document of which a window holds the end alone begins with the window.

    >>> document_positions(torch.tensor([[5, 6, 0, 7, 0, 0, 8, 9]]), end_id=0).tolist()
    [[0, 1, 2, 0, 1, 0, 0, 1]]
    """
    places_BT = torch.arange(ids_BT.shape[1], device=ids_BT.device).expand_as(ids_BT)
    begins_BT = torch.nn.functional.pad(ids_BT[:, :-1] == end_id, (1, 0))
    return places_BT - torch.where(begins_BT, places_BT, 0).cummax(dim=1).values


def seed_generators(seed: int, *, device: torch.device) -> None:
    """Seed the generators that a pass may draw from; `torch.manual_seed` takes .6 ms without a GPU, this .01 ms."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)


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
            "choose another model",
            field="model.file",
        )
    return backbone, head.weight
