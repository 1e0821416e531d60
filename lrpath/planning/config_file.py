"""What of a Hugging Face `config.json` is taken: sizes and constants, never code or kernels."""

import logging
import math
from collections.abc import Iterator, Mapping
from typing import Any

from lrpath.errors import ConfigError

_OURS = ("internlm", "internlm2")
"""Model types that transformers has no class for, and `lrpath.models` builds from its Llama."""

_KERNELS = (
    "attn_implementation",
    "_attn_implementation",
    "_attn_implementation_internal",
    "experts_implementation",
    "_experts_implementation",
    "_experts_implementation_internal",
    "use_kernels",
)
"""Keys that say how a model is run and by whose code. A name with a slash among them makes the library `kernels` fetch
compiled code from the hub, so none of them is ever passed on. They stay in the digest of the file, which ids hold."""


def checked_content(content: Mapping[str, Any], *, file: str) -> dict[str, Any]:
    """Return the content of a `config.json` without its `auto_map`.

    A file whose repository brings code of its own (`auto_map`) is read like any other: transformers' own class of that
    `model_type` is built, which is said on the log.

    Raises:
        ConfigError: If the model type is one that only the repository's code or a family of lrpath builds, the weights
            are quantized, or a number is not finite.
    """
    kind = content.get("model_type")
    if "auto_map" in content:
        if kind in _OURS:
            raise _refusal(
                file,
                f"has model_type {kind}, whose code is in its repository (auto_map) and is never run; lrpath builds it "
                f"as model.family={kind}: choose model=internlm_1.2b or another, with model.family={kind} and the "
                "file's sizes",
            )
        logging.getLogger(__name__).warning(
            "model.file %s: its auto_map is left out; transformers' own model type %s is built, and no code of the "
            "repository runs",
            file,
            kind,
        )
    if content.get("quantization_config"):
        raise _refusal(file, "describes quantized weights (quantization_config); remove the key to train in fp32")
    for name, value in _numbers(content):
        if not math.isfinite(value):
            raise _refusal(file, f"has {name} = {value}, which is not a finite number; correct it")
    return {name: value for name, value in content.items() if name != "auto_map"}


def without_kernels(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a `config.json` without what chooses kernels, at every depth."""
    kept = {name: value for name, value in content.items() if name not in _KERNELS}
    return {name: without_kernels(value) if isinstance(value, dict) else value for name, value in kept.items()}


def _refusal(file: str, problem: str) -> ConfigError:
    return ConfigError(f"model.file {file} {problem}", field="model.file", value=file)


def _numbers(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Yield the dotted names and values of all floats."""
    if isinstance(value, float):
        yield name, value
    for key, part in value.items() if isinstance(value, dict) else ():
        yield from _numbers(part, f"{name}.{key}" if name else str(key))
