"""Curves of a path in Weights & Biases or MLflow, sent from the tables of the path so that no point is there twice.

Both get what TensorBoard gets, by position. A run of theirs is a path: its id is the path's. When a path goes on, what
is already there is asked for (MLflow, W&B online) or written anew from the tables (W&B offline), so it does not matter
at which moment a process was killed. Only a path that its guard took back keeps the points of the updates left out.
"""

import logging
import math
import os
import pathlib
import shutil
import time
import warnings
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Protocol

from lrpath.errors import ConfigError
from lrpath.records.events import figures_by_position, rows_until
from lrpath.records.files import write_whole
from lrpath.records.path_folder import PathFolder
from lrpath.records.rows import EvaluationRow, MetricsRow, SpeedRow

WANDB = "wandb"
"""Folder of a path in which W&B keeps the run; the package gives it this name."""
_MOST_AT_ONCE = 1_000
"""Points that MLflow takes in one call."""
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""Unless the environment says otherwise. MLflow's own are 7 retries, further and further apart, and 120 s an answer:
updates would wait four minutes for a server that is gone."""
_SECONDS_BETWEEN_TRIES = 60.0
"""A server that did not answer is left alone for so long: every writing of metrics would wait for it."""
_SENT = "curves_sent"
"""File of a path: the place that its curves were sent to last, and the position up to which it has rows."""
_PATH_TAG = "lrpath.path"
"""Tag by which MLflow finds the run of a path: it chooses ids of runs by itself."""


def mlflow_uri(study: pathlib.Path) -> str:
    """Return the database of a study's curves, given its folder, where no other one is asked for.

    >>> mlflow_uri(pathlib.Path("/outputs/july"))
    'sqlite:////outputs/july/mlflow.db'
    """
    return f"sqlite:///{(study / 'mlflow.db').absolute()}"


def note_sent(folder: PathFolder, place: str) -> None:
    """Note that a place has all rows of a path, so that it is not opened again before there are more."""
    write_whole(folder.folder / _SENT, _sent(folder, place))


def is_sent(folder: PathFolder, place: str) -> bool:
    """Say whether a place has all rows of a path: it has not if the path's process was killed before it was closed."""
    file = folder.folder / _SENT
    return file.exists() and file.read_text(encoding="utf-8") == _sent(folder, place)


def _sent(folder: PathFolder, place: str) -> str:
    last = max((row.position for table in (folder.metrics, folder.evaluation) for row in table.rows()), default=0)
    return f"{place} {last}\n"


def _refusal(field: str, value: str | None, error: Exception) -> ConfigError:
    text = (
        f"{field}={value} takes no curves ({str(error).rstrip('.')}); correct that, or train with logger=tensorboard: "
    )
    return ConfigError(f"{text}curves that are missing are sent later, from the tables", field=field, value=value)


class CurveSink(Protocol):
    """Where the curves of one path go while it is trained."""

    def __enter__(self) -> "CurveSink": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...

    def append(
        self,
        *,
        metrics: Sequence[MetricsRow] = (),
        evaluation: Sequence[EvaluationRow] = (),
        speed: Sequence[SpeedRow] = (),
    ) -> None:
        """Send rows that were appended to the path's tables, later ones than those before."""


class WandbSink:
    """The run of a path in Weights & Biases.

    Args:
        folder: The path's folder; the rows in its tables are sent first.
        until: Position of the last of these; None for all there are.
        place: What tells this project, or these files, from other places that the curves may be sent to.
        project: Name of the project; None for the study's.
        online: Whether rows are sent at once, or written below the path's folder, for `wandb sync`.

    Raises:
        ConfigError: If W&B does not begin a run, since there is no key for one.
    """

    def __init__(
        self, folder: PathFolder, *, until: int | None = None, place: str, project: str | None, online: bool
    ) -> None:
        import wandb

        self._folder, self._place = folder, place
        if not online:
            shutil.rmtree(folder.folder / WANDB, ignore_errors=True)  # of a process before, and is written anew
        try:
            self._run = wandb.init(
                project=project or folder.folder.parent.parent.name,
                id=folder.path_id,
                name=folder.folder.name,
                config=folder.recipe(),
                dir=folder.folder,
                mode="online" if online else "offline",
                resume="allow",
                settings=wandb.Settings(console="off", silent=True, x_disable_stats=True),
            )
        except wandb.Error as error:
            raise _refusal("logger.online", "true" if online else "false", error) from error
        self._first = self._run.step  # what is there already; 0 of a new run
        metrics, evaluation, speed = (rows_until(table, until) for table in folder.tables)
        self.append(metrics=metrics, evaluation=evaluation, speed=speed)

    def __enter__(self) -> "WandbSink":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._run.finish(exit_code=0 if kind is None else 1)
        if kind is None:
            note_sent(self._folder, self._place)

    def append(
        self,
        *,
        metrics: Sequence[MetricsRow] = (),
        evaluation: Sequence[EvaluationRow] = (),
        speed: Sequence[SpeedRow] = (),
    ) -> None:
        """Send rows; W&B joins what comes later for the same position."""
        for position, figures in sorted(figures_by_position(metrics, evaluation, speed).items()):
            if position >= self._first:
                self._run.log(figures, step=position)


class MlflowSink:
    """The run of a path in MLflow.

    What cannot be sent, because a server does not answer, is sent with the next rows: curves are no reason to end a
    training run.

    Args:
        folder: The path's folder; the rows in its tables that are not there yet are sent first.
        until: Position of the last of these; None for all there are.
        place: What tells this server and experiment from other places that the curves may be sent to.
        uri: The tracking server or database; None for `mlflow.db` in the study's folder.
        experiment: Name of the experiment; None for the study's.

    Raises:
        ConfigError: If the server or database does not answer when the run is begun.
    """

    def __init__(
        self, folder: PathFolder, *, until: int | None = None, place: str, uri: str | None, experiment: str | None
    ) -> None:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)
        for chatty in ("mlflow", "alembic"):  # they tell of every table of a new database
            logging.getLogger(chatty).setLevel(logging.WARNING)
        self._folder, self._place = folder, place
        study = folder.folder.parent.parent
        try:
            self._client = MlflowClient(tracking_uri=uri or mlflow_uri(study))
            self._run_id = self._find_run(experiment or study.name, folder)
            self._last = dict(self._last_positions())
        except MlflowException as error:
            raise _refusal("logger.uri", uri, error) from error
        self._waiting: list[tuple[int, dict[str, float]]] = []
        self._failed_at = -math.inf
        metrics, evaluation, speed = (rows_until(table, until) for table in folder.tables)
        self.append(metrics=metrics, evaluation=evaluation, speed=speed)

    def _find_run(self, experiment: str, folder: PathFolder) -> str:
        from mlflow.exceptions import MlflowException

        client = self._client
        if client.get_experiment_by_name(experiment) is None:
            try:
                client.create_experiment(experiment)
            except MlflowException:  # another process of the study was faster
                if client.get_experiment_by_name(experiment) is None:
                    raise
        number = client.get_experiment_by_name(experiment).experiment_id
        found = client.search_runs([number], f"tags.`{_PATH_TAG}` = '{folder.path_id}'")
        if found:
            run_id = str(found[0].info.run_id)
            client.update_run(run_id, status="RUNNING")
            return run_id
        made = client.create_run(number, run_name=folder.folder.name, tags={_PATH_TAG: folder.path_id})
        for name, value in folder.recipe().items():
            client.log_param(made.info.run_id, name, value)
        return str(made.info.run_id)

    def _last_positions(self) -> Iterator[tuple[str, int]]:
        for key in self._client.get_run(self._run_id).data.metrics:
            yield key, max(one.step for one in self._client.get_metric_history(self._run_id, key))

    def __enter__(self) -> "MlflowSink":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._send()
        if self._waiting:
            text = f"MLflow lacks {len(self._waiting):,} positions; they are sent when the path goes on"
            warnings.warn(text, stacklevel=2)
            return
        self._client.set_terminated(self._run_id, status="FINISHED" if kind is None else "FAILED")
        if kind is None:
            note_sent(self._folder, self._place)

    def append(
        self,
        *,
        metrics: Sequence[MetricsRow] = (),
        evaluation: Sequence[EvaluationRow] = (),
        speed: Sequence[SpeedRow] = (),
    ) -> None:
        """Send rows that are not there yet."""
        self._waiting += sorted(figures_by_position(metrics, evaluation, speed).items())
        if time.monotonic() - self._failed_at >= _SECONDS_BETWEEN_TRIES:
            self._send()

    def _send(self) -> None:
        from mlflow.exceptions import MlflowException

        new = [
            (key, value, position)
            for position, figures in self._waiting
            for key, value in figures.items()
            if position > self._last.get(key, -1)
        ]
        for begin in range(0, len(new), _MOST_AT_ONCE):
            try:
                self._log(new[begin : begin + _MOST_AT_ONCE])
            except MlflowException:
                self._failed_at = time.monotonic()
                return
        self._waiting.clear()

    def _log(self, points: Sequence[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric

        # The time is the position's: a point that is sent twice after all is one and the same in a database.
        batch: list[Any] = [Metric(key, value, position, position) for key, value, position in points]
        self._client.log_batch(self._run_id, metrics=batch)
        self._last |= {key: position for key, _, position in points}
