"""What stops, breaks or freezes one rank ends all of them, with one message, and the same command goes on.

All on the CPU over gloo, in processes of torchrun or with the variables that srun sets.
"""

import pytest

from tests.integration.lab import Job, Lab, states_of, tables_of
from tests.integration.test_ranks import DDP, FSDP, PAIR, codes_of, largest_difference

pytestmark = pytest.mark.slow


def test_a_signal_to_one_rank_stops_all_at_one_position_and_the_same_command_goes_on(lab: Lab) -> None:
    unclipped = "optimizer.clip_norm=null"  # the norm of a sharded gradient is added shard by shard
    lab.run("study=single", *PAIR)
    lab.run("study=unclipped", *PAIR, unclipped)

    ended = lab.ranked(
        Job(("study=ddp", DDP, *PAIR), kill=(1, "sigterm:2")),
        Job(("study=ddp", DDP, *PAIR), kill=(0, "interrupt:6")),
        Job(("study=ddp", DDP, *PAIR)),
        Job(("study=fsdp", FSDP, *PAIR, unclipped), kill=(1, "usr1:5")),
        Job(("study=fsdp", FSDP, *PAIR, unclipped)),
        ranks=2,
    )

    print(ended.err)
    assert codes_of(lab, ranks=2) == [(75, 75), (75, 75), (0, 0), (75, 75), (0, 0)], ended.err
    for study, expected in (("ddp", "single"), ("fsdp", "unclipped")):
        assert states_of(lab.study(study)) == states_of(lab.study(expected))
        runs = lab.study(study).ledger.runs()
        print([(run.name, run.begin, run.end, run.repeated, run.outcome) for run in runs])
    assert tables_of(lab.study("ddp")) == tables_of(lab.study("single"))
    assert largest_difference(lab.study("fsdp"), lab.study("unclipped")) == 0
    assert 0


def test_a_rank_that_stands_still_is_found_and_named(lab: Lab) -> None:
    limit = "strategy.timeout_minutes=0.05"

    ended = lab.ranked(
        Job(("study=ddp", DDP, limit), kill=(1, "hang:4")),
        Job(("study=fsdp", FSDP, limit), kill=(0, "hang:3")),
        ranks=2,
    )

    print(ended.err)
    assert codes_of(lab, ranks=2) == [(4, 4), (4, 4)], ended.err
    assert 0


def test_an_error_of_one_rank_ends_all_with_its_message_and_code(lab: Lab) -> None:
    ended = lab.ranked(
        Job(("study=ddp", DDP), kill=(1, "fail:4")),
        Job(("study=fsdp", FSDP), kill=(0, "fail:3")),
        ranks=2,
    )

    print(ended.err)
    assert codes_of(lab, ranks=2) == [(2, 2), (2, 2)], ended.err
    assert 0
