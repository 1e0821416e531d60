"""One stretch of a path that is run at once: from a state on disk, or initial weights, to a position that is needed."""

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from uuid import uuid4

from lrpath.planning.paths import Path, StateKey
from lrpath.records.ledger import Run
from lrpath.records.path_folder import oldest_spared


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """What one fit is to do; the record of what it did is the ledger's `Run`.

    Args:
        path: The path that is run.
        begin: Position it starts from.
        end: Position it leads to, which the plan needs.
        pinned: Positions at which the plan needs a state.
        rolling_every: Interval of the rolling states, which are kept for restarts only [updates].
        evaluate_every: Interval of the evaluations on held-out sets [updates]; pinned positions are evaluated too.
        increment_ends: Further positions at which a state is saved, though nothing is evaluated: an increment ends
            there, and another one could follow in place of the next.
        keep: Newest states of the path that are kept in any case: the last may be found damaged.
    """

    path: Path
    begin: int
    end: int
    pinned: frozenset[int]
    rolling_every: int
    evaluate_every: int
    increment_ends: frozenset[int] = frozenset()
    keep: int = 2

    @property
    def begins_path(self) -> bool:
        """Whether the run begins where its path begins."""
        return self.begin == self.path.start

    @property
    def tokens(self) -> int:
        """Tokens that the run processes."""
        return self.path.recipe.tokens_between(self.begin, self.end)

    def until_growth(self) -> "PlannedRun":
        """Return the run up to where the batch grows, or as it is: one fit accumulates equally often in every update.

        A state is saved there, which the next fit begins with.
        """
        _, end, _ = next(self.path.recipe.batch.stretches(self.begin, self.end))
        return replace(self, end=end)

    def begun(self, *, device: str, ranks: int, flops_per_token: float) -> Run:
        """Return the ledger's row of this run as it begins.

        Args:
            device: What computes it.
            ranks: Processes that compute it together.
            flops_per_token: FLOPs of training on one token; 0 if they are not known.
        """
        return Run(
            id=uuid4().hex,
            path_id=self.path.id,
            name=self.path.name,
            begin=self.begin,
            end=self.end,
            repeated=0,
            tokens=self.tokens,
            flops=self.tokens * flops_per_token,
            seconds=None,
            outcome="running",
            device=device,
            ranks=ranks,
        )

    def starting_state(self) -> StateKey | None:
        """Return the state the run starts from: the path's own, its parent's at the fork, or None for a root."""
        return self.path.parent if self.begins_path else StateKey(self.path.id, self.begin)

    def remaining(self, existing: Collection[int]) -> "PlannedRun | None":
        """Return what is left of the run when the path has states at some positions; None if one is at its end."""
        if self.end in existing:
            return None
        begin = max((position for position in existing if position < self.end), default=self.path.start)
        return replace(self, begin=begin)

    def saves(self, position: int) -> bool:
        """Say whether a state is saved at a position."""
        planned = position == self.end or position in self.pinned or position in self.increment_ends
        return planned or position % self.rolling_every == 0

    def evaluates(self, position: int) -> bool:
        """Say whether the held-out sets are evaluated at a position."""
        return position in self.pinned or position % self.evaluate_every == 0

    def oldest_kept(self, position: int, existing: Collection[int]) -> int:
        """Return the position of the oldest rolling state to keep when one is saved at `position`.

        Under `guard.policy=rewind` older ones than the newest are kept, since the path may go back to them.
        """
        guard = self.path.recipe.guard
        if position == self.path.schedule.end:
            return position  # the path is finished
        oldest = oldest_spared([*(earlier for earlier in existing if earlier < position), position], keep=self.keep)
        if guard.policy != "rewind":
            return oldest
        back = max((earlier for earlier in existing if earlier <= position - guard.back), default=self.path.start)
        return min(oldest, back)

    def random_seed(self, update: int, *, slot: int | None = None) -> int:
        """Return the seed of the random numbers of an update, or of one of its sequences by its slot.

        It is a function of recipe, update and slot, so none has to be saved.
        """
        text = f"update {update} of seed {self.path.recipe.weights_seed}"
        text += "" if slot is None else f", slot {slot}"
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def longest_chain_first(runs: Iterable[PlannedRun]) -> list[PlannedRun]:
    """Return the runs of a plan in the order in which several processes should take them: each after what it needs.

    A run comes the earlier, the more tokens are read from its beginning to the end of the longest chain of runs that
    wait for each other (list scheduling by the critical path). Where two are equal, the order stays.

    Args:
        runs: Runs, each after those that it depends on: the one before it on its path, or the one of the parent that
            makes the state of its fork.
    """
    given = list(runs)
    by_path: dict[str, list[int]] = {}
    for place, run in enumerate(given):
        by_path.setdefault(run.path.id, []).append(place)
    behind, chains = [0] * len(given), [0] * len(given)  # tokens
    for place in reversed(range(len(given))):
        chains[place] = given[place].tokens + behind[place]
        if (start := given[place].starting_state()) is None:
            continue
        for before in by_path.get(start.path_id, ()):
            if given[before].begin < start.position <= given[before].end:
                behind[before] = max(behind[before], chains[place])
    return [given[place] for place in sorted(range(len(given)), key=lambda place: -chains[place])]
