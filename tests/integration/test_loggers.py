"""Weights & Biases and MLflow have every point of a study that was killed twice, once, and one run for each path."""

import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from lrpath.errors import ConfigError
from lrpath.records.events import figures_by_position
from lrpath.records.loggers import MlflowLogger, send_rest
from lrpath.records.study import Study
from tests.integration.lab import Lab

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # these packages have warnings of their own
]

Points = Counter[tuple[str, int, str, float]]
"""Points by path id, position, tag and value."""

KILLS = ("reach:9", "row:3", "end")


def points_of_tables(study: Study) -> Points:
    return Counter(
        (folder.path_id, position, tag, value)
        for folder in study.folders()
        for position, figures in figures_by_position(*(table.rows() for table in folder.tables)).items()
        for tag, value in figures.items()
    )


def without_speed(point: tuple[str, int, str, float]) -> tuple[str, int, str, float]:
    return (*point[:3], 0.0) if point[2].startswith("speed/") else point


def records_of(file: Path) -> Iterator[bytes]:
    """Yield the records of a `.wandb` file: LevelDB's log format behind a head of 7 bytes."""
    content, record, at = file.read_bytes(), b"", 7
    while at + 7 <= len(content):
        if (room := 32_768 - at % 32_768) < 7:  # blocks are counted from the beginning of the file
            at += room
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        record += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


def points_of_wandb(study: Study) -> Points:
    import json

    from wandb.proto.wandb_internal_pb2 import Record

    found: Points = Counter()
    for file in study.folder.glob("paths/*/wandb/offline-run-*/*.wandb"):
        for content in records_of(file):
            record = Record.FromString(content)
            for item in record.history.item:
                tag = item.key or ".".join(item.nested_key)
                if not tag.startswith("_"):
                    found[
                        file.stem.removeprefix("run-"), record.history.step.num, tag, json.loads(item.value_json)
                    ] += 1
    return found


def test_weights_and_biases_has_every_point_once_after_two_kills(lab: Lab) -> None:
    pytest.importorskip("wandb")

    ended = lab.train("logger=wandb", moments=KILLS)

    assert ended.codes == [-9, -9, 0], ended.err
    study = lab.study()
    runs = [folder.name.rpartition("-")[2] for folder in study.folder.glob("paths/*/wandb/offline-run-*")]
    assert sorted(runs) == sorted(folder.path_id for folder in study.folders())
    assert points_of_wandb(study) == points_of_tables(study)


def points_of_mlflow(uri: str) -> tuple[Points, list[str]]:
    """Return all points, and the path of every run that has ended well."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    (experiment,) = client.search_experiments(filter_string="name = 'study'")
    runs = client.search_runs([experiment.experiment_id])
    points = Counter(
        (run.data.tags["lrpath.path"], point.step, key, point.value)
        for run in runs
        for key in run.data.metrics
        for point in client.get_metric_history(run.info.run_id, key)
    )
    return points, sorted(run.data.tags["lrpath.path"] for run in runs if run.info.status == "FINISHED")


def test_mlflow_has_every_point_once_after_two_kills(lab: Lab) -> None:
    pytest.importorskip("mlflow")

    ended = lab.train("logger=mlflow", moments=KILLS)

    assert ended.codes == [-9, -9, 0], ended.err
    found, paths = points_of_mlflow(f"sqlite:///{lab.study().folder}/mlflow.db")
    assert paths == sorted(folder.path_id for folder in lab.study().folders())
    # A speed is measured again where updates are run again; MLflow keeps the first, the table has the last.
    assert {without_speed(point): count for point, count in found.items()} == {
        without_speed(point): count for point, count in points_of_tables(lab.study()).items()
    }
    assert set(found.values()) == {1}


def test_mlflow_gets_a_study_that_was_trained_without_it_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Into each of two places; MLflow's files ask for a variable."""
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    lab.trained()
    uris = [f"file:{lab.folder}/mlruns", f"file:{lab.folder}/elsewhere"]

    for uri in (uris[0], *uris):
        send_rest(MlflowLogger(name="mlflow", uri=uri, experiment=None), lab.study().folders())

    for uri in uris:
        found, paths = points_of_mlflow(uri)
        assert paths == sorted(folder.path_id for folder in lab.study().folders())
        assert found == points_of_tables(lab.study())


def test_a_place_that_takes_no_curves_is_refused_before_an_update(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)

    with pytest.raises(ConfigError) as error:  # its text is MLflow's, and another with every version of it
        lab.run("logger=mlflow", "logger.uri=file:mlruns")

    assert (error.value.field, error.value.value) == ("logger.uri", "file:mlruns")
    assert all(not folder.metrics.rows() for folder in lab.study().folders())
