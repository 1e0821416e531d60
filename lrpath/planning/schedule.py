"""Learning rate as a function of position, composed of pieces.

Convention: the rate of update k → k+1 is the curve at the position the update reaches. Inside a piece over `[s, e)`
that runs from rate a to rate b, update k has progress `p = (k + 1 − s) / (e − s)` and rate `b + (a − b)·w(p)`, with

    constant        w = 1           cosine   w = (1 + cos πp) / 2      power        w = (1 − p)^exponent
    linear          w = 1 − p       square   w = 1 − p²                one_minus_sqrt   w = 1 − √p
    exponential     rate = a·(b/a)^p                                   harmonic     1/rate linear in p, from 1/a to 1/b
    table           straight lines through rates at p = 1/n, 2/n, …, 1; of n rates over n updates, exactly these
    inverse_sqrt    rate = a·√(s / (k + 1)), without an end; s > 0

so the last update of a piece runs exactly at b: a decay is complete, and a warm-up (linear from 0) wastes no update
at 0.

References: 1−sqrt and square, arXiv 2405.18392; stair (multi-step 80/10/10 at 1, .316, .1), arXiv 2401.02954;
knee, arXiv 2003.03977; harmonic is the curve whose inverse is linear (derived).
"""

import hashlib
import math
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from itertools import accumulate
from typing import Any

from lrpath.errors import PlanError


class Shape(StrEnum):
    """How a rate goes from its first value to its last.

    A piece has any but the last two, which a decay makes of several pieces: a stair of constants, a knee of a constant
    and a line.
    """

    CONSTANT = "constant"
    LINEAR = "linear"
    COSINE = "cosine"
    ONE_MINUS_SQRT = "one_minus_sqrt"
    SQUARE = "square"
    POWER = "power"
    EXPONENTIAL = "exponential"
    HARMONIC = "harmonic"
    TABLE = "table"
    INVERSE_SQRT = "inverse_sqrt"
    STAIR = "stair"
    KNEE = "knee"

    @property
    def needs_floor(self) -> bool:
        """Whether the curve never reaches 0, since it multiplies rates or their inverses."""
        return self in (Shape.EXPONENTIAL, Shape.HARMONIC)

    @property
    def is_decay(self) -> bool:
        """Whether the curve ends, so that a branch can have it."""
        return self not in (Shape.CONSTANT, Shape.INVERSE_SQRT)


_WEIGHTS: dict[Shape, Callable[[float, float], float]] = {
    Shape.CONSTANT: lambda _p, _exponent: 1.0,
    Shape.LINEAR: lambda p, _exponent: 1.0 - p,
    Shape.COSINE: lambda p, _exponent: 0.5 * (1.0 + math.cos(math.pi * p)),
    Shape.ONE_MINUS_SQRT: lambda p, _exponent: 1.0 - math.sqrt(p),
    Shape.SQUARE: lambda p, _exponent: 1.0 - p * p,
    Shape.POWER: lambda p, exponent: (1.0 - p) ** exponent,
}


def progress_weight(shape: Shape, progress: float, *, exponent: float = 1.0) -> float:
    """Return `w(p)` of an affine shape, 1 at progress 0 and 0 at progress 1 (constant: 1)."""
    return _WEIGHTS[shape](progress, exponent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One stretch of a schedule.

    Args:
        shape: Curve of the piece.
        updates: Length, at least 1; None for a piece without an end: a last one that is constant or `inverse_sqrt`.
        first: Rate a where the piece begins; the rate of the update before it, if the curve is continuous.
        last: Rate b of the piece's last update; 0 for `inverse_sqrt`, which never reaches it.
        exponent: Exponent of `power`, positive; other shapes ignore it.
        values: Rates of a `table` at the ends of equal parts of it, the last of them `last`; empty for other shapes.
        begins: Position at which an `inverse_sqrt` begins, at least 1; 0 for other shapes, which do not depend on it.
    """

    shape: Shape
    updates: int | None
    first: float
    last: float
    exponent: float = 1.0
    values: tuple[float, ...] = ()
    begins: int = 0

    def __post_init__(self) -> None:
        for name, rate in (("first", self.first), ("last", self.last)):
            if not (math.isfinite(rate) and rate >= 0):
                raise PlanError(f"{self.shape} piece: {name} rate must be finite and at least 0, not {rate}")
        if self.updates is not None and self.updates < 1:
            raise PlanError(f"{self.shape} piece has {self.updates} updates; it needs at least 1")
        if self.updates is None and self.shape not in (Shape.CONSTANT, Shape.INVERSE_SQRT):
            raise PlanError(f"a piece without an end must be constant or inverse_sqrt, not {self.shape}")
        falls = self.shape is Shape.INVERSE_SQRT
        if falls != (self.begins > 0) or (falls and (self.updates is not None or self.last)):
            raise PlanError(
                f"a {self.shape} piece of updates={self.updates}, last={self.last}, begins={self.begins} is none: an "
                "inverse_sqrt, and nothing else, begins at a position of 1 or more; make it with inverse_sqrt()"
            )
        if self.shape is Shape.CONSTANT and self.first != self.last:
            raise PlanError(f"a constant piece cannot go from {self.first} to {self.last}")
        if self.shape in (Shape.STAIR, Shape.KNEE):
            raise PlanError(f"a {self.shape} consists of several pieces; make them with Decay.pieces")
        if self.shape.needs_floor and not (self.first > 0 and self.last > 0):
            raise PlanError(f"{self.shape} never reaches 0 (from {self.first} to {self.last}); use a floor above 0")
        if not 0 < self.exponent < math.inf:
            raise PlanError(f"exponent must be positive, not {self.exponent}")
        self._check_values()

    def _check_values(self) -> None:
        if (self.shape is Shape.TABLE) != bool(self.values) or self.values[-1:] not in ((), (self.last,)):
            raise PlanError(f"a {self.shape} piece to {self.last} cannot have the rates {self.values[-3:]} at its end")
        if not all(0 <= value < math.inf for value in self.values):
            raise PlanError("the rates of a table must be finite and at least 0")

    def rate(self, update: int) -> float:
        """Return the rate of update number `update` of the piece, counted from 0."""
        if self.shape is Shape.INVERSE_SQRT:
            return self.first * math.sqrt(self.begins / (self.begins + update + 1))
        if self.updates is None:
            return self.last
        if update + 1 == self.updates:
            return self.last  # exactly, whatever rounding the formula has
        progress = (update + 1) / self.updates
        if self.shape is Shape.EXPONENTIAL:
            return float(self.first * (self.last / self.first) ** progress)
        if self.shape is Shape.TABLE:
            return self._between(update + 1)
        if self.shape is Shape.HARMONIC:
            return 1.0 / (1.0 / self.first + progress * (1.0 / self.last - 1.0 / self.first))
        return self.last + (self.first - self.last) * progress_weight(self.shape, progress, exponent=self.exponent)

    def _between(self, reached: int) -> float:
        """Return the rate of a table after `reached` updates, by whole numbers as long as that is exact."""
        assert self.updates is not None
        part, rest = divmod(reached * len(self.values), self.updates)
        before = self.values[part - 1] if part else self.first
        return before if not rest else before + (self.values[part] - before) * (rest / self.updates)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The learning-rate curve of a path, piece after piece from position `start`.

    Args:
        start: Position at which the first piece begins: 0 for a root, the fork for a branch.
        pieces: At least one; only the last may be without an end.
        skipped: Updates of the first piece that lie before `start`, when a path goes on in the middle of a piece.
        rates_digest: What `as_record` says of rates that are not those of the pieces; only in a schedule that was read
            back from a plan.
    """

    start: int = 0
    pieces: tuple[Piece, ...]
    skipped: int = 0
    rates_digest: str | None = None
    _begins: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.pieces:
            raise PlanError("a schedule needs at least one piece")
        if any(piece.updates is None for piece in self.pieces[:-1]):
            raise PlanError("only the last piece of a schedule may be without an end")
        lengths = [piece.updates or 0 for piece in self.pieces[:-1]]
        object.__setattr__(self, "_begins", tuple(accumulate(lengths, initial=self.start - self.skipped)))
        first = self.pieces[0].updates
        if not 0 <= self.skipped < (math.inf if first is None else first):
            raise PlanError(f"a schedule cannot skip {self.skipped} updates of a first piece of {first}")

    @property
    def end(self) -> int | None:
        """First position after the curve; None when it has no end."""
        last = self.pieces[-1].updates
        return None if last is None else self._begins[-1] + last

    def rate(self, update: int) -> float:
        """Return the rate of update `update → update + 1`.

        Raises:
            PlanError: If the update lies outside the curve.

        >>> warm = Piece(shape=Shape.LINEAR, updates=4, first=0.0, last=1.0)
        >>> [Schedule(pieces=(warm,)).rate(k) for k in range(4)]
        [0.25, 0.5, 0.75, 1.0]
        """
        if update < self.start or (self.end is not None and update >= self.end):
            raise PlanError(f"update {update} lies outside the schedule [{self.start}, {self.end})")
        number = bisect_right(self._begins, update) - 1
        return self.pieces[number].rate(update - self._begins[number])

    def after(self, position: int) -> "Schedule":
        """Return the rest of the curve from a position on, at the same rates.

        Raises:
            PlanError: If the position lies outside the curve.

        >>> warm = Piece(shape=Shape.LINEAR, updates=4, first=0.0, last=1.0)
        >>> Schedule(pieces=(warm,)).after(3).rate(3)
        1.0
        """
        self.rate(position)
        number = bisect_right(self._begins, position) - 1
        stays = self.pieces[number].shape is Shape.CONSTANT and type(self.pieces[number]) is Piece
        skipped = 0 if stays and self.pieces[number].updates is None else position - self._begins[number]
        return replace(self, start=position, pieces=self.pieces[number:], skipped=skipped)


def constant(rate: float, *, updates: int | None = None) -> Piece:
    """Stay at `rate`, without an end unless `updates` is given."""
    return Piece(shape=Shape.CONSTANT, updates=updates, first=rate, last=rate)


def inverse_sqrt(rate: float, *, begins: int) -> Piece:
    """Fall from `rate` at position `begins` as 1/√position, without an end (arXiv 2602.03702).

    >>> inverse_sqrt(0.01, begins=100).rate(299)
    0.005
    """
    return Piece(shape=Shape.INVERSE_SQRT, updates=None, first=rate, last=0.0, begins=begins)


def ramp(first: float, last: float, *, updates: int) -> Piece:
    """Go in a straight line; `ramp(0, peak, updates=W)` is a warm-up."""
    return Piece(shape=Shape.LINEAR, updates=updates, first=first, last=last)


def warmup(peak: float, *, updates: int) -> tuple[Piece, ...]:
    """Return the warm-up's pieces: none for 0 updates, else a ramp from 0 whose last update runs at the peak.

    Raises:
        PlanError: If the peak is not a positive rate.
    """
    if not 0 < peak < math.inf:
        raise PlanError(f"peak={peak} must be a positive rate", field="peak", value=peak)
    return (ramp(0.0, peak, updates=updates),) if updates else ()


def as_record(schedule: Schedule) -> dict[str, Any]:
    """Return a schedule as plain data; `from_record` reads it back.

    The pieces say all the rates of a `Schedule` of `Piece`s. A subclass may have others: unless its rates are those of
    its pieces, a digest of them is added, so that no path id stands for two curves.
    """
    pieces = []
    for piece in schedule.pieces:
        rates = {"first": float(piece.first), "last": float(piece.last)}  # 1 and 1.0 are one rate, and one text
        row: dict[str, Any] = {"shape": piece.shape.value, "updates": piece.updates} | rates
        row |= {"values": list(piece.values)} if piece.values else {}
        row |= {"begins": piece.begins} if piece.begins else {}
        pieces.append(row | ({"exponent": float(piece.exponent)} if piece.shape is Shape.POWER else {}))
    record: dict[str, Any] = {"start": schedule.start, "pieces": pieces}
    if schedule.skipped:
        record["skipped"] = schedule.skipped
    if (digest := schedule.rates_digest or _digest_of_other_rates(schedule)) is not None:
        record["rates"] = digest
    return record


_COMPARED_WITHOUT_END = 1 << 16
"""Updates of a piece without an end that are compared one by one; beyond, every hundredth part further."""


def _digest_of_other_rates(schedule: Schedule) -> str | None:
    """Return a digest of a subclass's rates if any differs from what the pieces say, else None."""
    if type(schedule) is Schedule and all(type(piece) is Piece for piece in schedule.pieces):
        return None
    pieces = tuple(
        Piece(**{entry.name: getattr(piece, entry.name) for entry in fields(Piece)}) for piece in schedule.pieces
    )
    plain = Schedule(start=schedule.start, pieces=pieces, skipped=schedule.skipped)
    digest, differs = hashlib.sha256(), False
    for update in _compared_updates(schedule):
        rate = schedule.rate(update)
        differs = differs or rate != plain.rate(update)
        # Nine digits: the last bits of cos and pow differ between machines, and a path must not.
        digest.update(f"{rate:.9g};".encode())
    return digest.hexdigest() if differs else None


def _compared_updates(schedule: Schedule) -> Iterator[int]:
    if schedule.end is not None:
        yield from range(schedule.start, schedule.end)
        return
    update = schedule._begins[-1] + _COMPARED_WITHOUT_END
    yield from range(schedule.start, update)
    while update < 1 << 40:
        yield update
        update += update // 100


def from_record(record: dict[str, Any]) -> Schedule:
    """Return the schedule that `as_record` wrote."""
    pieces = tuple(
        Piece(**(row | {"shape": Shape(row["shape"]), "values": tuple(row.get("values", ()))}))
        for row in record["pieces"]
    )
    return Schedule(
        start=record["start"], pieces=pieces, skipped=record.get("skipped", 0), rates_digest=record.get("rates")
    )
