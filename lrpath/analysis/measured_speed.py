"""How fast this machine was by the ledgers of its studies, so that a plan can say how long it takes here."""

import pathlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lrpath.errors import StateError
from lrpath.planning.plan import Plan
from lrpath.records.ledger import Ledger, Run

MOST_STUDIES = 20
"""Studies that are looked at, those that were run last first."""
_NEAR = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredSpeed:
    """Speed of a model's runs, evaluations and saving included.

    Args:
        tokens_per_second: Mean over the runs, of all ranks together.
        updates: Updates that they made.
        device: What they ran on.
        ranks: Number of processes.
        study: Study that they are of.
    """

    tokens_per_second: float
    updates: int
    device: str
    ranks: int
    study: str


def measured_speed(plan: Plan, *, outputs: pathlib.Path, study: str) -> MeasuredSpeed | None:
    """Return the speed of finished runs of a model of this size; None if there were none.

    Args:
        plan: The plan; a run counts if a token of it takes the same FLOPs, to one per cent.
        outputs: Folder of studies, all of which were run here.
        study: The plan's study, whose runs are preferred to those of other studies.
    """
    if plan.flops_per_token is None:
        return None
    for ledger in _ledgers(outputs, study):
        try:
            runs = ledger.runs()
        except StateError:
            continue  # whoever reads that study is told
        found = [run for run in runs if _is_alike(run, plan.flops_per_token)]
        if found:
            last = found[-1]
            same = [run for run in found if (run.device, run.ranks) == (last.device, last.ranks)]
            return MeasuredSpeed(
                tokens_per_second=sum(run.tokens for run in same) / sum(run.seconds or 0.0 for run in same),
                updates=sum(run.updates for run in same),
                device=last.device,
                ranks=last.ranks,
                study=ledger.file.parent.name,
            )
    return None


def _ledgers(outputs: pathlib.Path, study: str) -> Iterator[Ledger]:
    files: Iterable[pathlib.Path] = outputs.glob("*/ledger.jsonl")
    newest = sorted(files, key=lambda file: (file.parent.name != study, -file.stat().st_mtime_ns))
    return (Ledger(file) for file in newest[:MOST_STUDIES])


def _is_alike(run: Run, flops_per_token: int) -> bool:
    if run.outcome != "done" or not run.seconds or not run.tokens:
        return False
    return abs(run.flops / run.tokens / flops_per_token - 1) < _NEAR
