"""One path that is released as it is at every version: what is released is an average, which needs no decay."""

from dataclasses import dataclass
from typing import ClassVar

from lrpath.errors import ConfigError, PlanError
from lrpath.planning.optimizers import Optimizer
from lrpath.planning.paradigms.setting import (
    BranchReads,
    Setting,
    branch_stream,
    check_reads,
    main_path,
    main_pieces,
    one_each,
    with_optimizer,
)
from lrpath.planning.paths import Path, StateKey, Tree
from lrpath.planning.schedule import Schedule, Shape, constant
from lrpath.planning.streams import Replay


@dataclass(frozen=True, slots=True, kw_only=True)
class Anytime:
    """Go on at a constant rate, or one that falls as 1/√position, and release the average that the optimizer keeps.

    Costs one training on all increments: N·T updates for equal increments, 0.40 of four trainings from scratch. With
    `alpha`, the last α T_i updates of a version are a branch at the path's rate that reads something else, most of all
    a union of all increments: N·T + (N − 1)·α·T.

    Args:
        peak: Rate of the path after its warm-up.
        warmup: Warm-up length (updates or tokens).
        optimizer: One that releases an average: `schedule_free` or `averaged_adamw`; another releases weights that are
            not annealed.
        alpha: Branch updates ÷ increment updates, at least 0, one for all versions or one for each; 0: no branch.
        reads: What branches read; see `BranchReads`.
        inverse_sqrt_from: Position from which the rate falls as 1/√position (updates or tokens); None: never.
        replay: Share of versions 2…'s windows that comes from earlier increments, in `[0, 1)`, or `union`:
            every increment so far by its size. None: none. At no extra cost: so much of the newest stays unread.

    References: arXiv 2405.15682 (schedule-free), 2602.03702 (averages with a horizon that grows).
    """

    kind: ClassVar[str] = "anytime"
    colour: ClassVar[str] = "#D55E00"
    rate_continues: ClassVar[bool] = True
    advisable: ClassVar[tuple[str, ...]] = ()
    peak: float
    warmup: int | str
    optimizer: Optimizer
    alpha: float | tuple[float, ...]
    reads: BranchReads
    inverse_sqrt_from: int | str | None = None
    replay: Replay | None = None

    def __post_init__(self) -> None:
        check_reads(self.reads)
        values = self.alpha if isinstance(self.alpha, tuple) else (self.alpha,)
        if not all(0 <= value <= 1 for value in values):
            text = f"alpha={self.alpha} must lie in [0, 1]; 0 releases the path as it is"
            raise ConfigError(text, field="alpha", value=self.alpha)
        if self.reads == "own" and any(values):
            text = f"alpha={self.alpha} makes branches that are the path itself: choose reads=union, or alpha=0"
            raise ConfigError(text, field="alpha", value=self.alpha)

    @property
    def data_continues(self) -> bool:
        """Whether a branch reads on where the path stands."""
        return self.reads == "own"

    def plan(self, setting: Setting) -> Tree:
        """Return the path, and a branch for every version that has updates of its own."""
        setting = with_optimizer(setting, self.optimizer)
        warm = setting.parse(self.warmup, "warmup")
        pieces = main_pieces(setting, peak=self.peak, warm=warm, inverse_sqrt_from=self.inverse_sqrt_from)
        main = main_path(setting, pieces, replay=self.replay)
        paths, releases = [main], []
        for number, alpha in enumerate(one_each(setting, "alpha", self.alpha)):
            increment, end = setting.increments[number], setting.totals[number]
            length = round(alpha * increment.updates) if number else 0
            path = self._branch(setting, main, number, end=end, updates=length, warm=warm) if length else main
            if path is not main:
                paths.append(path)
            releases.append(setting.release(number, path, end))
        return Tree(paths=tuple(paths), releases=tuple(releases))

    def _branch(self, setting: Setting, main: Path, number: int, *, end: int, updates: int, warm: int) -> Path:
        fork, version = end - updates, setting.increments[number].version
        if fork < max(warm, 1):
            text = f"{setting.label}: {version}'s branch would leave the path at {fork}, in its warm-up; lower alpha"
            raise PlanError(text, field="alpha", value=self.alpha)
        return Path(
            name=f"{setting.label}.{version}",
            recipe=setting.recipe,
            schedule=_rest(main.schedule, fork, updates=updates),
            stream=branch_stream(setting, main, number, start=fork, updates=updates, reads=self.reads),
            parent=StateKey(main.id, fork),
        )


def _rest(schedule: Schedule, fork: int, *, updates: int) -> Schedule:
    """Return the path's own rates from a fork on; where they stay as they are, they end with the branch."""
    rest = schedule.after(fork)
    only = rest.pieces[0]
    stays = len(rest.pieces) == 1 and only.shape is Shape.CONSTANT
    return Schedule(start=fork, pieces=(constant(only.last, updates=updates),)) if stays else rest
