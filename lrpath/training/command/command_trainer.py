"""Makes the updates of planned runs by running a command of the user; the plan runner's engine for another trainer.

A run is cut where it saves a state, and each stretch is one command: begin and end, a state to load, a place to save
to. When the command has ended, what it reports is compared with the plan. Then its rows are written, and last its
state takes its place. Killed before that, the stretch has left nothing but a line of the ledger.
"""

import contextlib
import math
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrpath.data.store import TokenStore
from lrpath.data.stream import TokenBatches
from lrpath.data.verified import VerifiedFiles
from lrpath.errors import StateError, StoppedError, TrainingError
from lrpath.planning.paths import Path, Release, StateKey
from lrpath.records.curve_sinks import CurveSink
from lrpath.records.files import temporary_name
from lrpath.records.held_out import HeldOutSet, SetName
from lrpath.records.ledger import RunningCount, reached
from lrpath.records.manifest import check_state
from lrpath.records.path_folder import PathFolder
from lrpath.records.read_segments import ReadSegments
from lrpath.records.row_digests import written_digests
from lrpath.records.rows import EvaluationRow
from lrpath.records.study import Study
from lrpath.training.checkpoints.retention import keep_newest
from lrpath.training.command.answer import Answer, read_answer
from lrpath.training.command.exchange import Exchange, Stretch
from lrpath.training.command.foreign_state import keep_state, saved_files
from lrpath.training.command.process import STOPPED, run_command
from lrpath.training.command.settings import CommandEngine
from lrpath.training.data_consumed import check_data_consumed
from lrpath.training.engine import OneProcess, Processes
from lrpath.training.plan_progress import PlanProgress
from lrpath.training.planned_run import PlannedRun
from lrpath.training.prepare_rows import prepare_tables, sort_tables
from lrpath.training.settings import Cadence


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandTrainer:
    """Makes the updates of planned runs by a command.

    Args:
        study: Where states, metrics and ledger are.
        settings: The command.
        store: Prepared tokens.
        batches: Returns the data of a path.
        held_out: Windows by (version, domain).
        described: Digest and sizes of every held-out set.
        cadence: How often to evaluate and save.
        open_sink: Opens the curves of a path in a logger, given its folder; None for no logger.
        flops_per_token: Cost of a token, for the ledger; 0 where only torch could count it.
        state_bytes: Size of a state on disk as lrpath's own trainer would save it [bytes]; 0 likewise.
    """

    study: Study
    settings: CommandEngine
    store: TokenStore
    batches: Callable[[Path], TokenBatches]
    held_out: Mapping[SetName, NDArray[np.int64]]
    described: dict[SetName, HeldOutSet]
    cadence: Cadence
    flops_per_token: float
    state_bytes: int
    open_sink: Callable[..., CurveSink] | None = None

    @property
    def process_group(self) -> Processes:
        """This process alone: the command starts its own ranks."""
        return OneProcess()

    @contextlib.contextmanager
    def ready(self) -> Iterator[None]:
        """Do nothing: the command sets itself up."""
        yield

    def check_data(self) -> None:
        """Compare the tokens of every version with their digests.

        Raises:
            DataError: If a file was cut or altered.
        """
        verified = VerifiedFiles(self.store.folder)
        for version in self.store.versions:
            self.store.check(version, contents=True, verified=verified)

    def describe_held_out(self) -> dict[SetName, HeldOutSet]:
        """Return digest and sizes of every held-out set."""
        return self.described

    def read_segments(self, path: Path) -> ReadSegments:
        """Return the records of what the states of a path have read by the plan, since the path began."""
        return self.batches(path).readings(path.start)

    def environment(self) -> dict[str, Any]:
        """Return nothing: where the updates run is known when they have run."""
        return {}

    def evaluate_state(self, path: Path, folder: PathFolder, position: int) -> list[EvaluationRow]:
        """Refuse: the command alone can load its states.

        Raises:
            StateError: Always.
        """
        raise StateError(
            f"{folder.evaluation.file} cannot be computed again: lrpath never opens the state of {path.name} at "
            f"{position:,}, which {self.settings.name} made; restore the file from a copy",
            field="mend",
            value=True,
        )

    def evaluate_documents(self, path: Path, folder: PathFolder, position: int) -> None:
        """Refuse, as `evaluate_state`."""
        self.evaluate_state(path, folder, position)

    def evaluate_merged(self, release: Release, *, precision: str) -> None:
        """Do nothing: a plan with means of states is refused where the engine is built."""

    def train(
        self,
        planned_run: PlannedRun,
        folder: PathFolder,
        *,
        parent: Path | None,
        pinned: Callable[[], Set[StateKey]],
        needed: Callable[[], Set[StateKey]],  # noqa: ARG002 (the guard of lrpath's own trainer needs them)
        progress: PlanProgress,
    ) -> None:
        """Run the command for each stretch of a run, and keep what it saves.

        Args:
            planned_run: What to do.
            folder: Its path's folder, which this process owns.
            parent: The path that its path branches from; None for a root.
            pinned: Returns the states that retention never removes at this moment.
            needed: Not asked: the path never goes back.
            progress: The plan's progress.

        Raises:
            StateError: If the state it starts from is missing or altered.
            StoppedError: If this process or the command was asked to stop.
            TrainingError: If the command failed, or did not do what it was asked.
        """
        left = planned_run
        while left.begin < left.end:
            part = left.until_growth()  # the arrays of a stretch have one batch, and so has a line of the ledger
            self._train(part, folder, parent=parent, pinned=pinned, progress=progress)
            left = replace(left, begin=part.end)

    def _train(
        self,
        run: PlannedRun,
        folder: PathFolder,
        *,
        parent: Path | None,
        pinned: Callable[[], Set[StateKey]],
        progress: PlanProgress,
    ) -> None:
        """Run the command for each stretch of a run of one batch."""
        start = self._checked_start(run, parent)
        later = prepare_tables(run, folder)
        begun = run.begun(device=f"command {self.settings.name}", ranks=1, flops_per_token=self.flops_per_token)
        count = RunningCount(folder, ledger=self.study.ledger, run=begun)
        with count:
            for stretch in _stretches(run, start):
                self._make(stretch, run, folder, count=count, pinned=pinned, progress=progress)
        if later:
            sort_tables(folder, last=later[-1])
        if self.open_sink is not None:
            with self.open_sink(folder):  # which all new rows are sent to
                pass

    def _checked_start(self, run: PlannedRun, parent: Path | None) -> StateKey | None:
        """Return the state that a run starts from after reading it; None for initial weights."""
        key, source = run.starting_state(), parent if run.begins_path else run.path
        if key is None:
            return None
        assert source is not None
        place = self._place(key)
        check_data_consumed(place, expected=self.read_segments(source).until(key.position))
        check_state(place, key=key)
        return key

    def _place(self, key: StateKey) -> pathlib.Path:
        folder = self.study.find(key.path_id)
        if folder is None:
            raise StateError(f"the state {key} is missing from {self.study.folder}; run the plan again")
        return folder.state(key.position).absolute()

    def _make(
        self,
        stretch: Stretch,
        run: PlannedRun,
        folder: PathFolder,
        *,
        count: RunningCount,
        pinned: Callable[[], Set[StateKey]],
        progress: PlanProgress,
    ) -> None:
        """Run one command, and keep its rows and its state, or neither."""
        exchange = Exchange(
            folder=temporary_name(folder.folder.absolute() / "exchange"),
            save=temporary_name(folder.state(stretch.end).absolute()),
        )
        values = exchange.write(
            stretch,
            load=None if stretch.load is None else self._place(stretch.load),
            batches=self.batches(stretch.path),
            held_out=self.held_out,
            data=self.settings.data,
            counter=folder.folder / "reached",
        )
        code, interruption = run_command(self.settings.words(values), stop_seconds=self.settings.stop_seconds)
        _correct_count(folder, stretch, count)
        if code not in (0, STOPPED):
            if interruption is not None:
                raise interruption
            raise TrainingError(
                f"{stretch.path.name}: the command of {self.settings.name} from {stretch.begin:,} to {stretch.end:,} "
                f"ended with exit code {code}; see what it printed, and {exchange.folder}. Earlier states are whole: "
                "correct this and run the same command again"
            )
        stopped = code == STOPPED
        if not stopped or exchange.report.exists():
            answer = read_answer(exchange.report, stretch, held_out=self.held_out, stopped=stopped)
            saved_files(exchange.save)
            self._keep(answer, exchange, stretch, folder)
            count.reach(answer.position)
            keep_newest(answer.position, run=run, folder=folder, pinned=pinned)
            shutil.rmtree(exchange.folder, ignore_errors=True)
            self._show(answer, run, progress)
        if stopped or interruption is not None:
            raise interruption or StoppedError(
                f"{stretch.path.name}: the command of {self.settings.name} was stopped before {stretch.end:,}; what it "
                "saved is kept: run the same command again to go on"
            )

    def _keep(self, answer: Answer, exchange: Exchange, stretch: Stretch, folder: PathFolder) -> None:
        """Write the rows of a stretch, and then its state, whose manifest holds their digests."""
        path, position = stretch.path, answer.position
        folder.metrics.append(answer.metrics)
        folder.evaluation.append(answer.evaluation)
        folder.flush_tables()
        facts = {
            "tables": written_digests(folder, position),
            "name": path.name,
            "identity": path.identity(),
            "read": self.read_segments(path).until(position),
            "device": answer.device,
            "ranks": answer.ranks,
        }
        keep_state(
            exchange.save,
            folder.state(position).absolute(),
            key=StateKey(path.id, position),
            engine=self.settings.name,
            facts=facts,
            check=folder.check_owned,
        )

    def _show(self, answer: Answer, run: PlannedRun, progress: PlanProgress) -> None:
        for row in answer.metrics:
            progress.advance(run, position=row.position, loss=row.loss, tokens_per_second=0.0)
        last = answer.metrics[-1]
        loss = "" if math.isnan(last.loss) else f", loss {last.loss:.3f}"
        progress.publish(f"{run.path.name}: {self.settings.name} reached {last.position:,} of {run.end:,}{loss}")


def _stretches(run: PlannedRun, start: StateKey | None) -> Iterator[Stretch]:
    """Yield the stretches between the states that a run saves, each beginning at the state of the one before."""
    begin, load = run.begin, start
    for end in (position for position in range(run.begin + 1, run.end + 1) if run.saves(position)):
        evaluate_at = tuple(position for position in range(begin + 1, end + 1) if run.evaluates(position))
        yield Stretch(path=run.path, begin=begin, end=end, load=load, evaluate_at=evaluate_at)
        begin, load = end, StateKey(run.path.id, end)


def _correct_count(folder: PathFolder, stretch: Stretch, count: RunningCount) -> None:
    """Bring a position that the command has noted back to where it can be: the ledger would refuse another."""
    noted = reached(folder)
    if noted is None or not stretch.begin <= noted <= stretch.end:
        count.reach(stretch.begin if noted is None or noted < stretch.begin else stretch.end)
