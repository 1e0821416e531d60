"""Runs a project for the command line and for Python: prepares data, keeps the plan, makes what is missing."""

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from rich.console import Console

from lrpath.assembly.finished import is_finished
from lrpath.assembly.project import Project
from lrpath.assembly.release_tasks import give_tasks, open_harness
from lrpath.assembly.reuse import check_extends, read_reuse
from lrpath.assembly.worker_pool import WorkerPool, sharing
from lrpath.planning.units import write_time
from lrpath.records.commands import Command
from lrpath.records.loggers import send_rest
from lrpath.training.command.settings import CommandEngine

_SECONDS_BETWEEN_LINES = 10.0
"""Where progress is written into a file, so often does it get a line."""


def execute(
    project: Project,
    console: Console,
    *,
    command: Callable[[], Command],
    importing: AbstractContextManager[None] | None = None,
) -> int | None:
    """Make every state that a project's plan needs, give its releases their tasks, and return how many updates ran.

    Args:
        project: What to run.
        console: Where progress is shown.
        command: Returns what the study keeps of who ran it.
        importing: Block in which torch is imported, if anything is left to do.

    Returns:
        None on a rank that has nothing to print.

    Raises:
        LrpathError: As the parts of it do; what was saved is whole.
    """

    def show(line: str) -> None:
        _show(console, line)

    harness = open_harness(project, show=show)
    updates = _make_states(project, console, command=command, importing=importing)
    if harness is not None and updates is not None:
        give_tasks(project, harness, show=show)
    return updates


def _make_states(
    project: Project,
    console: Console,
    *,
    command: Callable[[], Command],
    importing: AbstractContextManager[None] | None,
) -> int | None:
    if not project.waits_for_tokens:
        _ = project.selected, project.plan  # what is impossible is refused before torch is imported
        check_extends(project)
    if project.study.url is not None:
        _show(console, f"{project.study.url}: the working copy is {project.study.folder}")
    if not project.waits_for_tokens and is_finished(project, progress=_preparation_line(console)):
        _send_rest(project)
        return 0
    with sharing(project, show=lambda line: _show(console, line)) as workers:
        if isinstance(project.config.engine, CommandEngine):
            return _run_command(project, console, workers, command=command)
        return _run_updates(project, console, workers, command=command, importing=importing)


def _run_updates(
    project: Project,
    console: Console,
    workers: WorkerPool,
    *,
    command: Callable[[], Command],
    importing: AbstractContextManager[None] | None,
) -> int | None:
    """Make what is missing by lrpath's own trainer."""
    with importing or nullcontext():
        import torch

        from lrpath.assembly.training_factory import build_hardware, check_same, open_training_factory

    hardware = build_hardware(project)
    with hardware.initialized():
        process_group = hardware.process_group
        factory = open_training_factory(
            project, process_group, progress=_preparation_line(console), notice=lambda line: _show(console, line)
        )
        process_group.on_rank_zero(lambda: check_extends(project))  # now that the tokens are known
        if process_group.is_rank_zero:
            weights = project.plan.weights
            begins = () if weights is None else (f"begins with {weights.line()}",)
            for line in (*begins, *factory.increment_lines(), *_plan_lines(project)):
                _show(console, line)
        runner = factory.runner(hardware, console, workers=workers.count, check_workers=workers.check)
        process_group.on_rank_zero(lambda: _show(console, hardware.describe(project.recipe)))
        process_group.on_rank_zero(project.keep_plan)
        process_group.on_rank_zero(lambda: project.study.commands.add(command()))
        check_same(process_group, project)
        if project.config.logger.name == "tensorboard":
            from lrpath.reporting.report import start_tensorboard

            process_group.on_rank_zero(lambda: start_tensorboard(project.study))
        workers.begin(count_devices=torch.cuda.device_count)
        updates = runner.run() + workers.finish()
        process_group.on_rank_zero(lambda: _send_rest(project))
    return updates if process_group.is_rank_zero else None


def _run_command(project: Project, console: Console, workers: WorkerPool, *, command: Callable[[], Command]) -> int:
    """Make what is missing by the command of another trainer, without torch; return how many updates that took."""
    from lrpath.assembly.command_factory import build_command_trainer
    from lrpath.assembly.runner import build_runner

    store = project.prepare(_preparation_line(console), notice=lambda line: _show(console, line))
    check_extends(project)  # now that the tokens are known
    for line in _plan_lines(project):
        _show(console, line)
    engine = build_command_trainer(project, store)
    runner = build_runner(project, engine, console, workers=workers.count, check_workers=workers.check)
    project.keep_plan()
    project.study.commands.add(command())
    workers.begin()
    return runner.run() + workers.finish()


def _plan_lines(project: Project) -> tuple[str, ...]:
    return (*project.plan.notes, *read_reuse(project).text().splitlines())


def _send_rest(project: Project) -> None:
    found = [project.study.find(path.id) for path in project.plan.tree.paths]
    send_rest(project.config.logger, [folder for folder in found if folder is not None])


def _show(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _preparation_line(console: Console) -> Callable[[str, int, int | None], None]:
    begun: dict[str, float] = {}
    shown = -math.inf

    def show(label: str, done: int, total: int | None) -> None:
        nonlocal shown
        now, is_new = time.monotonic(), label not in begun
        seconds = now - begun.setdefault(label, now)
        if console.is_terminal:
            line = f"preparing {label}{_share(done, total, seconds):<40}"
            console.print(line, end="\r", markup=False, highlight=False)
        elif is_new or now - shown >= _SECONDS_BETWEEN_LINES:
            shown = now
            how_far = "" if is_new else _share(done, total, seconds)
            console.print(f"preparing {label}{how_far}", markup=False, highlight=False)

    return show


def _share(done: int, total: int | None, seconds: float) -> str:
    """Write how far a part of the preparation is, and how long it takes yet where its size is known.

    >>> _share(300, 400, seconds=90.0), _share(2_000_000, None, seconds=90.0), _share(410, 400, seconds=90.0)
    (': 75 %, 0:30 left', ': 2.0 M', ': 100 %')
    """
    if not total:
        return f": {done / 1e6:.1f} M"
    part = min(done / total, 1.0)
    left = "" if seconds < 1 or part in (0, 1) else f", {write_time(seconds * (1 - part) / part)} left"
    return f": {100 * part:.0f} %{left}"
