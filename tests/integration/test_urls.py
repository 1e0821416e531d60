"""A study at a URL: whole or absent there whoever is killed, and the bits are those of a study on a disk."""

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

from lrpath import entry
from lrpath.errors import BusyError, StateError
from lrpath.planning.paths import StateKey
from lrpath.records.manifest import MANIFEST, check_state
from lrpath.records.path_folder import PathFolder
from lrpath.records.remote import lease
from lrpath.records.remote.folder import RemoteFolder
from lrpath.records.row_digests import find_alterations
from lrpath.records.study import Study
from tests.integration.lab import Lab, states_of, tables_of
from tests.refusals import refused

Machine = Callable[[str], None]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return what makes this process one of a machine of that name, with a cache of its own."""

    def use(name: str) -> None:
        monkeypatch.setenv("LRPATH_CACHE", str(tmp_path / name))
        monkeypatch.setattr(lease, "machine_id", lambda: name)

    use("first")
    return use


@pytest.fixture
def url(tmp_path: Path, machine: Machine) -> str:
    return f"memory://{tmp_path.name}/outputs"


def fetched(url: str) -> Study:
    """Return a study with all shards here."""
    study = Study.existing(url, "study")
    for folder in study.folders():
        for position in folder.positions():
            folder.fetched_state(position)
    return study


def main_path(study: Study) -> PathFolder:
    return next(folder for folder in study.folders() if ".main" in folder.folder.name)


@pytest.mark.slow
def test_a_study_at_a_url_has_the_bits_of_one_on_a_disk_and_no_machine_runs_it_again(
    lab: Lab, url: str, machine: Machine
) -> None:
    lab.trained()

    first = lab.run(f"outputs={url}", f"data.folder={url}/data")
    machine("second")
    second = lab.run(f"outputs={url}", f"data.folder={url}/data")

    assert (first, second) == (26, 0)
    assert states_of(fetched(url)) == states_of(lab.study())
    assert tables_of(fetched(url)) == tables_of(lab.study())
    assert [run.updates for run in fetched(url).ledger.runs()] == [run.updates for run in lab.study().ledger.runs()]


@pytest.mark.slow
def test_after_every_single_request_what_is_there_is_whole(
    lab: Lab, url: str, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store: dict[str, Any] = fsspec.filesystem("memory").store
    moments: list[tuple[str, dict[str, Any]]] = []
    for method in ("write", "create", "upload", "remove"):
        original = getattr(RemoteFolder, method)

        def noted(self: RemoteFolder, *args: Any, original: Callable[..., Any] = original) -> Any:
            done = original(self, *args)
            if "paths/" in self.address and "lease" not in str(args):
                moments.append((f"{self.address} {args[-1]!s:.80}", dict(store)))
            return done

        monkeypatch.setattr(RemoteFolder, method, noted)
    lab.run(f"outputs={url}", "versions=1")
    monkeypatch.undo()

    states = set()
    for number, (name, there) in enumerate(moments):
        store.clear()
        store.update(there)
        monkeypatch.setenv("LRPATH_CACHE", str(tmp_path / f"reader-{number}"))
        study = Study.at(url, "study")
        for folder in study.folders():
            for position in folder.positions():
                check_state(folder.fetched_state(position), key=StateKey(folder.path_id, position))
                states.add(position)
            assert not find_alterations(folder), name

    assert len(moments) > 30
    assert {4, 10} <= states


@pytest.mark.slow
def test_what_was_saved_here_and_not_uploaded_is_uploaded_by_the_next_run(
    lab: Lab, url: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(*_: object) -> None:
        raise OSError("the network is gone")

    with monkeypatch.context() as gone:
        gone.setattr(fsspec.get_filesystem_class("memory"), "put_file", cut_off)
        with pytest.raises(Exception, match="the network is gone"):
            lab.run(f"outputs={url}", "versions=1")

    there = Study.at(url, "study")
    assert main_path(there).positions() == [3]
    assert main_path(there).is_ahead()
    assert lab.run(f"outputs={url}", "versions=1") == 7  # the fourth of the main path, and the branch's six
    machine("second")
    assert lab.run(f"outputs={url}", "versions=1") == 0


@pytest.mark.slow
def test_two_machines_do_not_run_one_path_and_the_slower_one_writes_nothing_more(
    lab: Lab, url: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.run(f"outputs={url}", "versions=1")
    mine = main_path(Study.existing(url, "study"))

    with refused(BusyError), mine.lock() as held:
        machine("second")
        theirs = main_path(Study.existing(url, "study"))
        with refused(BusyError), theirs.lock():
            pass
        monkeypatch.setattr(lease, "EXPIRY", 0.0)  # as if the first had stood still for two minutes
        with theirs.lock():
            pass
        with refused(BusyError):
            PathFolder(mine.folder, lease=held).upload()
        with refused(BusyError):
            PathFolder(mine.folder, lease=held).check_owned()


@pytest.mark.slow
def test_a_state_that_was_altered_there_is_found_and_never_loaded(lab: Lab, url: str, machine: Machine) -> None:
    lab.run(f"outputs={url}", "versions=1")
    system = fsspec.filesystem("memory")
    (shard,) = system.glob(f"{url}/study/paths/*main*/states/000000004/*.safetensors")
    content = bytearray(system.cat_file(shard))
    content[-1] ^= 1
    system.pipe_file(shard, bytes(content))
    machine("second")
    path = main_path(Study.existing(url, "study"))

    with refused(StateError):
        path.fetched_state(4)

    assert path.remote_problem(4, reads=True) is not None
    assert path.remote_problem(4, reads=False) is None
    assert not list(path.state(4).glob("*.safetensors"))
    system.rm_file(shard)
    assert path.remote_problem(4, reads=False) is not None
    system.rm_file(f"{shard.rpartition('/')[0]}/{MANIFEST}")
    assert 4 not in main_path(Study.existing(url, "study")).positions()


@pytest.mark.slow
def test_a_removed_state_is_gone_there_and_on_the_next_machine(lab: Lab, url: str, machine: Machine) -> None:
    lab.run(f"outputs={url}", "versions=1")
    path = main_path(Study.existing(url, "study"))
    before = path.positions()

    with path.lock() as held:
        PathFolder(path.folder, lease=held).remove_state(before[0])
    machine("second")

    assert main_path(Study.existing(url, "study")).positions() == before[1:]
    assert not fsspec.filesystem("memory").find(f"{url}/study/paths/{path.folder.name}/states/{before[0]:09d}")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_entry_takes_a_url(
    lab: Lab, url: str, machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(name: str, *given: str, field: str = "config") -> str:
        module = importlib.import_module(f"lrpath.{name}")
        monkeypatch.setattr(sys, "argv", [f"lrpath.{name}", *given])
        entry.run(module.give_advice if name == "advise" else getattr(module, name), config_name=field)
        return capsys.readouterr().out

    plan = [*lab.overrides(f"outputs={url}", "versions=1", f"data.folder={url}/data")]
    study = [f"outputs={url}", "study=study"]
    system = fsspec.filesystem("memory")

    assert "10 updates were run" in run("train", *plan)
    machine("second")
    assert "reuses 10 of 10 updates" in run("plan", *plan)
    assert not list(Path(os.environ["LRPATH_CACHE"]).rglob("*.safetensors"))
    assert "0 updates were run" in run("train", *plan)
    machine("third")
    assert "v1" in run("report", *study, field="report")
    assert "states" in run("show", *study, field="show")
    assert "nothing" in run("verify", *plan, field="verify")
    made = run("export", *study, "release=v1", f"folder={url}/model", field="export")
    assert f"is in {url}/model" in made
    assert {Path(name).name for name in system.find(f"{url}/model")} >= {"config.json", "model.safetensors"}
    assert system.exists(f"{url}/study/report/index.html")
    assert "removed" in run("prune", *study, "drop=1", "ask=false", field="prune")
    assert not system.find(f"{url}/study/plans")
    assert not system.glob(f"{url}/study/paths/*/states/*/*")
