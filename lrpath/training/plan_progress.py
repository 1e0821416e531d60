"""Shows how far a plan is: live progress bars on a terminal, elsewhere a line now and then."""

import math
import time
from collections.abc import Callable, Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lrpath.planning.units import write_time
from lrpath.training.planned_run import PlannedRun

_REFRESH_SECONDS = 0.2
_COUNT_SECONDS = 2.0
"""Time between two looks at what other processes have made: on a terminal they would be five a second."""
_PACE_SECONDS = 3600.0
"""The time left is estimated from the pace of this long: rich's default of 30 s may not hold two updates."""


class PlanProgress:
    """The progress of a whole plan and of the run that is under way, with the time that each will still take.

    As a block, it ends the live display. Only the process that calls `begin_run`, rank 0, displays anything.

    Args:
        console: Where it is shown.
        runs: Runs that the plan still has to make.
        updates: Updates of these runs together.
        clock: Returns monotonic time [s].
        interval: Time between two lines where there is no terminal [s].
        by_others: Returns how many of these updates other processes have made by now; None if there are no others.
        pace: Whether to show how far a run is, and waits; else only where one begins.
    """

    def __init__(
        self,
        console: Console,
        *,
        runs: int,
        updates: int,
        clock: Callable[[], float] = time.monotonic,
        interval: float = 10.0,
        by_others: Callable[[], int] | None = None,
        pace: bool = True,
    ) -> None:
        self._console = console
        self._by_others = by_others
        self._made_by_others = 0
        self._pace = pace
        self._runs = runs
        self._clock = clock
        self._interval = _REFRESH_SECONDS if console.is_terminal else interval
        self._run_number = 0
        self._shown_at = self._counted_at = clock()
        # Refreshed by hand: rich's own thread would wake ten times a second beside the updates. Without a terminal,
        # rich estimates the time left and displays nothing.
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
            console=console,
            auto_refresh=False,
            get_time=clock,
            speed_estimate_period=_PACE_SECONDS,
            transient=True,
            disable=not console.is_terminal,
        )
        self._plan = self._bars.add_task("plan", total=updates, figures="")
        self._path = self._bars.add_task("", total=None, figures="", visible=False)

    def __enter__(self) -> "PlanProgress":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bars.live.is_started:  # else rich would print an empty line
            self._bars.stop()

    def begin_run(self, run: PlannedRun | None, *, planned: PlannedRun | None = None) -> None:
        """Note that a run begins.

        Args:
            run: What is to be run; None where another process has made it meanwhile.
            planned: What had been planned, of which `run` is the part that is left.
        """
        if planned is not None and self._by_others is None:
            self.add_updates((0 if run is None else run.end - run.begin) - (planned.end - planned.begin))
        if run is None:
            self._runs -= 1
            return
        self._run_number += 1
        # Runs that others make are counted only when they are found made, so that a number would say little.
        number = f"[{self._run_number}/{self._runs}] " if self._by_others is None else ""
        label = f"{number}{run.path.name}"
        start = f"update {run.begin:,}" if run.starting_state() else _origin(run)
        self.publish(f"{label}: from {start} to {run.end:,}")
        self._bars.remove_task(self._path)
        self._path = self._bars.add_task(label, total=run.end - run.begin, figures="")
        self._bars.start()

    def advance(
        self,
        run: PlannedRun,
        *,
        position: int,
        loss: float,
        tokens_per_second: float,
        more: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        """Note an update, and show it if the display is old enough.

        Args:
            run: The run that made it.
            position: Position that it led to.
            loss: Last loss that is known [nats per token]; not a number before the first.
            tokens_per_second: Speed of the last rows.
            more: Returns what is shown behind them, as words; asked only when something is shown.
        """
        self._bars.advance(self._plan)
        self._bars.update(self._path, completed=position - run.begin)
        if not self._is_due():
            return
        words = [f"loss {loss:.3f}", f"{tokens_per_second:,.0f} tokens/s", *more()]
        figures = "" if math.isnan(loss) else "  ".join(words)
        self._bars.update(self._path, figures=figures)
        self._count_others()
        if self._console.is_terminal:
            self._bars.refresh()
            return
        path, plan = (next(task for task in self._bars.tasks if task.id == one) for one in (self._path, self._plan))
        words = [f"{path.description}  {position:,}/{run.end:,}"] + ([figures] if figures else [])
        left = {
            "path": path.time_remaining,
            "plan": plan.time_remaining,
        }  # None where there are too few updates to tell
        if left["path"] is not None and left["plan"] is not None:  # others may have left this path alone
            left["plan"] = max(left["plan"], left["path"])
        known = [f"{name} {write_time(seconds)}" for name, seconds in left.items() if seconds is not None]
        words += [f"left: {', '.join(known)}"] if known else []
        self.publish("  ".join(words))

    def publish_wait(self, text: str, *, first: bool) -> None:
        """Show a line about a wait at its beginning, and then if the display is old enough."""
        if not (self._pace and (self._is_due() or first)):
            return
        self._count_others()
        if self._console.is_terminal and not first:
            self._bars.update(self._plan, figures=text)
            self._bars.refresh()
        else:
            self.publish(text)

    def publish(self, text: str) -> None:
        """Show a line that stays."""
        self._console.out(text, highlight=False)

    def add_updates(self, more: int) -> None:
        """Note that so many more updates will be run than was planned, or fewer if negative."""
        if more:
            total = next(task.total for task in self._bars.tasks if task.id == self._plan)
            assert total is not None
            self._bars.update(self._plan, total=total + more)

    def _count_others(self) -> None:
        if self._by_others is None or self._clock() - self._counted_at < _COUNT_SECONDS:
            return
        self._counted_at, made = self._clock(), self._by_others()
        self._bars.advance(self._plan, made - self._made_by_others)
        self._made_by_others = made

    def _is_due(self) -> bool:
        now = self._clock()
        if not self._pace or now - self._shown_at < self._interval:
            return False
        self._shown_at = now
        return True


def _origin(run: PlannedRun) -> str:
    """Say what a root path begins with."""
    digest = run.path.recipe.weights
    return "initial weights" if digest is None else f"the given weights {digest[:12]}"
