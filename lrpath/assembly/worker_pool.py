"""Further processes of this machine that run paths beside this one: `workers=2` starts one, `workers=8` seven.

A worker is `python -m lrpath.assembly.worker`. It gets the configuration on its standard input, imports torch while
this process prepares the text, begins when it is told that the plan is kept, and ends with the plan; what it answers
is JSON, a message a line. This process is worker 1. Paths are shared out as between any processes with `wait=true`: by
their leases. A worker that dies leaves its path to the others, and one whose first process is gone saves and ends. If
one is refused something, for a loss that is not finite perhaps, the plan ends: the others would be refused it too.
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

from lrpath.assembly.project import Project
from lrpath.config.schema import Config
from lrpath.errors import ConfigError, LrpathError
from lrpath.planning.paths import StateKey
from lrpath.training.distributed import signals
from lrpath.training.settings import StrategySettings

BEGIN = "begin"
DEVICE = "device"
LINE = "line"
UPDATES = "updates"
ERROR = "error"
EXIT_CODE = "exit code"

_SECONDS_TO_END = 10.0
"""How long a worker may take, after the last path, until it is said that it is waited for."""


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
        """Start the workers of a configuration; they end with the block, and are asked to save if it raises.

        One more signal than the one that stops this process ends them at once.
        """
        with signals.telling(self._stop):
            try:
                for number in range(2, self.count + 1):
                    self._workers.append(_Worker(number, pool=self, config=config))
                yield self
            except BaseException:
                self._stop()
                raise
            finally:
                self._end()

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
            device = visible_device(worker.number, count=count, visible=visible)
            worker.tell(json.dumps({BEGIN: True, DEVICE: device}).encode() + b"\n")

    def check(self) -> None:
        """Raise what a worker was refused: it would be refused here too, after the same updates.

        Raises:
            LrpathError: With the worker's words and exit code.
        """
        for worker in self._workers:
            if worker.error is not None:
                raise worker.error

    def finish(self) -> int:
        """Wait for the workers, and return how many updates they have run; raises as `check`."""
        for worker in self._workers:
            worker.reading.join(_SECONDS_TO_END)
            if worker.reading.is_alive():
                self.show(f"waiting for worker {worker.number}, process {worker.process.pid}, to end")
                worker.reading.join()
        self.check()
        return sum(worker.updates for worker in self._workers)

    @property
    def is_stopped(self) -> bool:
        """Whether the workers have been asked to save and end."""
        return self._stopped

    def _stop(self) -> None:
        """Ask the workers to save and end, once: a second signal would end them before they have saved."""
        stopping, self._stopped = not self._stopped, True
        for worker in self._workers if stopping else ():
            worker.process.terminate()

    def _end(self) -> None:
        try:
            for worker in self._workers:
                worker.process.wait()
        except BaseException:
            for worker in self._workers:
                worker.process.kill()
            raise
        finally:
            for worker in self._workers:
                worker.close()


class _Worker:
    """One further process, and the thread that takes what it says.

    Attributes:
        number: Its number, from 2.
        process: It.
        updates: How many updates it has run, once it has ended.
        error: What it was refused.
        reading: The thread, which ends with the process.
    """

    def __init__(self, number: int, *, pool: WorkerPool, config: Config) -> None:
        self.number, self._pool = number, pool
        self.updates = 0
        self.error: LrpathError | None = None
        answers, for_answers = os.pipe()  # its standard output is for what code of the user's prints
        command = [sys.executable, "-m", "lrpath.assembly.worker", str(for_answers)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, pass_fds=(for_answers,), env=os.environ | {signals.WORKER: str(number)}
        )
        os.close(for_answers)
        self.reading = threading.Thread(target=self._read, args=(answers,), name=f"worker {number}", daemon=True)
        self.reading.start()
        self.tell(pickle.dumps((sys.path, config, pool.count)))

    def tell(self, message: bytes) -> None:
        """Write to its standard input."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended, and `_read` says so
            self.process.stdin.write(message)
            self.process.stdin.flush()

    def close(self) -> None:
        """Close its standard input."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def _read(self, answers: int) -> None:
        with os.fdopen(answers, "rb") as lines:
            for text in lines:
                message = json.loads(text)
                if LINE in message:
                    self._show(f"worker {self.number}: {message[LINE]}")
                if ERROR in message:
                    self.error = LrpathError(f"worker {self.number}: {message[ERROR]}")
                    self.error.exit_code = message[EXIT_CODE]
                    self._show(f"{self.error}; no other path begins")
                self.updates += message.get(UPDATES, 0)
        code = self.process.wait()
        if code and self.error is None and not self._pool.is_stopped:
            code = signals.shell_code(code)
            self._show(f"worker {self.number} has ended with exit code {code}; the others run its paths")

    def _show(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError, SystemExit):  # rich's answer to a reader that has gone away
            self._pool.show(line)


def sharing(project: Project, *, show: Callable[[str], None]) -> contextlib.AbstractContextManager[WorkerPool]:
    """Return a block in which the further workers of a project run, as many as find a path at once.

    Raises:
        ConfigError: If there are more workers than this process may use cores (two there may be on one), or they
            cannot import code of the user's.
    """
    config, most = project.config, max(2, _cores())
    if config.workers > most:
        text = f"workers={config.workers} must lie in [1, {most}], the cores of this computer"
        raise ConfigError(text, field="workers", value=config.workers)
    if worker_count(config) < config.workers and os.environ.get("RANK", "0") == "0":
        show(f"workers={config.workers} has no effect with strategy={config.strategy.name}, whose ranks run each path")
    count = worker_count(config)
    if count > 1 and not project.waits_for_tokens:
        count = min(count, _chains_to_run(project))
    if count > 1 and "__main__:" in repr(config):
        raise ConfigError(
            f"workers={config.workers}: code of yours stands in the script or notebook itself (__main__), which other "
            "processes do not import; put it into a module beside it, or give workers=1",
            field="workers",
            value=config.workers,
        )
    return WorkerPool(count=count, show=show).started(config)


def _chains_to_run(project: Project) -> int:
    """Return how many paths may have to be run at once, at least 1: those at whose end no other that is missing begins.

    A main path and the branch that leaves its end are one, and so is all of continual training.
    """
    tree, selected, study = project.plan.tree, project.selected, project.study
    names = {path.id for path in tree.paths} if selected is None else set(selected)
    missing = {key.path_id for key in tree.states() if key.path_id in names and not study.has_state(key)}
    ends = {StateKey(name, tree.end(name)) for name in missing}
    followed = ends & {path.parent for path in tree.paths if path.parent is not None and path.id in missing}
    return max(1, len(ends - followed))
