"""One stretch of a path that one process group runs: from a state on disk, or initial weights, to a needed position."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field, replace

from lrpath.planning.paths import Path, StateKey


@dataclass(slots=True)
class StopRequest:
    """Where a run was asked to stop before its end: the one thing about it that nobody knows when it begins."""

    position: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """What the callbacks of one fit need to know; all of it functions of position.

    Args:
        path: The path that is run.
        begin: Position the run starts from.
        end: Position it goes to, which the plan needs.
        pinned: Positions at which the plan needs a state.
        rolling_every: Distance of the states that are kept only until the next one [updates].
        evaluate_every: Distance of the evaluations on held-out sets [updates]; the end is always evaluated.
        stop_request: Filled by `lrpath.training.callbacks.stop` when all ranks agree to stop.
    """

    path: Path
    begin: int
    end: int
    pinned: frozenset[int]
    rolling_every: int
    evaluate_every: int
    stop_request: StopRequest = field(default_factory=StopRequest, compare=False)

    @property
    def first(self) -> bool:
        """Whether the run begins where its path begins."""
        return self.begin == self.path.start

    @property
    def tokens(self) -> int:
        """Tokens that the run processes."""
        return (self.end - self.begin) * self.path.recipe.tokens_per_update

    def source(self) -> StateKey | None:
        """Return the state the run starts from: the path's own, its parent's at the fork, or None for a root."""
        return self.path.parent if self.first else StateKey(self.path.id, self.begin)

    def rest(self, made: Collection[int]) -> "PlannedRun | None":
        """Return what is left of the run when the path has states at some positions; None if its end is there."""
        if self.end in made:
            return None
        return replace(self, begin=max((position for position in made if position < self.end), default=self.path.start))

    def saves(self, position: int) -> bool:
        """Say whether a state is saved at a position."""
        planned = position == self.end or position in self.pinned or position % self.rolling_every == 0
        return planned or position == self.stop_request.position

    def evaluates(self, position: int) -> bool:
        """Say whether the held-out sets are evaluated at a position."""
        return position in self.pinned or position % self.evaluate_every == 0

    def oldest_kept(self, position: int, made: Collection[int]) -> int:
        """Return the position of the oldest rolling state to keep when one is saved: a rewind may go back to it."""
        guard = self.path.recipe.guard
        if guard.policy != "rewind":
            return position
        return max((earlier for earlier in made if earlier <= position - guard.back), default=self.path.start)

    def random_seed(self, update: int) -> int:
        """Return the seed of an update's random numbers: a function of recipe and update, so none has to be saved."""
        text = f"update {update} of seed {self.path.recipe.weights_seed}"
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
