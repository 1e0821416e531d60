"""Kills training at random moments and runs it again, until the plan is finished and can be compared.

The short form is test_kills.py, the long one experiments/09_exactness/kills.py. What a seed draws is who is killed (a
rank, or the whole node: torchrun and all its ranks) and when:

    at 1.234 s           after the first rank began to train, uniform over an undisturbed run
    beside + 1.2 ms      after the folder beside a state's place appears, once a random time has passed
    shards:2@1           at the second time that rank 1 comes to a moment of `killing.py`, inside the writing of a state

Kills come from outside, except those at a moment of `killing.py`, at which the process kills itself or its group.
"""

import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from lrpath.records.files import read_json
from lrpath.records.study import Study
from tests.integration.lab import REPOSITORY, Bits, Lab, states_of, tables_of

RANKS = {"single": 0, "ddp": 2, "fsdp": 2}
"""Ranks of a strategy; 0: one process without torchrun."""

MICRO = "strategy.micro_batch=1"
"""Two or four micro-batches an update, so that a kill may come between them."""

WRITING_SECONDS = 0.02
"""Longest delay after a folder beside appears; writing a state of the small study takes about as long."""

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
        beside: Further seconds after the folder beside a state's place appears; None does not wait for one.
        moment: A moment of `killing.py` instead, at which it is `rank` that comes to it.
        rank: Who comes to the moment.
    """

    who: int | None
    after: float = 0.0
    beside: float | None = None
    moment: str = ""
    rank: int = 0

    def __str__(self) -> str:
        if self.moment:
            return f"{self.moment}@{self.rank}"
        return f"at {self.after:.3f} s" + ("" if self.beside is None else f", beside + {self.beside * 1e3:.1f} ms")


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
        on_disk: States whole, states without manifest, and folders beside, after the kill.
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
    """The process that starts runs; see `standby.py`."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._logs = lab.folder / "logs"
        self._logs.mkdir(exist_ok=True)
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("standby.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            bufsize=0,
        )
        self._text = b""
        assert self.answer(PATIENCE) == ["ready"]

    def __enter__(self) -> "Standby":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if kind is not None:
            self._process.kill()
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def start(self, study: str, strategy: str, *, log: str, blow: Blow | None) -> list[Path]:
        """Start a run and return its logs, those of the ranks and of the agent."""
        changes = (f"study={study}", f"strategy={strategy}", MICRO)
        run = {
            "folder": str(self.lab.folder),
            "overrides": self.lab.overrides(*changes),
            "ranks": RANKS[strategy],
            "log": str(self._logs / log),
            "kill": [blow.rank, blow.moment] if blow is not None and blow.moment else None,
            "whole": blow is not None and blow.who is None,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(f"{json.dumps(run)}\n".encode())
        return [self._logs / f"{log}.{rank}" for rank in range(max(RANKS[strategy], 1))]

    def answer(self, seconds: float) -> list[str] | None:
        """Return the words of the next answer; None if there is none within so many seconds."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + seconds
        while b"\n" not in self._text:
            left = max(deadline - time.monotonic(), 0.0)
            if not select.select([self._process.stdout], [], [], left)[0]:
                return None
            read = os.read(self._process.stdout.fileno(), 1 << 12)
            assert read, "standby.py has ended"
            self._text += read
        line, _, self._text = self._text.partition(b"\n")
        return line.decode().split()


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
    standby.start(study, strategy, log=study, blow=None)
    code, _, seconds = _strike(standby, study, None, ranks=max(RANKS[strategy], 1))
    assert code == 0, f"the undisturbed run on {strategy} ended with {code}"
    records, plan = standby.lab.study(study), standby.lab.project(f"study={study}", MICRO).plan
    return Undisturbed(
        states=states_of(records),
        tables=tables_of(records),
        updates=plan.cost(plan.tree).updates,
        seconds=seconds,
    )


def draw(chance: random.Random, *, ranks: int, seconds: float) -> Blow:
    """Draw who is killed and when; half of the draws aim at the writing of a state."""
    kind = chance.choice(["time", "time", "time", "beside", "shards", "rename", "manifest"])
    rank = chance.randrange(ranks)
    whole = ranks == 1 or chance.random() < 1 / (ranks + 1)
    who = None if whole else rank
    if kind == "time":
        return Blow(who=who, after=chance.uniform(0, seconds))
    if kind == "beside":
        return Blow(who=who, after=chance.uniform(0, seconds / 2), beside=chance.uniform(0, WRITING_SECONDS))
    if kind != "shards":  # only the first rank puts a state in its place
        rank, who = 0, None if whole else 0
    return Blow(who=who, moment=f"{kind}:{chance.randint(1, 4)}", rank=rank)


def kill_until_finished(
    standby: Standby, strategy: str, undisturbed: Undisturbed, *, seed: str, most: int
) -> list[Kill]:
    """Run a plan, killed at most so many times, until it is finished, and return the kills with their outcome."""
    study, chance, ranks = f"killed-{strategy}-{seed}", random.Random(f"{seed} {strategy}"), max(RANKS[strategy], 1)
    kills: list[Kill] = []
    logs: list[Path] = []
    faults: list[str] = []
    for attempt in range(10 * most + 1):
        blow = draw(chance, ranks=ranks, seconds=undisturbed.seconds) if len(kills) < most else None
        logs += standby.start(study, strategy, log=f"{study}-{attempt}", blow=blow)
        code, struck, _ = _strike(standby, study, blow, ranks=ranks)
        if code == 0:
            break
        if blow is None or not struck:
            faults.append(f"ended with {code} though nothing was killed, see {logs[-1].name}")
            break
        reached, on_disk = _describe(standby.lab.study(study))
        who = "all" if blow.who is None else f"rank {blow.who}"
        kills.append(
            Kill(
                seed=seed,
                strategy=strategy,
                number=len(kills) + 1,
                who=who,
                when=str(blow),
                reached=reached,
                on_disk=on_disk,
            )
        )
    faults += _differences(standby.lab.study(study), undisturbed)
    faults += [f"a traceback in {log.name}" for log in logs if log.exists() and "Traceback" in log.read_text()]
    return [replace(kill, outcome="; ".join(faults) or "equal") for kill in kills]


def _strike(standby: Standby, study: str, blow: Blow | None, *, ranks: int) -> tuple[int, bool, float]:
    """Follow a run to its end and kill it as the blow says; return exit code, whether it was struck, and seconds."""
    pids: dict[int, tuple[int, int]] = {}
    begun = time.monotonic()
    ended: list[str] | None = None
    while len(pids) < ranks and ended is None:
        words = standby.answer(PATIENCE)
        if words is None:
            raise HangError(f"{study}: ranks {sorted(pids)} of {ranks} have begun")
        if words[0] == "ended":
            ended = words
        else:
            begun = begun if pids else time.monotonic()
            pids[int(words[1])] = int(words[2]), int(words[3])
    struck = False
    if blow is not None and blow.moment:
        struck = True  # unless it ends with 0 before it comes to the moment
    elif blow is not None and ended is None:
        ended = _wait(standby, study, blow, begun=begun)
        if ended is None:
            pid, group = pids[blow.who or 0]
            struck = _kill(group, whole=True) if blow.who is None else _kill(pid, whole=False)
    ended = ended or standby.answer(PATIENCE)
    if ended is None:
        for _, group in pids.values():
            _kill(group, whole=True)
        raise HangError(f"{study}: did not end within {PATIENCE:.0f} s ({blow})")
    return int(ended[1]), struck, time.monotonic() - begun


def _wait(standby: Standby, study: str, blow: Blow, *, begun: float) -> list[str] | None:
    """Wait for the blow's time; return how the run has ended if that comes first."""
    ended = standby.answer(max(begun + blow.after - time.monotonic(), 0.0))
    if blow.beside is None or ended is not None:
        return ended
    before = set(_beside(standby.lab.study(study)))
    while not set(_beside(standby.lab.study(study))) - before:
        ended = standby.answer(2e-4)
        if ended is not None:
            return ended
    return standby.answer(blow.beside)


def _beside(study: Study) -> Iterator[Path]:
    return study.folder.glob("paths/*/states/.[0-9]*")


def _kill(process: int, *, whole: bool) -> bool:
    """Kill a process or its group; say whether it was still there."""
    try:
        (os.killpg if whole else os.kill)(process, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _describe(study: Study) -> tuple[str, str]:
    """Return how far a killed run had counted, and what it left in the folders of states."""
    running = sorted(study.folder.glob("paths/*/running.json"))
    reached = "no walk"
    if running:
        text = running[0].with_name("reached").read_text().strip()
        reached = f"{read_json(running[0])['name']} {text}"
    folders = [folder for folder in study.folder.glob("paths/*/states/*") if not folder.name.startswith(".")]
    whole = sum((folder / "state.json").exists() for folder in folders)
    torn, beside = len(folders) - whole, len(list(_beside(study)))
    return reached, f"{whole} whole, {torn} torn, {beside} beside"


def _differences(study: Study, undisturbed: Undisturbed) -> list[str]:
    """Return what differs from the undisturbed run."""
    faults = []
    states, tables = states_of(study), tables_of(study)
    if states != undisturbed.states:
        wrong = [key for key in states.keys() | undisturbed.states if states.get(key) != undisturbed.states.get(key)]
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
