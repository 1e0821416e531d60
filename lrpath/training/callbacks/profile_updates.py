"""Writes what a few updates of a run spend their time on, by torch's profiler, into the path's folder."""

from typing import Any

import lightning
import torch
from torch.profiler import ProfilerActivity, profile, schedule

from lrpath.records.files import atomic_file, write_whole
from lrpath.records.path_folder import PathFolder
from lrpath.training.callbacks.update_callback import UpdateCallback
from lrpath.training.lit_module import LitCausalLM
from lrpath.training.planned_run import PlannedRun

WAITED, WARMED, RECORDED = 3, 1, 3
"""Updates of a run that are let pass, in which blocks are compiled and memory is taken; in which the profiler warms up;
that are recorded. Recording slows them down, so that speed and MFU of a profiled run are no measure."""
_OPERATIONS = 20


class ProfileUpdates(UpdateCallback):
    """Records updates, on rank 0: a trace for https://ui.perfetto.dev, and a table of the costliest operations.

    Args:
        run: The run; one that is shorter than `WAITED + WARMED + RECORDED` updates leaves nothing.
        folder: The path's folder.
    """

    def __init__(self, run: PlannedRun, *, folder: PathFolder) -> None:
        super().__init__(run)
        self._folder = folder
        self._profile: profile | None = None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """Begin to count updates."""
        on_gpu = pl_module.device.type == "cuda"
        self._profile = profile(
            activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])],
            schedule=schedule(wait=WAITED, warmup=WARMED, active=RECORDED, repeat=1),
            on_trace_ready=self._write,
        )
        self._profile.start()

    def on_update(self, trainer: lightning.Trainer, module: LitCausalLM, position: int) -> None:  # noqa: ARG002
        """Go on to the next update; after the last that is recorded, write."""
        if self._profile is None:
            return
        self._profile.step()
        if position - self.run.begin >= WAITED + WARMED + RECORDED:
            self._end()

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """Stop, if the run was too short."""
        self._end()

    def on_exception(
        self,
        trainer: lightning.Trainer,  # noqa: ARG002 (Lightning's signature)
        pl_module: lightning.LightningModule,  # noqa: ARG002
        exception: BaseException,  # noqa: ARG002
    ) -> None:
        """Stop: the profiler is one for the whole process, and the next run starts it again."""
        self._end()

    def _end(self) -> None:
        if self._profile is not None:
            self._profile.stop()
            self._profile = None

    def _write(self, recorded: Any) -> None:
        first = self.run.begin + WAITED + WARMED
        name = f"{first:09d}"
        with atomic_file(self._folder.profile / f"{name}.json.gz") as temporary:
            recorded.export_chrome_trace(str(temporary))
        on_gpu = ProfilerActivity.CUDA in recorded.activities
        by = "self_device_time_total" if on_gpu else "self_cpu_time_total"
        head = f"{self.run.path.name}, {RECORDED} updates from position {first:,}, torch {torch.__version__}\n"
        table = recorded.key_averages().table(sort_by=by, row_limit=_OPERATIONS)
        write_whole(self._folder.profile / f"{name}.txt", head + table)
