"""What every paradigm is given, and what several of them are built of: warm-ups, branch lengths, a main path."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Literal, TypeVar

from lrpath.errors import ConfigError, PlanError
from lrpath.planning.decay import Decay
from lrpath.planning.optimizers import Optimizer
from lrpath.planning.paths import Path, Release, StateKey
from lrpath.planning.recipe import Recipe
from lrpath.planning.schedule import Piece, Schedule, constant, inverse_sqrt, warmup
from lrpath.planning.streams import Increment, Replay, Stream, mixture, shuffled

T = TypeVar("T")
Alpha = float | str
"""Branch updates ÷ increment updates, or `share:` and a share of everything so far."""

BranchReads = Literal["own", "union"] | float
"""What a branch reads from its fork on: `own`, the data that the main path reads there, which is the newest increment;
`union`, all increments so far, shuffled together; or the share of the newest increment in (0, 1), the rest being
earlier ones. At no extra cost: a branch is as long whatever it reads. Version 1 has nothing but its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What every paradigm is given.

    Args:
        label: Name under which the paradigm is compared.
        recipe: What all updates share.
        increments: The data of each version, in order of arrival.
        parse: Turns a length (updates or tokens) of a named field into updates.
    """

    label: str
    recipe: Recipe
    increments: tuple[Increment, ...]
    parse: Callable[[int | str, str], int]

    @property
    def totals(self) -> tuple[int, ...]:
        """Cumulative sizes ΣT≤i [updates]."""
        return tuple(accumulate(increment.updates for increment in self.increments))

    def release(self, number: int, path: Path, position: int) -> Release:
        """Return the release of version `number` (from 0), made of one state."""
        version = self.increments[number].version
        return Release(paradigm=self.label, version=version, parts=((StateKey(path.id, position), 1.0),))


def warm_updates(setting: Setting, field: str, length: int | str, *, updates: int) -> int:
    """Return a warm-up's length [updates], which must leave some of a version's `updates` for the decay."""
    warm = setting.parse(length, field)
    if warm >= updates:
        raise PlanError(
            f"{setting.label}: {field} of {warm} updates leaves no update of {updates} for the decay; shorten "
            f"{field} or enlarge the increment",
            field=field,
            value=length,
        )
    return warm


def warm_then(decay: Decay, *, peak: float, warm: int, updates: int, cycle: float | None = 1.0) -> tuple[Piece, ...]:
    """Return a warm-up and a decay that are `cycle × updates` long together, or stay at the peak."""
    after = (constant(peak),) if cycle is None else decay.pieces(updates=round(cycle * updates) - warm, peak=peak)
    return (*warmup(peak, updates=warm), *after)


def one_each(setting: Setting, field: str, value: T | tuple[T, ...]) -> tuple[T, ...]:
    """Return a value for each version of a field that has one for all, or a list."""
    count = len(setting.increments)
    values = value if isinstance(value, tuple) else (value,) * count
    if len(values) != count:
        text = f"{setting.label}: {field} has {len(values)} values for {count} versions; give one or {count}"
        raise PlanError(text, field=field, value=value)
    return values


SHARE = "share:"
"""Begins a length that is a share of everything so far, `share:0.2`. A share carries over to a longer horizon,
and to increments of other sizes; α, a share of the newest increment, does not."""


def share_of(value: object, *, field: str) -> float | None:
    """Return the share in `share:0.2`; None if the value is not written so.

    Raises:
        ConfigError: If the share is not a number in `(0, 1)`.

    >>> share_of("share:0.2", field="alpha"), share_of(0.6, field="alpha")
    (0.2, None)
    """
    if not isinstance(value, str) or not value.startswith(SHARE):
        return None
    try:
        share = float(value.removeprefix(SHARE))
    except ValueError:
        share = math.nan
    if not 0 < share < 1:
        text = f"{field}={value} must be a share of everything so far in (0, 1), for example {SHARE}0.2"
        raise ConfigError(text, field=field, value=value)
    return share


def branch_lengths(setting: Setting, alpha: Alpha | tuple[Alpha, ...]) -> list[int]:
    """Return the updates of each version's branch: α times those of its increment, or a share of all so far, rounded.

    Raises:
        ConfigError: If an α is neither a number nor a share.
        PlanError: If a branch would have no update.
    """
    lengths = []
    values: tuple[Alpha, ...] = one_each(setting, "alpha", alpha)
    for value, increment, total in zip(values, setting.increments, setting.totals, strict=True):
        share = share_of(value, field="alpha")
        if share is None and isinstance(value, str):
            text = f"alpha={value} must be a number, or a share of everything so far, for example {SHARE}0.2"
            raise ConfigError(text, field="alpha", value=value)
        updates = share * total if share is not None else float(value) * increment.updates
        length = round(updates) if math.isfinite(updates) else 0
        if length < 1:
            text = f"{setting.label}: alpha={value} gives {increment.version} no branch; it must be positive"
            raise PlanError(text, field="alpha", value=value)
        lengths.append(length)
    return lengths


def main_path(setting: Setting, pieces: tuple[Piece, ...], *, replay: Replay | None = None) -> Path:
    """Return the path that reads all increments in turn, with a share of earlier ones, and that branches leave."""
    stream = mixture(setting.increments, replay=replay or 0.0, sequences=setting.recipe.sequences_per_update)
    return Path(name=f"{setting.label}.main", recipe=setting.recipe, schedule=Schedule(pieces=pieces), stream=stream)


def main_pieces(setting: Setting, *, peak: float, warm: int, inverse_sqrt_from: int | str | None) -> tuple[Piece, ...]:
    """Return the curve of a main path: a warm-up, then the peak for ever, or until it falls as 1/√position.

    Args:
        setting: What the paradigm is given.
        peak: Rate after the warm-up.
        warm: Length of the warm-up [updates].
        inverse_sqrt_from: Position from which the rate falls (updates or tokens), not in the warm-up; None: never.

    Raises:
        PlanError: If it would fall during the warm-up, or from the very beginning.
    """
    pieces = warmup(peak, updates=warm)
    if inverse_sqrt_from is None:
        return (*pieces, constant(peak))
    field = "inverse_sqrt_from"
    begins = setting.parse(inverse_sqrt_from, field)
    if begins < max(warm, 1):
        text = (
            f"{setting.label}: {field} at {begins} updates must lie at or after the warm-up's end, {max(warm, 1)}; "
            "raise it, or shorten warmup"
        )
        raise PlanError(text, field=field, value=inverse_sqrt_from)
    held = (constant(peak, updates=begins - warm),) if begins > warm else ()
    return (*pieces, *held, inverse_sqrt(peak, begins=begins))


def with_optimizer(setting: Setting, optimizer: Optimizer | None) -> Setting:
    """Return a setting whose paths use an optimizer of their own; None keeps the one of the study."""
    return setting if optimizer is None else replace(setting, recipe=replace(setting.recipe, optimizer=optimizer))


def check_reads(reads: BranchReads | None) -> None:
    """Raise unless a share of the newest increment is one."""
    if isinstance(reads, float) and not 0 < reads < 1:
        text = f"reads={reads} must be own, union, or the newest increment's share in (0, 1)"
        raise ConfigError(text, field="reads", value=reads)


def branch_stream(
    setting: Setting, main: Path, number: int, *, start: int, updates: int, reads: BranchReads | None
) -> Stream:
    """Return what the branch of version `number` (from 0) reads from its fork on."""
    if reads in (None, "own") or number == 0:
        return main.stream
    share = reads if isinstance(reads, float) else None
    return shuffled(setting.increments[: number + 1], start=start, updates=updates, new_share=share)
