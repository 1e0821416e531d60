"""A decay before it has a place: its curve from a peak to a floor, as a setting of a paradigm.

Once it is placed on a path, its length and its peak are known, and `Decay.pieces` makes pieces of a `Schedule` of it.
The curve is one of `Shape`, a table of numbers, or a function of yours.
"""

import math
import pathlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from lrpath.errors import ConfigError, PlanError
from lrpath.planning.field_names import nearest
from lrpath.planning.own_code import call, find_code, is_own, own_settings, takes
from lrpath.planning.schedule import Piece, Shape, constant


class OwnShape(str):
    """The shape of a decay that a function of yours gives, `module:name`; it is looked up when a path is planned.

    The function takes the progress in (0, 1], the settings of the decay, and `floor` if it has such a parameter. It
    returns the rate as a share of the peak, and the floor at progress 1.
    """

    __slots__ = ()
    needs_floor = False

    @property
    def value(self) -> str:
        """The name, as a member of `Shape` has it."""
        return str(self)

    @classmethod
    def is_meant(cls, value: object) -> bool:
        """Say whether a plain value names one."""
        return value not in tuple(Shape) and is_own(value, group="decays")

    @classmethod
    def of_own_code(cls, value: str, *, place: str) -> "OwnShape":  # noqa: ARG003  nothing is imported here
        """Return the name of a function of yours."""
        return cls(value)

    def shares(self, parts: int, *, floor: float, settings: Mapping[str, Any]) -> tuple[float, ...]:
        """Return the shares of the peak at the ends of equal parts of the decay, the last of them exactly the floor.

        They are rounded to nine digits: the last bits of cos and pow differ between machines, and a path must not.

        Raises:
            ConfigError: If the function is not found, refuses a setting, or returns what no decay can have.
        """
        code = find_code(self, group="decays", field="shape")
        fixed = {"floor": floor} if takes(code, "floor") else {}
        given = own_settings(code, settings, given=("progress", "floor"), field="settings") | fixed
        found = [call(code, number / parts, field="shape", **given) for number in range(1, parts + 1)]
        odd = next((share for share in found if not (isinstance(share, int | float) and 0 <= share < math.inf)), None)
        if odd is not None:
            text = f"shape={self} returned {odd!r}, which must be a share of the peak, finite and at least 0"
            raise ConfigError(text, field="shape", value=str(self))
        if not math.isclose(found[-1], floor, abs_tol=1e-9):
            text = f"shape={self} returns {found[-1]:g} at progress 1, which must be floor={floor:g}"
            raise ConfigError(text, field="floor", value=floor)
        return (*(float(f"{share:.9g}") for share in found[:-1]), floor)


MOST_PARTS = 10_000
"""Most rates that are kept of a curve of yours, so that states and plans stay small; in between run straight lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decay:
    """A decay from a peak to a floor, whose length and peak are given when it is placed on a path.

    Args:
        shape: Curve.
        floor: Last rate as a share of the peak, in `[0, 1)`.
        hold: Share of the decay's updates that stay at the peak before the curve begins, in `(0, 1)`; `knee` needs it,
            `stair` has its own. With it a decay over a whole training is warm-up, stable, decay (WSD).
        exponent: For `power`: positive exponent.
        shares: For `stair`: shares of the updates, adding up to 1.
        levels: For `stair`: rates as shares of the peak, as many as `shares`, at most 1 and never rising. By default
            three levels 1, √floor, floor, which for a tenth are 1, .316, .1.
        table: For `table`: shares of the peak at the ends of equal parts of the decay, the last of them the floor; or
            the name of a text file of such numbers. What counts afterwards are the numbers, not the file.
        settings: For a function of yours: its arguments besides the progress and the floor.
    """

    shape: Shape | OwnShape
    floor: float
    hold: float | None = None
    exponent: float | None = None
    shares: tuple[float, ...] | None = None
    levels: tuple[float, ...] | None = None
    table: str | tuple[float, ...] | None = None
    settings: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", _shape_of(self.shape))  # in Python, a name will do
        if isinstance(self.table, str):
            object.__setattr__(self, "table", _read_table(self.table))
        if isinstance(self.shape, Shape) and not self.shape.is_decay:
            text = f"shape={self.shape} is not a decay, as it never ends; choose another shape"
            raise ConfigError(text, field="shape", value=self.shape)
        self._check_floor()
        self._check_hold()
        self._check_option("exponent", Shape.POWER, needed=True)
        self._check_option("shares", Shape.STAIR, needed=True)
        self._check_option("levels", Shape.STAIR, needed=False)
        self._check_option("table", Shape.TABLE, needed=True)
        if self.settings is not None and not isinstance(self.shape, OwnShape):
            text = f"settings belong to a shape of your own, module:name, not to shape={self.shape}; remove them"
            raise ConfigError(text, field="settings", value=dict(self.settings))
        if self.exponent is not None and not 0 < self.exponent < math.inf:
            raise ConfigError(f"exponent={self.exponent} must be positive", field="exponent", value=self.exponent)
        if self.shape is Shape.STAIR:
            self._check_stair()
        if self.shape is Shape.TABLE:
            self._check_table()

    def _check_floor(self) -> None:
        if not 0 <= self.floor < 1:
            text = f"floor={self.floor} must lie in [0, 1): it is a share of the peak rate"
            raise ConfigError(text, field="floor", value=self.floor)
        if self.shape.needs_floor and self.floor == 0:
            text = f"shape={self.shape} never reaches floor=0; use a floor above 0, or another shape"
            raise ConfigError(text, field="floor", value=self.floor)

    def _check_hold(self) -> None:
        if self.hold is None and self.shape is Shape.KNEE:
            raise ConfigError("shape=knee needs hold, the share of its updates at the peak", field="hold")
        if self.hold is not None and self.shape is Shape.STAIR:
            text = "hold does not belong to shape=stair; give its first share instead"
            raise ConfigError(text, field="hold", value=self.hold)
        if self.hold is not None and not 0 < self.hold < 1:
            text = f"hold={self.hold} must lie in (0, 1): it is a share of the decay's updates"
            raise ConfigError(text, field="hold", value=self.hold)

    def _check_table(self) -> None:
        table = self.table
        if not isinstance(table, tuple) or not table or not all(0 <= share < math.inf for share in table):
            text = "table must be at least one share of the peak, each finite and at least 0"
            raise ConfigError(text, field="table", value=table)
        if table[-1] != self.floor:
            text = f"floor={self.floor:g} must be the last share of the table, {table[-1]:g}; give floor={table[-1]:g}"
            raise ConfigError(text, field="floor", value=self.floor)

    def _check_option(self, name: str, shape: Shape, *, needed: bool) -> None:
        value = getattr(self, name)
        if value is not None and self.shape is not shape:
            text = f"{name} belongs to shape={shape}, not to shape={self.shape}; remove it"
            raise ConfigError(text, field=name, value=value)
        if needed and value is None and self.shape is shape:
            raise ConfigError(f"shape={shape} needs {name}", field=name)

    def _check_stair(self) -> None:
        shares, levels = self.shares or (), self.levels
        if any(share <= 0 for share in shares) or not math.isclose(sum(shares), 1.0, abs_tol=1e-9):
            text = f"shares={list(shares)} of a stair must be positive and add up to 1"
            raise ConfigError(text, field="shares", value=shares)
        if levels is None and (len(shares) != 3 or self.floor == 0):
            raise ConfigError(
                f"a stair of {len(shares)} shares with floor={self.floor:g} needs levels, shares of the peak for each "
                "step that end at the floor; √floor as the middle one of three is for floors above 0. Add for example "
                "'+schedule.levels=[1,0.3,0]'",
                field="levels",
            )
        if levels is not None and (len(levels) != len(shares) or levels[-1] != self.floor):
            text = f"levels={list(levels)} must be as many as shares and end at floor={self.floor}"
            raise ConfigError(text, field="levels", value=levels)
        if not all(0 <= after <= before for before, after in pairwise((1.0, *(levels or ())))):
            text = f"levels={levels} must not rise, and lie in [0, 1]: they are shares of the peak rate"
            raise ConfigError(text, field="levels", value=levels)

    def pieces(self, *, updates: int, peak: float) -> tuple[Piece, ...]:
        """Return the pieces of this decay over `updates` updates from `peak`; the last runs at `floor × peak`.

        >>> from lrpath.planning.schedule import Schedule
        >>> decay = Decay(shape=Shape.COSINE, floor=0.1)
        >>> branch = Schedule(start=100, pieces=decay.pieces(updates=4, peak=1.0))
        >>> [round(branch.rate(update), 3) for update in range(100, 104)]
        [0.868, 0.55, 0.232, 0.1]

        Raises:
            PlanError: If `updates` is too small for every part of the shape to have an update.
        """
        if self.shape is Shape.STAIR:
            return self._stairs(updates=updates, peak=peak)
        held = round((self.hold or 0.0) * updates)
        if self.hold is not None and not 0 < held < updates:
            raise PlanError(
                f"a {self.shape} over {updates} updates with hold={self.hold} has an empty part; lengthen it"
            )
        values = self._values(updates=updates - held, peak=peak)
        shape = Shape.TABLE if values else Shape.LINEAR if self.shape is Shape.KNEE else Shape(self.shape)
        last = values[-1] if values else self.floor * peak
        curve = Piece(
            shape=shape,
            updates=updates - held,
            first=peak,
            last=last,
            exponent=self.exponent or 1.0,
            values=values,
        )
        return (constant(peak, updates=held), curve) if held else (curve,)

    def _values(self, *, updates: int, peak: float) -> tuple[float, ...]:
        """Return the rates of a table or of a function of yours; nothing for other shapes."""
        shares: Iterable[float] = self.table if isinstance(self.table, tuple) else ()
        if isinstance(self.shape, OwnShape):
            shares = self.shape.shares(min(updates, MOST_PARTS), floor=self.floor, settings=self.settings or {})
        return tuple(share * peak for share in shares)

    def _stairs(self, *, updates: int, peak: float) -> tuple[Piece, ...]:
        levels = self.levels or (1.0, math.sqrt(self.floor), self.floor)
        ends = [round(share * updates) for share in accumulate(self.shares or ())]
        lengths = [end - begin for begin, end in zip([0, *ends[:-1]], ends, strict=True)]
        if min(lengths) < 1:
            raise PlanError(f"a stair over {updates} updates with shares={self.shares} has an empty step; lengthen it")
        return tuple(constant(level * peak, updates=n) for level, n in zip(levels, lengths, strict=True))


def _shape_of(name: str) -> Shape | OwnShape:
    if isinstance(name, Shape | OwnShape):
        return name
    if ":" in name:
        return OwnShape(name)
    if name not in tuple(Shape):
        known = [shape for shape in Shape if shape.is_decay]
        text = f"shape={name!r} must be one of {', '.join(known)}{nearest(name, known)}"
        raise ConfigError(text, field="shape", value=name)
    return Shape(name)


def _read_table(file: str) -> tuple[float, ...]:
    """Return the numbers of a text file, one or more a line; what follows a `#` is a comment.

    Raises:
        ConfigError: If the file cannot be read, or holds something else.
    """
    try:
        lines = pathlib.Path(file).read_text(encoding="utf-8").splitlines()
        return tuple(float(word) for line in lines for word in line.partition("#")[0].replace(",", " ").split())
    except OSError as error:
        text = f"table={file} cannot be read: {error.strerror}; give the path of a text file of numbers"
        raise ConfigError(text, field="table", value=file) from None
    except ValueError as error:
        text = f"table={file} must hold numbers only, shares of the peak ({error}); correct the file"
        raise ConfigError(text, field="table", value=file) from None
