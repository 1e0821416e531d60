"""The two callbacks on two ranks over gloo, under DDP and FSDP2: forks where planned, a branch, killed and resumed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lrpath.records.study import Study
from tests.integration.lab import REPOSITORY
from tests.lightning_callbacks.plain import fit, run
from tests.lightning_callbacks.test_one_rank import bits

pytestmark = pytest.mark.slow

PLAIN = Path(__file__).with_name("plain.py")


def torchrun(*words: str) -> subprocess.CompletedProcess[str]:
    place = ("--nproc-per-node=2", "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0")
    command = [sys.executable, "-m", "torch.distributed.run", *place, str(PLAIN), *words]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_ranks_fork_branch_and_resume_with_equal_bits(tmp_path: Path, strategy: str) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    dying = torchrun(strategy, f"{whole}:main", f"{killed}:main:8")
    begin = run(killed, "main").begin
    done = torchrun(strategy, f"{killed}:main", f"{killed}:v1")

    assert done.returncode == 0, done.stderr
    assert begin == 6, dying.stderr
    kept = bits(whole)
    assert {name: one for name, one in bits(killed).items() if name in kept} == kept
    assert {name.rpartition(" ")[2] for name in kept} >= {f"{position:09d}" for position in (4, 10, 14)}
    assert any("switching.v1" in name for name in bits(killed))
    runs = Study(killed).ledger.runs()
    assert [(one.outcome, one.ranks) for one in runs] == [("killed", 2), ("done", 2), ("done", 2)]
    fit(run(killed, "v2"))  # one rank goes on from what two have saved
    assert run(killed, "v2").updates == 0
