"""`python -m lrpath.train +exp=…`: prepare the data, make every state the plan needs, and report."""

import sys
from collections.abc import Callable
from dataclasses import replace

from omegaconf import DictConfig
from rich.console import Console

from lrpath import entry
from lrpath.assembly.finished import is_finished
from lrpath.assembly.project import Project
from lrpath.assembly.reuse import check_extends, read_reuse
from lrpath.config import schema
from lrpath.records.commands import Command
from lrpath.training.command.settings import CommandEngine


def train(cfg: DictConfig) -> None:
    """Run a configuration's plan; what is on disk is not run again."""
    config = schema.load(cfg)
    if entry.runs_beside_others() and config.paths is None:  # with `paths`, it could wait for a job that starts later
        config = replace(config, wait=True)
    project = Project(config)
    if not project.waits_for_tokens:
        _ = project.selected, project.plan  # what is impossible is refused before torch is imported
        check_extends(project)
    console = Console()
    if project.study.url is not None:
        _show(console, f"{project.study.url}: the working copy is {project.study.folder}")
    done = not project.waits_for_tokens and is_finished(project, progress=_preparation_line(console))
    run = _run_command if isinstance(config.engine, CommandEngine) else _run
    updates = 0 if done else run(project, console)
    if updates is None:
        return
    from lrpath.reporting.report import write_report

    sys.stdout.write(f"\n{updates:,} updates were run\n{write_report(project.study)}\n")
    project.study.upload()


def _run(project: Project, console: Console) -> int | None:
    """Make what is missing and return how many updates that took; None on a rank that has nothing to print."""
    with entry.lasting():
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
            for line in (*begins, *factory.increment_lines(), *read_reuse(project).text().splitlines()):
                _show(console, line)
        runner = factory.runner(hardware, console)
        process_group.on_rank_zero(project.keep_plan)
        process_group.on_rank_zero(lambda: project.study.commands.add(Command.of_this_process("lrpath.train")))
        check_same(process_group, project)
        if project.config.logger.name == "tensorboard":
            from lrpath.reporting.report import start_tensorboard

            process_group.on_rank_zero(lambda: start_tensorboard(project.study))
        updates = runner.run()
    return updates if process_group.is_rank_zero else None


def _run_command(project: Project, console: Console) -> int:
    """Make what is missing by the command of another trainer, without torch; return how many updates that took."""
    from lrpath.assembly.command_factory import build_command_trainer
    from lrpath.assembly.runner import build_runner

    store = project.prepare(_preparation_line(console), notice=lambda line: _show(console, line))
    check_extends(project)  # now that the tokens are known
    for line in read_reuse(project).text().splitlines():
        _show(console, line)
    runner = build_runner(project, build_command_trainer(project, store), console)
    project.keep_plan()
    project.study.commands.add(Command.of_this_process("lrpath.train"))
    return runner.run()


def _show(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _preparation_line(console: Console) -> Callable[[str, int, int | None], None]:
    shown: set[str] = set()

    def show(label: str, done: int, total: int | None) -> None:
        if console.is_terminal:
            share = f"{min(done / total, 1):4.0%}" if total else f"{done / 1e6:.1f} M"
            console.print(f"preparing {label}: {share}", end="\r", markup=False, highlight=False)
        elif label not in shown:
            shown.add(label)
            console.print(f"preparing {label}", markup=False, highlight=False)

    return show


if __name__ == "__main__":
    entry.run(train, config_name="config")
