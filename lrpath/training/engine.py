"""What the plan runner needs of whoever makes the updates: lrpath's own path trainer, or another trainer's command.

The plan runner decides what is run, and when; it owns paths, keeps states that plans need, and mends tables. An engine
makes one run: it leads from a state to another, whole or absent, with rows and a line of the ledger. No torch is
imported here, so that a plan whose updates another program makes needs none.
"""

from collections.abc import Callable, Mapping, Set
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from lrpath.planning.paths import Path, Release, StateKey
from lrpath.records.held_out import HeldOutSet, SetName
from lrpath.records.path_folder import PathFolder
from lrpath.records.read_segments import ReadSegments
from lrpath.records.rows import EvaluationRow
from lrpath.records.study import Study
from lrpath.training.plan_progress import PlanProgress
from lrpath.training.planned_run import PlannedRun
from lrpath.training.settings import Cadence

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Result = TypeVar("Result")


class Processes(Protocol):
    """The processes that run a plan together."""

    def on_rank_zero(self, function: Callable[[], Result]) -> Result:
        """Call a function on rank 0 and return its result, or raise its error, on all ranks."""


class OneProcess:
    """A process that runs a plan alone."""

    def on_rank_zero(self, function: Callable[[], Result]) -> Result:
        """Call the function."""
        return function()


class Engine(Protocol):
    """Makes the updates of planned runs."""

    @property
    def study(self) -> Study:
        """Where states, metrics and ledger are."""

    @property
    def process_group(self) -> Processes:
        """The processes that run the plan together."""

    @property
    def cadence(self) -> Cadence:
        """How often to log, evaluate and save."""

    @property
    def held_out(self) -> "Mapping[SetName, NDArray[np.int64]]":
        """Windows of every held-out set."""

    @property
    def state_bytes(self) -> int:
        """Size of a state on disk [bytes], as far as it is known."""

    def ready(self) -> AbstractContextManager[None]:
        """Set this process up for training while the block runs."""

    def check_data(self) -> None:
        """Raise unless the tokens are those whose digests the states will keep."""

    def describe_held_out(self) -> dict[SetName, HeldOutSet]:
        """Return digest and sizes of every held-out set."""

    def read_segments(self, path: Path) -> ReadSegments:
        """Return the records of what the states of a path have read by the plan, since the path began."""

    def environment(self) -> dict[str, Any]:
        """Return on what updates run, as far as it may change their last digits; in every manifest."""

    def evaluate_state(self, path: Path, folder: PathFolder, position: int) -> list[EvaluationRow]:
        """Return the losses of a state on the held-out sets."""

    def evaluate_documents(self, path: Path, folder: PathFolder, position: int) -> None:
        """Write the losses of a state on every held-out document."""

    def evaluate_merged(self, release: Release, *, precision: str) -> None:
        """Evaluate a release that is a mean of states, once."""

    def train(
        self,
        planned_run: PlannedRun,
        folder: PathFolder,
        *,
        parent: Path | None,
        pinned: Callable[[], Set[StateKey]],
        needed: Callable[[], Set[StateKey]],
        progress: PlanProgress,
    ) -> None:
        """Make the updates of a run and save its states; see `PathTrainer.train`."""
