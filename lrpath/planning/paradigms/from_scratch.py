"""Train every version anew on all data so far: the best models, at the full price (PTFS)."""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from lrpath.planning.decay import Decay
from lrpath.planning.paradigms.setting import Setting, warm_then, warm_updates
from lrpath.planning.paths import Path, Tree
from lrpath.planning.schedule import Schedule
from lrpath.planning.streams import sequential, union


class Reads(StrEnum):
    """What a version trained from scratch reads: all increments so far, shuffled or in turn, or its own alone."""

    ALL = "all"
    IN_ORDER = "in_order"
    OWN = "own"


@dataclass(frozen=True, slots=True, kw_only=True)
class FromScratch:
    """Train each version anew on all data so far (PTFS).

    Args:
        peak: Maximal rate.
        warmup: Warm-up length (updates or tokens).
        decay: Decay over all updates after the warm-up.
        reads: `all` increments up to the version's, shuffled together; the same `in_order`, one after another as a
            main path reads them, which tells the effect of the order from that of the rate; or the version's `own`
            alone, which is what continuing is compared with when only the new domain counts.
    """

    kind: ClassVar[str] = "from_scratch"
    colour: ClassVar[str] = "#000000"
    rate_continues: ClassVar[bool] = False
    data_continues: ClassVar[bool] = True
    advisable: ClassVar[tuple[str, ...]] = ()
    peak: float
    warmup: int | str
    decay: Decay
    reads: Reads = Reads.ALL

    def plan(self, setting: Setting) -> Tree:
        """Return N roots; path i takes ΣT≤i updates, or T_i if it reads its own increment alone."""
        paths, releases = [], []
        for number, increment in enumerate(setting.increments):
            read = (increment,) if self.reads is Reads.OWN else setting.increments[: number + 1]
            updates = sum(part.updates for part in read)
            warm = warm_updates(setting, "warmup", self.warmup, updates=updates)
            path = Path(
                name=f"{setting.label}.{increment.version}",
                recipe=setting.recipe,
                schedule=Schedule(pieces=warm_then(self.decay, peak=self.peak, warm=warm, updates=updates)),
                stream=sequential(read) if self.reads is Reads.IN_ORDER else union(read),
            )
            paths.append(path)
            releases.append(setting.release(number, path, updates))
        return Tree(paths=tuple(paths), releases=tuple(releases))
