"""Shows a run's progress as part of the plan's, and warns of states in a spike."""

import math

import lightning

from lrpath.training.callbacks.metrics_recorder import MetricsRecorder
from lrpath.training.callbacks.update_callback import UpdateCallback
from lrpath.training.lit_module import LitCausalLM
from lrpath.training.loss_monitor import LossMonitor
from lrpath.training.plan_progress import PlanProgress
from lrpath.training.planned_run import PlannedRun


class RunProgress(UpdateCallback):
    """Passes every update on to the plan's progress."""

    def __init__(self, run: PlannedRun, *, plan: PlanProgress, recorder: MetricsRecorder, monitor: LossMonitor) -> None:
        """Take the plan's progress, the recorder that knows the speed, and the monitor that knows losses and spikes."""
        super().__init__(run)
        self._plan = plan
        self._recorder = recorder
        self._monitor = monitor

    def on_update(self, trainer: lightning.Trainer, module: LitCausalLM, position: int) -> None:  # noqa: ARG002
        """Show the update."""
        last, speed = self._monitor.last, self._recorder.tokens_per_second
        self._plan.advance(
            self.run,
            position=position,
            loss=math.nan if last is None else last.loss,
            tokens_per_second=0.0 if math.isnan(speed) else speed,
        )
        if position in self.run.pinned and (spike := self._monitor.spike()):
            self._plan.publish(
                f"{self.run.path.name}: the state at {position:,}, which the plan needs, lies in a spike: {spike}; "
                "look at the losses before you trust what branches from it"
            )
