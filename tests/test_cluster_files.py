"""The files of docs/cluster start what they say: each task its path, and one that was stopped is queued again."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

CLUSTER = Path(__file__).parent.parent / "docs" / "cluster"


def run(words: list[str], *, folder: Path, **environment: str) -> tuple[int, list[str]]:
    """Run a command where `srun`, `scontrol` and `lrpath` write down their words; return its code and these lines."""
    log = folder / "log"
    for name in ("srun", "scontrol", "lrpath"):
        stand_in = folder / name
        stand_in.write_text(f'#!/bin/sh\necho "{name} $*" >> "{log}"\nexit "${{CODE:-0}}"\n')
        stand_in.chmod(0o755)
    variables = {"PATH": f"{folder}:{os.environ['PATH']}", **environment}
    done = subprocess.run(words, env=variables, check=False)
    return done.returncode, log.read_text().splitlines()


def array(folder: Path, **environment: str) -> tuple[int, list[str]]:
    variables = {"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_JOB_ID": "7"} | environment
    return run(["bash", str(CLUSTER / "slurm_array.sh"), "+exp=quickstart"], folder=folder, **variables)


def test_a_task_of_the_array_trains_its_path(tmp_path: Path) -> None:
    code, lines = array(tmp_path)

    assert code == 0
    assert lines == ["srun --kill-on-bad-exit=1 python -m lrpath.train +exp=quickstart paths=v2 wait=true"]


@pytest.mark.parametrize(("code", "queued"), [("75", ["scontrol requeue 7_2"]), ("2", [])])
def test_a_task_that_was_stopped_is_queued_again_and_a_refused_one_is_not(
    tmp_path: Path, code: str, queued: list[str]
) -> None:
    ended, lines = array(tmp_path, CODE=code)

    assert ended == int(code)
    assert lines[1:] == queued


def job() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CLUSTER / "indexed_job.yaml").read_text())
    return found["spec"]


def test_every_pod_trains_its_path(tmp_path: Path) -> None:
    (container,) = job()["template"]["spec"]["containers"]
    words = [*container["command"], *container["args"]]

    lines = [run(words, folder=tmp_path, JOB_COMPLETION_INDEX=str(n))[1][-1] for n in range(job()["completions"])]

    paths = [found[1] for line in lines if (found := re.search("paths=(\\S+) wait=true", line))]
    assert paths == ["main", "v1", "v2", "v3", "v4"]


def test_a_pod_that_was_stopped_is_no_failure_and_a_refused_one_is_final() -> None:
    rules = {rule["action"]: rule["onExitCodes"]["values"] for rule in job()["podFailurePolicy"]["rules"]}

    assert rules == {"Ignore": [75], "FailIndex": [2]}
