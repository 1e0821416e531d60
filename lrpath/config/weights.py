"""What `model.weights` brings into a configuration: the tokenizer of its folder, and the group that it belongs to."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from lrpath.errors import ConfigError
from lrpath.planning.plain import given_fields
from lrpath.planning.shape import ModelShape
from lrpath.planning.weights_model import WeightsModel
from lrpath.records.weight_folder import TOKENIZER, WeightFolder, refusal

_FIELD = "model.weights"
_SIZES = {entry.name for entry in given_fields(ModelShape)} - {entry.name for entry in given_fields(WeightsModel)}
"""Fields of `model` that a folder of weights says itself."""
_IDS_OF_TOKENIZER = "${data.tokenizer.vocab_size}"
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
    if given is None:
        return list(overrides)
    for word in overrides:
        field = word.partition("=")[0]
        if field.startswith("model.") and field.partition(".")[2] in _SIZES:
            raise ConfigError(
                f"{word} beside {given}: sizes come from the config.json of the weights; leave out {word}",
                field=field,
                value=word.partition("=")[2],
            )
    if chosen == "model=weights":
        return list(overrides)
    if chosen is not None:
        raise ConfigError(
            f"{chosen} and {given} are two models: sizes come from the config.json of the weights; leave out {chosen}",
            field=_FIELD,
            value=given.partition("=")[2],
        )
    return ["model=weights", *overrides]


def with_weights(cfg: DictConfig) -> DictConfig:
    """Return a configuration whose tokenizer, as far as it is null, and sizes are those of `model.weights`.

    Raises:
        ConfigError: If the folder is refused, or has no tokenizer and the source needs one.
    """
    given = _text(cfg, _FIELD)
    if given is None:
        return cfg
    weights = WeightFolder.find(given, memories=Path(_text(cfg, "data.folder") or "") / MEMORIES)
    completed = copy.deepcopy(cfg)
    with open_dict(completed):
        for name in _SIZES & set(completed.model):
            del completed.model[name]  # of a file that makes any model small, conf/scale; a command line is refused
    tokenizer: Any = OmegaConf.select(cfg, "data.tokenizer")
    if not isinstance(tokenizer, DictConfig):
        return completed
    if tokenizer.get("file") is None:
        if not weights.file(TOKENIZER).is_file():
            if _text(cfg, "data.source.kind") != "tokens":
                raise _without_tokenizer(weights)
            return _without_any_tokenizer(completed, weights)
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


def _without_any_tokenizer(cfg: DictConfig, weights: WeightFolder) -> DictConfig:
    """Return a configuration of ids alone, which may be all that the weights have a row for unless it is said."""
    OmegaConf.update(cfg, "data.tokenizer", None, merge=False)
    raw: Any = OmegaConf.to_container(cfg, resolve=False)
    if raw["data"]["source"].get("vocab_size") == _IDS_OF_TOKENIZER:
        OmegaConf.update(cfg, "data.source.vocab_size", weights.vocab_size)
    return cfg


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
