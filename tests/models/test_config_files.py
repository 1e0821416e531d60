"""Models from a `config.json`: what is built of it, and every kind of it that would be trained on another loss."""

import json
import logging
import pathlib
from typing import Any

import pytest
import torch

from lrpath.errors import ConfigError
from lrpath.models import CausalLM, build_model, count_parameters, hf_config
from lrpath.models.attention import CAUSAL_SDPA
from lrpath.planning.shape import FileModel, ModelShape
from tests.refusals import refused

SIZES: dict[str, Any] = {"vocab_size": 96, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
                         "num_attention_heads": 4, "max_position_embeddings": 16}  # fmt: skip
GPT2 = {"model_type": "gpt2", "vocab_size": 96, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 16}
EXPERTS: list[dict[str, Any]] = [
    {"model_type": "mixtral", "num_local_experts": 4, "num_key_value_heads": 2, "output_router_logits": True},
    {"model_type": "mixtral"},  # eight, by the class's own default
    {"model_type": "qwen3_moe", "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
    {"model_type": "olmoe", "num_experts": 4, "num_experts_per_tok": 2},
    {"model_type": "deepseek_v3", "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1},
]


def shape_of(folder: pathlib.Path, content: dict[str, Any]) -> ModelShape:
    file = folder / "config.json"
    file.write_text(json.dumps(content))
    given = {"vocab_size": None, "context": None, "stated_parameters": None}
    return FileModel(family="file", file=str(file), **given).shape()


@pytest.mark.parametrize("content", EXPERTS, ids=lambda content: str(content["model_type"]))
def test_a_mixture_of_experts_is_refused_before_it_is_counted(tmp_path: pathlib.Path, content: dict[str, Any]) -> None:
    shape = shape_of(tmp_path, SIZES | content)

    for attempt in (count_parameters, hf_config):
        with refused(ConfigError, field="model.file", value=str(tmp_path / "config.json")):
            attempt(shape)


@pytest.mark.parametrize(
    "content",
    [
        {"model_type": "granite", "logits_scaling": 4.0},
        {"model_type": "cohere"},  # scales its logits by 1/16
        {"model_type": "phi"},  # its head has a bias
    ],
    ids=lambda content: str(content["model_type"]),
)
def test_a_model_with_another_loss_is_refused(tmp_path: pathlib.Path, content: dict[str, Any]) -> None:
    with refused(ConfigError, field="model.file"):
        build_model(shape_of(tmp_path, SIZES | content), seed=0)


@pytest.mark.parametrize("name", ["z_loss", "smoothing", "auxiliary"])
def test_every_term_that_is_added_to_a_loss_is_found(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    from lrpath.models.checks import check_loss_is_ours
    from tests.models.test_build_model import tiny

    model = build_model(tiny(), seed=0)
    check_loss_is_ours(model)  # as it is, it passes
    before = {key: value.clone() for key, value in model.state_dict().items()}

    def altered(logits: torch.Tensor, labels: torch.Tensor, vocab_size: int, **_: Any) -> torch.Tensor:
        logits, targets = logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten()
        smoothing = 0.1 if name == "smoothing" else 0.0
        loss = torch.nn.functional.cross_entropy(logits, targets, label_smoothing=smoothing)
        extra = {"z_loss": 1e-4 * logits.logsumexp(-1).square().mean(), "auxiliary": 0.02 * 1.0}
        return loss + extra.get(name, 0.0)

    monkeypatch.setattr(type(model), "loss_function", property(lambda _: altered))
    with refused(ConfigError, field="model.file"):
        check_loss_is_ours(model)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    "content",
    [
        {"model_type": "gpt_neox"},
        {"model_type": "olmo2"},
        {"model_type": "mistral", "num_key_value_heads": 2},
        {"model_type": "gemma", "num_key_value_heads": 2, "head_dim": 8},
        {"model_type": "qwen2", "num_key_value_heads": 2},
        {"model_type": "stablelm", "num_key_value_heads": 4},
    ],
    ids=lambda content: str(content["model_type"]),
)
def test_dense_models_are_built_and_their_loss_is_ours(tmp_path: pathlib.Path, content: dict[str, Any]) -> None:
    model = build_model(shape_of(tmp_path, SIZES | content), seed=0).eval()
    ids = torch.randint(96, (3, 16), generator=torch.Generator().manual_seed(0))

    with torch.no_grad():
        own, ours = model(input_ids=ids, labels=ids).loss, CausalLM(model)(ids)
    assert own.item() == pytest.approx(ours.item(), rel=1e-6)


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation", "experts_implementation"])
def test_kernels_are_never_taken_from_a_file(tmp_path: pathlib.Path, key: str) -> None:
    shape = shape_of(tmp_path, SIZES | {"model_type": "llama", key: "kernels-community/flash-attn3"})

    assert hf_config(shape)._attn_implementation is None
    assert build_model(shape, seed=0).config._attn_implementation == CAUSAL_SDPA
    assert count_parameters(shape) > 0


def test_code_of_a_repository_is_left_out_with_a_word(tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    plain = shape_of(tmp_path, GPT2)

    with caplog.at_level(logging.WARNING):
        shape = shape_of(tmp_path, GPT2 | {"auto_map": {"AutoModelForCausalLM": "evil.Model"}})

    assert shape.file_digest == plain.file_digest
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert type(build_model(shape, seed=0)).__module__.startswith("transformers.models.gpt2")


@pytest.mark.parametrize(
    "changes",
    [
        {"rms_norm_eps": "nan"},
        {"rms_norm_eps": float("nan")},
        {"hidden_act": "swoosh"},
        {"rope_scaling": {"type": "sideways"}},
        {"initializer_range": "wide"},
        {"quantization_config": {"quant_method": "bitsandbytes"}},
        {"num_hidden_layers": 1_000_000_000},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_a_field_that_cannot_be_is_one_line(tmp_path: pathlib.Path, changes: dict[str, Any]) -> None:
    content = SIZES | {"model_type": "llama"} | changes
    with refused(ConfigError) as caught:
        build_model(shape_of(tmp_path, content), seed=0)
    assert "\n" not in str(caught.value)


def test_of_two_names_of_a_depth_the_planned_one_is_built(tmp_path: pathlib.Path) -> None:
    shape = shape_of(tmp_path, GPT2 | {"num_hidden_layers": 3})

    assert len(CausalLM(build_model(shape, seed=0, device="meta")).blocks) == shape.layers
