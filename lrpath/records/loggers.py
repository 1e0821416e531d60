"""The configuration's section `logger`: where curves go besides the CSV tables, which every path has."""

import contextlib
import pathlib
import shlex
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Literal

from lrpath.errors import BusyError
from lrpath.planning.lineage import content_id
from lrpath.records.curve_sinks import CurveSink, MlflowSink, WandbSink, is_sent, mlflow_uri
from lrpath.records.events import PathEvents
from lrpath.records.path_folder import PathFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class TableLogger:
    """Curves go into TensorBoard's event files, or nowhere else.

    Args:
        name: `tensorboard`, or `none`.
    """

    name: Literal["tensorboard", "none"]

    def opener(self) -> Callable[..., CurveSink] | None:
        """Return what opens the event file of a path, given the path's folder and `until`; None for `none`."""
        return PathEvents if self.name == "tensorboard" else None

    def lines(self, study: pathlib.Path) -> list[str]:  # noqa: ARG002 (another logger's are in it)
        """Return how curves elsewhere are looked at: none are."""
        return []


@dataclass(frozen=True, slots=True, kw_only=True)
class WandbLogger:
    """Curves go to Weights & Biases, a run for each path.

    Args:
        name: `wandb`.
        project: The project; None for the study's name.
        online: Whether rows are sent while a path is trained, or kept in files for `wandb sync`.
    """

    name: Literal["wandb"]
    project: str | None
    online: bool

    def opener(self) -> Callable[..., CurveSink]:
        """Return what opens the run of a path, given the path's folder and `until`.

        Raises:
            ModuleNotFoundError: If the package is not installed.
        """
        import wandb  # noqa: F401 (what is missing is said before an update is run)

        return partial(WandbSink, place=_place(self), project=self.project, online=self.online)

    def lines(self, study: pathlib.Path) -> list[str]:
        """Return how the curves of a study, given its folder, are looked at."""
        runs = f"{shlex.quote(str(study))}/paths/*/wandb/offline-run-*"
        return [] if self.online else [f"curves for W&B: wandb sync {runs}"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MlflowLogger:
    """Curves go to MLflow, a run for each path.

    Args:
        name: `mlflow`.
        uri: The tracking server or database; None for `mlflow.db` in the study's folder.
        experiment: The experiment; None for the study's name.
    """

    name: Literal["mlflow"]
    uri: str | None
    experiment: str | None

    def opener(self) -> Callable[..., CurveSink]:
        """Return what opens the run of a path, given the path's folder and `until`.

        Raises:
            ModuleNotFoundError: If the package is not installed.
        """
        import mlflow  # noqa: F401 (as above)

        return partial(MlflowSink, place=_place(self), uri=self.uri, experiment=self.experiment)

    def lines(self, study: pathlib.Path) -> list[str]:
        """Return how the curves of a study, given its folder, are looked at."""
        uri = self.uri or mlflow_uri(study)
        if uri.startswith(("http://", "https://")):
            return [f"curves in MLflow: {uri}"]
        # lrpath[mlflow] brings mlflow-skinny, which writes curves and cannot show them
        return [f"curves in MLflow: pip install mlflow, then mlflow ui --backend-store-uri {shlex.quote(uri)}"]


def send_rest(logger: WandbLogger | MlflowLogger | TableLogger, folders: Iterable[PathFolder]) -> None:
    """Send what a logger lacks of some paths: those that were trained without it, or killed before it was closed.

    A path that another process trains is left to that one. Event files are not sent; a path that is trained writes its
    own whole.
    """
    if isinstance(logger, TableLogger):
        return
    open_sink = logger.opener()
    for folder in folders:
        if not is_sent(folder, _place(logger)):
            with contextlib.suppress(BusyError), folder.lock(), open_sink(folder):
                pass


def _place(logger: WandbLogger | MlflowLogger) -> str:
    """Return what tells the place that curves go to from others: a digest, since a URI may hold a password."""
    return content_id(asdict(logger))
