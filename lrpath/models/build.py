"""Build a causal language model from its shape and a seed: random weights in fp32, no download, no code from data.

Every family is a class of Hugging Face transformers: InternLM 1 and 2 are its Llama, with biases on q, k, v, o and with
grouped heads; InternLM 3 is a configuration over its Llama that came with version 5.23.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
import transformers
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from lrpath.errors import ConfigError
from lrpath.models.causal_lm import check_head_is_linear
from lrpath.planning.shape import ModelShape, digest_content, load_config_file

Attention = Literal["sdpa", "eager"]

_CONFIG_CLASSES = {
    "llama": "LlamaConfig",
    "qwen2": "Qwen2Config",
    "qwen3": "Qwen3Config",
    "internlm": "LlamaConfig",
    "internlm2": "LlamaConfig",
    "internlm3": "InternLM3Config",
}

# A padding id makes one row of the embedding zero and cuts its gradient; windows here are never padded.
_NO_MARKS = {"pad_token_id": None, "bos_token_id": None, "eos_token_id": None}


def build_model(
    shape: ModelShape, *, seed: int, device: Literal["cpu", "meta"] = "cpu", attention: Attention = "sdpa"
) -> PreTrainedModel:
    """Build a model whose weights are a function of `(shape, seed)`.

    The weights do not depend on the state of the global generators and leave it as it was. They are drawn on the CPU,
    in the order of transformers' own initialization, so another version of torch or transformers may draw others. A
    model too large for the memory of every rank is drawn on one and broadcast to models built on `meta`.

    Args:
        shape: Sizes and constants.
        seed: Seed of the weights; at least 0.
        device: `cpu`, or `meta` for a model without numbers that allocates nothing.
        attention: Kernel: fused (`sdpa`), or plain matrix products (`eager`) for counting.

    Raises:
        ConfigError: If the seed is negative, transformers refuses the configuration, or its count of parameters is not
            the shape's.
    """
    if seed < 0:
        raise ConfigError(f"seed must be at least 0, not {seed}", field="seed", value=seed)
    config = hf_config(shape)
    try:
        with torch.device(device), _seeded(seed):
            model = AutoModelForCausalLM.from_config(
                config, dtype=torch.float32, attn_implementation=attention, trust_remote_code=False
            )
    except (ValueError, ImportError) as error:
        raise ConfigError(
            f"transformers {transformers.__version__} cannot build model {shape.family}: {error}"
        ) from error
    if shape.parameters is not None:
        assert_parameter_count(model, shape)
    if shape.family == "file" and device != "meta":
        check_head_is_linear(model)
    return model


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the CPU generator alone, and put it back afterwards; generators of accelerators are not touched."""
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(seed)
        yield


def assert_parameter_count(model: torch.nn.Module, shape: ModelShape) -> None:
    """Check that a model has as many parameters as its shape says, tied ones once.

    Raises:
        ConfigError: If the counts differ, or the shape's count is not known.
    """
    built = sum(parameter.numel() for parameter in model.parameters())
    if built != shape.parameters:
        field = "model.stated_parameters" if shape.family == "file" else f"the plan of family {shape.family}"
        raise ConfigError(f"{field} says {shape.parameters} parameters, the model has {built}; cost would be wrong")


def count_parameters(shape: ModelShape) -> int:
    """Count the parameters by building the model without numbers; for family `file`, whose shape cannot know.

    Raises:
        ConfigError: If transformers refuses the configuration.
    """
    config = hf_config(shape)
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except (ValueError, ImportError) as error:
        raise ConfigError(
            f"transformers {transformers.__version__} cannot build model {shape.family}: {error}"
        ) from error
    return sum(parameter.numel() for parameter in model.parameters())


def hf_config(shape: ModelShape) -> PreTrainedConfig:
    """Return the transformers configuration of a shape, without key-value cache and without padding.

    Raises:
        ConfigError: If the installed transformers lacks the family, or one of the fields that the shape sets. It would
            accept such a field and ignore it.
    """
    if shape.family == "file":
        return _config_from_file(shape)
    name = _CONFIG_CLASSES[shape.family]
    config_class = getattr(transformers, name, None)
    if config_class is None:
        raise ConfigError(
            f"model.family {shape.family} needs transformers with {name} (5.23 or later), "
            f"not {transformers.__version__}; upgrade it or choose another family"
        )
    fields = _config_fields(shape)
    _check_fields(config_class, fields)
    config: PreTrainedConfig = config_class(**fields)
    return config


def _config_fields(shape: ModelShape) -> dict[str, Any]:
    fields = {
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.ffn_size,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.num_kv_heads,
        "max_position_embeddings": shape.context,
        "tie_word_embeddings": shape.tie_embeddings,
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.rope_theta},
        "rms_norm_eps": shape.norm_eps,
        "initializer_range": shape.init_std,
        "use_cache": False,
        **_NO_MARKS,
    }
    if shape.family != "qwen2":  # its heads always share hidden_size evenly; its q, k and v always have a bias
        fields["head_dim"] = shape.head_size
        fields["attention_bias"] = shape.family == "internlm"
    return fields


def _check_fields(config_class: type[PreTrainedConfig], fields: dict[str, Any]) -> None:
    known = inspect.signature(config_class).parameters
    unknown = sorted(fields.keys() - known)
    if unknown:
        raise ConfigError(
            f"{config_class.__name__} of transformers {transformers.__version__} does not know the fields "
            f"{', '.join(unknown)} and would ignore them; install a version that lrpath supports"
        )


def _config_from_file(shape: ModelShape) -> PreTrainedConfig:
    assert shape.file is not None  # ModelShape refuses the family without it
    content = load_config_file(shape.file)
    if digest_content(content) != shape.file_digest:
        raise ConfigError(f"model.file {shape.file} has changed since the plan read it; plan again")
    kind = content.get("model_type")
    if kind not in transformers.CONFIG_MAPPING:
        raise ConfigError(
            f"model.file {shape.file} has model_type {kind!r}, unknown to transformers {transformers.__version__}"
        )
    try:
        config: PreTrainedConfig = transformers.CONFIG_MAPPING[kind].from_dict(content)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"model.file {shape.file} is not a valid configuration of model type {kind}: {str(error)[:200]}"
        ) from None
    for name, value in {"vocab_size": shape.vocab_size, "use_cache": False, **_NO_MARKS}.items():
        setattr(config, name, value)
    return config
