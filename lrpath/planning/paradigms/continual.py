"""Train every version from the last release: reset, re-warmed, or at the floor (CPT)."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from lrpath.errors import ConfigError, PlanError
from lrpath.planning.decay import Decay
from lrpath.planning.paradigms.setting import Setting, one_each, warm_then, warm_updates
from lrpath.planning.paths import Path, StateKey, Tree
from lrpath.planning.schedule import Piece, Schedule, constant
from lrpath.planning.streams import Stream, mixture


class Restart(StrEnum):
    """How a continual version begins: at the peak at once, by a warm-up, or at the floor and staying there."""

    RESET = "reset"
    REWARM = "rewarm"
    CONSTANT = "constant"


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
    data_continues: ClassVar[bool] = True
    advisable: ClassVar[tuple[str, ...]] = ("replay", "peak")
    peak: float
    warmup: int | str
    decay: Decay
    restart: Restart
    rewarm: int | str | None
    rewarm_peak: float | None
    replay: float
    cycle: float | tuple[float | None, ...] | None = 1.0
    leave_after: int | str | None = None

    def __post_init__(self) -> None:
        if self.rewarm is None and self.restart is Restart.REWARM:
            text = "restart=rewarm needs rewarm, the length of its warm-up; give it, or restart=reset"
            raise ConfigError(text, field="rewarm", value=None)
        if self.rewarm is not None and self.restart is not Restart.REWARM:
            text = f"rewarm={self.rewarm} belongs to restart=rewarm, not to restart={self.restart}; give rewarm=null"
            raise ConfigError(text, field="rewarm", value=self.rewarm)
        if self.rewarm_peak is not None and self.restart is Restart.CONSTANT:
            text = "rewarm_peak has no effect with restart=constant; give rewarm_peak=null"
            raise ConfigError(text, field="rewarm_peak", value=self.rewarm_peak)
        if self.restart is Restart.CONSTANT and self.decay.floor == 0:
            text = "restart=constant stays at the floor, which is 0; choose a floor above 0"
            raise ConfigError(text, field="decay.floor", value=self.decay.floor)
        for value in self.cycle if isinstance(self.cycle, tuple) else (self.cycle,):
            if value is not None and not 1 <= value < math.inf:
                text = f"cycle={value} must be at least 1, or null for a rate that stays at the peak"
                raise ConfigError(text, field="cycle", value=value)

    @property
    def rate_continues(self) -> bool:
        """Whether the next version begins at the rate at which the last one ended: only one that stays at the floor."""
        return self.restart is Restart.CONSTANT

    def plan(self, setting: Setting) -> Tree:
        """Return a chain of N paths; path i takes T_i updates from release i − 1, or from where it leaves that path."""
        whole = mixture(setting.increments, replay=self.replay, sequences=setting.recipe.sequences_per_update)
        cycles = one_each(setting, "cycle", self.cycle)
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
                f"{increment.version} has no more; change it, or leave it out to continue from the release",
                field="leave_after",
                value=self.leave_after,
            )
        return length

    def _pieces(self, setting: Setting, number: int, cycle: float | None) -> tuple[Piece, ...]:
        updates = setting.increments[number].updates
        if number and self.restart is Restart.CONSTANT:
            return (constant(self.peak * self.decay.floor, updates=updates),)
        peak = self.rewarm_peak if number and self.rewarm_peak is not None else self.peak
        field, length = ("rewarm", self.rewarm or 0) if number else ("warmup", self.warmup)
        warm = warm_updates(setting, field, length, updates=updates)
        return warm_then(self.decay, peak=peak, warm=warm, updates=updates, cycle=cycle)
