from typing import Any

import pytest

from lrpath.training.distributed.watchdog import Heartbeat, Reason, Watchdog, explain_hang


def heartbeat(phases: int, **fields: Any) -> Heartbeat:
    usual = {
        "position": 5,
        "phase": "backward",
        "unlimited": False,
        "waiting": False,
        "idle_seconds": 70.0,
        "beats": 9,
    }
    return Heartbeat(phases=phases, host=f"node{phases}", **(usual | fields))


def explain(*heartbeats: Heartbeat, silent: tuple[int, ...] = ()) -> str | None:
    return explain_hang(dict(enumerate(heartbeats)), silent=list(silent), limit=60.0)


def test_the_rank_that_has_entered_the_fewest_phases_is_waited_for() -> None:
    message = explain(heartbeat(12), heartbeat(10, phase="data"), heartbeat(12))

    assert message is not None
    assert message.startswith(
        "no progress for 60 s (strategy.timeout_minutes); of 3 ranks these hang: "
        "rank 1 on node10 (70 s in phase data, after position 5). All saved states are whole"
    )


def test_a_process_without_a_heartbeat_hangs_however_far_it_is() -> None:
    message = explain(heartbeat(12, phase="data"), heartbeat(13, phase="saving", unlimited=True), silent=(1,))

    assert message is not None
    assert "of 2 ranks these hang: rank 1 on node13 (no heartbeat since phase saving, after position 5). All" in message


def test_of_ranks_that_are_as_far_those_that_do_not_wait_hang() -> None:
    message = explain(heartbeat(12, waiting=True), heartbeat(12, phase="optimizer"), heartbeat(12, waiting=True))

    assert message is not None
    assert "rank 1 on node12 (70 s in phase optimizer" in message


def test_ranks_that_all_wait_are_all_named() -> None:
    message = explain(heartbeat(12), heartbeat(12))

    assert message is not None
    assert "rank 0 on" in message
    assert "rank 1 on" in message
    assert "of 2 ranks these hang (they wait for each other): rank 0" in message


@pytest.mark.parametrize(
    "fields", [{"unlimited": True, "phase": "saving"}, {"idle_seconds": 3.0, "phase": "evaluation"}]
)
def test_a_rank_that_saves_or_makes_progress_does_not_hang(fields: dict[str, Any]) -> None:
    assert explain(heartbeat(12, waiting=True), heartbeat(11, **fields), heartbeat(12, waiting=True)) is None


def test_many_ranks_are_not_all_listed() -> None:
    message = explain(*(heartbeat(12) for _ in range(64)))

    assert message is not None
    assert message.count("on node12") == 8
    assert "and 56 more" in message


def test_what_one_rank_says_the_others_raise_and_do_not_print() -> None:
    error = Reason(rank=3, message="the store is torn", code=2).error()

    assert (str(error), error.exit_code, getattr(error, "reported", False)) == ("the store is torn", 2, True)


def test_a_watchdog_that_was_not_started_does_nothing() -> None:
    watchdog = Watchdog()

    with watchdog.phase("saving"), watchdog.waiting():
        watchdog.note_progress()

    assert watchdog.publish(Reason(rank=0, message="", code=1))
    assert watchdog.reason() is None
    watchdog.stop()
