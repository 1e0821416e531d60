"""The rows of a path's tables, one type a table.

Rows are named tuples, not dataclasses: they are written and read column by column, and a million of them, a path's
metrics, are made in a quarter of the time.
"""

from typing import Annotated, NamedTuple

Size = Annotated[int, "at least 1"]


class MetricsRow(NamedTuple):
    """What is known of one update.

    Args:
        position: Position that the update led to.
        loss: Mean loss of its batch [nats per token]; NaN or infinite only where a guard left the update out.
        lr: Rate that it ran at.
        grad_norm: Norm of its whole gradient, before clipping.
        tokens: Tokens since the root of the path, up to and with this update.
    """

    position: int
    loss: float
    lr: float
    grad_norm: float
    tokens: Size


class EvaluationRow(NamedTuple):
    """What the state at a position scores on one held-out set.

    Args:
        position: The position.
        version: Version that the set belongs to.
        domain: Its domain.
        nll: Negative log-likelihood of the whole set [nats].
        tokens: Tokens that were predicted.
    """

    position: int
    version: str
    domain: str
    nll: float
    tokens: Size

    @property
    def held_out(self) -> tuple[str, str]:
        """The held-out set: version and domain."""
        return self.version, self.domain

    @property
    def loss(self) -> float:
        """Mean loss [nats per token].

        >>> EvaluationRow(position=9, version="v1", domain="code", nll=30.0, tokens=12).loss
        2.5
        """
        return self.nll / self.tokens


class SpeedRow(NamedTuple):
    """How fast the updates ran that were written together.

    Args:
        position: Position that the last of them led to.
        seconds: Wall time of all of them.
        tokens_per_second: Tokens of all of them per second.
    """

    position: int
    seconds: float
    tokens_per_second: float


class GuardRow(NamedTuple):
    """An update that the guard found at fault.

    Args:
        position: Position that the update leads to.
        first: First of the positions, up to `position`, that are reached without a change of weights.
        action: `skip` or `rewind`.
        quantity: What was at fault: `loss` or `gradient norm`.
        bound: What it must not exceed.
        loss: Mean loss [nats per token].
        grad_norm: Norm of the whole gradient, before clipping.
    """

    position: int
    first: int
    action: str
    quantity: str
    bound: float
    loss: float
    grad_norm: float


class RepairRow(NamedTuple):
    """A table that was found altered, and of which what could be read was kept.

    Args:
        position: Last position whose rows are in doubt.
        first: First of them.
        table: Name of the table.
        missing: Number of positions from `first` to `position` that have no row since then.
    """

    position: int
    first: int
    table: str
    missing: int


class RowDigest(NamedTuple):
    """What a state's manifest says of a table: its rows up to the state's position.

    Args:
        rows: Their number.
        sha256: SHA-256 of their lines, sorted by position.
    """

    rows: int
    sha256: str
