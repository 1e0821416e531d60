"""Waits for what other processes make of the same study, and shows how far they are."""

import time
from dataclasses import dataclass, field

from lrpath.planning.paths import Path
from lrpath.planning.units import write_time
from lrpath.records.ledger import reached
from lrpath.records.study import Study
from lrpath.training.callbacks.progress import PlanProgress

POLL = 2.0
"""Time between two looks at the study [s]."""


@dataclass(kw_only=True)
class Waiting:
    """One wait, from its first look on.

    Args:
        study: Where the others write.
        progress: Where lines go.
    """

    study: Study
    progress: PlanProgress
    _begun: dict[tuple[str, int], tuple[float, int | None]] = field(default_factory=dict)

    def look_again(self, path: Path, *, position: int, reason: str) -> None:
        """Show what is waited for and how far it is, and return when it is time to look again.

        Args:
            path: The path that another process makes.
            position: The position it is needed at.
            reason: Why this process waits.
        """
        first = (path.id, position) not in self._begun
        self.progress.note(f"waiting: {reason}; {self._pace(path, position)}", first=first)
        time.sleep(POLL)

    def _pace(self, path: Path, position: int) -> str:
        folder, now = self.study.find(path.id), time.monotonic()
        at = None if folder is None else reached(folder)
        begun, since = self._begun.setdefault((path.id, position), (now, at))
        if at is None:
            return f"nobody runs {path.name} now"
        left = "" if since is None or at <= since else write_time((position - at) * (now - begun) / (at - since))
        return f"{path.name} is at {at:,} of {position:,}" + (f", {left} left" if left else "")
