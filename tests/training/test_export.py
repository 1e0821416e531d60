"""What an export writes beside the weights: read alike by transformers 4 and 5, and refused where it cannot be."""

import json
import pathlib
from typing import Any

import pytest
from transformers import AutoConfig, GPTNeoXConfig, LlamaConfig, PreTrainedConfig, Qwen2Config

from lrpath.errors import DataError
from lrpath.training.checkpoints import export
from lrpath.training.checkpoints.backbone import Backbone
from tests.refusals import refused

SIZES: dict[str, Any] = {"vocab_size": 96, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
                         "num_attention_heads": 4, "max_position_embeddings": 64}  # fmt: skip
YARN = {"rope_type": "yarn", "rope_theta": 5e5, "factor": 4.0, "original_max_position_embeddings": 16}


def written(folder: pathlib.Path, config: PreTrainedConfig) -> dict[str, Any]:
    backbone = Backbone(config=config, tokenizer=None, end_id=7, window=16, sample=(), is_verified=True)
    export._write_config(folder, config, backbone, dtype="bf16")
    content = json.loads((folder / "config.json").read_text())
    assert isinstance(content, dict)
    return content


@pytest.mark.parametrize(
    ("config", "names"),
    [
        (LlamaConfig(**SIZES, rope_parameters={"rope_type": "default", "rope_theta": 5e5}), {"rope_theta": 5e5}),
        (
            LlamaConfig(**SIZES, rope_parameters=YARN),
            {"rope_theta": 5e5, "rope_scaling": {name: value for name, value in YARN.items() if name != "rope_theta"}},
        ),
        (
            GPTNeoXConfig(**SIZES, rotary_pct=0.5, rotary_emb_base=5e5),
            {"rotary_emb_base": 5e5, "rotary_pct": 0.5},
        ),
    ],
    ids=["default", "yarn", "gpt_neox"],
)
def test_rotary_settings_have_the_names_of_transformers_4_and_5(
    tmp_path: pathlib.Path, config: PreTrainedConfig, names: dict[str, Any]
) -> None:
    rope = dict(config.rope_parameters)

    content = written(tmp_path, config)

    assert {name: content.get(name) for name in names} == names
    assert content["rope_parameters"] == rope
    assert AutoConfig.from_pretrained(tmp_path).rope_parameters == rope


def test_the_end_mark_is_there_and_no_row_of_the_embedding_is_set_apart(tmp_path: pathlib.Path) -> None:
    content = written(tmp_path, LlamaConfig(**SIZES))

    assert (content["eos_token_id"], content["bos_token_id"], content["pad_token_id"]) == (7, None, None)
    assert (content["use_cache"], content["dtype"], content["architectures"]) == (
        True,
        "bfloat16",
        ["LlamaForCausalLM"],
    )


def test_a_sliding_qwen2_cannot_be_released_as_llama() -> None:
    plain = Qwen2Config(**SIZES, num_key_value_heads=2)

    assert export._as_llama(plain).attention_bias
    with refused(DataError):
        export._as_llama(Qwen2Config(**SIZES, num_key_value_heads=2, use_sliding_window=True))
