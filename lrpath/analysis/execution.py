"""Compares the ledger of a study with its plans: updates, tokens and FLOPs as planned and as run."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lrpath.planning.plan import Plan
from lrpath.records.ledger import Run

MOST_NAMED = 4
"""The sentence names this many paths that differ from the plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathCount:
    """Updates of one path: as planned and as run.

    Args:
        path_id: The path.
        name: Its name.
        planned: Updates that the kept plans ask for, taken together.
        ran: Updates in the ledger, repeated ones included.
        repeated: Of these, updates that an earlier run had made and lost.
        skipped: Of these, updates that the guard left out.
        rewinds: How often the guard went back on the path.
        earlier_versions: Where the newest plan asks for less of the path, how many versions the one has that asks for
            most; None where the newest asks for as much.
    """

    path_id: str
    name: str
    planned: int
    ran: int
    repeated: int
    skipped: int
    rewinds: int
    earlier_versions: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """The ledger against all plans of a study, each path counted once.

    Args:
        paths: Updates by path, planned paths first.
        tokens_planned: Tokens of the planned updates.
        tokens: Tokens processed.
        flops_planned: Floating-point operations planned; None where a plan does not know its model's.
        flops: Floating-point operations in the ledger.
    """

    paths: tuple[PathCount, ...]
    tokens_planned: int
    tokens: int
    flops_planned: int | None
    flops: float

    @property
    def planned(self) -> int:
        """Planned updates."""
        return sum(path.planned for path in self.paths)

    @property
    def ran(self) -> int:
        """Updates run, repeated ones included."""
        return sum(path.ran for path in self.paths)

    @property
    def repeated(self) -> int:
        """Updates run again, after a kill or a rewind."""
        return sum(path.repeated for path in self.paths)

    @property
    def is_as_planned(self) -> bool:
        """Whether every path ran exactly its planned updates, none twice, with the planned tokens and FLOPs.

        An update that the guard left out has run: it was computed, and its loss looked at.
        """
        counts = all(path.ran == path.planned and not path.repeated for path in self.paths)
        # The ledger keeps FLOPs as floats, each run rounded to 16 digits.
        flops = self.flops_planned is None or math.isclose(self.flops, self.flops_planned, rel_tol=1e-9)
        return counts and self.tokens == self.tokens_planned and flops

    def sentence(self) -> str:
        """Return the ledger as one line: planned, ran, repeated, and what is missing or too much."""
        line = f"ledger: {self.planned:,} updates planned, {self.ran:,} run, {self.repeated:,} of them repeated"
        line += self._guarded()
        if self.is_as_planned:
            return f"{line}; exactly as planned"
        missing = [(path, path.planned - (path.ran - path.repeated)) for path in self.paths]
        lacking = [f"{path.name} lacks {count:,}{_of_plan(path)}" for path, count in missing if count > 0]
        unplanned = [f"{path.name} ran {-count:,} that no plan asks for" for path, count in missing if count < 0]
        differing = lacking + unplanned
        more = [f"and {len(differing) - MOST_NAMED} more paths differ"] if len(differing) > MOST_NAMED else []
        return "; ".join([line, *differing[:MOST_NAMED], *more])

    def _guarded(self) -> str:
        skipped, rewinds = (sum(getattr(path, name) for path in self.paths) for name in ("skipped", "rewinds"))
        return f"; the guard left out {skipped:,} of them and went back {rewinds:,} times" if skipped or rewinds else ""


def _of_plan(path: PathCount) -> str:
    return "" if path.earlier_versions is None else f" of an earlier plan, with versions={path.earlier_versions}"


def executed(plans: Sequence[Plan], runs: Sequence[Run]) -> Execution:
    """Return what ran against what plans ask for.

    Args:
        plans: The plans that a study keeps, oldest first.
        runs: The runs of its ledger.
    """
    asked = _furthest(plans)
    planned = {path_id: plan.tree.updates(path_id) for path_id, plan in asked.items()}
    names = {path_id: plan.tree.path(path_id).name for path_id, plan in asked.items()}
    counts = [
        PathCount(
            path_id=path_id,
            name=name,
            planned=planned.get(path_id, 0),
            ran=sum(run.updates for run in runs if run.path_id == path_id),
            repeated=sum(run.repeated for run in runs if run.path_id == path_id),
            skipped=sum(run.skipped for run in runs if run.path_id == path_id),
            rewinds=sum(run.outcome == "rewound" for run in runs if run.path_id == path_id),
            earlier_versions=_earlier_versions(path_id, asked, newest=plans[-1]) if path_id in asked else None,
        )
        for path_id, name in ({run.path_id: run.name for run in runs} | names).items()
    ]
    tokens = {path_id: plan.tree.tokens(path_id) for path_id, plan in asked.items()}
    flops = [
        None if plan.flops_per_token is None else tokens[path_id] * plan.flops_per_token
        for path_id, plan in asked.items()
    ]
    return Execution(
        paths=tuple(sorted(counts, key=lambda count: count.planned == 0)),
        tokens_planned=sum(tokens.values()),
        tokens=sum(run.tokens for run in runs),
        flops_planned=None if None in flops else sum(part for part in flops if part is not None),
        flops=math.fsum(run.flops for run in runs),
    )


def _earlier_versions(path_id: str, asked: Mapping[str, Plan], *, newest: Plan) -> int | None:
    plan = asked[path_id]
    ends = [one.tree.end(path_id) for one in (plan, newest) if any(path.id == path_id for path in one.tree.paths)]
    return len(plan.versions) if ends[1:] != ends[:1] else None


def _furthest(kept: Iterable[Plan]) -> dict[str, Plan]:
    """Return, for every path, the plan that runs it furthest."""
    asked: dict[str, Plan] = {}
    for plan in kept:
        for path in plan.tree.paths:
            if path.id not in asked or asked[path.id].tree.end(path.id) < plan.tree.end(path.id):
                asked[path.id] = plan
    return asked
