"""`python -m lrpath.verify study=…`: compare a study on disk with its plans; run forks again if asked to."""

import json
import os
import sys
import time

from omegaconf import DictConfig
from rich.console import Console

from lrpath import entry
from lrpath.analysis.verify.finding import Check
from lrpath.analysis.verify.study import verify_study
from lrpath.assembly.leaks import verify_held_out, verify_tokens
from lrpath.assembly.project import Project
from lrpath.config.commands import VerifyConfig, load_verify
from lrpath.config.schema import Config
from lrpath.data.remote import fetch_stores
from lrpath.errors import VerificationError
from lrpath.planning.units import write_time
from lrpath.records.study import Study
from lrpath.reporting.verify_text import result_line, verify_json, verify_text

SECONDS_BETWEEN_LINES = 10.0


def verify(cfg: DictConfig) -> None:
    """Print what was compared and what was found; the exit code is 5 if anything was."""
    settings, asked = load_verify(cfg)
    study = Study.existing(settings.outputs, settings.study)
    check = _of_files if asked.null_fork is None else _with_null_forks
    checks = check(settings, asked, study)
    if os.environ.get("RANK", "0") != "0":
        return
    as_json = settings.format == "json"
    text = json.dumps(verify_json(study, checks), indent=1) if as_json else verify_text(study, checks)
    sys.stdout.write(text + "\n")
    if any(check.findings for check in checks):
        raise VerificationError(f"{result_line(checks)} in {study.folder}; each line says what to do")


def _of_files(settings: Config, asked: VerifyConfig, study: Study) -> tuple[Check, ...]:
    """Return the checks that need nothing but the files of the study, and the tokens if they are there."""
    checks = verify_study(study, digests=asked.digests, seen=_ReadProgress().show)
    folder = fetch_stores(settings.data.folder)
    tokens = [check(study, folder=folder, reads=asked.digests) for check in (verify_tokens, verify_held_out)]
    return (*checks, *tokens)


def _with_null_forks(settings: Config, asked: VerifyConfig, study: Study) -> tuple[Check, ...]:
    """Return the checks of the files, made on the first rank, and that of the forks, which all ranks run again."""
    project = Project(settings)
    project.check_engine("lrpath.verify null_fork=…")
    _ = project.plan  # an impossible plan is refused before torch is imported
    with entry.lasting():
        from lrpath.assembly.training_factory import build_hardware, open_training_factory
        from lrpath.training.null_fork import verify_null_forks

    hardware = build_hardware(project)
    process_group = hardware.process_group
    with hardware.initialized():
        checks = process_group.on_rank_zero(lambda: _of_files(settings, asked, study))
        console = Console(stderr=True)
        path_trainer = open_training_factory(project, process_group).path_trainer(hardware)
        assert asked.null_fork is not None
        found = verify_null_forks(path_trainer, project.plan.tree, updates=asked.null_fork, console=console)
    return (*checks, found)


class _ReadProgress:
    """Says on standard error how much of the states has been read, and how long the rest will take."""

    def __init__(self) -> None:
        self._begun = self._shown = time.monotonic()

    def show(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._shown < SECONDS_BETWEEN_LINES:
            return
        self._shown = now
        left = write_time((now - self._begun) * (total - done) / done)
        sys.stderr.write(f"states: {done / 1e9:,.1f} of {total / 1e9:,.1f} GB read, {left} left\n")


if __name__ == "__main__":
    entry.run(verify, config_name="verify")
