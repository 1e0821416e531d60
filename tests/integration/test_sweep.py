"""The jobs of a sweep share their paths: no update of the main path runs twice, in whatever order α comes."""

import subprocess
import sys

import pytest

from tests.integration.lab import REPOSITORY, Lab

pytestmark = pytest.mark.slow


def sweep(lab: Lab, *changes: str) -> subprocess.CompletedProcess[str]:
    overrides = [f"+{text}" if text.startswith("hydra") else text for text in lab.overrides(*changes)]
    command = [sys.executable, "-m", "lrpath.train", "-m", *overrides]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def test_a_sweep_over_alpha_walks_the_main_path_once_although_forks_come_in_falling_order(lab: Lab) -> None:
    done = sweep(lab, "alpha=0.2,0.4,0.6")

    runs = lab.study().ledger.runs()
    main = [run for run in runs if run.name == "path_switching.main"]
    assert done.returncode == 0, done.stderr
    assert sum(run.updates for run in main) == 18  # to the last fork, of α = 0.2 at 20 − 2
    assert sum(run.updates for run in runs) == 18 + 2 * (2 + 4 + 6)
    assert all(run.repeated == 0 for run in runs)


def test_a_sweep_with_one_impossible_job_is_refused_before_the_first_starts(lab: Lab) -> None:
    done = sweep(lab, "alpha=0.6,0.95")

    assert done.returncode == 2
    assert "lower alpha" in done.stderr
    assert not lab.study().folder.exists()
