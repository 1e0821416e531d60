"""The model of a configuration, checked against what it is to read: sizes, weights to begin with, token ids."""

import pathlib
from dataclasses import replace

from lrpath.config.schema import Config
from lrpath.config.weights import MEMORIES
from lrpath.data.sources import TokensSource
from lrpath.errors import ConfigError
from lrpath.planning.own_model import OwnModel
from lrpath.planning.shape import FileModel, ModelShape
from lrpath.planning.weights_model import WeightsModel
from lrpath.records.weight_folder import CONFIG, TOKENIZER, WeightFolder


def weights_of(config: Config) -> WeightFolder | None:
    """Return the folder with whose weights root paths begin; None where they are drawn from the seed.

    Raises:
        ConfigError: If it is refused.
    """
    model = config.model
    if not isinstance(model, WeightsModel):
        return None
    return WeightFolder.find(model.weights, memories=pathlib.Path(config.data.folder) / MEMORIES)


def shape_of(config: Config, *, weights: WeightFolder | None) -> ModelShape | OwnModel:
    """Return the model's sizes.

    Args:
        config: The configuration.
        weights: What `weights_of` returns of it.

    Raises:
        ConfigError: If a size is refused, or the model is too small for the window or the token ids.
    """
    shape = _shape_of_model(config, weights)
    window = config.batch.tokens_per_sequence
    if shape.context < window:
        raise ConfigError(
            f"model.context={shape.context} must be at least batch.tokens_per_sequence={window}; enlarge it",
            field="model.context",
            value=shape.context,
        )
    if isinstance(shape, OwnModel) and config.data.mask != "none":
        raise ConfigError(
            f"data.mask={config.data.mask} is done by models of transformers, and {shape.name} is your own: "
            "let it tell documents apart by their end mark itself, and give data.mask=none",
            field="data.mask",
            value=config.data.mask,
        )
    source, tokenizer = config.data.source, config.data.tokenizer
    ids = source.vocab_size if isinstance(source, TokensSource) else tokenizer and tokenizer.vocab_size
    check_vocabulary(config, shape, weights=weights, ids=ids or 0)
    return shape


def check_vocabulary(config: Config, shape: ModelShape | OwnModel, *, weights: WeightFolder | None, ids: int) -> None:
    """Check that the model has a row of its embedding for each token id, and that it was trained with these ids.

    Args:
        config: The configuration.
        shape: The model's sizes.
        weights: What `weights_of` returns of the configuration.
        ids: How many token ids the data has.

    Raises:
        ConfigError: If it has not.
    """
    if weights is not None:
        _check_vocabulary_of_weights(config, weights, rows=shape.vocab_size, ids=ids)
    elif shape.vocab_size < ids:
        raise ConfigError(
            f"model.vocab_size={shape.vocab_size} must be at least the {ids} token ids of the data; enlarge it",
            field="model.vocab_size",
            value=shape.vocab_size,
        )


def _shape_of_model(config: Config, weights: WeightFolder | None) -> ModelShape | OwnModel:
    model = config.model
    if isinstance(model, WeightsModel):
        assert weights is not None
        return model.shape(
            config_file=weights.file(CONFIG),
            weights=weights.starting_weights,
            parameters=weights.parameters,
        )
    return model.shape() if isinstance(model, FileModel) else model


def _check_vocabulary_of_weights(config: Config, weights: WeightFolder, *, rows: int, ids: int) -> None:
    """Refuse ids that the weights were not trained on: a row of their embedding means one token."""
    if rows < ids:
        raise ConfigError(
            f"model.weights={weights.given} has an embedding of {rows:,} rows, and the data has {ids:,} token ids; "
            "give the tokenizer that the weights were trained with",
            field="model.weights",
            value=weights.given,
        )
    tokenizer, own = config.data.tokenizer, weights.file(TOKENIZER)
    if tokenizer is None or tokenizer.file is None or not own.is_file() or pathlib.Path(tokenizer.file) == own:
        return
    known = replace(tokenizer, file=str(own), vocab_size=None).ids()
    if ids != known:
        raise ConfigError(
            f"data.tokenizer.file={tokenizer.file} has {ids:,} ids, and {own}, with which the weights of "
            f"{weights.given} were trained, has {known:,}; give data.tokenizer.file=null for the latter",
            field="data.tokenizer.file",
            value=tokenizer.file,
        )
