"""A main path that is never annealed, and one annealed branch for each version."""

from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import ClassVar

from lrpath.errors import ConfigError, PlanError
from lrpath.planning.decay import Decay
from lrpath.planning.optimizers import AdamW, AveragedAdamW, Optimizer
from lrpath.planning.paradigms.setting import (
    Alpha,
    BranchReads,
    Setting,
    branch_lengths,
    branch_stream,
    check_reads,
    main_path,
    main_pieces,
    with_optimizer,
)
from lrpath.planning.paths import Path, StateKey, Tree
from lrpath.planning.recipe import Recipe
from lrpath.planning.schedule import Piece, Schedule, Shape, constant, warmup
from lrpath.planning.streams import Replay, again


class Anchor(StrEnum):
    """Where α places a branch: `end` leaves early and ends with the increment, `start` leaves at its end."""

    END = "end"
    START = "start"


@dataclass(frozen=True, slots=True, kw_only=True)
class PathSwitching:
    """Keep one main path at the peak; let one branch per version leave it and decay fast and completely.

    Args:
        peak: Maximal rate, held by the main path.
        warmup: Warm-up length of the main path (updates or tokens).
        decay: Decay of the branches.
        alpha: Branch updates ÷ increment updates, one for all versions or one for each; above 1 a branch begins in an
            earlier increment. `share:0.2` is a share of everything so far instead.
        anchor: Whether branch i ends at ΣT≤i or starts there; started there, it reads its increment a second time.
        reads: What branches read; see `BranchReads`. None, as in plans of earlier versions, is `own`.
        optimizer: Optimizer of these paths; None for the one of the study.
        from_average: With `averaged_adamw`, branches begin with the average and go on with AdamW, at this share of the
            main path's rate; in `(0, 1]`. None: they begin with the live weights, at that rate.
        inverse_sqrt_from: Position from which the main path's rate falls as 1/√position (updates or tokens), so that
            later branches begin lower; None: never.
        replay: Share of versions 2…'s windows on the main path that comes from earlier increments, in `[0, 1)`, or
            `union`: every increment so far by its size; None: none. As much of the newest stays unread.
    """

    kind: ClassVar[str] = "path_switching"
    colour: ClassVar[str] = "#0072B2"
    rate_continues: ClassVar[bool] = True
    advisable: ClassVar[tuple[str, ...]] = ("alpha", "shape", "floor")
    peak: float
    warmup: int | str
    decay: Decay
    alpha: Alpha | tuple[Alpha, ...]
    anchor: Anchor
    reads: BranchReads | None = None
    optimizer: Optimizer | None = None
    from_average: float | None = None
    inverse_sqrt_from: int | str | None = None
    replay: Replay | None = None

    def __post_init__(self) -> None:
        check_reads(self.reads)
        if self.from_average is not None and not 0 < self.from_average <= 1:
            text = f"from_average={self.from_average} must lie in (0, 1]: it is a share of the main path's rate"
            raise ConfigError(text, field="from_average", value=self.from_average)
        if self.reads not in (None, "own") and self.anchor is Anchor.START:
            text = f"reads={self.reads} needs anchor=end; with anchor=start a branch reads its own increment again"
            raise ConfigError(text, field="reads", value=self.reads)

    @property
    def data_continues(self) -> bool:
        """Whether a branch reads on where the main path stands, or something else from its fork on."""
        return self.anchor is Anchor.END and self.reads in (None, "own")

    def plan(self, setting: Setting) -> Tree:
        """Return the main path and N branches: N·T + (N − 1)·α·T updates for equal increments (anchor `end`).

        >>> from lrpath.planning.optimizers import AdamW
        >>> from lrpath.planning.recipe import Recipe
        >>> from lrpath.planning.streams import Increment
        >>> adamw = AdamW(beta1=0.9, beta2=0.95, eps=1e-8, weight_decay=0.1, clip_norm=1.0)
        >>> recipe = Recipe(
        ...     model={}, data={}, optimizer=adamw, precision="fp32", seed=0, sequences_per_update=8,
        ...     tokens_per_sequence=16,
        ... )
        >>> setting = Setting(
        ...     label="switching",
        ...     recipe=recipe,
        ...     increments=(Increment(version="v1", updates=100), Increment(version="v2", updates=100)),
        ...     parse=lambda length, field: int(length),
        ... )
        >>> decay = Decay(shape=Shape.COSINE, floor=0.1)
        >>> paradigm = PathSwitching(peak=0.01, warmup=10, decay=decay, alpha=0.6, anchor=Anchor.END)
        >>> tree = paradigm.plan(setting)
        >>> for path in tree.paths:
        ...     print(path.name, path.start, tree.end(path.id))
        switching.main 0 140
        switching.v1 40 100
        switching.v2 140 200
        """
        warm = setting.parse(self.warmup, "warmup")
        pieces = main_pieces(setting, peak=self.peak, warm=warm, inverse_sqrt_from=self.inverse_sqrt_from)
        branches = branch_lengths(setting, self.alpha)
        setting = with_optimizer(setting, self.optimizer)
        start = _Start(recipe=setting.recipe)
        if self.from_average is not None:
            start = _Start(recipe=_after_average(setting.recipe), share=self.from_average, from_released=True)
        return _branching(
            setting,
            pieces,
            warm,
            branches,
            self.decay,
            start=start,
            anchor=self.anchor,
            reads=self.reads,
            replay=self.replay,
        )


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
    rate_continues: ClassVar[bool] = True
    data_continues: ClassVar[bool] = True
    advisable: ClassVar[tuple[str, ...]] = ("alpha", "shape", "floor")
    peak: float
    warmup: int | str
    cooldown: int | str
    constant: float
    decay: Decay
    alpha: Alpha | tuple[Alpha, ...]

    def __post_init__(self) -> None:
        if not 0 < self.constant < 1:
            text = f"constant={self.constant} must lie in (0, 1): it is a share of the peak rate"
            raise ConfigError(text, field="constant", value=self.constant)

    def plan(self, setting: Setting) -> Tree:
        """Return the main path and N annealing branches."""
        warm, cool = setting.parse(self.warmup, "warmup"), setting.parse(self.cooldown, "cooldown")
        level = self.constant * self.peak
        cooldown = Piece(shape=Shape.COSINE, updates=cool, first=self.peak, last=level)
        pieces = (*warmup(self.peak, updates=warm), cooldown, constant(level))
        branches = branch_lengths(setting, self.alpha)
        start = _Start(recipe=setting.recipe)
        return _branching(setting, pieces, warm + cool, branches, self.decay, start=start, anchor=Anchor.END)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """How branches begin: by what they are trained, at which share of the parent's rate, with which of its weights."""

    recipe: Recipe
    share: float = 1.0
    from_released: bool = False


def _after_average(recipe: Recipe) -> Recipe:
    """Return the recipe of a branch that begins with the average of a main path: AdamW, with the same settings.

    Raises:
        ConfigError: If the main path keeps no average whose other moments AdamW can go on with.
    """
    optimizer = recipe.optimizer
    if not isinstance(optimizer, AveragedAdamW) or recipe.engine is not None:
        kind = "the trainer's own" if optimizer is None or recipe.engine is not None else optimizer.kind
        text = (
            f"from_average needs lrpath's optimizer averaged_adamw, and this is {kind}; choose it, or from_average=null"
        )
        raise ConfigError(text, field="from_average")
    return replace(recipe, optimizer=AdamW(**{one.name: getattr(optimizer, one.name) for one in fields(AdamW)}))


def _branching(  # noqa: PLR0913 (the parts of two paradigms)
    setting: Setting,
    main_pieces: tuple[Piece, ...],
    ready: int,
    lengths: list[int],
    decay: Decay,
    *,
    start: _Start,
    anchor: Anchor,
    reads: BranchReads | None = None,
    replay: Replay | None = None,
) -> Tree:
    """Return a main path and one branch per version, none of which leaves before position `ready`."""
    main = main_path(setting, main_pieces, replay=replay)
    paths, releases = [main], []
    for number, (length, total) in enumerate(zip(lengths, setting.totals, strict=True)):
        increment = setting.increments[number]
        fork = total - length if anchor is Anchor.END else total
        if fork < max(ready, 1):
            raise PlanError(
                f"{setting.label}: {increment.version}'s branch of {length} updates would leave the main path at "
                f"{fork}, before its rate is reached at {max(ready, 1)}; lower alpha (it may be a list, one value a "
                "version), shorten warmup or enlarge the increment",
                field="alpha",
                value=length / increment.updates,
            )
        parent_rate = main.schedule.rate(fork - 1)
        if anchor is Anchor.START:
            stream = again(increment, start=fork, updates=length)
        else:
            stream = branch_stream(setting, main, number, start=fork, updates=length, reads=reads)
        branch = Path(
            name=f"{setting.label}.{increment.version}",
            recipe=start.recipe,
            schedule=Schedule(start=fork, pieces=decay.pieces(updates=length, peak=start.share * parent_rate)),
            stream=stream,
            parent=StateKey(main.id, fork),
            from_released=start.from_released,
        )
        paths.append(branch)
        releases.append(setting.release(number, branch, fork + length))
    return Tree(paths=tuple(paths), releases=tuple(releases))
