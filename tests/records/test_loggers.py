"""How the curves of another logger are looked at, and what a server costs that does not answer."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lrpath.errors import ConfigError
from lrpath.records.curve_sinks import MlflowSink
from lrpath.records.loggers import MlflowLogger, TableLogger, WandbLogger
from lrpath.records.path_folder import PathFolder
from lrpath.records.rows import MetricsRow
from lrpath.records.study import Study
from tests.analysis.studies import plan_of

STUDY = Path("/my outputs/july")


def test_curves_elsewhere_are_looked_at_by_a_command() -> None:
    (wandb,) = WandbLogger(name="wandb", project=None, online=False).lines(STUDY)
    (database,) = MlflowLogger(name="mlflow", uri=None, experiment=None).lines(STUDY)
    (server,) = MlflowLogger(name="mlflow", uri="http://localhost:5000", experiment=None).lines(STUDY)

    assert wandb.endswith("wandb sync '/my outputs/july'/paths/*/wandb/offline-run-*")
    assert database.endswith("mlflow ui --backend-store-uri 'sqlite:////my outputs/july/mlflow.db'")
    assert server.endswith("http://localhost:5000")


def test_curves_that_are_elsewhere_already_need_no_command() -> None:
    assert WandbLogger(name="wandb", project=None, online=True).lines(STUDY) == []
    assert TableLogger(name="tensorboard").lines(STUDY) == []


@pytest.fixture
def folder(tmp_path: Path) -> PathFolder:
    return Study(tmp_path / "toy").open(plan_of(10).tree.paths[0])


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"):
        monkeypatch.setenv(name, "1")  # noted, so that what the sink sets is gone after the test
        monkeypatch.delenv(name)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # MLflow has some of its own
@pytest.mark.usefixtures("unset")
def test_a_server_that_is_not_there_is_given_up_after_seconds(
    folder: PathFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)

    with pytest.raises(ConfigError) as raised:  # its text is MLflow's
        MlflowSink(folder, place="there", uri="http://127.0.0.1:9", experiment="none")

    assert raised.value.field == "logger.uri"
    assert sum(waited) < 20


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("unset")
def test_a_server_that_stops_answering_is_not_asked_at_every_row(
    folder: PathFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    from mlflow.exceptions import MlflowException

    tries: list[int] = []

    class Server:
        def __init__(self, **_: Any) -> None: ...

        def get_experiment_by_name(self, _: str) -> Any:
            return SimpleNamespace(experiment_id="1")

        def search_runs(self, *_: Any) -> list[Any]:
            return []

        def create_run(self, *_: Any, **__: Any) -> Any:
            return SimpleNamespace(info=SimpleNamespace(run_id="a"))

        def log_param(self, *_: Any) -> None: ...

        def get_run(self, _: str) -> Any:
            return SimpleNamespace(data=SimpleNamespace(metrics={}))

        def log_batch(self, _: str, metrics: list[Any]) -> None:
            tries.append(len(metrics))
            raise MlflowException("gone")

    monkeypatch.setattr("mlflow.MlflowClient", Server)
    with MlflowSink(folder, place="there", uri="http://server", experiment="none") as sink:
        for position in range(1, 6):
            sink.append(metrics=[MetricsRow(position, 3.0, 0.1, 1.0, 8 * position)])
        assert len(tries) == 1

    assert len(tries) == 2  # at the end of the path all is tried once more
    assert tries[1] == 5 * tries[0]
