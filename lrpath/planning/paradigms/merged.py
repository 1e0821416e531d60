"""A main path whose last states are averaged, which imitates a decay (WSM)."""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from lrpath.errors import ConfigError, PlanError
from lrpath.planning.paradigms.setting import Setting, main_path, share_of
from lrpath.planning.paths import Release, StateKey, Tree
from lrpath.planning.schedule import Shape, constant, progress_weight, warmup


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """Release a weighted mean of the main path's last states; nothing is trained beside the main path.

    Args:
        peak: Rate of the main path.
        warmup: Warm-up length (updates or tokens).
        states: How many states are merged, at least 2.
        spacing: Distance between them (updates or tokens), or `share:0.2`: they span that share of everything so far.
        shape: Decay curve w the weights are derived from: linear gives the plain mean.
    """

    kind: ClassVar[str] = "merged"
    colour: ClassVar[str] = "#E69F00"
    rate_continues: ClassVar[bool] = False
    data_continues: ClassVar[bool] = True
    advisable: ClassVar[tuple[str, ...]] = ()
    peak: float
    warmup: int | str
    states: int
    spacing: int | str
    shape: Shape

    def __post_init__(self) -> None:
        if self.states < 2:
            text = f"states={self.states} must be at least 2; one state alone is not a merge"
            raise ConfigError(text, field="states", value=self.states)
        if self.shape.value not in ("linear", "cosine", "one_minus_sqrt", "square"):
            text = f"shape={self.shape} gives no weights to merge by; use linear, cosine, one_minus_sqrt or square"
            raise ConfigError(text, field="shape", value=self.shape)

    def plan(self, setting: Setting) -> Tree:
        """Return one main path of ΣT updates and N merged releases."""
        warm, share = setting.parse(self.warmup, "warmup"), share_of(self.spacing, field="spacing")
        spacing = 0 if share is not None else setting.parse(self.spacing, "spacing")
        main = main_path(setting, (*warmup(self.peak, updates=warm), constant(self.peak)))
        weights = merge_weights(self.shape, states=self.states)
        releases = []
        for increment, end in zip(setting.increments, setting.totals, strict=True):
            if share is not None:
                spacing = round(share * end / (self.states - 1))
            first = end - (self.states - 1) * spacing
            if first < max(warm, 1) or spacing < 1:
                raise PlanError(
                    f"{setting.label}: {self.states} states {spacing} updates apart before {end} would begin at "
                    f"{first}, but the main path is at its peak from {warm} on; use fewer or closer states",
                    field="spacing",
                    value=self.spacing,
                )
            keys = [StateKey(main.id, position) for position in range(first, end + 1, spacing)]
            parts = tuple(zip(keys, weights, strict=True))
            releases.append(Release(paradigm=setting.label, version=increment.version, parts=parts))
        return Tree(paths=(main,), releases=tuple(releases))


def merge_weights(shape: Shape, *, states: int) -> tuple[float, ...]:
    """Return weights under which merging states of a constant path imitates a decay over the stretch they span.

    The updates between state j − 1 and j have weight `w_j = w(j / states)`, so that `c_j = w_j − w_{j+1}`, with
    `w_0 = 1` and `w_states = 0` (arXiv 2507.17634).

    >>> merge_weights(Shape.LINEAR, states=4)
    (0.25, 0.25, 0.25, 0.25)
    """
    curve = [progress_weight(shape, j / states) for j in range(states + 1)]
    return tuple(before - after for before, after in pairwise(curve))
