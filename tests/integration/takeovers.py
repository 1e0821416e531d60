"""An owner that stands still while another takes its path over, and then wakes up: nothing of the path is two owners'.

Both owners are processes of this computer that believe to be on two machines: their locks do not meet (`flock` is not
carried between machines), or the file system has none. The short form is test_takeovers.py, the long one
experiments/09_exactness/takeovers.py.
"""

import contextlib
import os
import signal
from dataclasses import dataclass

from lrpath.analysis.verify.study import verify_study
from lrpath.records.lease import EXPIRY
from lrpath.records.study import Study
from tests.integration.harness import Blow, Standby
from tests.integration.killing import NO_FLOCK, OTHER_MACHINE
from tests.integration.lab import Bits, Lab, states_of, tables_of

UPDATES = 26
"""Of the small study."""

BUSY = 3
"""Exit code of a process whose path is another's."""


@dataclass(frozen=True, kw_only=True)
class Takeover:
    """One owner that was taken over.

    Args:
        moment: Moment of `killing.py` at which the first owner stood still.
        flock: Whether the file system has locks, which are not carried between machines.
        codes: Exit codes of both owners.
        outcome: `equal`, or what differed from an undisturbed run.
    """

    moment: str
    flock: bool
    codes: tuple[int, int]
    outcome: str


def take_over(
    machines: tuple[Standby, Standby],
    study: str,
    *,
    moment: str,
    flock: bool,
    undisturbed: tuple[Bits, dict[str, bytes]],
) -> Takeover:
    """Let an owner stand still at a moment, let another finish the study, wake the first, and compare."""
    lab, runs = machines[0].lab, []
    for machine in machines:
        environment = {OTHER_MACHINE: machine.name} if flock else {NO_FLOCK: "1"}
        blow = None if runs else Blow(who=0, moment=moment)
        options = {"changes": (), "environment": environment, "stops": not runs}
        runs.append(machine.start(study, "single", log=study, blow=blow, **options))
        if len(runs) == 1:
            process = runs[0].wait_until_stopped()
            _age_locks(lab.study(study))
    first, second = runs
    codes_of_second = second.finish()
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGCONT)
    codes = (first.finish(), codes_of_second)
    # Behind the rename of a run's last state nothing is left to write: it then finds the rest of the plan finished.
    expected = [(BUSY, 0), (0, 0)] if moment.startswith("rename") else [(BUSY, 0)]
    said = f"they ended with {codes}: {first.said()[-300:]} {second.said()[-300:]}"
    faults = [] if codes in expected else [said]
    faults += _differences(lab, study, undisturbed)
    return Takeover(moment=moment, flock=flock, codes=codes, outcome="; ".join(faults) or "equal")


def _age_locks(study: Study) -> None:
    """Let what was locked have been silent for too long."""
    for lock in study.folder.glob("paths/*/lock"):
        last = lock.stat().st_mtime - EXPIRY - 1
        os.utime(lock, (last, last))
    for held in study.folder.rglob(".*-held"):  # it stood still within a lock; a minute later it is stale
        os.utime(held, (1, 1))


def _differences(lab: Lab, name: str, undisturbed: tuple[Bits, dict[str, bytes]]) -> list[str]:
    study = lab.study(name)
    faults = ["states differ"] if states_of(study) != undisturbed[0] else []
    faults += ["tables differ"] if tables_of(study) != undisturbed[1] else []
    counted = sum(run.updates - run.repeated for run in study.ledger.runs())
    faults += [f"the ledger counts {counted} updates once, not {UPDATES}"] if counted != UPDATES else []
    left = [file.name for file in study.folder.rglob(".*") if file.name != ".lock"]
    faults += [f"left on disk: {left}"] if left else []
    running = list(study.folder.rglob("running.json"))
    faults += ["a run is still noted as running"] if running else []
    findings = [finding.text for check in verify_study(study) for finding in check.findings]
    return faults + findings
