from typing import Any

import pytest

from lrpath.training.distributed.watchdog import Heartbeat, Reason, Watchdog, explain_standstill


def mark(count: int, **fields: Any) -> Heartbeat:
    usual = {"position": 5, "phase": "backward", "patient": False, "waiting": False, "seconds": 70.0, "beat": 9}
    return Heartbeat(count=count, host=f"node{count}", **(usual | fields))


def explain(*marks: Heartbeat, silent: tuple[int, ...] = ()) -> str | None:
    return explain_standstill(dict(enumerate(marks)), silent=list(silent), limit=60.0)


def test_the_rank_with_the_fewest_marks_is_waited_for() -> None:
    message = explain(mark(12), mark(10, phase="data"), mark(12))

    assert message is not None
    assert message.startswith(
        "no update for 60 s (strategy.timeout_minutes): rank 1 on node10 (for 70 s in data, after position 5) of 3 "
        "stands still; all saved states are whole"
    )


def test_a_process_that_gives_no_sign_stands_still_however_far_it_is() -> None:
    message = explain(mark(12, phase="data"), mark(13, phase="saving", patient=True), silent=(1,))

    assert message is not None
    assert "rank 1 on node13 (gives no sign since saving, after position 5) of 2 stands still" in message


def test_of_ranks_that_are_as_far_those_that_do_not_wait_stand_still() -> None:
    message = explain(mark(12, waiting=True), mark(12, phase="optimizer"), mark(12, waiting=True))

    assert message is not None
    assert "rank 1 on node12 (for 70 s in optimizer" in message


def test_ranks_that_all_wait_are_all_named() -> None:
    message = explain(mark(12), mark(12))

    assert message is not None
    assert "rank 0 on" in message
    assert "rank 1 on" in message
    assert "stands still; they wait for each other; all saved" in message


@pytest.mark.parametrize("fields", [{"patient": True, "phase": "saving"}, {"seconds": 3.0, "phase": "evaluation"}])
def test_a_rank_that_saves_or_goes_on_does_not_stand_still(fields: dict[str, Any]) -> None:
    assert explain(mark(12, waiting=True), mark(11, **fields), mark(12, waiting=True)) is None


def test_many_ranks_are_not_all_listed() -> None:
    message = explain(*(mark(12) for _ in range(64)))

    assert message is not None
    assert message.count("on node12") == 8
    assert "and 56 more of 64" in message


def test_what_one_rank_says_the_others_raise_and_do_not_print() -> None:
    error = Reason(rank=3, message="the store is torn", code=2).error()

    assert (str(error), error.exit_code, getattr(error, "reported", False)) == ("the store is torn", 2, True)


def test_a_watch_that_was_not_begun_is_silent() -> None:
    watchdog = Watchdog()

    with watchdog.phase("saving"), watchdog.waiting():
        watchdog.touch()

    assert watchdog.publish(Reason(rank=0, message="", code=1))
    assert watchdog.reason() is None
    watchdog.end()
