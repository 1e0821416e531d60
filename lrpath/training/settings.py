"""Settings of training that are no part of a path's identity: where updates run, and how often things are done.

The configuration's sections `strategy` and `cadence` are these dataclasses. No torch is imported here, since planning
a study must not need it.
"""

from dataclasses import dataclass
from typing import Literal

from lrpath.errors import ConfigError
from lrpath.planning.global_batch import GROWTH, GlobalBatch


def _check_at_least_one(section: str, **values: int | None) -> None:
    for name, value in values.items():
        if value is not None and value < 1:
            raise ConfigError(f"{section}.{name}={value} must be at least 1", field=f"{section}.{name}", value=value)


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategySettings:
    """On how many ranks, and how, an update is computed.

    Args:
        name: `single`, one process; `ddp`, everything on every rank; `fsdp`, weights, gradients and moments sharded.
        accelerator: `cpu`, `gpu`, or `auto` for an NVIDIA or AMD GPU if there is one.
        micro_batch: Sequences of one rank in one forward pass; None for the rank's whole share of the update.
        threads: Threads of one CPU operation; None for torch's choice.
        recompute: Whether activations are recomputed in the backward pass, to save memory.
        compile: Whether transformer blocks and loss are compiled; `auto` compiles on a GPU.
        tf32: Whether products of fp32 numbers run in TF32 on a GPU.
        shard_ranks: Ranks that hold one copy of the model under `fsdp`: a number, `node` for those of a node, or None
            for all of them.
        timeout_minutes: How long a rank may make no progress within an update before it counts as hung; None for no
            watchdog, and torch's own limit.
    """

    name: Literal["single", "ddp", "fsdp"]
    accelerator: Literal["auto", "cpu", "gpu"]
    micro_batch: int | None
    threads: int | None
    recompute: bool
    compile: bool | Literal["auto"]
    tf32: bool
    shard_ranks: int | Literal["node"] | None
    timeout_minutes: float | None

    def __post_init__(self) -> None:
        for field, choices in (("name", ("single", "ddp", "fsdp")), ("accelerator", ("auto", "cpu", "gpu"))):
            if (value := getattr(self, field)) not in choices:
                raise ConfigError(
                    f"strategy.{field}={value} must be one of {', '.join(choices)}",
                    field=f"strategy.{field}",
                    value=value,
                )
        if self.compile not in (True, False, "auto"):
            raise ConfigError(
                f"strategy.compile={self.compile} must be true, false or auto",
                field="strategy.compile",
                value=self.compile,
            )
        _check_at_least_one("strategy", micro_batch=self.micro_batch, threads=self.threads)
        size = self.shard_ranks
        if isinstance(size, str) and size != "node":
            raise ConfigError(
                f"strategy.shard_ranks={size} must be a number, node or null", field="strategy.shard_ranks", value=size
            )
        if isinstance(size, int):
            _check_at_least_one("strategy", shard_ranks=size)
        if size is not None and self.name != "fsdp":
            raise ConfigError(
                f"strategy.shard_ranks={size} is for strategy=fsdp, not {self.name}; remove it",
                field="strategy.shard_ranks",
                value=size,
            )
        if self.timeout_minutes is not None and not self.timeout_minutes > 0:
            raise ConfigError(
                f"strategy.timeout_minutes={self.timeout_minutes} must be more than 0, or null for no limit",
                field="strategy.timeout_minutes",
                value=self.timeout_minutes,
            )

    def check_batch(self, batch: GlobalBatch, *, ranks: int = 1) -> None:
        """Raise unless ranks and micro-batches divide the batch at every position.

        Raises:
            ConfigError: As `micro_batch_size`, with the field of the batch that they do not divide.
        """
        for number, sequences in enumerate(batch.sizes):
            field = f"{GROWTH}[{number - 1}].sequences_per_update" if number else "batch.sequences_per_update"
            self.micro_batch_size(sequences, ranks=ranks, field=field)

    def micro_batch_size(
        self, sequences_per_update: int, *, ranks: int = 1, field: str = "batch.sequences_per_update"
    ) -> int:
        """Return the sequences of one forward pass on one rank.

        This is the one place for the rule ranks × micro-batch × accumulated micro-batches = sequences of an update.

        >>> settings = StrategySettings(
        ...     name="ddp", accelerator="cpu", micro_batch=3, threads=None, recompute=False, compile=False,
        ...     tf32=True, shard_ranks=None, timeout_minutes=None,
        ... )
        >>> settings.micro_batch_size(12, ranks=2), settings.accumulation(12, ranks=2)
        (3, 2)

        Args:
            sequences_per_update: Sequences of the global batch.
            ranks: Number of processes that share it.
            field: Field of the configuration that gives them.

        Raises:
            ConfigError: If no whole number of micro-batches makes the global batch; says which sizes do.
        """
        if sequences_per_update % ranks:
            fitting = _divisors(sequences_per_update)
            raise ConfigError(
                f"{ranks} ranks cannot share {field}={sequences_per_update} evenly; start a number "
                f"of ranks that divides it: {fitting}",
                field=field,
                value=sequences_per_update,
            )
        share = sequences_per_update // ranks
        size = self.micro_batch or share
        if share % size:
            whole = f"{field}={sequences_per_update}"
            divided = whole if ranks == 1 else f"{share}, the share of each of {ranks} ranks in {whole}"
            raise ConfigError(
                f"strategy.micro_batch={size} must divide {divided}; use one of {_divisors(share)}",
                field="strategy.micro_batch",
                value=size,
            )
        return size

    def accumulation(self, sequences_per_update: int, *, ranks: int = 1) -> int:
        """Return how many micro-batches a rank accumulates in one update.

        Raises:
            ConfigError: As `micro_batch_size`.
        """
        return sequences_per_update // (self.micro_batch_size(sequences_per_update, ranks=ranks) * ranks)


def _divisors(number: int) -> str:
    """Return the divisors of a number as a list for people; of a large number only those up to 1,024."""
    return ", ".join(str(n) for n in range(1, min(number, 1024) + 1) if number % n == 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class HarnessSettings:
    """How tasks are given to releases by EleutherAI's harness.

    Args:
        tasks: Names of tasks, groups or tags that training gives to every release once it is made.
        folders: Folders of task files, besides the harness's own. Functions that they name are run.
        examples: Solved examples before every question; None for what the task says.
        limit: Most documents of a task; None for all.
        batch_size: Requests that are computed together.
    """

    tasks: tuple[str, ...]
    folders: tuple[str, ...]
    examples: int | None
    limit: int | None
    batch_size: int

    def __post_init__(self) -> None:
        if self.examples is not None and self.examples < 0:
            text = f"harness.examples={self.examples} must be at least 0, or null for what the task says"
            raise ConfigError(text, field="harness.examples", value=self.examples)
        _check_at_least_one("harness", limit=self.limit, batch_size=self.batch_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cadence:
    """How often things are done that change no number of a path.

    Args:
        log_every: Updates between two writes of metrics.
        evaluate_every: Updates between two evaluations; every state that the plan needs is evaluated in addition.
        save_every: Updates between two rolling states.
        held_out_windows: Windows of each held-out set; None for all.
        save_in_background: Whether updates go on while a state is written from a copy in host memory.
        keep: Newest states of a path that are kept while it is run, and of a main path always, at least 2: the last
            may be found damaged. A path that ends with a release keeps that one, and what plans need.
    """

    log_every: int
    evaluate_every: int
    save_every: int
    held_out_windows: int | None
    save_in_background: bool
    keep: int

    def __post_init__(self) -> None:
        if self.keep < 2:
            raise ConfigError(
                f"cadence.keep={self.keep} must be at least 2: with one state, a damaged one would throw its path back "
                "to the last fork",
                field="cadence.keep",
                value=self.keep,
            )
        _check_at_least_one(
            "cadence",
            log_every=self.log_every,
            evaluate_every=self.evaluate_every,
            save_every=self.save_every,
            held_out_windows=self.held_out_windows,
        )
