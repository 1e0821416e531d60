"""Waits for states that other processes of the same study make, and shows how far these are."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from lrpath.planning.paths import Path
from lrpath.planning.units import write_time
from lrpath.records.ledger import reached
from lrpath.records.study import Study
from lrpath.training.plan_progress import PlanProgress
from lrpath.training.planned_run import PlannedRun

POLL_SECONDS = 2.0
"""Time between two looks at the study."""
_REMOTE_POLL_SECONDS = 15.0  # a look at a URL lists the whole study, which costs money


@dataclass(kw_only=True)
class WaitForOthers:
    """One wait, from the first time that nothing could be run.

    Args:
        study: Where the other processes write.
        progress: Where the wait is shown.
        fetches: Whether others are on other machines, so that a study at a URL is fetched again before each look.
    """

    study: Study
    progress: PlanProgress
    fetches: bool = True
    _first_seen: dict[tuple[str, int], tuple[float, int | None]] = field(default_factory=dict)

    def wait_once(self, path: Path, *, position: int, reason: str) -> None:
        """Show what is waited for and how far it is, and return when it is time to look again.

        Args:
            path: The path that another process makes.
            position: The position it is needed at.
            reason: Why this process waits.
        """
        first = (path.id, position) not in self._first_seen
        self.progress.publish_wait(f"waiting: {reason}; {self._describe_pace(path, position)}", first=first)
        if self.study.url is None or not self.fetches:
            time.sleep(POLL_SECONDS)
        else:
            time.sleep(_REMOTE_POLL_SECONDS)
            self.study.fetch()

    def _describe_pace(self, path: Path, position: int) -> str:
        folder, now = self.study.find(path.id), time.monotonic()
        current = None if folder is None else reached(folder)
        began_at, first = self._first_seen.setdefault((path.id, position), (now, current))
        if current is None:
            return f"no process runs {path.name} now"
        left = ""
        if first is not None and current > first:
            left = f", {write_time((position - current) * (now - began_at) / (current - first))} left"
        return f"{path.name} is at {current:,} of {position:,}{left}"


class MadeByOthers:
    """How many updates of a process's runs others have made since it counted them.

    Args:
        study: Where the other processes write.
        runs: The runs that this process has yet to look at; it removes those that it takes.
    """

    def __init__(self, study: Study, runs: Sequence[PlannedRun]) -> None:
        self._study = study
        self._runs = runs
        self._taken = 0

    def take(self, planned: PlannedRun, *, left: PlannedRun | None) -> None:
        """Note what was left of a run when this process took it: what was not left, others have made."""
        self._taken += planned.end - planned.begin - (0 if left is None else left.end - left.begin)

    def __call__(self) -> int:
        """Return the number of updates."""
        positions = {run.path.id: self._position(run) for run in self._runs}
        made = (min(positions[run.path.id], run.end) - run.begin for run in self._runs)
        return self._taken + sum(one for one in made if one > 0)

    def _position(self, run: PlannedRun) -> int:
        folder = self._study.find(run.path.id)
        return 0 if folder is None else max(reached(folder) or 0, *folder.positions(), 0)
