"""What training needs of the configuration: models and data, as a protocol, since training never sees Hydra."""

from typing import Protocol

from lrpath.data.stream import TokenBatches
from lrpath.models import CausalLM
from lrpath.planning.paths import Path
from lrpath.planning.recipe import Recipe
from lrpath.records.held_out import HeldOutSet, SetName
from lrpath.records.path_folder import PathFolder


class TrainingFactory(Protocol):
    """Makes what runs need; `lrpath.assembly` implements it from the configuration."""

    def model(self, recipe: Recipe) -> CausalLM:
        """Return the backbone, with weights that a state will replace."""

    def initial_model(self, recipe: Recipe) -> CausalLM:
        """Return the backbone with the weights that a root path begins with."""

    def own_model(self, recipe: Recipe) -> CausalLM:
        """Return the module of your own that the states of a path are of, for loading them."""

    def keep_backbone(self, folder: PathFolder, *, model: CausalLM) -> None:
        """Write what an export needs besides the weights into a path's folder."""

    def check_data(self) -> None:
        """Raise unless the tokens are those whose digests the states will keep."""

    def batches(self, path: Path) -> TokenBatches:
        """Return the path's data as a function of position."""

    def describe_held_out(self) -> dict[SetName, HeldOutSet]:
        """Return digest and sizes of every held-out set."""
