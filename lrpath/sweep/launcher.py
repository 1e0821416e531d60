"""A Hydra launcher that gives every job of a sweep ranks of its own: one torchrun after another, on this node.

`hydra/launcher=torchrun hydra.launcher.ranks=2` chooses it. A job is the command that a person would type: its
overrides and this command's own settings of Hydra (`--config-dir`, …), in the environment that this command was given.
"""

import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from hydra._internal.utils import get_args_parser
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig

from lrpath import entry
from lrpath.errors import ConfigError, StoppedError
from lrpath.training.distributed.signals import shell_code

RUN_AGAIN = StoppedError.exit_code
"""Exit code of a job that was stopped, has saved its states, and goes on when it is run again."""

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)

_HEARD = "--signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"
"""torchrun's own list, and what SLURM sends before a time limit."""

# What torchrun, a step of srun or a task of submitit tells the processes that it starts; a job's ranks are not those.
_OF_ANOTHER_GROUP = re.compile(
    "RANK|WORLD_SIZE|(LOCAL|GROUP|ROLE)_(RANK|WORLD_SIZE|NAME)|NODE_RANK|MASTER_(ADDR|PORT)|TORCHELASTIC_.*|PET_.*"
    "|SLURM_(PROCID|LOCALID|NODEID|GTIDS|TASK_PID|NTASKS|NPROCS|STEP.*|SRUN_.*)|PMIX?_.*|SUBMITIT_.*|HYDRA_MAIN_MODULE"
)
# Settings of Hydra that are for the sweep as a whole and not for one job.
_OF_THE_SWEEP = re.compile(r"[+~]*hydra[./](launcher|sweeper|sweep|mode)\b.*", flags=re.DOTALL)


class TorchrunLauncher(Launcher):
    """Runs the jobs of a sweep one after another, each on several ranks of this node.

    Args:
        ranks: Processes of each job.
        max_restarts: How often torchrun starts the ranks of a job again by itself after one has failed.
        save_seconds: How long ranks may take to save and end after a signal before they are killed.

    Raises:
        ConfigError: If one of them is not a whole number, or too small.
    """

    def __init__(self, *, ranks: Any, max_restarts: Any, save_seconds: Any) -> None:
        self.ranks = _at_least(1, "ranks", ranks)
        self._max_restarts = _at_least(0, "max_restarts", max_restarts)
        self._save_seconds = _at_least(1, "save_seconds", save_seconds)
        self._settings: list[str] = []

    def setup(self, *, config: DictConfig, **_: Any) -> None:
        """Take the sweep's configuration."""
        self._settings = [text for text in config.hydra.overrides.hydra if not _OF_THE_SWEEP.fullmatch(text)]

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Run the jobs; the first that fails ends this process with its exit code, and no other job starts."""
        shared = set.intersection(*map(set, job_overrides)) if len(job_overrides) > 1 else set()
        for number, overrides in enumerate(job_overrides, start=initial_job_idx + 1):
            own = " ".join(text for text in overrides if text not in shared)
            job = f"job {number} of {initial_job_idx + len(job_overrides)}, {own}"
            sys.stdout.write(f"{job}\n")
            sys.stdout.flush()
            code = _run(self.command(overrides), environment=self.environment(entry.given_environment()))
            if code:
                what = "was stopped" if code == RUN_AGAIN else f"failed with exit code {code} for the reason above"
                sys.stderr.write(f"error: {job}: {what}; run the same command again to go on from what was saved\n")
                sys.exit(code)
        done = JobReturn(status=JobStatus.COMPLETED)
        return [done for _ in job_overrides]

    def command(self, overrides: Sequence[str]) -> list[str]:
        """Return the command line of a job."""
        torchrun = ["--standalone", f"--nproc-per-node={self.ranks}", f"--max-restarts={self._max_restarts}", _HEARD]
        given, _ = get_args_parser().parse_known_args(sys.argv[1:])
        places = {
            "--config-dir": given.config_dir,
            "--config-name": given.config_name,
            "--config-path": given.config_path,
        }
        hydra = [f"{option}={value}" for option, value in places.items() if value is not None]
        train = ["-m", "lrpath.train", *hydra, *overrides, *self._settings, "hydra.mode=RUN"]
        return [sys.executable, "-m", "lrpath.sweep.torchrun", *torchrun, *train]

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return a job's environment: the given one, without what belongs to another process group."""
        clean = {name: value for name, value in given.items() if not _OF_ANOTHER_GROUP.fullmatch(name)}
        threads = {"OMP_NUM_THREADS": "1"} if self.ranks > 1 else {}  # what torchrun sets, with a warning
        return threads | clean | {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(self._save_seconds)}


def _at_least(least: int, name: str, value: Any) -> int:
    if type(value) is not int or value < least:
        field = f"hydra.launcher.{name}"
        raise ConfigError(f"{field}={value} must be a whole number, at least {least}", field=field, value=value)
    return value


def _run(command: Sequence[str], *, environment: Mapping[str, str]) -> int:
    """Run a command to its end and return its exit code; a signal to this process asks it, once, to stop.

    The command gets a process group of its own: the terminal's interrupt would reach it there besides.
    """
    signals: list[int] = []
    jobs: list[subprocess.Popen[bytes]] = []

    def stop(number: int, _: object) -> None:
        signals.append(number)
        if len(signals) == 1:
            for job in jobs:
                job.terminate()

    with ExitStack() as handlers:
        for number in _STOPPING:
            if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
                handlers.callback(signal.signal, number, signal.signal(number, stop))
        jobs.append(subprocess.Popen(command, env=dict(environment), process_group=0))
        if signals:
            jobs[0].terminate()
        code = shell_code(jobs[0].wait())
    return RUN_AGAIN if signals and code in (0, 128 + signal.SIGTERM) else code
