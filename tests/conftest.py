"""What the tests of several rooms share: small texts, and the laboratory that trains on them."""

import copy
import os
import shutil
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from omegaconf import OmegaConf

from lrpath.entry import lasting
from tests import refusals

if TYPE_CHECKING:
    from tests.integration.lab import Lab


# A property is not one of the machine: beside other work, the same example takes ten times as long.
hypothesis.settings.register_profile("any_machine", deadline=None)
hypothesis.settings.load_profile("any_machine")

_ROOM = 1 << 30
"""Bytes free in memory from which on the tests' folders are kept there; at most 63 MB of it were seen in use."""

_COLLECTED: pytest.StashKey[set[str]] = pytest.StashKey()
_FROM_WORKERS: set[str] = set()


def pytest_configure(config: pytest.Config) -> None:
    """Keep the tests' folders in memory where it has room: on a disk they would wait for it some ten thousand times."""
    memory = Path("/dev/shm")
    if "PYTEST_DEBUG_TEMPROOT" not in os.environ and memory.is_dir() and shutil.disk_usage(memory).free > _ROOM:
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(memory)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Let the tests and what they import last, as an entry does: a run would spend most of its time on the garbage."""
    with lasting():
        return (yield)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Note which tests there are, selected or not, for the record of refusals."""
    item.session.stash.setdefault(_COLLECTED, set()).add(item.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the sentences of refusals anew if that was asked for; a worker hands on what it has seen."""
    if not refusals.WRITES:
        return
    collected = session.stash.get(_COLLECTED, set())
    output = getattr(session.config, "workeroutput", None)
    if output is None:
        refusals.save(collected | _FROM_WORKERS)
    else:
        output["refusals"] = {"recorded": refusals.recorded, "collected": sorted(collected)}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take what a worker of pytest-xdist has recorded."""
    found = getattr(node, "workeroutput", {}).get("refusals")
    if found is not None:
        refusals.take(found["recorded"])
        _FROM_WORKERS.update(found["collected"])


@pytest.fixture(autouse=True, scope="session")
def sentences_without_temporary_folders(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Have refusals recorded without the folder in which this run keeps its files."""
    refusals.leave_out_folders_of(tmp_path_factory.getbasetemp())


@pytest.fixture(autouse=True, scope="session")
def modules_that_tests_write_again_are_read_again() -> Iterator[None]:
    """Write no bytecode: Python would take it for that of another text of the same size and the same second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "dont_write_bytecode", True)
        yield


@pytest.fixture(autouse=True, scope="session")
def configuration_files_parsed_once() -> Iterator[None]:
    """Have OmegaConf parse a text once: a fifth of what Hydra takes for a configuration is to parse the same YAML."""
    parse, parsed = OmegaConf.load, {}

    def load(file: Any) -> Any:
        text = file.read() if hasattr(file, "read") else Path(file).read_text(encoding="utf-8")
        if text not in parsed:
            if hasattr(file, "seek"):
                file.seek(0)
            parsed[text] = parse(file)
        return copy.deepcopy(parsed[text])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OmegaConf, "load", staticmethod(load))
        yield


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with `texts/V1.jsonl` … `V5.jsonl`, 60 short documents each."""
    from tests.integration.lab import write_texts  # not above: the process that shares out the tests needs no torch

    folder = tmp_path_factory.mktemp("corpus")
    write_texts(folder / "texts")
    return folder


@pytest.fixture
def lab(corpus: Path, tmp_path: Path) -> "Lab":
    """Return a laboratory with studies of its own; prepared text is shared by all tests."""
    from tests.integration.lab import Lab

    return Lab(folder=tmp_path, texts=corpus / "texts", stores=corpus / "stores")
