"""`workers=2`: a further process of this machine runs paths beside the first, and the result is one process's."""

import os
import signal

import pytest

from lrpath.errors import BusyError, TrainingError
from tests.integration.lab import Ended, Lab, states_of, tables_of

pytestmark = pytest.mark.slow

BOTH = ("paradigm=[continual,from_scratch]",)
FAILURE = -1
"""In place of a signal: worker 2 raises."""
UPDATES = 10 + 10 + 20  # both begin with one path


def train(lab: Lab, *, number: int, to: int) -> Ended:
    """Train with two workers that have met, each in the middle of a path, before one of them gets a signal."""
    lab.runner(*BOTH)  # prepares the text
    os.mkfifo(lab.folder / "meeting")
    callback = f"callbacks=[{{kind: 'tests.own_code:Meeting', number: {number}, to: {to}}}]"
    return lab.train(*BOTH, callback, "workers=2", "cadence.save_every=1000")


def check_as_alone(lab: Lab) -> None:
    lab.trained(*BOTH, "study=alone", "cadence.save_every=1000")
    found, alone = states_of(lab.study()), states_of(lab.study("alone"))
    assert {key: found[key] for key in alone} == alone  # the last that was saved for a restart may be there too
    assert tables_of(lab.study()) == tables_of(lab.study("alone"))


def test_two_workers_share_a_plan(lab: Lab) -> None:
    done = train(lab, number=0, to=1)

    runs = lab.study().ledger.runs()
    assert done.code == 0, done.err
    assert "\nworker 2: " in done.out
    assert f"{UPDATES} updates were run" in done.out
    assert (sum(run.updates for run in runs), sum(run.repeated for run in runs)) == (UPDATES, 0)
    assert len(lab.study().commands.read()) == 1
    check_as_alone(lab)


def test_the_path_of_a_worker_that_is_killed_is_run_by_the_other(lab: Lab) -> None:
    done = train(lab, number=signal.SIGKILL, to=2)

    assert done.code == 0, done.err
    assert f"worker 2 has ended with exit code {128 + signal.SIGKILL}" in done.out
    check_as_alone(lab)


def test_a_signal_to_the_first_worker_stops_both_and_no_update_runs_twice(lab: Lab) -> None:
    stopped = train(lab, number=signal.SIGTERM, to=1)
    outcomes = [run.outcome for run in lab.study().ledger.runs()]

    left = lab.run(*BOTH)

    runs = lab.study().ledger.runs()
    assert (stopped.code, stopped.err.count("error:")) == (75, 1), stopped.err
    assert outcomes.count("stopped") == 2
    assert left > 0
    assert (sum(run.updates for run in runs), sum(run.repeated for run in runs)) == (UPDATES, 0)
    check_as_alone(lab)


def test_a_worker_whose_first_is_killed_saves_and_ends(lab: Lab) -> None:
    killed = train(lab, number=signal.SIGKILL, to=1)

    lab.run(*BOTH, "wait=true")

    runs = lab.study().ledger.runs()
    assert killed.code == -signal.SIGKILL
    assert sorted(run.outcome for run in runs)[-2:] == ["killed", "stopped"]
    check_as_alone(lab)


def test_what_a_worker_is_refused_ends_the_plan_with_its_words_and_code(lab: Lab) -> None:
    done = train(lab, number=FAILURE, to=2)

    runs = lab.study().ledger.runs()
    assert done.code == TrainingError.exit_code
    assert done.err.count("error: ") == 1
    assert "error: worker 2: the disk of this worker is full" in done.err
    assert sum(run.repeated for run in runs) == 0


def test_a_fork_that_no_worker_makes_is_not_waited_for(lab: Lab) -> None:
    lab.runner(*BOTH)

    done = lab.train("workers=2", "versions=3", "paths=[path_switching.v2,path_switching.v3]")

    assert done.code == BusyError.exit_code, done.out
    assert "run paths=path_switching.main first" in done.err
