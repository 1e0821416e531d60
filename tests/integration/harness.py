"""Kills training at random moments and runs it again, until the plan is finished and can be compared.

The short form is test_kills.py, the long one experiments/09_exactness/kills.py. What a seed draws is who is killed (a
rank, or the whole node: torchrun and all its ranks) and when:

    at 1.234 s           after the first rank began to train, uniform over an undisturbed run
    saving + 1.2 ms      after the temporary folder of a state appears, once a random time has passed
    shards:2@1           at the second time that rank 1 comes to a moment of `killing.py`, inside the writing of a state

Kills come from outside, except those at a moment of `killing.py`, at which the process kills itself or its group.
"""

import contextlib
import json
import os
import random
import select
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import NoReturn

from lrpath.records.files import read_json
from lrpath.records.study import Study
from tests.integration.lab import Bits, Lab, states_of, tables_of

RANKS = {"single": 0, "ddp": 2, "fsdp": 2}
"""Ranks of a strategy; 0: one process without torchrun."""

MICRO = "strategy.micro_batch=1"
"""Two or four micro-batches an update, so that a kill may come between them."""

WRITING_SECONDS = 0.02
"""Longest delay after a temporary folder appears; writing a state of the small study takes about as long."""

PATIENCE = 300.0
"""Seconds after which a run counts as hanging; one takes about five."""


class HangError(Exception):
    """A run neither went on nor ended."""


@dataclass(frozen=True, kw_only=True)
class Blow:
    """A kill that was drawn.

    Args:
        who: A rank, or None for all of them and torchrun.
        after: Seconds after the first rank begins.
        saving: Further seconds after the temporary folder of a state appears; None does not wait for one.
        moment: A moment of `killing.py` instead, at which it is `rank` that comes to it.
        rank: Who comes to the moment.
    """

    who: int | None
    after: float = 0.0
    saving: float | None = None
    moment: str = ""
    rank: int = 0

    def __str__(self) -> str:
        if self.moment:
            return f"{self.moment}@{self.rank}"
        return f"at {self.after:.3f} s" + ("" if self.saving is None else f", saving + {self.saving * 1e3:.1f} ms")


@dataclass(frozen=True, kw_only=True)
class Kill:
    """A kill that was made, as a row of a table.

    Args:
        seed: Of the plan it belongs to.
        strategy: What ran.
        number: Of the kill in its plan.
        who: `rank 1`, or `all`.
        when: As the blow says.
        reached: Path and position that the killed run had counted to.
        on_disk: States whole, states without manifest, and temporary folders, after the kill.
        outcome: `equal`, or what differed from the undisturbed run when the plan was finished.
    """

    seed: str
    strategy: str
    number: int
    who: str
    when: str
    reached: str
    on_disk: str
    outcome: str = ""


class Standby:
    """The process that starts runs, one at a time; see `standby.py`.

    Args:
        lab: Where the studies are.
        cold: Whether every run is started by its command line, `torchrun … ` where it has ranks, and imports anew.
        name: Of the computer that it stands for, where there are several.
    """

    def __init__(self, lab: Lab, *, cold: bool = False, name: str = "") -> None:
        self.lab = lab
        self.cold = cold
        self.name = name
        self._logs = lab.folder / f"logs{name}"
        self._logs.mkdir()
        self._answers = self._logs / "answers"
        os.mkfifo(self._answers)
        self._reader = os.open(self._answers, os.O_RDWR)  # a writer too, so that it never ends
        self._text = b""
        self._process = lab.fork(str(Path(__file__).with_name("standby.py")), env={"OMP_NUM_THREADS": "1"})

    def __enter__(self) -> "Standby":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._process.kill()
        sys.stderr.write(self._process.communicate()[1])
        os.close(self._reader)

    def start(
        self,
        study: str,
        strategy: str,
        *,
        log: str,
        blow: Blow | None,
        changes: tuple[str, ...] = (MICRO,),
        ranks: int | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
        stops: bool = False,
    ) -> "Run":
        """Start a run of the small study.

        Args:
            study: Its name.
            strategy: What runs.
            log: Name of its logs.
            blow: The kill, if any.
            changes: Overrides.
            ranks: Ranks under torchrun's agent; None for the usual number of the strategy.
            environment: Variables that the run gets.
            stops: Whether it stands still at the moment of the blow, until it gets SIGCONT, in place of being killed.
        """
        changes = (f"study={study}", f"strategy={strategy}", *changes)
        ranks = RANKS[strategy] if ranks is None else ranks
        run = Run(standby=self, study=self.lab.study(study), ranks=max(ranks, 1), log=self._logs / log)
        asked = {
            "folder": str(self.lab.folder),
            "overrides": self.lab.overrides(*changes),
            "ranks": ranks,
            "log": str(run.log),
            "answers": str(self._answers),
            "cold": self.cold,
            "kill": [blow.rank, blow.moment] if blow is not None and blow.moment else None,
            "whole": blow is not None and blow.who is None,
            "environment": dict(environment),
            "stops": stops,
        }
        self._process.stdin.write(f"{json.dumps(asked)}\n")
        self._process.stdin.flush()
        return run

    def answer(self, seconds: float) -> list[str] | None:
        """Return the words of the next answer; None if there is none within so many seconds."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self._text:
            left = max(deadline - time.monotonic(), 0.0)
            if not select.select([self._reader], [], [], left)[0]:
                return None
            self._text += os.read(self._reader, 1 << 12)
        line, _, self._text = self._text.partition(b"\n")
        return line.decode().split()


class Run:
    """One run: its processes, and how it ends.

    Args:
        standby: Who starts it.
        study: What it writes.
        ranks: How many processes train.
        log: Of its processes, but for `.agent`, `.0`, `.1` at the end.

    Raises:
        HangError: From `strike`, if it neither went on nor ended.
    """

    def __init__(self, *, standby: Standby, study: Study, ranks: int, log: Path) -> None:
        self.standby = standby
        self.study = study
        self.ranks = ranks
        self.log = log
        self.code: int | None = None
        self.seconds = 0.0
        self._begun = 0.0
        self._pids: dict[str, int] = {}
        self._stopped: int | None = None
        os.mkfifo(self._alive)
        self._reader = os.open(self._alive, os.O_RDONLY | os.O_NONBLOCK)

    @property
    def _alive(self) -> Path:
        return self.log.with_name(f"{self.log.name}.alive")

    @property
    def logs(self) -> list[Path]:
        """What each rank has said."""
        return [self.log.with_name(f"{self.log.name}.{rank}") for rank in range(self.ranks)]

    def wait_until_stopped(self) -> int:
        """Return the process that stands still."""
        while self._stopped is None:
            assert self.code is None, f"{self.log.name} ended with {self.code} before it came to its moment"
            self._follow()
        # It says so just before; on a busy computer its other threads may run on for a while, and renew its lease.
        while Path(f"/proc/{self._stopped}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            time.sleep(1e-3)
        return self._stopped

    def finish(self) -> int:
        """Follow the run to its end and return its exit code."""
        self.strike(None)
        assert self.code is not None
        return self.code

    def said(self) -> str:
        """Return what all ranks have said."""
        return "".join(log.read_text() for log in self.logs if log.exists())

    def strike(self, blow: Blow | None) -> bool:
        """Follow the run to its end, kill it as the blow says, and return whether it was killed."""
        while len(self._pids) <= self.ranks and self.code is None:
            self._follow()
        struck = blow is not None and bool(blow.moment)  # unless the run ends with 0, never coming to the moment
        if blow is not None and not blow.moment and self._wait(blow):
            struck = self._kill(blow.who)
        while self.code is None:
            self._follow()
        self.seconds = time.monotonic() - self._begun
        if not select.select([self._reader], [], [], PATIENCE)[0]:  # ready when no rank holds the pipe open
            self._give_up(f"a rank lives on after its run has ended with {self.code}")
        os.close(self._reader)
        self._alive.unlink()
        return struck and self.code != 0

    def _follow(self) -> None:
        if not self._hear(PATIENCE):
            self._give_up(f"it neither goes on nor ends; its processes are {self._pids}")

    def _give_up(self, why: str) -> NoReturn:
        self._kill(None)
        raise HangError(f"{self.log.name}: {why}")

    def _hear(self, seconds: float) -> bool:
        """Take note of the next answer; return whether there was one within so many seconds."""
        words = self.standby.answer(seconds)
        if words is None:
            return False
        if words[0] == "ended":
            self.code = int(words[1])
            return True
        if words[0] == "stopped":
            self._stopped = int(words[1])
            return True
        self._pids[words[1]] = int(words[2])
        if words[1] != "agent":
            self._begun = self._begun or time.monotonic()
        return True

    def _wait(self, blow: Blow) -> bool:
        """Wait for the blow's time; return whether it has come before the run's end."""
        if self.code is not None or self._hear(max(self._begun + blow.after - time.monotonic(), 0.0)):
            return False
        if blow.saving is None:
            return True
        before = set(temporaries(self.study))
        while not set(temporaries(self.study)) - before:
            if self._hear(2e-4):
                return False
        return not self._hear(blow.saving)

    def _kill(self, who: int | None) -> bool:
        """Kill a rank, or the agent and all ranks; return whether there was any."""
        alive = False
        for name, pid in self._pids.items():
            if who is None or name == str(who):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    alive = True
        return alive


@dataclass(frozen=True, kw_only=True)
class Undisturbed:
    """What a run that was left alone has made.

    Args:
        states: Bits of all tensors of all states.
        tables: Bytes of all tables that a rerun repeats.
        updates: Updates of the plan.
        seconds: From the first rank's beginning to the end.
    """

    states: Bits
    tables: dict[str, bytes]
    updates: int
    seconds: float


def run_undisturbed(standby: Standby, strategy: str) -> Undisturbed:
    """Run the small study once, for comparison."""
    study = f"undisturbed-{strategy}"
    project = standby.lab.project(f"study={study}", MICRO)
    project.prepare()  # not in the time of the run
    run = standby.start(study, strategy, log=study, blow=None)
    run.strike(None)
    assert run.code == 0, f"the undisturbed run on {strategy} ended with {run.code}: {run.logs[0].read_text()}"
    return Undisturbed(
        states=states_of(run.study),
        tables=tables_of(run.study),
        updates=project.plan.cost(project.plan.tree).updates,
        seconds=run.seconds,
    )


def draw(chance: random.Random, *, ranks: int, seconds: float, cold: bool) -> Blow:
    """Draw who is killed and when; half of the draws aim at the writing of a state."""
    kind = chance.choice(["time", "time", "time", "saving", "shards", "rename", "manifest"])
    rank = chance.randrange(ranks)
    whole = ranks == 1 or chance.random() < 1 / (ranks + 1)
    who = None if whole else rank
    if kind == "time":
        return Blow(who=who, after=chance.uniform(0, seconds))
    if kind == "saving":
        return Blow(who=who, after=chance.uniform(0, seconds / 2), saving=chance.uniform(0, WRITING_SECONDS))
    if cold:  # ranks of a real torchrun have no group together, so none ends all at a moment
        who = rank
    if kind != "shards":  # only the first rank puts a state in its place
        rank, who = 0, None if who is None else 0
    return Blow(who=who, moment=f"{kind}:{chance.randint(1, 4)}", rank=rank)


def kill_until_finished(
    standby: Standby, strategy: str, undisturbed: Undisturbed, *, seed: str, most: int
) -> list[Kill]:
    """Run a plan, killed at most so many times, until it is finished, and return the kills with their outcome."""
    study, chance = f"killed-{strategy}-{seed}", random.Random(f"{seed} {strategy}")
    kills: list[Kill] = []
    faults: list[str] = []
    code: int | None = None
    while code != 0:
        blow = None
        if len(kills) < most:
            ranks = max(RANKS[strategy], 1)
            blow = draw(chance, ranks=ranks, seconds=undisturbed.seconds, cold=standby.cold)
        run = standby.start(study, strategy, log=f"{study}-{len(kills)}", blow=blow)
        struck = run.strike(blow)
        code = run.code
        faults += _faults_in(run, struck=struck)
        if struck and blow is not None:
            reached, on_disk = _describe(run.study)
            kill = Kill(
                seed=seed,
                strategy=strategy,
                number=len(kills) + 1,
                who="all" if blow.who is None else f"rank {blow.who}",
                when=str(blow),
                reached=reached,
                on_disk=on_disk,
            )
            kills.append(kill)
        elif code != 0:
            break
    faults += _differences(standby.lab.study(study), undisturbed)
    assert kills or not faults, f"{study} was never killed, but {'; '.join(faults)}"
    return [replace(kill, outcome="; ".join(faults) or "equal") for kill in kills]


def _faults_in(run: Run, *, struck: bool) -> list[str]:
    """Return what the ranks of a run should not have said, and an exit code that no kill explains."""
    faults = [] if struck or run.code == 0 else [f"{run.log.name} ended with {run.code} though nothing was killed"]
    for log in run.logs:
        text = log.read_text() if log.exists() else ""
        errors = [line for line in text.splitlines() if "error:" in line and not (struck and is_survivors(line))]
        faults += [f"{log.name} has a traceback"] if "Traceback" in text else []
        faults += [f"{log.name} says {line}" for line in errors]
    return faults


def is_survivors(line: str) -> bool:
    """Say whether a line is what a rank says when another was killed: it lost it, or torchrun or its end stopped it.

    torchrun's end is a SIGINT. One that comes before lrpath handles signals, while the configuration is composed, is
    Python's KeyboardInterrupt, of which no signal's name is known.
    """
    said = ("lost the others", "was stopped at position", "stopped by SIG", "error: stopped; what was saved is whole")
    return any(text in line for text in said)


def temporaries(study: Study) -> Iterator[Path]:
    """Yield the folders in which states are being written."""
    return study.folder.glob("paths/*/states/.tmp-*")


def _describe(study: Study) -> tuple[str, str]:
    """Return how far a killed run had counted, and what it left in the folders of states."""
    running = sorted(study.folder.glob("paths/*/running.json"))
    reached = "no run"
    if running:
        text = running[0].with_name("reached").read_text().strip()
        reached = f"{read_json(running[0])['name']} {text}"
    folders = [folder for folder in study.folder.glob("paths/*/states/*") if not folder.name.startswith(".")]
    whole = sum((folder / "state.json").exists() for folder in folders)
    unfinished = len(list(temporaries(study)))
    return reached, f"{whole} whole, {len(folders) - whole} without manifest, {unfinished} temporary"


def _differences(study: Study, undisturbed: Undisturbed) -> list[str]:
    """Return what differs from the undisturbed run."""
    faults = []
    states, tables = states_of(study), tables_of(study)
    # Which spare state stays beside the newest one depends on where a run was killed; what plans need does not.
    planned = {
        (path_id, position)
        for record in study.plans().values()
        for path_id, position in [*record["states"], *record.get("increment_ends", [])]
    }
    compared = (states.keys() & undisturbed.states) | ((states.keys() | undisturbed.states) & planned)
    wrong = [key for key in compared if states.get(key) != undisturbed.states.get(key)]
    if wrong:
        faults.append(f"states differ: {sorted(wrong)}")
    if tables != undisturbed.tables:
        wrong_tables = [
            name for name in tables.keys() | undisturbed.tables if tables.get(name) != undisturbed.tables.get(name)
        ]
        faults.append(f"tables differ: {sorted(wrong_tables)}")
    runs = study.ledger.runs()
    counted = sum(run.updates - run.repeated for run in runs)
    if counted != undisturbed.updates:
        faults.append(f"the ledger counts {counted} updates that were not repeated, the plan {undisturbed.updates}")
    return faults
