"""A model that a folder of weights describes: sizes from its `config.json`, and a place in the ids of paths."""

import pathlib
from dataclasses import dataclass, replace
from typing import Literal

from lrpath.errors import ConfigError
from lrpath.planning.shape import FileModel, ModelShape
from lrpath.planning.starting_weights import StartingWeights


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsModel:
    """A Hugging Face folder with whose weights every root path of a plan begins.

    Args:
        family: `weights`.
        weights: The folder, or a name on the hub, `owner/name` or `owner/name@revision`.
        context: Training window [tokens]; at most the positions of the folder's `config.json`.
        stated_parameters: Count of parameters; None for the count that the headers of the weight files give.
    """

    family: Literal["weights"]
    weights: str
    context: int | None
    stated_parameters: int | None

    def shape(self, *, config_file: pathlib.Path, weights: StartingWeights, parameters: int) -> ModelShape:
        """Return the sizes that the folder's `config.json` has.

        Args:
            config_file: The `config.json`.
            weights: What else of the folder the plan must know.
            parameters: Count of parameters by the headers of the weight files.

        Raises:
            ConfigError: As `FileModel.shape`.
        """
        stated = parameters if self.stated_parameters is None else self.stated_parameters
        model = FileModel(
            family="file", file=str(config_file), vocab_size=None, context=self.context, stated_parameters=stated
        )
        try:
            return replace(model.shape(), weights=weights)
        except ConfigError as error:
            text = str(error).replace("model.file ", "model.weights: ")
            is_file = error.field == "model.file"
            field, value = ("model.weights", self.weights) if is_file else (error.field, error.value)
            raise ConfigError(text, field=field, value=value) from None
