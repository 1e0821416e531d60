"""What all updates of a path share: model, data, optimizer, precision, seed, batch, guard."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from lrpath.errors import PlanError
from lrpath.planning import optimizers
from lrpath.planning.global_batch import GlobalBatch
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
        sequences_per_update: Global batch B [sequences], of the first update at least.
        tokens_per_sequence: Window length L [tokens].
        guard: What is done about updates that would spoil the path.
        engine: Name of the trainer that makes the updates, if it is not lrpath's own: it makes other numbers.
        growth: Positions from which on updates read more sequences, and how many; see `GlobalBatch`.

    Attributes:
        batch: Sequences of an update by its position; the one truth about them.

    >>> from lrpath.planning.optimizers import AdamW
    >>> adamw = AdamW(beta1=0.9, beta2=0.95, eps=1e-8, weight_decay=0.1, clip_norm=1.0)
    >>> recipe = Recipe(
    ...     model={}, data={}, optimizer=adamw, precision="fp32", seed=0, sequences_per_update=8,
    ...     tokens_per_sequence=16, growth=((100, 16),),
    ... )
    >>> recipe.sequences_at(100), recipe.tokens_before(101), recipe.tokens_between(99, 101)
    (16, 13056, 384)
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
    growth: tuple[tuple[int, int], ...] = ()
    batch: GlobalBatch = field(init=False, repr=False, compare=False)

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
        object.__setattr__(self, "batch", GlobalBatch(sequences=self.sequences_per_update, growth=self.growth))

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

    def sequences_at(self, position: int) -> int:
        """Return the sequences of the update from `position` to `position + 1`, over all ranks."""
        return self.batch.at(position)

    def tokens_before(self, position: int) -> int:
        """Return the tokens that all updates before a position read together, since the root."""
        return self.batch.before(position) * self.tokens_per_sequence

    def tokens_between(self, begin: int, end: int) -> int:
        """Return the tokens that the updates `[begin, end)` read together."""
        return self.batch.between(begin, end) * self.tokens_per_sequence

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

    def as_record(self, *, until: int | None = None) -> dict[str, Any]:
        """Return what determines the numbers of a path as plain data, without a guard or engine that changes none.

        Args:
            until: Position from which on a growth of the batch is left out; None keeps all.
        """
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
        if growth := [list(one) for one in self.growth if until is None or one[0] < until]:
            record["growth"] = growth
        return record | ({"guard": self.guard.identity()} if self.guard.acts else {})


def write_seed(recipe: Recipe) -> str:
    """Write the seed of a recipe, `seed 1`, or its two."""
    if isinstance(recipe.seed, Seeds):
        return f"seeds {recipe.seed.weights} (weights) and {recipe.seed.order} (order)"
    return f"seed {recipe.seed}"


def write_batch(recipe: Recipe) -> str:
    """Write the global batch of a recipe, and how it grows.

    >>> from dataclasses import replace
    >>> recipe = from_record(
    ...     {"model": {}, "data": {}, "precision": "fp32", "seed": 0, "sequences_per_update": 8,
    ...      "tokens_per_sequence": 16, "growth": [[100, 16]]}
    ... )
    >>> print(write_batch(replace(recipe, growth=())))
    8 sequences × 16 tokens = 128 tokens an update
    >>> print(write_batch(recipe))
    8 sequences × 16 tokens = 128 tokens an update; 16 sequences = 256 tokens from position 100
    """
    length = recipe.tokens_per_sequence
    first = f"{recipe.sequences_per_update:,} sequences × {length:,} tokens"
    grown = [
        f"{sequences:,} sequences = {sequences * length:,} tokens from position {position:,}"
        for position, sequences in recipe.growth
    ]
    return "; ".join([f"{first} = {recipe.tokens_between(0, 1):,} tokens an update", *grown])


def from_record(record: dict[str, Any]) -> Recipe:
    """Return the recipe that `Recipe.as_record` wrote."""
    seed = Seeds(**record["seed"]) if isinstance(record["seed"], dict) else record["seed"]
    guard = replace(UNGUARDED, **record.get("guard", {}))
    optimizer = optimizers.from_record(record["optimizer"]) if "optimizer" in record else None
    growth = tuple((position, sequences) for position, sequences in record.get("growth", ()))
    return Recipe(**(record | {"seed": seed, "guard": guard, "optimizer": optimizer, "growth": growth}))
