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


def test_two_ranks_fork_branch_and_resume_with_equal_bits(tmp_path: Path) -> None:
    ddp, fsdp = (f"{name}:{tmp_path / name}" for name in ("ddp", "fsdp"))
    again = [f"{one}-killed:{path}" for one in (ddp, fsdp) for path in ("main", "v1")]
    dying = torchrun(f"{ddp}:main", f"{ddp}-killed:main:8", *again[:2], f"{fsdp}:main", f"{fsdp}-killed:main:8:kill")
    begin = run(tmp_path / "fsdp-killed", "main").begin
    done = torchrun(*again[2:])

    assert dying.returncode != 0, dying.stderr
    assert done.returncode == 0, done.stderr + dying.stderr
    assert begin == 6
    for name, outcome in (("ddp", "stopped"), ("fsdp", "killed")):
        kept, killed = bits(tmp_path / name), bits(tmp_path / f"{name}-killed")
        assert {state: one for state, one in killed.items() if state in kept} == kept
        assert {state.rpartition(" ")[2] for state in kept} >= {f"{position:09d}" for position in (4, 10, 14)}
        assert any("switching.v1" in state for state in killed)
        runs = Study(tmp_path / f"{name}-killed").ledger.runs()
        assert [(one.outcome, one.ranks) for one in runs] == [(outcome, 2), ("done", 2), ("done", 2)]
    fit(run(tmp_path / "fsdp-killed", "v2"))  # one rank goes on from what two have saved
    assert run(tmp_path / "fsdp-killed", "v2").updates == 0
