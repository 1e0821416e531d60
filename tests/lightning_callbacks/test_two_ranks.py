"""The two callbacks on two ranks over gloo, under DDP and FSDP2: forks where planned, a branch, killed and resumed."""

from pathlib import Path

import pytest

from lrpath.records.study import Study
from tests.integration.lab import call_on_ranks
from tests.lightning_callbacks.plain import fit, run
from tests.lightning_callbacks.test_one_rank import bits

pytestmark = pytest.mark.slow

PLAIN = str(Path(__file__).with_name("plain.py"))


def test_two_ranks_fork_branch_and_resume_with_equal_bits(tmp_path: Path) -> None:
    ddp, fsdp = (f"{name}:{tmp_path / name}" for name in ("ddp", "fsdp"))
    again = [f"{one}-killed:{path}" for one in (ddp, fsdp) for path in ("main", "v1")]
    first = [f"{ddp}:main", f"{ddp}-killed:main:8", *again[:2], f"{fsdp}:main", f"{fsdp}-killed:main:8:kill"]
    dying = call_on_ranks(PLAIN, *first, ranks=2, folder=tmp_path)
    begin = run(tmp_path / "fsdp-killed", "main").begin
    done = call_on_ranks(PLAIN, *again[2:], ranks=2, folder=tmp_path)

    assert dying.code != 0, dying.err
    assert done.code == 0, done.err + dying.err
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
