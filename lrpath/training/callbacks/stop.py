"""How a run is stopped: every rank that is asked to tells the others, and all end at the same update boundary.

After every update each rank starts to ask for the largest of all ranks' codes, and reads the answer after the next one:
nobody waits, and all read the same answer at the same position. So a signal to one rank stops all of them one update
later. Nothing is asked after a run's last update, when nobody would read the answer.
"""

import signal
from collections.abc import Callable

import lightning

from lrpath.errors import StoppedError, is_reported, reported
from lrpath.training.callbacks.updates import UpdateCallback
from lrpath.training.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from lrpath.training.distributed.signals import SignalRecorder
from lrpath.training.lit_module import LitCausalLM
from lrpath.training.planned_run import PlannedRun

GO = 0
FAILED = 1_000
"""Codes that ranks tell each other; between them lie the numbers of signals, and the largest of all counts."""


def nothing_failed() -> Exception | None:
    """Report no failure: what a run without background work says."""
    return None


class StopOnSignal(UpdateCallback):
    """Ends a run where all ranks agree to: after a signal with a saved state, after a failure with its error.

    It is the first of the callbacks: those after it find in `run.saves` that this position is saved.

    Args:
        run: The run.
        recorder: The signals to this rank.
        failure: Returns the error of this rank's work in the background, if it has failed.
        ranks: Those that agree.
    """

    def __init__(
        self,
        run: PlannedRun,
        *,
        recorder: SignalRecorder,
        failure: Callable[[], Exception | None] = nothing_failed,
        ranks: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        super().__init__(run)
        self._noted = recorder
        self._failure = failure
        self._ranks = ranks
        self._answer: Callable[[], int] | None = None
        self._agreed = GO

    def on_update(self, trainer: lightning.Trainer, module: LitCausalLM, position: int) -> None:  # noqa: ARG002
        """Stop here if all have agreed to, and else ask again."""
        self._agreed = self._agree(last=position == self.run.end)
        if self._agreed >= FAILED:
            self._ranks.gather(self._raise_failure)
        if self._agreed:
            self.run.stop_request.position = position
            trainer.should_stop = True

    def _agree(self, *, last: bool) -> int:
        code = FAILED if self._failure() is not None else self._noted.number
        if self._ranks.count == 1:
            return code
        agreed = GO if self._answer is None else self._answer()
        self._answer = None if last or agreed else self._ranks.largest(code)
        return agreed

    def _raise_failure(self) -> None:
        failure = self._failure()
        if failure is not None and not is_reported(failure):  # the rank that it came from raises it, and says why
            raise failure

    def check_end(self) -> None:
        """Raise if the run ended before its end; its count in the ledger says then that it was stopped.

        Raises:
            StoppedError: With the signal that some rank was sent.
        """
        if self._reached != self.run.end:
            raise self._error(
                f"{self.run.path.name} was stopped at position {self._reached:,} of {self.run.end:,} by "
                f"{_name(self._agreed)}; its state is saved: run the same command again to go on"
            )

    def raise_if_signalled(self) -> None:
        """Raise if a signal came too late to stop the run: the next one must not begin.

        Raises:
            StoppedError: On all ranks, whichever was sent the signal.
        """
        number = max(self._ranks.gather(lambda: self._noted.number))
        if number:
            raise self._error(
                f"the plan was stopped by {_name(number)} when {self.run.path.name} had reached position "
                f"{self.run.end:,}; its state is saved: run the same command again to go on"
            )

    def _error(self, message: str) -> StoppedError:
        error = StoppedError(message)
        return error if self._ranks.is_first else reported(error)


def _name(number: int) -> str:
    return signal.Signals(number).name
