"""What all updates of a path share: model, data, optimizer, precision, seed, batch, guard."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from lrpath.errors import PlanError
from lrpath.planning import optimizers
from lrpath.planning.guard import UNGUARDED, Guard
from lrpath.planning.optimizers import Optimizer
from lrpath.planning.streams import PROVISIONAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeds:
    """Seeds that are told apart, so that a study can hold one still and vary the other.

    Args:
        weights: Of the initial weights, and of random numbers inside the model, such as dropout's.
        order: Of the order in which the text is read.
    """

    weights: int
    order: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What all updates of a path share.

    Args:
        model: Shape and initialisation of the backbone, as plain data.
        data: `tokenizer`, the digest of what the tokenizer does, or None for ids without one; `mask`, where attention
            ends at the borders of documents. Plans that were kept before ids followed from content have the settings
            of source and tokenizer here, and keep their ids.
        optimizer: The optimizer's settings; None for a module with an optimizer of its own, which `model` describes.
        precision: `fp32` or `bf16` compute; parameters and moments are fp32 in both.
        seed: Seed of the initial weights and of the data order, or one for each.
        sequences_per_update: Global batch B [sequences].
        tokens_per_sequence: Window length L [tokens].
        guard: What is done about updates that would spoil the path.
        engine: Name of the trainer that makes the updates, if it is not lrpath's own: it makes other numbers.
    """

    model: dict[str, Any]
    data: dict[str, Any]
    optimizer: Optimizer | None
    precision: str
    seed: int | Seeds
    sequences_per_update: int
    tokens_per_sequence: int
    guard: Guard = UNGUARDED
    engine: str | None = None

    def __post_init__(self) -> None:
        if self.precision not in ("fp32", "bf16"):
            text = f"precision={self.precision} must be fp32 or bf16"
            raise PlanError(text, field="precision", value=self.precision)
        if isinstance(self.seed, Seeds) and self.seed.weights == self.seed.order:
            object.__setattr__(self, "seed", self.seed.order)  # one number for both is the same recipe, and the same id
        for name, seed in {"seed.weights": self.weights_seed, "seed.order": self.order_seed}.items():
            if not 0 <= seed < 2**63:
                field_name = name if isinstance(self.seed, Seeds) else "seed"
                raise PlanError(f"{field_name}={seed} must lie in [0, 2^63)", field=field_name, value=seed)
        for name in ("sequences_per_update", "tokens_per_sequence"):
            if (value := getattr(self, name)) < 1:
                raise PlanError(f"batch.{name}={value} must be at least 1", field=f"batch.{name}", value=value)

    @property
    def weights_seed(self) -> int:
        """Seed of the initial weights, and of random numbers inside the model."""
        return self.seed.weights if isinstance(self.seed, Seeds) else self.seed

    @property
    def order_seed(self) -> int:
        """Seed of the order in which the text is read."""
        return self.seed.order if isinstance(self.seed, Seeds) else self.seed

    @property
    def weights(self) -> str | None:
        """Digest of the weights that root paths begin with; None where they are drawn from the seed."""
        return self.model.get("weights")

    @property
    def tokens_per_update(self) -> int:
        """Global batch [tokens]."""
        return self.sequences_per_update * self.tokens_per_sequence

    @property
    def names_source(self) -> bool:
        """Whether the recipe is of a plan that was kept before ids followed from content."""
        return "first_increment" in self.data

    @property
    def masks_documents(self) -> bool:
        """Whether a token attends to its own document alone."""
        return self.data.get("mask") == "document"

    @property
    def is_provisional(self) -> bool:
        """Whether the tokenizer is not made yet."""
        return str(self.data.get("tokenizer")).startswith(PROVISIONAL)

    def as_record(self) -> dict[str, Any]:
        """Return what determines the numbers of a path as plain data, without a guard or engine that changes none."""
        # Field by field: `asdict` copies to the bottom, and every path of a plan asks for this.
        record: dict[str, Any] = {"model": dict(self.model), "data": dict(self.data)}
        if self.optimizer is not None:
            record["optimizer"] = optimizers.as_record(self.optimizer)
        record |= {
            "precision": self.precision,
            "seed": asdict(self.seed) if isinstance(self.seed, Seeds) else self.seed,
            "sequences_per_update": self.sequences_per_update,
            "tokens_per_sequence": self.tokens_per_sequence,
        }
        if self.engine is not None:
            record["engine"] = self.engine
        return record | ({"guard": self.guard.identity()} if self.guard.acts else {})


def write_seed(recipe: Recipe) -> str:
    """Write the seed of a recipe, `seed 1`, or its two."""
    if isinstance(recipe.seed, Seeds):
        return f"seeds {recipe.seed.weights} (weights) and {recipe.seed.order} (order)"
    return f"seed {recipe.seed}"


def from_record(record: dict[str, Any]) -> Recipe:
    """Return the recipe that `Recipe.as_record` wrote."""
    seed = Seeds(**record["seed"]) if isinstance(record["seed"], dict) else record["seed"]
    guard = replace(UNGUARDED, **record.get("guard", {}))
    optimizer = optimizers.from_record(record["optimizer"]) if "optimizer" in record else None
    return Recipe(**(record | {"seed": seed, "guard": guard, "optimizer": optimizer}))
