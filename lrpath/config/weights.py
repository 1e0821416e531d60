"""What `model.weights` brings into a configuration: the tokenizer of its folder, and the group that it belongs to."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lrpath.errors import ConfigError
from lrpath.records.weight_folder import TOKENIZER, WeightFolder, refusal

_FIELD = "model.weights"
MEMORIES = "weights"
"""Folder of `data.folder` where folders of weights are remembered."""


def with_model_group(overrides: Sequence[str]) -> list[str]:
    """Return the words of a command line, with `model=weights` where one gives `model.weights`.

    >>> with_model_group(["+exp=quickstart", "model.weights=pythia"])
    ['model=weights', '+exp=quickstart', 'model.weights=pythia']

    Raises:
        ConfigError: If another model is chosen too.
    """
    given = next((word for word in overrides if word.startswith(f"{_FIELD}=")), None)
    chosen = next((word for word in overrides if word.startswith("model=")), None)
    if given is None or chosen == "model=weights":
        return list(overrides)
    if chosen is not None:
        raise ConfigError(
            f"{chosen} and {given} are two models: sizes come from the config.json of the weights; leave out {chosen}",
            field=_FIELD,
            value=given.partition("=")[2],
        )
    return ["model=weights", *overrides]


def with_tokenizer_of_weights(cfg: DictConfig) -> DictConfig:
    """Return a configuration whose tokenizer, as far as it is null, is that of the folder of `model.weights`.

    Raises:
        ConfigError: If the folder is refused, or has no tokenizer and the source needs one.
    """
    given = _text(cfg, _FIELD)
    if given is None:
        return cfg
    weights = WeightFolder.find(given, memories=Path(_text(cfg, "data.folder") or "") / MEMORIES)
    tokenizer: Any = OmegaConf.select(cfg, "data.tokenizer")
    if not isinstance(tokenizer, DictConfig):
        return cfg
    completed = copy.deepcopy(cfg)
    if tokenizer.get("file") is None:
        if not weights.file(TOKENIZER).is_file():
            if _text(cfg, "data.source.kind") != "tokens":
                raise _without_tokenizer(weights)
            OmegaConf.update(completed, "data.tokenizer", None, merge=False)
            return completed
        OmegaConf.update(completed, "data.tokenizer.file", str(weights.file(TOKENIZER)))
    if tokenizer.get("end_mark") is None:
        if weights.end_mark is None:
            raise ConfigError(
                f"model.weights={given} names no end mark (eos_token); give data.tokenizer.end_mark=…",
                field="data.tokenizer.end_mark",
                value=None,
            )
        OmegaConf.update(completed, "data.tokenizer.end_mark", weights.end_mark)
    return completed


def _text(cfg: DictConfig, field: str) -> str | None:
    try:
        value = OmegaConf.select(cfg, field, throw_on_missing=False)
    except OmegaConfBaseException:
        return None  # an interpolation that leads nowhere is refused where the whole is resolved
    return value if isinstance(value, str) else None


def _without_tokenizer(weights: WeightFolder) -> ConfigError:
    has_model = weights.file("tokenizer.model").is_file()
    advice = (
        "its tokenizer.model is not read: load it with AutoTokenizer and write it with save_pretrained(folder)"
        if has_model
        else "give data.tokenizer.file=…, the tokenizer that it was trained with"
    )
    return refusal(weights.given, f"has no {TOKENIZER}; {advice}")
