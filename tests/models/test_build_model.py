"""Building models: counts against the plan, weights from the seed alone, and refusals."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from lrpath.errors import ConfigError
from lrpath.models import assert_parameter_count, build_model, count_parameters, hf_config
from lrpath.models import build as build_module
from lrpath.planning.shape import FAMILIES, ModelShape
from tests.planning.strategies import SIZES, shape_of_file
from tests.refusals import refused

TINY: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 32,
    "layers": 2,
    "heads": 4,
    "ffn_size": 56,
    "context": 16,
} | SIZES
DECLARED = [family for family in FAMILIES if family != "file"]
has_internlm3 = hasattr(transformers, "InternLM3Config")


def tiny(family: str = "llama", **changes: Any) -> ModelShape:
    if family == "internlm3" and not has_internlm3:
        pytest.skip("this transformers has no InternLM3")
    return ModelShape(family=family, **(TINY | changes))


def write(folder: Path, **content: Any) -> str:
    path = folder / "config.json"
    path.write_text(json.dumps(content))
    return str(path)


@pytest.mark.parametrize("family", DECLARED)
@pytest.mark.parametrize("changes", [{}, {"kv_heads": 2}, {"tie_embeddings": True}], ids=["plain", "grouped", "tied"])
def test_a_plan_counts_exactly_the_parameters_that_are_built(family: str, changes: dict[str, Any]) -> None:
    shape = tiny(family, **changes)
    model = build_model(shape, seed=0, device="meta")

    assert sum(parameter.numel() for parameter in model.parameters()) == shape.parameters == count_parameters(shape)
    embeddings = {id(part.weight): part.weight.numel() for part in (model.get_input_embeddings(), model.lm_head)}
    assert sum(embeddings.values()) == shape.embedding_parameters


@pytest.mark.parametrize("family", ["qwen3", "internlm3"])
def test_an_explicit_head_size_reaches_the_model(family: str) -> None:
    shape = tiny(family, head_dim=16)

    assert build_model(shape, seed=0, device="meta").model.layers[0].self_attn.q_proj.weight.shape == (64, 32)


@pytest.mark.parametrize(
    ("family", "biased"),
    [
        ("llama", set()),
        ("qwen2", {"q_proj", "k_proj", "v_proj"}),
        ("qwen3", set()),
        ("internlm", {"q_proj", "k_proj", "v_proj", "o_proj"}),
        ("internlm2", set()),
    ],
)
def test_biases_stand_where_the_family_has_them(family: str, biased: set[str]) -> None:
    names = [name for name, _ in build_model(tiny(family), seed=0, device="meta").named_parameters()]

    assert {name.split(".")[-2] for name in names if name.endswith("bias")} == biased


def test_the_same_seed_gives_the_same_weights_whatever_the_generators_hold() -> None:
    first = build_model(tiny(), seed=3).state_dict()
    torch.manual_seed(123)
    torch.rand(5)
    second = build_model(tiny(), seed=3).state_dict()

    assert all(torch.equal(first[name], second[name]) for name in first)


def test_another_seed_gives_other_weights() -> None:
    first, second = (build_model(tiny(), seed=seed).lm_head.weight for seed in (3, 4))

    assert not torch.equal(first, second)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_building_leaves_the_global_generator_as_it_was(device: Any) -> None:
    before = torch.get_rng_state()
    build_model(tiny(), seed=3, device=device)

    assert torch.equal(torch.get_rng_state(), before)


def test_weights_are_fp32_and_spread_as_the_shape_says() -> None:
    model = build_model(tiny(init_std=0.1), seed=0)

    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    # 96 × 32 draws: the standard error of their deviation is 0.1 / √(2 · 3072) = 0.0013.
    assert model.lm_head.weight.std().item() == pytest.approx(0.1, abs=0.005)
    assert torch.equal(model.model.norm.weight, torch.ones(32))


def test_no_row_of_the_embedding_is_set_apart_for_padding() -> None:
    for family in ("llama", "internlm3"):
        embedding = build_model(tiny(family), seed=0).get_input_embeddings()

        assert embedding.padding_idx is None
        assert (embedding.weight.abs().sum(dim=1) > 0).all()


def test_a_model_on_meta_holds_no_numbers() -> None:
    parts = build_model(tiny(), seed=0, device="meta").state_dict().values()

    assert {part.device.type for part in parts} == {"meta"}


def test_the_configuration_has_no_cache_and_the_rotary_base() -> None:
    config = hf_config(tiny(rope_theta=500_000.0))

    assert config.use_cache is False
    assert config.rope_parameters == {"rope_type": "default", "rope_theta": 500_000.0}
    assert build_model(tiny(), seed=0, device="meta").config._attn_implementation == "sdpa"


def test_a_field_that_transformers_would_ignore_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = build_module._config_fields
    monkeypatch.setattr(build_module, "_config_fields", lambda shape: fields(shape) | {"rope_thetta": 1.0})

    with refused(ConfigError):
        hf_config(tiny())


def test_a_family_that_transformers_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(build_module._CONFIG_CLASSES, "internlm3", "InternLM99Config")

    with refused(ConfigError):
        hf_config(ModelShape(family="internlm3", **TINY))


def test_a_negative_seed_is_refused() -> None:
    with refused(ConfigError):
        build_model(tiny(), seed=-1)


def test_a_count_that_differs_is_refused() -> None:
    model = build_model(tiny(), seed=0, device="meta")

    with refused(ConfigError):
        assert_parameter_count(model, tiny(layers=3))


def test_any_causal_model_is_built_from_its_file_with_the_tokenizers_vocabulary(tmp_path: Path) -> None:
    path = write(tmp_path, model_type="gpt_neox", vocab_size=500, hidden_size=32, num_hidden_layers=2,
                 num_attention_heads=4, intermediate_size=64, max_position_embeddings=16)  # fmt: skip
    shape = shape_of_file(path, vocab_size=96)
    stated = shape_of_file(path, vocab_size=96, stated_parameters=count_parameters(shape))

    assert type(build_model(stated, seed=0)).__name__ == "GPTNeoXForCausalLM"
    assert build_model(shape, seed=0).get_output_embeddings().weight.shape == (96, 32)


def test_a_wrong_stated_count_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, model_type="llama", intermediate_size=56, num_hidden_layers=2, num_attention_heads=4,
                 hidden_size=32, vocab_size=96, max_position_embeddings=16)  # fmt: skip
    shape = shape_of_file(path, stated_parameters=7)

    with refused(ConfigError):
        build_model(shape, seed=0, device="meta")


def test_a_file_that_changed_after_planning_is_refused(tmp_path: Path) -> None:
    content: dict[str, Any] = {"model_type": "llama", "intermediate_size": 56, "num_hidden_layers": 2, "vocab_size": 96,
                               "num_attention_heads": 4, "hidden_size": 32, "max_position_embeddings": 16}  # fmt: skip
    shape = shape_of_file(write(tmp_path, **content))
    write(tmp_path, **content, rms_norm_eps=1e-3)

    with refused(ConfigError):
        hf_config(shape)


def test_a_model_type_unknown_to_transformers_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, model_type="gpt5", n_embd=8, n_layer=2, n_head=2, n_positions=4, vocab_size=9)

    with refused(ConfigError):
        hf_config(shape_of_file(path))


def test_a_head_that_scales_its_logits_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, model_type="granite", vocab_size=96, hidden_size=32, intermediate_size=64,
                 num_attention_heads=4, num_hidden_layers=2, max_position_embeddings=16,
                 logits_scaling=4.0)  # fmt: skip

    with refused(ConfigError):
        build_model(shape_of_file(path), seed=0)


def test_a_kernel_that_a_model_lacks_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, model_type="gemma2", vocab_size=96, hidden_size=32, num_hidden_layers=2,
                 intermediate_size=64, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
                 max_position_embeddings=16)  # fmt: skip

    with refused(ConfigError):
        build_model(shape_of_file(path), seed=0)
