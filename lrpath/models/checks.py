"""What a model from a `config.json` must be, so that its loss is the one trained here and its cost the one planned.

Shapes: B sequences, L ids of each.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from lrpath.errors import ConfigError
from lrpath.models.causal_lm import CausalLM
from lrpath.models.quiet import quiet_transformers

_SEQUENCES, _LENGTH = 2, 33

_SCALES = (1.0, 1024.0)
"""The head as it is shows what is added to the loss: balancing of experts, a z-loss. Enlarged, it shows what changes
large logits only: a cap, a scale, label smoothing. Powers of two, so that dividing restores every bit."""

_TOLERANCE = 1e-5
"""Relative; the two sum the same float32 terms in another order, some 1e-7 apart. A z-loss of 1e-4 adds 5e-4."""


_APART = 2e-5
"""Of the largest hidden state: kernels with and without a mask differ by 1e-6; a model that sees the first document
differs by 2.6e-4 or more already with its initial weights, through a convolution over three tokens, for example."""


def check_every_parameter_counts(config: PreTrainedConfig, *, file: str) -> None:
    """Check that a model has no experts: a plan counts every parameter for every token.

    Their balancing loss is another reason: transformers adds it to its own loss, and only if it is told to.

    Raises:
        ConfigError: Naming the field of the configuration that gives the number of experts.
    """
    experts = [(value, name) for name, value in _numbers(config.to_dict()) if "expert" in name and value > 1]
    if experts:
        value, name = max(experts)
        raise ConfigError(
            f"model.file {file} describes a mixture of experts ({name} = {value}): lrpath would train it without its "
            "balancing loss and count the cost of all experts for each token; choose a dense model",
            field="model.file",
            value=file,
        )


def _numbers(record: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for name, value in record.items():
        if type(value) is int:
            yield name, value
        elif isinstance(value, Mapping):
            yield from _numbers(value)


@torch.no_grad()
def check_loss_is_ours(model: PreTrainedModel) -> None:
    """Check on a few tokens that a model's own loss with labels is the cross-entropy that `CausalLM` computes.

    Some models scale, cap or project what lies between backbone and logits, or add terms to their loss: here they would
    be trained on another function.

    Raises:
        ConfigError: If the losses differ or are not finite, or the model has no loss of its own.
    """
    ours, kind = CausalLM(model), type(model).__name__
    weight_VD = ours.head_weight
    ids_BL = _some_ids(model)
    was_training = model.training
    model.eval()
    try:
        for scale in _SCALES:
            weight_VD.mul_(scale)
            try:
                own, here = _losses(model, ours, ids_BL)
            finally:
                weight_VD.div_(scale)
            if not abs(own - here) <= _TOLERANCE * abs(here):  # also for a loss that is not finite
                raise ConfigError(
                    f"{kind} has another loss than the cross-entropy of a linear head: {own:.6g} where lrpath computes "
                    f"{here:.6g} (it scales, caps or projects its logits, or adds a term); choose another model",
                    field="model.file",
                )
    finally:
        model.train(was_training)


@torch.no_grad()
def check_documents_are_apart(model: PreTrainedModel, *, end_id: int) -> None:
    """Check on a few tokens that a document has the hidden states in a window of two that it has by itself.

    A model may carry a state from token to token, or derive positions from something else than what it is told.

    Raises:
        ConfigError: If they differ, or the model takes no positions.
    """
    ours, kind = CausalLM(model, document_end=end_id), type(model).__name__
    ids_BL = _some_ids(model)
    ids_BL[ids_BL == end_id] = (end_id + 1) % model.config.get_text_config().vocab_size
    cut = ids_BL.shape[1] // 2
    ids_BL[:, cut - 1] = end_id
    was_training = model.training
    model.eval()
    try:
        together = ours.hidden(ids_BL)[:, cut:]
        alone = CausalLM(model).hidden(ids_BL[:, cut:])
    except (TypeError, RuntimeError, IndexError, AttributeError, KeyError, ValueError) as error:
        raise _not_apart(kind, f"it takes no positions: {' '.join(str(error).split())[:120]}") from error
    finally:
        model.train(was_training)
    apart = ((together - alone).abs().max() / alone.abs().max()).item()
    if not apart <= _APART:  # also for what is not finite
        raise _not_apart(kind, f"hidden states of the second of two documents differ by {apart:.2g} of the largest")


def _not_apart(kind: str, why: str) -> ConfigError:
    return ConfigError(
        f"data.mask=document: {kind} does not keep the documents of a window apart ({why}); choose another model, or "
        "data.mask=none",
        field="data.mask",
        value="document",
    )


def _some_ids(model: PreTrainedModel) -> Tensor:
    config = model.config.get_text_config()
    longest = getattr(config, "max_position_embeddings", None) or _LENGTH
    generator = torch.Generator().manual_seed(0)
    return torch.randint(config.vocab_size, (_SEQUENCES, min(_LENGTH, longest)), generator=generator)


def _losses(model: PreTrainedModel, ours: CausalLM, ids_BL: Tensor) -> tuple[float, float]:
    """Return the model's own loss, and the one computed here; not a number for a loss that it does not have."""
    try:
        with quiet_transformers():  # it says which loss it takes where a configuration names none
            own = model(input_ids=ids_BL, labels=ids_BL, use_cache=False).loss
        return float("nan") if own is None else float(own), float(ours(ids_BL))
    except (TypeError, RuntimeError, IndexError, AttributeError, KeyError) as error:
        raise ConfigError(
            f"{type(model).__name__} cannot be run on a few tokens ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]}); choose another model",
            field="model.file",
        ) from error
