"""SIGKILL inside prune, export and a sweep, and the same command again; what they leave is compared with a whole run's.

    python experiments/09_exactness/command_kills.py [--kills 10] [--seed 1]

So many kills of each command, at random moments of an undisturbed run of it, up to three before it is left to its end.
Every run is a fork of this process, which has imported torch. Writes a row for each kill to command_kills.csv beside
this file; exit code 1 if anything differed.
"""

import argparse
import csv
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import lrpath.reporting.report
import lrpath.training.checkpoints.export
import tests.integration.preloaded  # noqa: F401
from lrpath import entry, export, prune, train
from lrpath.analysis.verify.study import verify_study
from lrpath.records.files import digest_file
from lrpath.records.study import Study
from tests.integration.forks import start_fork, wait_for
from tests.integration.lab import Lab, write_texts

MOST = 3
CONFIGS = {train.train: "config", prune.prune: "prune", export.export: "export"}


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command that is killed.

    Args:
        name: For the table.
        task: Its entry.
        words: What it is given.
        compared: Files, as patterns below the study's folder, that must be those of an undisturbed run.
        ready: Makes the folder in which it is run from that of the laboratory.
    """

    name: str
    task: Callable[..., None]
    words: tuple[str, ...]
    compared: tuple[str, ...]
    ready: Callable[[Path], None]


def start(folder: Path, task: Callable[..., None], words: tuple[str, ...]) -> int:
    """Start a command in a fork with a process group of its own, and return its process number."""

    def act() -> None:
        os.setpgid(0, 0)
        os.chdir(folder)
        log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.argv = [f"lrpath.{CONFIGS[task]}", *words]
        entry.run(task, config_name=CONFIGS[task])

    return start_fork(act)


def compared(folder: Path, patterns: tuple[str, ...]) -> dict[str, str]:
    """Return the digests of the files that an undisturbed run leaves too."""
    files = {file for pattern in patterns for file in folder.glob(pattern) if file.is_file()}
    return {str(file.relative_to(folder)): digest_file(file) for file in files}


def faults_in(folder: Path, wanted: dict[str, str], patterns: tuple[str, ...]) -> list[str]:
    """Return what differs from an undisturbed run, what was said that should not, and what was left behind."""
    found = compared(folder, patterns)
    names = [name for name in sorted(wanted.keys() | found) if wanted.get(name) != found.get(name)]
    faults = [f"differ: {names[:3]}"] if names else []
    faults += ["a traceback"] if "Traceback" in (folder / "log").read_text() else []
    for file in (folder / "study").rglob(
        ".tmp-*"
    ):  # in a folder that processes share, one is cleared once it is an hour old
        os.utime(file, (0, 0))
    Study(folder / "study").clear_leftovers()
    left = [file.name for file in (folder / "study").rglob(".tmp-*")]
    faults += [f"left on disk: {left}"] if left else []
    return faults + [finding.text for check in verify_study(Study(folder / "study")) for finding in check.findings]


def kill(command: Command, base: Path, *, kills: int, chance: random.Random) -> list[tuple[object, ...]]:
    """Kill a command so many times; return rows of the table."""

    def fresh(name: str) -> Path:
        folder = base.parent / f"{command.name}-{name}"
        shutil.copytree(base, folder)
        command.ready(folder)
        return folder

    whole, begun = fresh("whole"), time.monotonic()
    assert wait_for(start(whole, command.task, command.words)) == 0, (whole / "log").read_text()[-2000:]
    seconds = time.monotonic() - begun
    wanted = compared(whole, command.compared)
    assert not faults_in(whole, wanted, command.compared)
    rows: list[tuple[object, ...]] = []
    number = 0
    while len(rows) < kills:
        number += 1
        folder, made, code = fresh(f"{number}"), [], None
        while code != 0:
            after, begun = chance.uniform(0, seconds), time.monotonic()
            process = start(folder, command.task, command.words)
            if len(made) < MOST:
                time.sleep(after)
                try:
                    os.killpg(process, signal.SIGKILL)
                except ProcessLookupError:  # so early that it has no group of its own yet
                    os.kill(process, signal.SIGKILL)
            code = wait_for(process)
            if code == -signal.SIGKILL:
                made.append((command.name, number, len(made) + 1, f"{after:.3f}", f"{seconds:.3f}"))
            elif code:
                break
        faults = faults_in(folder, wanted, command.compared)
        faults += [f"it ended with {code}"] if code else []
        rows += [(*row, "; ".join(faults) or "equal") for row in made]
        print(f"{command.name} {number}: {len(made)} kills, {'; '.join(faults) or 'equal'}", flush=True)
        if not faults:
            shutil.rmtree(folder)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=10, help="of each command")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    lrpath.reporting.report.write_report = lambda study: study.name  # figures take longer than these runs
    with tempfile.TemporaryDirectory() as name:
        base = Path(name) / "base"
        base.mkdir()
        write_texts(base / "texts")
        lab = Lab(folder=Path(), texts=Path("texts"), stores=Path("stores"))  # below the folder of each run
        for changes in (("alpha=0.6",), ("alpha=0.3",)):
            assert wait_for(start(base, train.train, tuple(lab.overrides(*changes)))) == 0
        swept = lab.overrides("alpha=0.2,0.4", "study=study")
        states = "study/paths/*/states/*/*.safetensors"
        commands = (
            Command(
                name="prune",
                task=prune.prune,
                words=("study=study", "outputs=.", "ask=false"),
                compared=(states,),
                ready=drop_second_plan,
            ),
            Command(
                name="export",
                task=export.export,
                words=("study=study", "outputs=.", "release=v2", "folder=model"),
                compared=("model/*",),
                ready=drop_second_plan,
            ),
            Command(
                name="sweep",
                task=train.train,
                words=("-m", *swept),
                compared=(states, "study/paths/*/metrics.csv", "study/paths/*/evaluation.csv"),
                ready=lambda folder: shutil.rmtree(folder / "study"),
            ),
        )
        chance = random.Random(given.seed)
        rows = [row for one in commands for row in kill(one, base, kills=given.kills, chance=chance)]
    with Path(__file__).with_name("command_kills.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["command", "run", "number", "after_seconds", "undisturbed_seconds", "outcome"])
        table.writerows(rows)
    sys.exit(any(row[-1] != "equal" for row in rows))


def drop_second_plan(folder: Path) -> None:
    """Let a study keep its first plan only, so that states of the second are needed no more."""
    study = Study(folder / "study")
    _, second = study.plans()
    study.drop_plan(second)


if __name__ == "__main__":
    main()
