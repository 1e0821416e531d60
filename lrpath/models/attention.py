"""Causal attention by torch's fused kernels, without transformers' code for masks, which waits for the device.

Before the layers, transformers looks whether positions begin anew within a row, and reads the answer
(`transformers.masking_utils.find_packed_sequence_indices`, 5.24): on a GPU the CPU then waits, once a micro-batch,
until all that was launched has run, and the device afterwards for the next launches. Windows here are never padded or
packed unless documents are told apart. A kernel that is registered under a name of its own, without a function for its
mask, is given none and never asked; it then runs with `is_causal`, as it does after the question. The numbers are the
same.
"""

from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

CAUSAL_SDPA = "lrpath_causal_sdpa"
"""Name of `sdpa` without a mask function, in transformers' register of attention functions."""

_WITHOUT_MASKS = frozenset({"llama", "internlm3", "qwen2", "qwen3", "gpt_neox"})
"""Model types whose only mask is the causal one, unless a layer has a sliding window. Others keep transformers' way: a
mask that is left out by mistake shows the model more than it should see."""

AttentionInterface.register(CAUSAL_SDPA, sdpa_attention_forward)


def choose_attention(model: PreTrainedModel, *, documents_apart: bool) -> None:
    """Let a model with fused attention do without masks where it needs none, and with them where it does.

    Args:
        model: Its attention is changed in place; one that was built with another kernel than `sdpa` keeps it.
        documents_apart: Whether attention ends at the borders of documents, for which transformers makes masks.
    """
    config = model.config
    if config._attn_implementation not in ("sdpa", CAUSAL_SDPA):
        return
    layers = getattr(config, "layer_types", None) or ()
    plain = config.model_type in _WITHOUT_MASKS and all(kind == "full_attention" for kind in layers)
    config._attn_implementation = CAUSAL_SDPA if plain and not documents_apart else "sdpa"
