"""The launcher of `-m … hydra/launcher=torchrun`: the command and environment of a job, and how jobs end."""

import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import OmegaConf

from lrpath import entry, train
from lrpath.errors import ConfigError
from lrpath.sweep import KeepPlans
from lrpath.sweep.launcher import TorchrunLauncher
from tests.refusals import check_sentence, ended, refused

CLEAN = {
    "PATH": "/bin",
    "HOME": "/home/me",
    "CUDA_VISIBLE_DEVICES": "0,1",
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_END_TIME": "9",
}


def launcher_of(*settings: str, **fields: Any) -> TorchrunLauncher:
    made = TorchrunLauncher(**{"ranks": 2, "max_restarts": 0, "save_seconds": 600, **fields})
    made.setup(config=OmegaConf.create({"hydra": {"overrides": {"hydra": list(settings)}}}))
    return made


def test_a_job_is_the_command_that_a_person_would_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "-m", "+exp=mine", "--config-dir", "my conf", "alpha=0.4,0.6"])

    command = launcher_of("hydra/launcher=torchrun", "hydra.launcher.ranks=2", "hydra.verbose=true").command(
        ["+exp=mine", "alpha=0.4"]
    )

    assert command == [
        sys.executable,
        *shlex.split("-m lrpath.sweep.torchrun --standalone --nproc-per-node=2 --max-restarts=0"),
        "--signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1",
        *shlex.split("-m lrpath.train '--config-dir=my conf' +exp=mine alpha=0.4 hydra.verbose=true hydra.mode=RUN"),
    ]


@pytest.mark.parametrize(
    ("option", "passed"), [("-cn", "--config-name=other"), ("--config-path", "--config-path=other")]
)
def test_another_root_configuration_is_passed_on(option: str, passed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", option, "other", "--multirun", "seed=1,2"])

    command = launcher_of(ranks=8, max_restarts=3).command(["seed=1"])

    assert "--nproc-per-node=8" in command
    assert "--max-restarts=3" in command
    assert command[-3:] == [passed, "seed=1", "hydra.mode=RUN"]


@pytest.mark.parametrize(
    ("setting", "kept"),
    [
        ("hydra.searchpath=[file:///mine]", True),
        ("+hydra.job.env_set.NCCL_DEBUG=INFO", True),
        ("hydra/job_logging=default", True),
        ("hydra/launcher=torchrun", False),
        ("++hydra.launcher.ranks=2", False),
        ("hydra/sweeper=basic", False),
        ("hydra.sweeper.max_batch_size=1", False),
        ("hydra.sweep.dir=outputs/sweeps", False),
        ("hydra.mode=MULTIRUN", False),
    ],
)
def test_what_is_the_sweeps_own_does_not_reach_its_jobs(setting: str, kept: bool) -> None:
    assert (setting in launcher_of(setting).command([])) is kept


@pytest.mark.parametrize(
    "name",
    [
        *(
            "RANK",
            "WORLD_SIZE",
            "LOCAL_RANK",
            "LOCAL_WORLD_SIZE",
            "GROUP_RANK",
            "ROLE_WORLD_SIZE",
            "ROLE_NAME",
            "NODE_RANK",
        ),
        *("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_USE_AGENT_STORE", "PET_NNODES"),
        *("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS", "SLURM_STEP_ID", "SLURM_STEPID", "PMI_RANK", "PMIX_ID"),
        *("SUBMITIT_LOCAL_GLOBALID", "HYDRA_MAIN_MODULE"),
    ],
)
def test_the_environment_of_a_job_knows_nothing_of_another_process_group(name: str) -> None:
    environment = launcher_of(save_seconds=90).environment(CLEAN | {name: "1"})

    assert environment == CLEAN | {"OMP_NUM_THREADS": "1", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "90"}


def test_the_number_of_threads_that_a_person_has_set_is_kept() -> None:
    assert launcher_of().environment({"OMP_NUM_THREADS": "4"})["OMP_NUM_THREADS"] == "4"


@pytest.mark.parametrize(
    "fields",
    [
        {"ranks": 0},
        {"ranks": "two"},
        {"ranks": True},
        {"max_restarts": -1},
        {"save_seconds": 0.5},
    ],
)
def test_settings_out_of_range_are_refused(fields: dict[str, Any]) -> None:
    with refused(ConfigError):
        launcher_of(**fields)


class Stand(TorchrunLauncher):
    """Runs a line of Python for each job in place of training."""

    def command(self, overrides: Any) -> list[str]:
        return [sys.executable, "-c", f"import os, signal, sys; {overrides[-1]}"]


def stand() -> Stand:
    return Stand(ranks=2, max_restarts=0, save_seconds=1)


@pytest.mark.parametrize(
    ("line", "code"), [("sys.exit(75)", 75), ("sys.exit(4)", 4), ("os.kill(os.getpid(), signal.SIGKILL)", 137)]
)
def test_a_sweep_ends_with_the_code_of_the_job_that_fails_and_names_it(
    line: str, code: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    jobs = [["seed=1", "print('first')"], ["seed=1", line], ["seed=1", "print('third')"]]

    with pytest.raises(SystemExit) as end:
        stand().launch(jobs, 0)

    printed = capfd.readouterr()
    assert end.value.code == code
    assert printed.out.splitlines() == ["job 1 of 3, print('first')", "first", f"job 2 of 3, {line}"]
    assert printed.err.startswith(f"error: job 2 of 3, {line}: ")
    assert printed.err.count("\n") == 1
    check_sentence(printed.err)


def test_jobs_that_end_well_are_done(capfd: pytest.CaptureFixture[str]) -> None:
    results = stand().launch([["print(1)"], ["print(2)"]], 0)

    assert [result.return_value for result in results] == [None, None]
    assert capfd.readouterr().out.splitlines() == ["job 1 of 2, print(1)", "1", "job 2 of 2, print(2)", "2"]


SAVES = """import os, signal, sys
def stop(*_): print("saved", flush=True); sys.exit({code})
signal.signal(signal.SIGTERM, stop)
os.kill(os.getppid(), signal.{name})
while True: signal.pause()"""


@pytest.fixture
def signals_are_heard() -> Iterator[None]:
    """What this process inherits may be to ignore them, as under nohup or behind an ampersand."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_DFL) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals_are_heard")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize(("code", "ends_with"), [(75, 75), (0, 75), (4, 4)])
def test_a_signal_to_the_sweep_lets_its_job_save_and_starts_no_other(
    name: str, code: int, ends_with: int, capfd: pytest.CaptureFixture[str]
) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    jobs = [["", f"exec({SAVES.format(code=code, name=name)!r})"], ["", "print('second')"]]

    with pytest.raises(SystemExit) as end:
        stand().launch(jobs, 0)

    printed = capfd.readouterr().out
    assert end.value.code == ends_with
    assert "\nsaved\n" in printed
    assert "second" not in printed.splitlines()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


REFUSED: list[tuple[str, str, object]] = [
    ("strategy=ddp", "strategy", "ddp"),
    ("strategy=single,fsdp", "strategy", "fsdp"),
    ("hydra/launcher=torchrun strategy=ddp", "hydra.launcher.ranks", None),
    ("hydra/launcher=torchrun strategy=ddp hydra.launcher.ranks=0", "hydra.launcher.ranks", 0),
    ("hydra/launcher=torchrun hydra.launcher.ranks=2", "strategy", "single"),
    ("hydra/launcher=torchrn strategy=ddp", "hydra/launcher", "torchrn"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("changes", "field", "value"), REFUSED, ids=[row[0] for row in REFUSED])
def test_a_sweep_whose_jobs_cannot_get_their_ranks_is_refused_before_anything_is_written(
    changes: str,
    field: str,
    value: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py", "-m", "alpha=0.4,0.6", *changes.split()])

    with ended(ConfigError, capsys=capsys, field=field, value=value):
        entry.run(train.train, config_name="config")

    assert list(tmp_path.iterdir()) == []


def test_a_task_of_submitit_is_told_its_rank_and_no_other_process_needs_submitit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stand-in for the package, which is no dependency; it was tried with submitit 1.5.4 and two tasks."""
    told: list[dict[str, Any]] = []
    stand_in = SimpleNamespace(TorchDistributedEnvironment=lambda: SimpleNamespace(export=lambda **o: told.append(o)))
    monkeypatch.setitem(sys.modules, "submitit", SimpleNamespace(helpers=stand_in))
    monkeypatch.setitem(sys.modules, "submitit.helpers", stand_in)
    monkeypatch.delenv("SUBMITIT_EXECUTOR", raising=False)

    KeepPlans().on_job_start(OmegaConf.create())
    assert told == []
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    KeepPlans().on_job_start(OmegaConf.create())

    assert told == [{"set_cuda_visible_devices": False}]
