"""Builds a causal language model with the weights of a Hugging Face folder, in fp32; nothing in the folder is run."""

import pathlib
from collections.abc import Collection

import torch
import transformers
from transformers import AutoModelForCausalLM, PreTrainedModel

from lrpath.errors import ConfigError
from lrpath.models.build import Attention, assert_parameter_count, hf_config, one_line
from lrpath.models.checks import check_loss_is_ours
from lrpath.models.quiet import quiet_transformers
from lrpath.planning.shape import ModelShape

_MOST_NAMED = 3


def load_pretrained(shape: ModelShape, *, folder: pathlib.Path, attention: Attention = "sdpa") -> PreTrainedModel:
    """Return the model of a folder with exactly its weights, widened or rounded to fp32.

    transformers reads the files, since it knows the names that earlier versions gave to weights, and what is tied.

    Args:
        shape: Sizes and constants; its file is the folder's `config.json`.
        folder: Folder with safetensors.
        attention: Kernel of its attention.

    Raises:
        ConfigError: If the folder lacks a weight of the model, has others or other shapes, has one that is not finite,
            or the model has another loss than the one trained here.
    """
    config = hf_config(shape)

    def refusal(problem: str) -> ConfigError:
        given = folder if shape.weights is None else shape.weights.given
        return ConfigError(f"model.weights={given} {problem}", field="model.weights", value=str(given))

    try:
        with quiet_transformers(), torch.random.fork_rng(devices=()):
            model, report = AutoModelForCausalLM.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                attn_implementation=attention,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are refused below, by name
            )
    except Exception as error:  # transformers fails in whatever way the first line that reads the folder fails
        raise refusal(
            f"cannot be loaded by transformers {transformers.__version__} ({one_line(error)}); its config.json and its "
            "weights must be those that save_pretrained has written together"
        ) from error
    problems = [
        _listed("lacks", report.get("missing_keys", ())),
        _listed("has what the model of its config.json has not:", report.get("unexpected_keys", ())),
        _listed("has other shapes than its config.json says:", [row[0] for row in report.get("mismatched_keys", ())]),
    ]
    if any(problems):
        raise refusal(
            f"{'; '.join(filter(None, problems))}; its config.json and its weights must be those that save_pretrained "
            "has written together"
        )
    odd = [name for name, one in model.named_parameters() if not bool(torch.isfinite(one).all())]
    if odd:
        raise refusal(f"has numbers that are not finite in {_listed('', odd).strip()}; take an earlier checkpoint")
    assert all(one.dtype == torch.float32 for one in model.parameters())
    if shape.parameters is not None:
        assert_parameter_count(model, shape)
    trained: PreTrainedModel = model.train()  # from_pretrained returns it for evaluation, without dropout
    check_loss_is_ours(trained)
    return trained


def _listed(what: str, names: Collection[str]) -> str:
    """Write some names behind what is said of them; nothing if there are none."""
    some = sorted(map(str, names))
    more = f" and {len(some) - _MOST_NAMED} more" if len(some) > _MOST_NAMED else ""
    return f"{what} {', '.join(some[:_MOST_NAMED])}{more}" if some else ""
