"""Further processes of this machine that run paths beside this one: `workers=2` starts one, `workers=8` seven.

A worker is `python -m lrpath.assembly.worker`. It gets the configuration on its standard input, imports torch while
this process prepares the text, begins when it is told that the plan is kept, and ends with the plan; its standard
output is JSON, a message a line. This process is worker 1. Paths are shared out as between any processes with
`wait=true`: by their leases. A worker that fails leaves its path to the others, and one whose first process is gone
saves and ends.
"""

import contextlib
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import IO

from lrpath.assembly.project import Project
from lrpath.config.schema import Config
from lrpath.errors import ConfigError, StoppedError
from lrpath.training.distributed import signals
from lrpath.training.settings import StrategySettings

BEGIN = "begin"
DEVICE = "device"
LINE = "line"
UPDATES = "updates"


def worker_count(config: Config) -> int:
    """Return how many processes of this machine run paths side by side: one, where ranks make each path together."""
    return config.workers if config.strategy.name == "single" else 1


def with_share_of_cores(config: Config) -> StrategySettings:
    """Return the strategy of one worker: if it names no threads, those of its share of the cores."""
    workers, strategy = worker_count(config), config.strategy
    if workers == 1 or strategy.threads is not None:
        return strategy
    return replace(strategy, threads=max(1, _cores() // workers))


def _cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_device(worker: int, *, count: int, visible: str | None) -> str | None:
    """Return what CUDA_VISIBLE_DEVICES is to be for a worker, so that each has a GPU of its own while there are enough.

    Args:
        worker: Its number, from 1, which is this process on its first GPU.
        count: GPUs that this process sees.
        visible: The variable in this process.

    >>> [visible_device(worker, count=2, visible=None) for worker in (2, 3)], visible_device(2, count=2, visible="4,7")
    (['1', '0'], '7')
    >>> visible_device(2, count=0, visible=None) is None
    True
    """
    if count == 0:
        return None
    named = [str(number) for number in range(count)] if not visible else visible.split(",")[:count]
    return named[(worker - 1) % len(named)].strip()


@dataclass(kw_only=True)
class WorkerPool:
    """The further workers of a plan; as a block, none of them is left behind it.

    Args:
        count: Workers, this process with them.
        show: Shows a line.
    """

    count: int
    show: Callable[[str], None]
    _workers: list["_Worker"] = field(default_factory=list)
    _stopped: bool = False

    @contextlib.contextmanager
    def started(self, config: Config) -> Iterator["WorkerPool"]:
        """Start the workers of a configuration; they end with the block, and are asked to save if it raises."""
        with signals.telling(self._stop):
            try:
                for number in range(2, self.count + 1):
                    self._workers.append(_Worker.start(number, config, show=self.show))
                yield self
            except BaseException:
                self._stop()
                raise
            finally:
                for worker in self._workers:
                    worker.end()

    def begin(self, *, count_devices: Callable[[], int] = int) -> None:
        """Let the workers begin, now that the plan is kept.

        Args:
            count_devices: Returns the GPUs that this process sees, which are shared out; they are not asked for without
                workers.
        """
        if not self._workers:
            return
        self.show(f"{self.count} workers run paths side by side")
        count, visible = count_devices(), os.environ.get("CUDA_VISIBLE_DEVICES")
        for worker in self._workers:
            worker.begin(visible_device(worker.number, count=count, visible=visible))

    def finish(self) -> int:
        """Wait for the workers, and return how many updates they have run."""
        return sum(worker.finish() for worker in self._workers)

    def _stop(self) -> None:
        """Ask the workers to save and end, once: a second signal would end them before they have saved."""
        stopping, self._stopped = not self._stopped, True
        for worker in self._workers if stopping else ():
            worker.process.terminate()


@dataclass(kw_only=True)
class _Worker:
    """One further process, and the thread that shows what it says."""

    number: int
    process: "subprocess.Popen[bytes]"
    show: Callable[[str], None]
    updates: int = 0
    reading: threading.Thread | None = None

    @classmethod
    def start(cls, number: int, config: Config, *, show: Callable[[str], None]) -> "_Worker":
        process = subprocess.Popen(
            [sys.executable, "-m", "lrpath.assembly.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {signals.WORKER: str(number)},
            process_group=0,  # the terminal's interrupt would reach it besides the signal that it is sent
        )
        worker = cls(number=number, process=process, show=show)
        worker.reading = threading.Thread(target=worker._read, name=f"worker {number}", daemon=True)
        worker.reading.start()
        worker._tell(pickle.dumps((sys.path, config)))
        return worker

    def begin(self, device: str | None) -> None:
        """Let it begin, on a GPU."""
        self._tell(json.dumps({BEGIN: True, DEVICE: device}).encode() + b"\n")

    def finish(self) -> int:
        """Wait for its end and return its updates; one that failed has said why, and its paths were run here."""
        code = self.process.wait()
        code = code if code >= 0 else 128 - code  # as a shell has it
        assert self.reading is not None
        self.reading.join()
        if code not in (0, StoppedError.exit_code):
            self.show(f"worker {self.number} failed with exit code {code}; its paths were run by the others")
        return self.updates

    def end(self) -> None:
        """Wait for its end, however long it saves; one more signal to this process ends it at once."""
        try:
            self.process.wait()
        except BaseException:
            self.process.kill()
            raise
        finally:
            with contextlib.suppress(BrokenPipeError):
                self._output.close()

    @property
    def _output(self) -> IO[bytes]:
        assert self.process.stdin is not None
        return self.process.stdin

    def _tell(self, message: bytes) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has ended; `finish` says so
            self._output.write(message)
            self._output.flush()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as answers:
            for text in answers:
                message = json.loads(text)
                self.updates += message.get(UPDATES, 0)
                if LINE in message:
                    self.show(f"worker {self.number}: {message[LINE]}")


def sharing(project: Project, *, show: Callable[[str], None]) -> contextlib.AbstractContextManager[WorkerPool]:
    """Return a block in which the further workers of a project run, as many as there are paths for.

    Raises:
        ConfigError: If there are more workers than this computer has cores; two there may be on one.
    """
    config, most = project.config, max(2, os.cpu_count() or 1)
    if config.workers > most:
        text = f"workers={config.workers} must lie in [1, {most}], the cores of this computer"
        raise ConfigError(text, field="workers", value=config.workers)
    if config.workers > 1 and config.strategy.name != "single":
        show(f"workers={config.workers} has no effect with strategy={config.strategy.name}, whose ranks run each path")
    count = worker_count(config)
    if count > 1 and not project.waits_for_tokens:
        count = min(count, _paths_to_run(project))
    return WorkerPool(count=count, show=show).started(config)


def _paths_to_run(project: Project) -> int:
    """Return how many paths have yet to be run, at least 1."""
    tree, selected, study = project.plan.tree, project.selected, project.study
    names = {path.id for path in tree.paths} if selected is None else set(selected)
    missing = {key.path_id for key in tree.states() if key.path_id in names and not study.has_state(key)}
    return max(1, len(missing))
