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
from tests.integration.killing import NO_FLOCK, OTHER_MACHINE
from tests.integration.lab import Bits, Lab, started, states_of, tables_of

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
    lab: Lab, study: str, *, moment: str, flock: bool, undisturbed: tuple[Bits, dict[str, bytes]]
) -> Takeover:
    """Let an owner stand still at a moment, let another finish the study, wake the first, and compare."""
    machines = [{OTHER_MACHINE: name} if flock else {NO_FLOCK: "1"} for name in ("first", "second")]
    first = lab.start(f"study={study}", moments=("stop", moment), env=machines[0])
    process = int(started(first, "stopped ").split()[1])
    for lock in lab.study(study).folder.glob("paths/*/lock"):
        last = lock.stat().st_mtime - EXPIRY - 1
        os.utime(lock, (last, last))
    for held in lab.study(study).folder.rglob(".*-held"):  # it stood still within a lock; a minute later it is stale
        os.utime(held, (1, 1))
    second = lab.train(f"study={study}", moments=("end",), env=machines[1])
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGCONT)
    out, err = first.communicate()
    codes = (_code_of(out), second.codes[0])
    # Behind the rename of a run's last state nothing is left to write: it then finds the rest of the plan finished.
    expected = [(BUSY, 0), (0, 0)] if moment.startswith("rename") else [(BUSY, 0)]
    faults = [] if codes in expected else [f"they ended with {codes}: {err[-300:]} {second.err[-300:]}"]
    faults += _differences(lab, study, undisturbed)
    return Takeover(moment=moment, flock=flock, codes=codes, outcome="; ".join(faults) or "equal")


def _code_of(out: str) -> int:
    """Return the exit code that `killing.py` prints last."""
    return int(out.splitlines()[-1].strip("[]"))


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
