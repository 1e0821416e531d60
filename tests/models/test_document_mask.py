"""Attention that ends at the borders of documents, against a slow reference: every document run by itself."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import CONFIG_MAPPING

from lrpath.errors import ConfigError
from lrpath.models import CausalLM, build_model, check_documents_are_apart, document_positions, model_of
from lrpath.planning.shape import FileModel, ModelShape
from tests.refusals import refused

END, VOCABULARY = 3, 64
SIZES = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
GATED = SIZES | {"num_key_value_heads": 1, "intermediate_size": 48, "max_position_embeddings": 64}
ROUNDING = 2e-6
"""Largest difference of a loss [nats]: attention with a mask and without one are two kernels, which add in another
order; 5e-7 was seen."""

FILES: dict[str, dict[str, Any]] = {
    "gpt_neox": SIZES | {"model_type": "gpt_neox", "intermediate_size": 64, "max_position_embeddings": 64},
    "gpt2": {"model_type": "gpt2", "vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}
    | {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    "olmo2": GATED | {"model_type": "olmo2"},
    "mistral": GATED | {"model_type": "mistral", "sliding_window": 4},
    "qwen2 with a sliding window": GATED
    | {"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1},
}
FAMILIES = ("llama", "qwen2", "qwen3", "internlm", "internlm2")


def small_model(kind: str, folder: Path) -> torch.nn.Module:
    if kind in FILES:
        file = folder / "config.json"
        file.write_text(json.dumps(FILES[kind]))
        more = {"vocab_size": VOCABULARY, "context": None, "stated_parameters": None}
        shape = FileModel(family="file", file=str(file), **more).shape()
    else:
        sizes = {"vocab_size": VOCABULARY, "hidden_size": 32, "layers": 2, "heads": 2, "ffn_size": 48, "context": 64}
        constants = {"tie_embeddings": False, "rope_theta": 10_000.0, "norm_eps": 1e-5, "init_std": 0.02}
        shape = ModelShape(family=kind, kv_heads=None, head_dim=None, **sizes, **constants)
    return build_model(shape, seed=1)


def some_ids() -> Tensor:
    """Return three windows: of several documents, of one, and of short ones, two of them nothing but an end mark."""
    ids = torch.randint(4, VOCABULARY, (3, 33), generator=torch.Generator().manual_seed(0))
    ids[0, [5, 12, 13, 31]] = END
    ids[2, [0, 1, 9, 32]] = END
    return ids


def each_alone(model: CausalLM, ids_BT: Tensor) -> Tensor:
    """Return the losses of every token, each document of a window run by itself."""
    losses_BL = torch.empty(ids_BT.shape[0], ids_BT.shape[1] - 1)
    for row, ids_T in enumerate(ids_BT):
        ends = [*((ids_T[:-2] == END).nonzero().flatten() + 1).tolist(), len(ids_T) - 1]
        for begin, end in pairwise([0, *ends]):
            losses_BL[row, begin:end] = model.token_nll(ids_T[None, begin : end + 1])[0]
    return losses_BL


def test_positions_begin_anew_behind_every_end_mark() -> None:
    found = document_positions(some_ids()[:, :-1], end_id=END)

    assert found[0].tolist() == [*range(6), *range(7), 0, *range(18)]
    assert found[1].tolist() == list(range(32))
    assert found[2].tolist() == [0, 0, *range(8), *range(22)]


@pytest.mark.parametrize("kind", [*FAMILIES, *FILES])
def test_a_document_has_the_losses_that_it_has_by_itself(kind: str, tmp_path: Path) -> None:
    lm = small_model(kind, tmp_path).eval()
    ids = some_ids()

    together = CausalLM(lm, document_end=END).token_nll(ids)

    assert (together - each_alone(CausalLM(lm), ids)).abs().max() < ROUNDING
    assert (CausalLM(lm).token_nll(ids) - together)[0, 8:].abs().max() > 1e-3


def test_gradients_are_those_of_the_documents_by_themselves(tmp_path: Path) -> None:
    lm = small_model("llama", tmp_path)
    ids = some_ids()[:1]
    CausalLM(lm, document_end=END)(ids).backward()
    together = {name: parameter.grad.clone() for name, parameter in lm.named_parameters()}
    lm.zero_grad()

    for begin, end in ((0, 6), (6, 13), (13, 14), (14, 32)):
        (CausalLM(lm)(ids[:, begin : end + 1]) * (end - begin) / 32).backward()

    for name, parameter in lm.named_parameters():
        assert torch.allclose(together[name], parameter.grad, rtol=1e-4, atol=1e-6), name


@pytest.mark.parametrize("kind", ["llama", "mistral", "gpt2"])
def test_models_that_keep_documents_apart_pass_the_check(kind: str, tmp_path: Path) -> None:
    check_documents_are_apart(small_model(kind, tmp_path), end_id=END)


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "opt", "ffn_dim": 32, "word_embed_proj_dim": 32, "dropout": 0.0},  # positions from a mask
        {"model_type": "lfm2", "intermediate_size": 64, "layer_types": ["conv", "full_attention"]},
        {"model_type": "recurrent_gemma", "intermediate_size": 64, "lru_width": 32},
    ],
)
def test_a_model_that_does_not_is_refused(config: dict[str, Any]) -> None:
    given = SIZES | config
    lm = model_of(CONFIG_MAPPING[given.pop("model_type")](pad_token_id=None, **given))

    with refused(ConfigError, field="data.mask", value="document", stable=False):
        check_documents_are_apart(lm, end_id=END)
