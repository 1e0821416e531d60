"""Shows a run's progress as part of the plan's, and warns of states in a spike."""

import math

import lightning

from lrpath.planning.units import write_bytes
from lrpath.planning.utilization import utilization
from lrpath.training.callbacks.metrics_recorder import MetricsRecorder
from lrpath.training.callbacks.update_callback import UpdateCallback
from lrpath.training.distributed.hardware import Hardware
from lrpath.training.lit_module import LitCausalLM
from lrpath.training.loss_monitor import LossMonitor
from lrpath.training.plan_progress import PlanProgress
from lrpath.training.planned_run import PlannedRun


class RunProgress(UpdateCallback):
    """Passes every update on to the plan's progress."""

    def __init__(
        self,
        run: PlannedRun,
        *,
        shown: PlannedRun,
        plan: PlanProgress,
        recorder: MetricsRecorder,
        monitor: LossMonitor,
        hardware: Hardware,
        flops_per_token: float,
    ) -> None:
        """Take the run that is shown, of which `run` may be a part, the plan's progress, and who knows the figures."""
        super().__init__(run)
        self._shown = shown
        self._plan = plan
        self._recorder = recorder
        self._monitor = monitor
        self._hardware = hardware
        self._flops_per_token = flops_per_token

    def on_update(self, trainer: lightning.Trainer, module: LitCausalLM, position: int) -> None:  # noqa: ARG002
        """Show the update."""
        last, speed = self._monitor.last, self._recorder.tokens_per_second
        self._plan.advance(
            self._shown,
            position=position,
            loss=math.nan if last is None else last.loss,
            tokens_per_second=0.0 if math.isnan(speed) else speed,
            more=self._hardware_figures,
        )
        if position in self.run.pinned and (spike := self._monitor.spike()):
            self._plan.publish(
                f"{self.run.path.name}: the state at {position:,}, which the plan needs, lies in a spike: {spike}; "
                "look at the losses before you trust what branches from it"
            )

    def _hardware_figures(self) -> list[str]:
        """Return MFU, where the device's peak is known, and memory."""
        mfu = utilization(
            self._recorder.tokens_per_second,
            flops_per_token=self._flops_per_token,
            device=self._hardware.device_name,
            ranks=self._hardware.ranks,
        )
        known = [] if mfu is None or math.isnan(mfu) else [f"{mfu:.0%} MFU"]
        return [*known, write_bytes(self._hardware.most_memory)]
