"""How the curves of another logger are looked at is printed as a command that can be typed."""

from pathlib import Path

from lrpath.records.loggers import MlflowLogger, TableLogger, WandbLogger

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
