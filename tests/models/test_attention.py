"""Attention without transformers' code for masks: the same numbers, and only where no mask is needed."""

from typing import Any

import pytest
import torch
from torch import Tensor

from lrpath.models import CausalLM
from lrpath.models.attention import CAUSAL_SDPA
from tests.models.test_document_mask import FAMILIES, small_model


def gradients(model: CausalLM, ids_BL: Tensor) -> list[Tensor]:
    return [*torch.autograd.grad(loss := model(ids_BL), list(model.parameters())), loss.detach()]


@pytest.mark.parametrize("kind", [*FAMILIES, "gpt_neox"])
def test_numbers_are_those_of_attention_that_asks_for_masks(kind: str, tmp_path: Any) -> None:
    model = CausalLM(small_model(kind, tmp_path))  # type: ignore[arg-type]
    ids_BL = torch.randint(4, 64, (2, 17), generator=torch.Generator().manual_seed(0))
    assert model.lm.config._attn_implementation == CAUSAL_SDPA
    ours = gradients(model, ids_BL)
    model.lm.config._attn_implementation = "sdpa"

    assert all(map(torch.equal, ours, gradients(model, ids_BL)))


@pytest.mark.parametrize("kind", ["mistral", "qwen2 with a sliding window", "gpt2", "olmo2"])
def test_a_model_that_may_need_other_masks_keeps_transformers_way(kind: str, tmp_path: Any) -> None:
    assert CausalLM(small_model(kind, tmp_path)).lm.config._attn_implementation == "sdpa"  # type: ignore[arg-type]


def test_documents_that_are_told_apart_are_masked(tmp_path: Any) -> None:
    lm = small_model("llama", tmp_path)
    CausalLM(lm)  # type: ignore[arg-type]

    assert CausalLM(lm, document_end=3).lm.config._attn_implementation == "sdpa"  # type: ignore[arg-type]
