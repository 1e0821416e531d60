"""Promise 4: a plan on several ranks reads the same samples as on one, and its states go on on any other ranks.

All on the CPU over gloo, started by torchrun. Two ranks on two sequences add the same two numbers as one process that
accumulates two micro-batches, so bits are equal; other cuts of an update add in another order, within `ROUNDING`.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from lrpath.records.study import Study
from tests.integration.lab import Job, Lab, losses_of, states_of, tables_of

pytestmark = pytest.mark.slow

ROUNDING = 2e-5
"""Largest difference of a loss [nats] over the 20 updates of the small study, where fp32 sums run in another order:
1e-6 was seen; AdamW's division by a small second moment may enlarge it."""

PAIR = ("batch.sequences_per_update=2", "strategy.micro_batch=1")
DDP, FSDP = "strategy=ddp", "strategy=fsdp"


@pytest.fixture(scope="module")
def alone(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Return a laboratory in which one process has run the small study: `whole`, and `pair` with two sequences."""
    alone = Lab(folder=tmp_path_factory.mktemp("alone"), texts=corpus / "texts", stores=corpus / "stores")
    alone.run("study=whole")
    alone.run("study=pair", *PAIR)
    return alone


def largest_difference(one: Study, two: Study, *, column: str = "loss", updates: int | None = None) -> float:
    """Return the largest difference in a column of two studies with the same rows, or the first so many."""
    ours, theirs = losses_of(one, column), losses_of(two, column)
    assert ours.keys() == theirs.keys() if updates is None else ours.keys() < theirs.keys()
    assert updates in (None, len(ours))
    return max(abs(ours[key] - theirs[key]) for key in ours)


def check_samples(lab: Lab, study: str, *changes: str, ranks: int) -> None:
    """Check that the ranks of a study were given, together and update by update, the windows that the plan says."""
    expected = np.concatenate(list(lab.planned_windows(f"study={study}-planned", *changes).values()))

    assert np.array_equal(lab.windows_of(study, ranks=ranks), expected)


def test_two_ranks_make_what_one_process_makes(lab: Lab, alone: Lab) -> None:
    lab.run("study=unclipped", *PAIR, "optimizer.clip_norm=null")
    accumulating = ("strategy.micro_batch=1", "versions=1")

    ended = lab.ranked(
        Job(("study=ddp", DDP, *PAIR)),
        Job(("study=fsdp", FSDP, *PAIR, "optimizer.clip_norm=null")),
        Job(("study=ddp_accumulating", DDP, *accumulating)),
        Job(("study=fsdp_accumulating", FSDP, *accumulating)),
        ranks=2,
    )

    assert lab.codes_of(2) == [(0, 0)] * 4, ended.err
    assert ended.code == 0, ended.err
    single = alone.study("pair")
    assert states_of(lab.study("ddp")) == states_of(single)
    assert tables_of(lab.study("ddp")) == tables_of(single)
    assert {len(list(state.glob("*.safetensors"))) for state in lab.study("fsdp").folder.glob("paths/*/states/*")} == {
        2
    }
    # The norm of a sharded gradient is added shard by shard; unclipped, it changes no weight.
    assert states_of(lab.study("fsdp")) == states_of(lab.study("unclipped"))
    assert largest_difference(lab.study("fsdp"), lab.study("unclipped")) == 0
    assert largest_difference(lab.study("fsdp"), lab.study("unclipped"), column="grad_norm") < 1e-6
    for study in ("ddp_accumulating", "fsdp_accumulating"):
        assert largest_difference(lab.study(study), alone.study("whole"), updates=10) < ROUNDING
    check_samples(lab, "ddp", DDP.replace("ddp", "single"), *PAIR, ranks=2)
    check_samples(lab, "fsdp_accumulating", *accumulating, ranks=2)
    for study in ("ddp", "fsdp"):
        runs = lab.study(study).ledger.runs()
        assert [(run.updates, run.repeated, run.outcome, run.ranks) for run in runs] == [
            (4, 0, "done", 2),
            (6, 0, "done", 2),
            (10, 0, "done", 2),
            (6, 0, "done", 2),
        ]


def test_a_state_saved_on_any_ranks_goes_on_on_any_others(lab: Lab, alone: Lab) -> None:
    one, both = "versions=1", "versions=2"
    lab.run("study=single", one)
    first = lab.ranked(Job(("study=ddp", DDP, one)), Job(("study=fsdp", FSDP, one)), ranks=2)
    assert lab.codes_of(2) == [(0, 0)] * 2, first.err
    for before in ("single", "ddp", "fsdp"):
        for then in {"single", "ddp", "fsdp"} - {before}:
            shutil.copytree(lab.folder / before, lab.folder / f"{before}_{then}")

    second = lab.ranked(
        *(Job((f"study={before}_ddp", DDP, both)) for before in ("single", "fsdp")),
        *(Job((f"study={before}_fsdp", FSDP, both)) for before in ("single", "ddp")),
        ranks=2,
    )
    assert lab.codes_of(2) == [(0, 0)] * 4, second.err
    for before in ("ddp", "fsdp"):
        assert lab.run(f"study={before}_single", both) == 10 + 6

    for before in ("single", "ddp", "fsdp"):
        for then in {"single", "ddp", "fsdp"} - {before}:
            study = lab.study(f"{before}_{then}")
            ranks = [1 if kind == "single" else 2 for kind in (before, then)]
            assert [(run.begin, run.ranks) for run in study.ledger.runs()] == [
                (0, ranks[0]),
                (4, ranks[0]),
                (4, ranks[1]),
                (14, ranks[1]),
            ]
            assert largest_difference(study, alone.study("whole")) < ROUNDING


def test_a_branch_on_one_rank_with_sharded_tensors_begins_with_the_state_in_memory(lab: Lab, alone: Lab) -> None:
    ended = lab.ranked(Job(("study=fsdp", FSDP, "versions=2")), ranks=1)

    assert lab.codes_of(1) == [(0,)], ended.err
    assert largest_difference(lab.study("fsdp"), alone.study("whole")) < ROUNDING


def test_four_ranks_in_shards_and_replicas_repeat_themselves_after_a_kill(lab: Lab) -> None:
    hybrid = (FSDP, "strategy.shard_ranks=2")
    one = "versions=1"

    ended = lab.ranked(
        Job(("study=ddp", DDP, one)),
        Job(("study=ddp_killed", DDP, one), kill=(2, "micro:7")),
        Job(("study=ddp_killed", DDP, one)),
        Job(("study=hsdp", *hybrid, one)),
        Job(("study=hsdp_killed", *hybrid, one), kill=(0, "shards:3")),
        Job(("study=hsdp_killed", *hybrid, one)),
        ranks=4,
    )

    codes = lab.codes_of(4)
    assert [code for number, code in enumerate(codes) if number not in (1, 4)] == [(0,) * 4] * 4, ended.err
    assert codes[1] == (4, 4, -9, 4), ended.err
    assert codes[4] == (-9, 4, 4, 4), ended.err
    assert "lost the others" in ended.err
    for study in ("ddp", "hsdp"):
        assert states_of(lab.study(f"{study}_killed")) == states_of(lab.study(study))
        assert tables_of(lab.study(f"{study}_killed")) == tables_of(lab.study(study))


def test_states_are_written_beside_the_updates_of_two_ranks(lab: Lab) -> None:
    """Late: a rank's thread begins to write after a further update. Killed: a rank dies in an update beside a save."""
    common = ("versions=1", *PAIR, "optimizer.clip_norm=null")
    lab.run("study=single", "cadence.save_in_background=false", *common)
    ddp, fsdp = (DDP, *common), (FSDP, *common)

    ended = lab.ranked(
        Job(("study=ddp_late", *ddp), kill=(1, "late:1")),
        Job(("study=fsdp_late", *fsdp), kill=(0, "late:1")),
        Job(("study=fsdp_killed", *fsdp), kill=(1, "meanwhile:3")),
        Job(("study=fsdp_killed", *fsdp)),
        Job(("study=fsdp_full", *fsdp), kill=(1, "full:3")),
        Job(("study=fsdp_full", *fsdp)),
        ranks=2,
    )

    expected = [(0, 0), (0, 0), (4, -9), (0, 0), (4, 4), (0, 0)]
    assert lab.codes_of(2) == expected, ended.err
    assert ended.err.count("the disk is full") == 1, ended.err
    for study in ("ddp_late", "fsdp_late", "fsdp_killed", "fsdp_full"):
        assert states_of(lab.study(study)) == states_of(lab.study("single"))
        assert largest_difference(lab.study(study), lab.study("single")) == 0


def test_torchrun_ends_with_a_killed_rank_and_the_same_command_goes_on(lab: Lab, alone: Lab) -> None:
    file = lab.folder / "jobs.json"
    overrides = lab.overrides("study=killed", DDP, *PAIR)
    file.write_text(json.dumps([{"overrides": overrides, "kill": (1, "micro:9")}]))
    script = Path(__file__).with_name("ranked.py")

    killed = lab.torchrun(str(script), str(file), ranks=2)
    _, killed_err = killed.communicate()
    again = lab.torchrun("-m", "lrpath.train", *overrides, ranks=2)
    out, err = again.communicate()

    assert killed.returncode != 0
    assert "Signal 9 (SIGKILL)" in killed_err
    assert again.returncode == 0, err
    assert out.count("updates were run") == 1
    assert states_of(lab.study("killed")) == states_of(alone.study("pair"))
    assert tables_of(lab.study("killed")) == tables_of(alone.study("pair"))


def test_two_nodes_make_what_one_process_makes(lab: Lab, alone: Lab) -> None:
    ended = lab.ranked(Job(("study=nodes", DDP, *PAIR)), ranks=2, nodes=2)

    assert lab.codes_of(2) == [(0, 0)], ended.err
    assert ended.code == 0, ended.err
    assert ended.out.count("26 updates were run") == 1
    assert states_of(lab.study("nodes")) == states_of(alone.study("pair"))
    assert tables_of(lab.study("nodes")) == tables_of(alone.study("pair"))


def test_what_ends_one_rank_ends_all_with_one_message(lab: Lab) -> None:
    other = lab.project("study=busy")
    folder = other.study.open(other.plan.tree.paths[0])
    with folder.lock():
        ended = lab.ranked(
            Job(("study=busy", DDP)),
            Job(("study=absurd", FSDP, "peak=1e30")),
            Job(("study=uneven", DDP, "batch.sequences_per_update=3")),
            Job(("study=single",)),
            ranks=2,
        )

    assert lab.codes_of(2) == [(3, 3), (4, 4), (2, 2), (2, 2)], ended.err
    assert ended.err.count("error: path path_switching.main") == 1
    assert ended.err.count("is not finite") == 1
    assert "batch.sequences_per_update=3" in ended.err
    assert "strategy=single" in ended.err
    assert "Traceback" not in ended.err


def test_a_sweep_on_several_ranks_is_refused_with_what_works(lab: Lab) -> None:
    changes = [f"+{text}" if text.startswith("hydra") else text for text in lab.overrides(DDP, "alpha=0.2,0.4")]

    torchrun = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    ended = lab.call("-m", "lrpath.train", "-m", *changes, env=torchrun)

    assert ended.code == 2
    assert "start it without torchrun" in ended.err
    assert "python -m lrpath.train -m … hydra/launcher=torchrun hydra.launcher.ranks=2" in ended.err
    assert not lab.study().folder.exists()


def test_recomputed_blocks_change_no_bit(lab: Lab, alone: Lab) -> None:
    lab.run("study=recomputed", "strategy.recompute=true")

    assert states_of(lab.study("recomputed")) == states_of(alone.study("whole"))
