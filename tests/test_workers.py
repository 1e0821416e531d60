"""How workers share a machine, and how many are worth starting; that they share a plan: integration/test_workers.py."""

from pathlib import Path

import pytest

from lrpath.assembly.worker_pool import WorkerPool, sharing, with_share_of_cores, worker_count
from lrpath.errors import ConfigError
from tests.composing import project_of
from tests.refusals import refused


def pool_of(*overrides: str, outputs: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, list[str]]:
    """Return how many workers a configuration would start, and what is said of it; none is started."""
    counts: list[int] = []
    monkeypatch.setattr(WorkerPool, "started", lambda pool, _config: counts.append(pool.count))
    lines: list[str] = []
    sharing(project_of(f"outputs={outputs}", f"data.folder={outputs}/data", *overrides), show=lines.append)
    return counts[0], lines


@pytest.mark.parametrize(
    ("overrides", "count", "lines"),
    [
        (["workers=2"], 2, 0),
        (["workers=2", "paths=[path_switching.v2,main]"], 2, 0),
        (["workers=2", "paths=path_switching.v2"], 1, 0),
        (["workers=2", "paradigm=[path_switching]"], 2, 0),
        (["workers=2", "paradigm=[path_switching]", "versions=1"], 1, 0),  # the branch begins where its parent ends
        (["workers=2", "paradigm=[continual]"], 1, 0),
        (["workers=2", "paradigm=[from_scratch]", "versions=1"], 1, 0),
        (["workers=2", "strategy=ddp"], 1, 1),
        ([], 1, 0),
    ],
)
def test_as_many_workers_as_find_a_path_at_once(
    overrides: list[str], count: int, lines: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, said = pool_of(*overrides, outputs=tmp_path, monkeypatch=monkeypatch)

    assert (found, len(said)) == (count, lines)


def test_workers_share_the_cores_unless_threads_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(12)), raising=False)
    threads = [
        with_share_of_cores(project_of(*overrides).config).threads
        for overrides in (["workers=4"], ["workers=16"], ["workers=4", "strategy.threads=2"], ["strategy=ddp"])
    ]

    assert threads == [3, 1, 2, None]
    assert worker_count(project_of("workers=4", "strategy=fsdp").config) == 1


def test_code_that_no_other_process_can_import_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("__main__.scale", lambda _: None, raising=False)
    words = [f"outputs={tmp_path}", f"data.folder={tmp_path}/data", "callbacks=[{kind: '__main__:scale'}]"]

    with refused(ConfigError, field="workers", value=2):
        sharing(project_of("workers=2", *words), show=print)
    with sharing(project_of("workers=1", *words), show=print) as pool:
        assert pool.count == 1
