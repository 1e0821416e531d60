"""A study on S3: killed during an upload and gone on by a fresh machine, it is the study that was not killed."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("s3fs", reason="needs pip install 'lrpath[s3]'")
pytest.importorskip("moto", reason="needs the extra `dev`")

from lrpath.records.remote.folder import RemoteFolder
from lrpath.records.study import Study
from tests.integration.lab import Lab, states_of, tables_of
from tests.integration.s3 import BUCKET, ENVIRONMENT, Server, running_server

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as running, pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in (ENVIRONMENT | {"AWS_ENDPOINT_URL": running.url}).items():
            monkeypatch.setenv(name, value)
        yield running


KILLS = [
    ("states/000000004/shard", False),  # shards of a fork are there, tables and manifest are not
    ("states/000000010/state.json", True),  # shards and tables of a release are there, its manifest is not
    ("states/000000020/state.json", False),  # the last state is there, the ledger is not
]


def test_a_study_killed_while_it_uploads_is_gone_on_with_by_a_machine_that_has_nothing(
    lab: Lab, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.trained()
    url = f"s3://{BUCKET}/outputs"
    for file in lab.texts.iterdir():
        RemoteFolder(f"s3://{BUCKET}/corpus").upload(file, file.name)
    changes = (f"outputs={url}", f"data.folder={url}/data", f"data.source.paths=[s3://{BUCKET}/corpus]")

    started: list[subprocess.Popen[str]] = []
    for number, (part, before) in enumerate(KILLS):
        server.kill_at(lambda: started[-1].pid, part, before=before)
        started.append(lab.start(*changes, env={"LRPATH_CACHE": str(tmp_path / f"machine-{number}")}))
        _, reported = started[-1].communicate()
        assert started[-1].returncode == -9, reported
    monkeypatch.setenv("LRPATH_CACHE", str(tmp_path / "last"))
    lab.run(*changes)

    monkeypatch.setenv("LRPATH_CACHE", str(tmp_path / "reader"))
    found = Study.existing(url, "study")
    for folder in found.folders():
        for position in folder.positions():
            assert folder.remote_problem(position, reads=True) is None
            folder.fetched_state(position)
    assert states_of(found) == states_of(lab.study())
    assert tables_of(found) == tables_of(lab.study())


def test_of_two_machines_that_create_an_object_at_once_one_is_refused(server: Server) -> None:
    folder = RemoteFolder(f"s3://{BUCKET}/lease")

    made = [folder.create("000000001.json", content) for content in (b"one", b"two")]

    assert made == [True, False]
    assert folder.read("000000001.json") == b"one"
    assert abs(folder.now() - time.time()) < 60
