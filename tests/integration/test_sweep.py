"""The jobs of a sweep share their paths: no update of the main path runs twice, in whatever order α comes."""

import os
import subprocess
import sys

import pytest

from tests.integration.lab import Ended, Lab, started

pytestmark = pytest.mark.slow


def sweep(lab: Lab, *changes: str, **variables: str) -> Ended:
    return lab.call("-m", "lrpath.train", "-m", *lab.overrides(*changes), env=variables)


@pytest.mark.parametrize(
    ("swept", "main", "branches"),
    [
        (["alpha=0.2,0.4,0.6"], 18, 2 * (2 + 4 + 6)),  # to the last fork, of α = 0.2 at 20 − 2, though it comes first
        (["schedule@branch=cosine,linear", "versions=1,2"], 14, 2 * (6 + 6)),
    ],
    ids=["alpha", "shape and versions"],
)
def test_a_sweep_runs_the_main_path_once(lab: Lab, swept: list[str], main: int, branches: int) -> None:
    done = sweep(lab, *swept)

    runs = lab.study().ledger.runs()
    assert done.code == 0, done.err
    assert sum(run.updates for run in runs if run.name == "path_switching.main") == main
    assert sum(run.updates for run in runs) == main + branches
    assert all(run.repeated == 0 for run in runs)


def test_jobs_side_by_side_that_begin_on_one_path_wait_for_each_other_unasked(lab: Lab) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    main = lab.runner("alpha=0.2").tree.paths[0]  # prepares the text
    # A start of its own: a fork ends without joblib's, and its workers would hold its output for five minutes.
    command = [sys.executable, "-m", "lrpath.train", "-m", *lab.overrides("alpha=0.2,0.4", "hydra/launcher=joblib")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}

    with lab.study().open(main).lock():
        sweep = subprocess.Popen(
            [*command, "hydra.launcher.n_jobs=2"], cwd=lab.folder, env=environment, text=True, stdout=-1, stderr=-1
        )
        for _ in range(2):
            line = started(sweep, "waiting")
            assert "path path_switching.main-" in line
    out, err = sweep.communicate()

    runs = lab.study().ledger.runs()
    assert sweep.returncode == 0, err
    assert out.count("updates were run") == 2
    assert sum(run.updates for run in runs if run.name == "path_switching.main") == 18
    assert sum(run.updates for run in runs) == 18 + 2 * (2 + 4)
    assert all(run.repeated == 0 for run in runs)
    assert ",," not in (lab.study().report / "table.csv").read_text()  # whoever wrote it last knew of both


def test_a_job_of_submitit_saves_before_it_is_put_into_the_queue_again_or_ended(lab: Lab) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    words = ["versions=1", "cadence.save_every=1000", "optimizer=own", "optimizer.kind=tests.own_code:StoppedLion"]
    (lab.folder / "signals").write_text("SIGUSR2 SIGTERM")

    stopped = sweep(lab, *words, "hydra/launcher=submitit_local")  # USR2 is what submitit sends at a time limit
    again = sweep(lab, *words, "hydra/launcher=submitit_local")
    failed = sweep(lab, *words, "hydra/launcher=submitit_local", "study=failed", "workers=9999")

    runs = lab.study().ledger.runs()
    assert (stopped.code, again.code) == (75, 0), stopped.err + again.err
    assert stopped.err.startswith("error: job ")
    assert "by SIGTERM; its state is saved: run the same command again" in stopped.err
    assert failed.code == 2
    assert "\nerror: workers=9999 must" in failed.err  # behind a line of Hydra's that names the job
    assert [run.outcome for run in runs].count("stopped") == 2  # by each of the signals
    assert sum(run.updates for run in runs) == 10
    assert all(run.repeated == 0 for run in runs)


def test_a_sweep_with_one_impossible_job_is_refused_before_the_first_starts(lab: Lab) -> None:
    done = sweep(lab, "alpha=0.6,0.95")

    assert done.code == 2
    assert "lower alpha" in done.err
    assert not lab.study().folder.exists()


def test_a_sweep_over_two_ranks_is_two_jobs_on_one_main_path(lab: Lab) -> None:
    """As a task of a cluster starts it: what that says of its own rank must not reach the ranks of the jobs."""
    task = {"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "RANK": "0", "WORLD_SIZE": "1", "MASTER_PORT": "1"}
    before = {file.name for file in lab.folder.iterdir()}

    done = sweep(
        lab, "alpha=0.4,0.6", "versions=1", "strategy=ddp", "hydra/launcher=torchrun", "hydra.launcher.ranks=2", **task
    )

    assert done.code == 0, done.err
    assert [line for line in done.out.splitlines() if line.startswith("job ")] == [
        "job 1 of 2, alpha=0.4",
        "job 2 of 2, alpha=0.6",
    ]
    assert done.out.count("updates were run") == 2
    runs = lab.study().ledger.runs()
    assert sorted((run.name, run.begin, run.end, run.repeated, run.ranks) for run in runs) == [
        ("path_switching.main", 0, 6, 0, 2),
        ("path_switching.v1", 4, 10, 0, 2),
        ("path_switching.v1", 6, 10, 0, 2),
    ]
    assert {file.name for file in lab.folder.iterdir()} - before == {"study", "multirun.yaml"}
    kept = {"commands.jsonl", "held_out.json", "ledger.jsonl", "paths", "plans", "report"}
    assert {file.name for file in lab.study().folder.iterdir() if not file.name.startswith(".")} == kept
    assert len(list(lab.study().folder.glob("plans/*.json"))) == 2
    assert len(list(lab.study().folder.glob("paths/*/path.json"))) == 3
    assert not list(lab.folder.rglob(".hydra"))
