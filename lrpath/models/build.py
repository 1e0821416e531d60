"""Build a causal language model from its shape and a seed: random weights in fp32, no download, no code from data.

Every family is a class of Hugging Face transformers: InternLM 1 and 2 are its Llama, with biases on q, k, v, o and with
grouped heads; InternLM 3 is a configuration over its Llama that came with version 5.23.
"""

import contextlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
import transformers
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.initialization import no_init_weights

from lrpath.errors import ConfigError
from lrpath.models.checks import check_every_parameter_counts, check_loss_is_ours
from lrpath.planning.config_file import without_kernels
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
    shape: ModelShape,
    *,
    seed: int,
    device: Literal["cpu", "meta"] = "cpu",
    attention: Attention = "sdpa",
    drawn: bool = True,
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
        drawn: Whether weights are drawn; where a state replaces them all, to draw them is waste (10 s at 1.2 billion).
            They then have whatever was in memory. Buffers, which no state holds, are as they always are. A model from
            a file is drawn in any case: nobody knows what its class does meanwhile.

    Raises:
        ConfigError: If the seed is negative, transformers refuses the configuration, its count of parameters is not
            the shape's, or a model from a file has another loss than the one trained here.
    """
    if seed < 0:
        raise ConfigError(f"seed must be at least 0, not {seed}", field="seed", value=seed)
    config = hf_config(shape)
    is_drawn = drawn or shape.family == "file"
    with torch.device(device), _seeded(seed), contextlib.nullcontext() if is_drawn else no_init_weights():
        model = model_of(config, attention=attention, name=_name(shape))
    if not is_drawn:
        model.tie_weights()  # part of what was left out
    if shape.parameters is not None:
        assert_parameter_count(model, shape)
    if shape.family == "file" and device != "meta":
        check_loss_is_ours(model)
    return model


def model_of(
    config: PreTrainedConfig, *, attention: Attention = "sdpa", dtype: torch.dtype = torch.float32, name: str = ""
) -> PreTrainedModel:
    """Return the model of a configuration, with weights drawn from the default generator.

    The kernels are always named here: left out, transformers takes them from the configuration.

    Args:
        config: Its configuration.
        attention: Kernel of its attention.
        dtype: Type of its weights.
        name: What the model is called in messages.

    Raises:
        ConfigError: If transformers refuses the configuration.
    """
    try:
        return AutoModelForCausalLM.from_config(
            config, dtype=dtype, attn_implementation=attention, trust_remote_code=False
        )
    except Exception as error:  # a foreign configuration fails in whatever way the first line that reads it fails
        raise ConfigError(
            f"transformers {transformers.__version__} cannot build {name or 'the model'}: {one_line(error)}; "
            "correct the configuration, or choose another model",
            field="model",
            value=config.model_type,
        ) from error


def one_line(error: Exception) -> str:
    """Return an error of another library as one line of at most 200 characters, with its type where that says more."""
    text = " ".join(str(error).split())
    text = text if isinstance(error, ValueError | ImportError) else f"{type(error).__name__}: {text}"
    return text if len(text) <= 200 else f"{text[:200]}…"


def _name(shape: ModelShape) -> str:
    return f"model.file {shape.file}" if shape.family == "file" else f"a model of family {shape.family}"


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
        stated = shape.family == "file"
        says = "model.stated_parameters" if stated else f"the plan of family {shape.family}"
        raise ConfigError(
            f"{says} says {shape.parameters} parameters, the model has {built}; its cost would be wrong",
            field="model.stated_parameters" if stated else "model",
            value=shape.parameters,
        )


def count_parameters(shape: ModelShape) -> int:
    """Count the parameters by building the model without numbers; for family `file`, whose shape cannot know.

    Raises:
        ConfigError: If transformers refuses the configuration.
    """
    config = hf_config(shape)
    with torch.device("meta"):
        model = model_of(config, name=_name(shape))
    return sum(parameter.numel() for parameter in model.parameters())


def hf_config(shape: ModelShape) -> PreTrainedConfig:
    """Return the transformers configuration of a shape, without key-value cache and without padding.

    Raises:
        ConfigError: If the installed transformers lacks the family, or one of the fields that the shape sets; it would
            accept such a field and ignore it. If a file describes a model with experts.
    """
    if shape.family == "file":
        return _config_from_file(shape)
    name = _CONFIG_CLASSES[shape.family]
    config_class = getattr(transformers, name, None)
    if config_class is None:
        raise ConfigError(
            f"model.family {shape.family} needs transformers with {name} (5.23 or later), "
            f"not {transformers.__version__}; upgrade it or choose another family",
            field="model.family",
            value=shape.family,
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

    def refusal(problem: str) -> ConfigError:
        return ConfigError(f"model.file {shape.file} {problem}", field="model.file", value=shape.file)

    content = load_config_file(shape.file)
    if digest_content(content) != shape.file_digest:
        raise refusal("has changed since the plan read it; plan again")
    kind = content.get("model_type")
    if kind not in transformers.CONFIG_MAPPING:
        raise refusal(f"has model_type {kind!r}, unknown to transformers {transformers.__version__}")
    try:
        ours = {"vocab_size": shape.vocab_size, "use_cache": False, **_NO_MARKS}
        config: PreTrainedConfig = transformers.CONFIG_MAPPING[kind].from_dict(without_kernels(content) | ours)
        for name, value in ours.items():
            setattr(config, name, value)
    except Exception as error:  # each configuration class checks its fields in its own way
        raise refusal(f"is not a valid configuration of model type {kind} ({one_line(error)}); correct it") from None
    if (layers := getattr(config, "num_hidden_layers", None)) != shape.layers:
        raise refusal(f"says {shape.layers} layers under one name and {layers} under another; leave one of them")
    check_every_parameter_counts(config, file=shape.file)
    return config
