"""Shows how far a plan is: on a terminal one line drawn over and over, elsewhere a line now and then."""

import math
import time
from collections.abc import Callable

import lightning
import numpy as np
from rich.console import Console

from lrpath.planning.units import write_time
from lrpath.training.callbacks.updates import Metrics, UpdateCallback
from lrpath.training.lit_module import LitCausalLM
from lrpath.training.loss_monitor import LossMonitor
from lrpath.training.planned_run import PlannedRun


class PlanProgress:
    """How far a whole plan is: which path of how many, and the time left by the pace so far.

    Args:
        console: Where lines go; on a terminal a line is drawn over the one before.
        runs: Runs the plan still has to make.
        updates: Updates they take together.
        clock: Monotonic time [s].
        interval: Seconds between lines when there is no terminal.
    """

    def __init__(
        self,
        console: Console,
        *,
        runs: int,
        updates: int,
        clock: Callable[[], float] = time.monotonic,
        interval: float = 10.0,
    ) -> None:
        self._console = console
        self._runs = runs
        self._updates = updates
        self._clock = clock
        self._interval = 0.2 if console.is_terminal else interval
        self._run = 0
        self._done = 0
        self._begun = clock()
        self._shown = clock()

    def begin(self, run: PlannedRun | None, *, planned: PlannedRun | None = None) -> None:
        """Note that a run begins: of a planned one what is left of it, which is nothing where others have made it."""
        if planned is not None:
            self.expect((0 if run is None else run.end - run.begin) - (planned.end - planned.begin))
        if run is None:
            self._runs -= 1
            return
        self._run += 1
        start = f"update {run.begin:,}" if run.source() else "initial weights"
        self._say(f"[{self._run}/{self._runs}] {run.path.name}: from {start} to {run.end:,}", final=True)

    def note(self, text: str, *, first: bool) -> None:
        """Show a line about a wait at its beginning, and then if the last line is old enough."""
        now = self._clock()
        if first or now - self._shown >= self._interval:
            self._shown = now
            self._say(text, final=False)

    def step(self, run: PlannedRun, *, position: int, loss: float, tokens_per_second: float) -> None:
        """Note an update, and show a line if the last one is old enough."""
        self._done += 1
        now = self._clock()
        if now - self._shown < self._interval:
            return
        self._shown = now
        pace = (now - self._begun) / self._done
        known = "" if math.isnan(loss) else f"loss {loss:.3f}  {tokens_per_second:,.0f} tokens/s  "
        text = (
            f"[{self._run}/{self._runs}] {run.path.name}  {position:,}/{run.end:,}  {known}"
            f"left: path {write_time((run.end - position) * pace)}, "
            f"plan {write_time((self._updates - self._done) * pace)}"
        )
        self._say(text, final=False)

    def publish(self, text: str) -> None:
        """Show a line about something that is not progress."""
        self._say(text, final=True)

    def expect(self, more: int) -> None:
        """Note that so many more updates will be run than was thought, or fewer."""
        self._updates += more

    def _say(self, text: str, *, final: bool) -> None:
        if self._console.is_terminal:
            width = max(self._console.width - 1, 20)
            print("\r" + text[:width].ljust(width), end="\n" if final else "", file=self._console.file, flush=True)
        else:
            print(text, file=self._console.file, flush=True)


class Progress(UpdateCallback):
    """Shows a run's progress as part of the plan's, and warns of states in a spike."""

    def __init__(self, run: PlannedRun, *, plan: PlanProgress, metrics: Metrics, monitor: LossMonitor) -> None:
        """Take the plan's progress, the metrics whose last figures are shown, and the judge that knows of spikes."""
        super().__init__(run)
        self._plan = plan
        self._metrics = metrics
        self._judge = monitor

    def on_update(self, trainer: lightning.Trainer, module: LitCausalLM, position: int) -> None:  # noqa: ARG002
        """Show the update."""
        speed = self._metrics.tokens_per_second
        shown = 0.0 if np.isnan(speed) else speed
        self._plan.step(self.run, position=position, loss=self._metrics.last_loss, tokens_per_second=shown)
        if position in self.run.pinned and (spike := self._judge.spike()):
            self._plan.publish(
                f"{self.run.path.name}: the state at {position:,}, which the plan needs, lies in a spike: {spike}; "
                "look at the losses before you trust what leaves from it"
            )
