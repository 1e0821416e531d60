"""Hold the peak, decay at the end of each increment, and go on from the decayed state (WSD-S)."""

from dataclasses import dataclass
from typing import ClassVar

from lrpath.errors import PlanError
from lrpath.planning.decay import Decay
from lrpath.planning.paradigms.setting import Alpha, Setting, branch_lengths
from lrpath.planning.paths import Path, StateKey, Tree
from lrpath.planning.schedule import Schedule, constant, warmup
from lrpath.planning.streams import sequential


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
    rate_continues: ClassVar[bool] = False
    data_continues: ClassVar[bool] = True
    advisable: ClassVar[tuple[str, ...]] = ()
    peak: float
    warmup: int | str
    decay: Decay
    alpha: Alpha | tuple[Alpha, ...]

    def plan(self, setting: Setting) -> Tree:
        """Return a chain of N paths; N·T updates for equal increments."""
        stream = sequential(setting.increments)
        paths: list[Path] = []
        for number, length in enumerate(branch_lengths(setting, self.alpha)):
            updates = setting.increments[number].updates
            start = setting.totals[number] - updates
            warm = 0 if number else setting.parse(self.warmup, "warmup")
            if warm + length > updates:
                raise PlanError(
                    f"{setting.label}: warm-up of {warm} and decay of {length} updates do not fit into "
                    f"{setting.increments[number].version}'s {updates}; lower alpha or warmup",
                    field="alpha",
                    value=length / updates,
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
