"""Promise 10: loading a state, token file or tokenizer executes nothing and unpickles nothing."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrpath.data.prepare import prepare
from lrpath.data.sources import TokensSource
from lrpath.data.store import TokenStore
from lrpath.data.tokenizer import read_tokenizer
from lrpath.errors import DataError, StateError
from lrpath.records.manifest import seal_manifest
from tests.integration.lab import REPOSITORY, Lab
from tests.refusals import refused

pytestmark = pytest.mark.slow


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        # Of equal length wherever temporary folders are: refusals say how many bytes there are.
        return os.mkdir, (str(self.trace.parent).ljust(200, "/") + self.trace.name,)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return tmp_path / "executed"


@pytest.fixture
def pickled(trace: Path) -> bytes:
    """Return a pickle that makes `trace` when it is loaded."""
    return pickle.dumps(Payload(trace))


def test_the_payload_does_what_the_other_tests_look_for(pickled: bytes, trace: Path) -> None:
    pickle.loads(pickled)

    assert trace.exists()


def test_loading_everything_that_a_study_holds_unpickles_and_executes_nothing(lab: Lab) -> None:
    lab.trained()
    command = [sys.executable, str(Path(__file__).with_name("audited.py")), str(lab.study().folder)]
    store = lab.project().prepare()
    command += [str(store.folder), json.dumps(store.increments)]

    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}
    )

    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["while_loading"] == []
    assert any("OrderedDict" in event for event in seen["control"])


def test_a_study_holds_no_pickle_and_no_file_of_another_kind(lab: Lab) -> None:
    lab.trained("logger=tensorboard")

    files = [file for file in lab.study().folder.rglob("*") if file.is_file()]

    assert {file.suffix for file in files if "tfevents" not in file.name} == {
        "",
        ".json",
        ".jsonl",
        ".csv",
        ".safetensors",
    }
    assert {file.name for file in files if not file.suffix} <= {"lock", ".lock", "reached"}


@pytest.mark.parametrize("manifest", ["as it was", "rewritten to fit"])
def test_a_pickle_in_place_of_a_shard_is_refused(lab: Lab, pickled: bytes, trace: Path, manifest: str) -> None:
    lab.trained()
    (state,) = (lab.study().folder / "paths").glob("*main*/states/000000014")
    (shard,) = state.glob("*.safetensors")
    shard.write_bytes(pickled)
    if manifest != "as it was":
        record = json.loads((state / "state.json").read_text())
        record["files"] = {shard.name: {"bytes": len(pickled), "sha256": sha256(pickled).hexdigest()}}
        (state / "state.json").write_text(json.dumps(seal_manifest(record)))

    with refused(StateError):
        lab.run("versions=3")

    assert not trace.exists()


@pytest.mark.parametrize("name", [".metadata", "optimizer.pt", "__0_0.distcp", "shard.safetensors"])
@pytest.mark.parametrize("listed", [False, True])
def test_a_pickle_beside_the_shards_is_refused(
    lab: Lab, pickled: bytes, trace: Path, name: str, *, listed: bool
) -> None:
    """torch would unpickle the first three."""
    lab.trained("versions=1")
    (state,) = (lab.study().folder / "paths").glob("*main*/states/000000004")
    (state / name).write_bytes(pickled)
    if listed:
        list_again(state)

    with refused(StateError):
        lab.run("versions=2")

    assert not trace.exists()


def list_again(state: Path) -> None:
    """Write a state's manifest anew, so that its digests are those of what lies in the folder."""
    record = json.loads((state / "state.json").read_text())
    files = [file for file in state.iterdir() if file.name != "state.json"]
    contents = {file.name: file.read_bytes() for file in files}
    record["files"] = {name: {"bytes": len(c), "sha256": sha256(c).hexdigest()} for name, c in contents.items()}
    (state / "state.json").write_text(json.dumps(seal_manifest(record)))


def change_header(state: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the header of a state's one shard, and list it again."""
    (shard,) = state.glob("*.safetensors")
    content = shard.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    shard.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
    list_again(state)


def move_a_part(header: dict[str, Any]) -> None:
    """Say that the norm is the second half of a longer one: torch's reader would leave the first half as it was."""
    places = json.loads(header["__metadata__"]["DCP_SHARDING_INFO"])
    places["model.lm.model.norm.weight"]["saved_offsets"] = [16]
    header["__metadata__"]["DCP_SHARDING_INFO"] = json.dumps(places)


HEADERS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a part missing": move_a_part,
    "another type": lambda header: header["model.lm.model.norm.weight"].update(dtype="I32"),
    "an absurd shape": lambda header: header["model.lm.model.norm.weight"].update(shape=[1 << 60]),
    "another name": lambda header: header.update(other=header.pop("model.lm.model.norm.weight")),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_hostile_header_under_a_fitting_manifest_is_refused(lab: Lab, name: str) -> None:
    change = HEADERS[name]
    lab.trained("versions=1")
    (state,) = (lab.study().folder / "paths").glob("*main*/states/000000004")
    change_header(state, change)

    with refused(StateError):
        lab.run("versions=2")

    assert not list((lab.study().folder / "paths").glob("*main*/states/000000014"))


def test_a_pickle_in_place_of_a_manifest_is_refused(lab: Lab, pickled: bytes, trace: Path) -> None:
    lab.trained()
    (state,) = (lab.study().folder / "paths").glob("*main*/states/000000014")
    (state / "state.json").write_bytes(pickled)

    with refused(StateError):
        lab.run("versions=3")

    assert not trace.exists()


def test_a_pickle_in_place_of_tokens_is_refused(tmp_path: Path, pickled: bytes, trace: Path) -> None:
    file = tmp_path / "V1.bin"
    file.write_bytes(pickled + b"." * (len(pickled) % 2))
    source = TokensSource(files=(str(file),), vocab_size=300, bits=16, heldout={})

    with refused(DataError):
        prepare(source, tokenizer=None, versions=["v1"], folder=tmp_path / "store")

    assert not trace.exists()


def test_a_numpy_file_of_objects_in_place_of_prepared_tokens_is_refused(tmp_path: Path, trace: Path) -> None:
    ids = tmp_path / "V1.bin"
    np.arange(100, dtype="<u2").tofile(ids)
    store = prepare(
        TokensSource(files=(str(ids),), vocab_size=300, bits=16, heldout={}),
        tokenizer=None,
        versions=["v1"],
        folder=tmp_path / "store",
    )
    np.save(tmp_path / "objects.npy", np.array([Payload(trace)], dtype=object), allow_pickle=True)
    (store.place("v1") / "train.bin").write_bytes((tmp_path / "objects.npy").read_bytes())

    with refused(DataError):
        TokenStore.open(store.folder, increments=store.increments)

    assert not trace.exists()


def test_a_pickle_in_place_of_a_tokenizer_is_refused(tmp_path: Path, pickled: bytes, trace: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(pickled)

    with refused(DataError):
        read_tokenizer(tmp_path / "tokenizer.json")

    assert not trace.exists()


def test_a_lightning_checkpoint_in_the_folder_is_not_loaded_on_a_cluster(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, pickled: bytes, trace: Path
) -> None:
    """On SLURM, Lightning looks for `hpc_ckpt_*.ckpt` where the command was started and loads the last of them."""
    for name, value in {"SLURM_NTASKS": "1", "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "train"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(lab.folder)
    (lab.folder / "hpc_ckpt_1.ckpt").write_bytes(pickled)

    updates = lab.run()

    assert updates == 26
    assert not trace.exists()
