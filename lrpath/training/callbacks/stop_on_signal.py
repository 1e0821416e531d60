"""Stops a run on all ranks at the same update, after a signal to any of them or a failure in the background.

After every update each rank starts an all-reduce of the largest code, and reads its result after the next update: no
rank waits, and all read the same result at the same position. So a signal to one rank stops all ranks one update
later. After a run's last update none is started, since nobody would read its result.
"""

import signal
from collections.abc import Callable

import lightning

from lrpath.errors import StoppedError, is_reported, reported
from lrpath.training.callbacks.update_callback import UpdateCallback
from lrpath.training.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from lrpath.training.distributed.signals import SignalRecorder
from lrpath.training.lit_module import LitCausalLM
from lrpath.training.planned_run import PlannedRun

CONTINUE = 0
FAILED = 1_000
"""Codes of ranks. Between these lie the numbers of signals; the largest code of all ranks counts."""


def nothing_failed() -> Exception | None:
    """Report no failure, for a run without work in the background."""
    return None


class StopOnSignal(UpdateCallback):
    """Ends a run where all ranks agree to: after a signal with a saved state, after a failure with its error.

    It sets Lightning's `trainer.should_stop`, and is the first of the callbacks: those after it save the state of this
    position and the rows before it because of that flag.

    Args:
        run: The run.
        recorder: The signals to this rank.
        failure: Returns the error of this rank's work in the background, if it has failed.
        process_group: The ranks that stop together.
    """

    def __init__(
        self,
        run: PlannedRun,
        *,
        recorder: SignalRecorder,
        failure: Callable[[], Exception | None] = nothing_failed,
        process_group: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        super().__init__(run)
        self._recorder = recorder
        self._failure = failure
        self._process_group = process_group
        self._pending: Callable[[], int] | None = None
        self._agreed = CONTINUE

    def on_update(self, trainer: lightning.Trainer, module: LitCausalLM, position: int) -> None:  # noqa: ARG002
        """Stop here if any rank had a reason to one update ago, and else start to ask again."""
        self._agreed = self._agree(last=position == self.run.end)
        if self._agreed >= FAILED:
            self._process_group.gather(self._raise_failure)
        if self._agreed:
            trainer.should_stop = True

    def _agree(self, *, last: bool) -> int:
        code = FAILED if self._failure() is not None else self._recorder.number
        if self._process_group.world_size == 1:
            return code
        agreed = CONTINUE if self._pending is None else self._pending()
        self._pending = None if last or agreed else self._process_group.start_maximum(code)
        return agreed

    def _raise_failure(self) -> None:
        failure = self._failure()
        if failure is not None and not is_reported(failure):  # on the rank where it happened
            raise failure

    def check_end(self) -> None:
        """Raise if the run was stopped before its end; the ledger then counts it as stopped.

        Raises:
            StoppedError: With the signal.
        """
        if self.position != self.run.end:
            raise self._error(
                f"{self.run.path.name} was stopped at position {self.position:,} of {self.run.end:,} by "
                f"{_name(self._agreed)}; its state is saved: run the same command again to go on",
                self._agreed,
            )

    def raise_if_signalled(self) -> None:
        """Raise if a signal came too late to stop the run: the next run must not begin.

        Raises:
            StoppedError: On all ranks, whichever got the signal.
        """
        number = max(self._process_group.gather(lambda: self._recorder.number))
        if number:
            raise self._error(
                f"the plan was stopped by {_name(number)} when {self.run.path.name} had reached position "
                f"{self.run.end:,}; its state is saved: run the same command again to go on",
                number,
            )

    def _error(self, message: str, number: int) -> StoppedError:
        error = StoppedError(message, signal_number=number)
        return error if self._process_group.is_rank_zero else reported(error)


def _name(number: int) -> str:
    return signal.Signals(number).name
