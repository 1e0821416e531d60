"""Paradigms: functions from versions to a tree of paths.

With increments T₁…T_N [updates], and α the branch's updates ÷ the increment's:

    from_scratch     version i: its own path from initial weights over ΣT≤i, increments 1…i shuffled together
    continual        version i: from release i−1 over T_i, increment i
    path_switching   one main path at the peak; branch i leaves it at ΣT≤i − αT_i and ends, fully decayed, at ΣT≤i
    wsd_s            as continual, but each version holds the peak and decays over its last α T_i
    infinite         as path_switching, from a constant rate below the peak that a cool-down leads to
    merged           no branch: a weighted mean of the main path's last states, weights derived from a decay curve

References: arXiv 2410.04103 (path switching and its two baselines), 2308.04014 (re-warming), 2410.05192 (WSD-S),
2403.08763 (infinite), 2507.17634 (merging, weights c_j = w_j − w_{j+1}).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate, pairwise
from typing import ClassVar, TypeVar

from lrpath.errors import ConfigError, PlanError
from lrpath.planning.paths import Path, Recipe, Release, StateKey, Tree
from lrpath.planning.schedule import (
    Decay,
    DecayShape,
    Piece,
    Schedule,
    Shape,
    constant,
    progress_weight,
    warmup,
)
from lrpath.planning.streams import Increment, Stream, again, mixture, sequential, union

T = TypeVar("T")


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


class Anchor(StrEnum):
    """Where α places a branch: `end` leaves early and ends with the increment, `start` leaves at its end."""

    END = "end"
    START = "start"


class Restart(StrEnum):
    """How a continual version begins: at the peak at once, by a warm-up, or at the floor and staying there."""

    RESET = "reset"
    REWARM = "rewarm"
    CONSTANT = "constant"


class Reads(StrEnum):
    """What a version trained from scratch reads: all increments so far, or its own alone."""

    ALL = "all"
    OWN = "own"


@dataclass(frozen=True, slots=True, kw_only=True)
class FromScratch:
    """Train each version anew on all data so far (PTFS).

    Args:
        peak: Maximal rate.
        warmup: Warm-up length (updates or tokens).
        decay: Decay over all updates after the warm-up.
        reads: `all` increments up to the version's, or its `own` alone, which is what continuing is compared with
            when only the new domain counts.
    """

    kind: ClassVar[str] = "from_scratch"
    colour: ClassVar[str] = "#000000"
    peak: float
    warmup: int | str
    decay: Decay
    reads: Reads = Reads.ALL

    def plan(self, setting: Setting) -> Tree:
        """Return N roots; path i takes ΣT≤i updates, or T_i if it reads its own increment alone."""
        paths, releases = [], []
        for number, increment in enumerate(setting.increments):
            read = setting.increments[: number + 1] if self.reads is Reads.ALL else (increment,)
            updates = sum(part.updates for part in read)
            warm = _warm_updates(setting, "warmup", self.warmup, updates=updates)
            path = Path(
                name=f"{setting.label}.{increment.version}",
                recipe=setting.recipe,
                schedule=Schedule(pieces=_warm_then(self.decay, peak=self.peak, warm=warm, updates=updates)),
                stream=union(read),
            )
            paths.append(path)
            releases.append(setting.release(number, path, updates))
        return Tree(paths=tuple(paths), releases=tuple(releases))


@dataclass(frozen=True, slots=True, kw_only=True)
class Continual:
    """Train each version from the last release on its own increment (CPT).

    Args:
        peak: Maximal rate, of version 1 and of later versions unless `rewarm_peak` is given.
        warmup: Warm-up length of version 1 (updates or tokens).
        decay: Decay of each version, over its increment less the warm-up.
        restart: How versions 2… begin.
        rewarm: For `rewarm`: warm-up length of versions 2…, from rate 0.
        rewarm_peak: For `reset` and `rewarm`: maximal rate of versions 2….
        replay: Share of versions 2…'s windows that comes from earlier increments, in `[0, 1)`.
        cycle: Length of the whole curve, warm-up included, ÷ the version's updates, at least 1: at 1 the decay is
            complete, at 2 the version is released halfway, None stays at the peak. One for all versions, or one for
            each; without effect on versions that stay at the floor.
        leave_after: Updates of a version after which the next one leaves it (updates or tokens); None leaves from its
            release.
    """

    kind: ClassVar[str] = "continual"
    colour: ClassVar[str] = "#D55E00"
    peak: float
    warmup: int | str
    decay: Decay
    restart: Restart = Restart.RESET
    rewarm: int | str | None = None
    rewarm_peak: float | None = None
    replay: float = 0.0
    cycle: float | tuple[float | None, ...] | None = 1.0
    leave_after: int | str | None = None

    def __post_init__(self) -> None:
        if (self.rewarm is not None) != (self.restart is Restart.REWARM):
            if self.rewarm is None:
                raise ConfigError("restart=rewarm needs rewarm, the length of its warm-up; give it, or restart=reset")
            raise ConfigError(f"rewarm={self.rewarm} belongs to restart=rewarm, not to {self.restart}; remove it")
        if self.rewarm_peak is not None and self.restart is Restart.CONSTANT:
            raise ConfigError("rewarm_peak has no use with restart=constant; remove it")
        if self.restart is Restart.CONSTANT and self.decay.floor == 0:
            raise ConfigError("restart=constant stays at the floor, which is 0 here; choose a floor above 0")
        for value in self.cycle if isinstance(self.cycle, tuple) else (self.cycle,):
            if value is not None and not 1 <= value < math.inf:
                raise ConfigError(f"cycle={value} must be at least 1, or null for a rate that stays at the peak")

    def plan(self, setting: Setting) -> Tree:
        """Return a chain of N paths; path i takes T_i updates from release i − 1, or from where it leaves that path."""
        whole = mixture(setting.increments, replay=self.replay)
        cycles = _one_each(setting, "cycle", self.cycle)
        paths: list[Path] = []
        releases = []
        for number, increment in enumerate(setting.increments):
            start = paths[-1].start + self._kept(setting, number - 1) if paths else 0
            end = start + increment.updates
            aligned = end == setting.totals[number]
            path = Path(
                name=f"{setting.label}.{increment.version}",
                recipe=setting.recipe,
                schedule=Schedule(start=start, pieces=self._pieces(setting, number, cycles[number])),
                stream=whole.until(end) if aligned else Stream(start=start, segments=(whole.segments[number],)),
                parent=StateKey(paths[-1].id, start) if paths else None,
            )
            paths.append(path)
            releases.append(setting.release(number, path, end))
        return Tree(paths=tuple(paths), releases=tuple(releases))

    def _kept(self, setting: Setting, number: int) -> int:
        """Return after how many updates of version `number` (from 0) the next one leaves it."""
        increment = setting.increments[number]
        if self.leave_after is None:
            return increment.updates
        length = setting.parse(self.leave_after, "leave_after")
        if not 1 <= length <= increment.updates:
            raise PlanError(
                f"{setting.label}: leave_after of {length} updates must lie in [1, {increment.updates}], as "
                f"{increment.version} has no more; change it, or leave it out to continue from the release"
            )
        return length

    def _pieces(self, setting: Setting, number: int, cycle: float | None) -> tuple[Piece, ...]:
        updates = setting.increments[number].updates
        if number and self.restart is Restart.CONSTANT:
            return (constant(self.peak * self.decay.floor, updates=updates),)
        peak = self.rewarm_peak if number and self.rewarm_peak is not None else self.peak
        field, length = ("rewarm", self.rewarm or 0) if number else ("warmup", self.warmup)
        warm = _warm_updates(setting, field, length, updates=updates)
        return _warm_then(self.decay, peak=peak, warm=warm, updates=updates, cycle=cycle)


@dataclass(frozen=True, slots=True, kw_only=True)
class PathSwitching:
    """Keep one main path at the peak; let one branch per version leave it and decay fast and completely.

    Args:
        peak: Maximal rate, held by the main path.
        warmup: Warm-up length of the main path (updates or tokens).
        decay: Decay of the branches.
        alpha: Branch updates ÷ increment updates, one for all versions or one for each; above 1 a branch begins in an
            earlier increment.
        anchor: Whether branch i ends at ΣT≤i or starts there; started there, it reads its increment a second time.
    """

    kind: ClassVar[str] = "path_switching"
    colour: ClassVar[str] = "#0072B2"
    peak: float
    warmup: int | str
    decay: Decay
    alpha: float | tuple[float, ...]
    anchor: Anchor = Anchor.END

    def plan(self, setting: Setting) -> Tree:
        """Return the main path and N branches: N·T + (N − 1)·α·T updates for equal increments (anchor `end`)."""
        warm = setting.parse(self.warmup, "warmup")
        main_pieces = (*warmup(self.peak, updates=warm), constant(self.peak))
        branches = _branch_lengths(setting, self.alpha)
        return _branching(setting, main_pieces, warm, branches, self.decay, peak=self.peak, anchor=self.anchor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Infinite:
    """Cool down once from the peak to a constant rate, and let every version anneal from there.

    Args:
        peak: Maximal rate.
        warmup: Warm-up length (updates or tokens).
        cooldown: Length of the cosine from the peak to the constant rate (updates or tokens).
        constant: Constant rate as a share of the peak, in `(0, 1)`.
        decay: Annealing of the branches; its floor is a share of the constant rate.
        alpha: Branch updates ÷ increment updates, one for all versions or one for each.
    """

    kind: ClassVar[str] = "infinite"
    colour: ClassVar[str] = "#009E73"
    peak: float
    warmup: int | str
    cooldown: int | str
    constant: float
    decay: Decay
    alpha: float | tuple[float, ...]

    def __post_init__(self) -> None:
        if not 0 < self.constant < 1:
            raise ConfigError(f"constant={self.constant} must lie in (0, 1): it is a share of the peak rate")

    def plan(self, setting: Setting) -> Tree:
        """Return the main path and N annealing branches."""
        warm, cool = setting.parse(self.warmup, "warmup"), setting.parse(self.cooldown, "cooldown")
        level = self.constant * self.peak
        cooldown = Piece(shape=Shape.COSINE, updates=cool, first=self.peak, last=level)
        pieces = (*warmup(self.peak, updates=warm), cooldown, constant(level))
        branches = _branch_lengths(setting, self.alpha)
        return _branching(setting, pieces, warm + cool, branches, self.decay, peak=level, anchor=Anchor.END)


@dataclass(frozen=True, slots=True, kw_only=True)
class WsdS:
    """Hold the peak and decay at the end of each increment, going on from the decayed state (WSD-S).

    Args:
        peak: Maximal rate.
        warmup: Warm-up length of version 1 (updates or tokens).
        decay: Decay of each version.
        alpha: Decay updates ÷ increment updates, in `(0, 1]`, one for all versions or one for each.
    """

    kind: ClassVar[str] = "wsd_s"
    colour: ClassVar[str] = "#CC79A7"
    peak: float
    warmup: int | str
    decay: Decay
    alpha: float | tuple[float, ...]

    def plan(self, setting: Setting) -> Tree:
        """Return a chain of N paths; N·T updates for equal increments."""
        stream = sequential(setting.increments)
        paths: list[Path] = []
        for number, length in enumerate(_branch_lengths(setting, self.alpha)):
            updates = setting.increments[number].updates
            start = setting.totals[number] - updates
            warm = 0 if number else setting.parse(self.warmup, "warmup")
            if warm + length > updates:
                raise PlanError(
                    f"{setting.label}: warm-up of {warm} and decay of {length} updates do not fit into "
                    f"{setting.increments[number].version}'s {updates}; lower alpha or warmup"
                )
            held = updates - warm - length
            hold = (constant(self.peak, updates=held),) if held else ()
            pieces = (*warmup(self.peak, updates=warm), *hold, *self.decay.pieces(updates=length, peak=self.peak))
            path = Path(
                name=f"{setting.label}.{setting.increments[number].version}",
                recipe=setting.recipe,
                schedule=Schedule(start=start, pieces=pieces),
                stream=stream,
                parent=StateKey(paths[-1].id, start) if paths else None,
            )
            paths.append(path)
        releases = [setting.release(number, path, setting.totals[number]) for number, path in enumerate(paths)]
        return Tree(paths=tuple(paths), releases=tuple(releases))


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """Release a weighted mean of the main path's last states; nothing is trained beside the main path.

    Args:
        peak: Rate of the main path.
        warmup: Warm-up length (updates or tokens).
        states: How many states are merged, at least 2.
        spacing: Distance between them (updates or tokens).
        shape: Decay curve w the weights are derived from: linear gives the plain mean.
    """

    kind: ClassVar[str] = "merged"
    colour: ClassVar[str] = "#E69F00"
    peak: float
    warmup: int | str
    states: int
    spacing: int | str
    shape: DecayShape = DecayShape.LINEAR

    def __post_init__(self) -> None:
        if self.states < 2:
            raise ConfigError(f"states={self.states} must be at least 2; one state alone is not a merge")
        if self.shape.value not in ("linear", "cosine", "one_minus_sqrt", "square"):
            raise ConfigError(f"shape={self.shape} cannot be merged; use linear, cosine, one_minus_sqrt or square")

    def plan(self, setting: Setting) -> Tree:
        """Return one main path of ΣT updates and N merged releases."""
        warm, spacing = setting.parse(self.warmup, "warmup"), setting.parse(self.spacing, "spacing")
        main = _main_path(setting, (*warmup(self.peak, updates=warm), constant(self.peak)))
        weights = merge_weights(self.shape, states=self.states)
        releases = []
        for increment, end in zip(setting.increments, setting.totals, strict=True):
            first = end - (self.states - 1) * spacing
            if first < max(warm, 1) or spacing < 1:
                raise PlanError(
                    f"{setting.label}: {self.states} states {spacing} updates apart before {end} would begin at "
                    f"{first}, but the main path is at its peak from {warm} on; use fewer or closer states"
                )
            keys = [StateKey(main.id, position) for position in range(first, end + 1, spacing)]
            parts = tuple(zip(keys, weights, strict=True))
            releases.append(Release(paradigm=setting.label, version=increment.version, parts=parts))
        return Tree(paths=(main,), releases=tuple(releases))


Paradigm = FromScratch | Continual | PathSwitching | Infinite | WsdS | Merged

PARADIGMS: Mapping[str, type[Paradigm]] = {
    one.kind: one for one in (FromScratch, Continual, PathSwitching, Infinite, WsdS, Merged)
}
"""Every paradigm by its kind. `colour`, the same in every figure, is of Okabe and Ito's, for colour-blind readers."""


def merge_weights(shape: DecayShape, *, states: int) -> tuple[float, ...]:
    """Return weights under which merging states of a constant path imitates a decay over the stretch they span.

    The updates between state j − 1 and j have weight `w_j = w(j / states)`, so that `c_j = w_j − w_{j+1}`, with
    `w_0 = 1` and `w_states = 0` (arXiv 2507.17634).

    >>> merge_weights(DecayShape.LINEAR, states=4)
    (0.25, 0.25, 0.25, 0.25)
    """
    curve = [progress_weight(Shape(shape.value), j / states) for j in range(states + 1)]
    return tuple(before - after for before, after in pairwise(curve))


def _warm_updates(setting: Setting, field: str, length: int | str, *, updates: int) -> int:
    """Return a warm-up's length [updates], which must leave some of a version's `updates` for the decay."""
    warm = setting.parse(length, field)
    if warm >= updates:
        raise PlanError(f"{setting.label}: {field} of {warm} updates leaves no update of {updates} for the decay")
    return warm


def _warm_then(decay: Decay, *, peak: float, warm: int, updates: int, cycle: float | None = 1.0) -> tuple[Piece, ...]:
    """Return a warm-up and a decay that are `cycle × updates` long together, or stay at the peak."""
    after = (constant(peak),) if cycle is None else decay.pieces(updates=round(cycle * updates) - warm, peak=peak)
    return (*warmup(peak, updates=warm), *after)


def _one_each(setting: Setting, field: str, value: T | tuple[T, ...]) -> tuple[T, ...]:
    """Return a value for each version of a field that has one for all, or a list."""
    count = len(setting.increments)
    values = value if isinstance(value, tuple) else (value,) * count
    if len(values) != count:
        raise PlanError(f"{setting.label}: {field} has {len(values)} values for {count} versions; give one or {count}")
    return values


def _branch_lengths(setting: Setting, alpha: float | tuple[float, ...]) -> list[int]:
    lengths = []
    for value, increment in zip(_one_each(setting, "alpha", alpha), setting.increments, strict=True):
        length = round(value * increment.updates) if math.isfinite(value) else 0
        if length < 1:
            raise PlanError(f"{setting.label}: alpha={value} gives {increment.version} no branch; it must be positive")
        lengths.append(length)
    return lengths


def _main_path(setting: Setting, pieces: tuple[Piece, ...]) -> Path:
    stream = sequential(setting.increments)
    return Path(name=f"{setting.label}.main", recipe=setting.recipe, schedule=Schedule(pieces=pieces), stream=stream)


def _branching(
    setting: Setting,
    main_pieces: tuple[Piece, ...],
    ready: int,
    lengths: list[int],
    decay: Decay,
    *,
    peak: float,
    anchor: Anchor,
) -> Tree:
    """Return a main path and one branch per version, none of which leaves before position `ready`."""
    main = _main_path(setting, main_pieces)
    paths, releases = [main], []
    for number, (length, total) in enumerate(zip(lengths, setting.totals, strict=True)):
        increment = setting.increments[number]
        fork = total - length if anchor is Anchor.END else total
        if fork < max(ready, 1):
            raise PlanError(
                f"{setting.label}: {increment.version}'s branch of {length} updates would leave the main path at "
                f"{fork}, before its rate is reached at {max(ready, 1)}; lower alpha (it may be a list, one value a "
                "version), shorten warmup or enlarge the increment"
            )
        stream = main.stream if anchor is Anchor.END else again(increment, start=fork, updates=length)
        branch = Path(
            name=f"{setting.label}.{increment.version}",
            recipe=setting.recipe,
            schedule=Schedule(start=fork, pieces=decay.pieces(updates=length, peak=peak)),
            stream=stream,
            parent=StateKey(main.id, fork),
        )
        paths.append(branch)
        releases.append(setting.release(number, branch, fork + length))
    return Tree(paths=tuple(paths), releases=tuple(releases))
