import io
import math

from rich.console import Console

from lrpath.training.plan_progress import PlanProgress
from tests.training.test_planned_run import BRANCH, run


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_lines_come_at_most_every_interval_and_reckon_the_time_left_from_the_pace() -> None:
    clock, text = Clock(), io.StringIO()
    progress = PlanProgress(Console(file=text), runs=2, updates=90, clock=clock, interval=10)
    one = run(end=30)

    progress.begin_run(one)
    for position in range(1, 31):
        clock.now += 1.0
        progress.advance(one, position=position, loss=2.5, tokens_per_second=1234.0)

    assert text.getvalue().splitlines() == [
        "[1/2] root: from initial weights to 30",
        "[1/2] root  10/30  loss 2.500  1,234 tokens/s  left: path 0:20, plan 1:20",
        "[1/2] root  20/30  loss 2.500  1,234 tokens/s  left: path 0:10, plan 1:10",
        "[1/2] root  30/30  loss 2.500  1,234 tokens/s  left: path 0:00, plan 1:00",
    ]


def test_mfu_and_memory_are_asked_for_only_when_they_are_shown() -> None:
    clock, text, asked = Clock(), io.StringIO(), []
    progress = PlanProgress(Console(file=text), runs=1, updates=30, clock=clock, interval=10)

    def more() -> list[str]:
        asked.append(clock.now)
        return ["41% MFU", "23.1 GB"]

    for position in range(1, 13):
        clock.now += 1.0
        progress.advance(run(), position=position, loss=2.5, tokens_per_second=1234.0, more=more)

    assert asked == [10.0]
    assert "loss 2.500  1,234 tokens/s  41% MFU  23.1 GB" in text.getvalue()


def test_a_branch_says_where_it_begins() -> None:
    text = io.StringIO()
    progress = PlanProgress(Console(file=text), runs=1, updates=20)

    progress.begin_run(run(BRANCH, begin=40, end=60))

    assert text.getvalue() == "[1/1] branch: from update 40 to 60\n"


def test_a_loss_that_was_not_written_yet_is_shown_as_such() -> None:
    clock, text = Clock(), io.StringIO()
    progress = PlanProgress(Console(file=text), runs=1, updates=30, clock=clock, interval=0)

    progress.advance(run(), position=1, loss=math.nan, tokens_per_second=0.0)

    assert text.getvalue() == "  1/30\n"


def test_what_others_make_counts_for_the_plan_and_shortens_its_time() -> None:
    clock, text, others = Clock(), io.StringIO(), [0]
    console = Console(file=text)
    progress = PlanProgress(console, runs=3, updates=90, clock=clock, interval=10, by_others=lambda: others[0])

    progress.begin_run(run(end=30))
    for position in range(1, 21):
        clock.now += 1.0
        others[0] += 2
        progress.advance(run(end=30), position=position, loss=2.5, tokens_per_second=1234.0)
    progress.begin_run(None, planned=run(BRANCH, begin=40, end=60))  # which others have made: it is counted already

    assert text.getvalue().splitlines() == [
        "root: from initial weights to 30",
        "root  10/30  loss 2.500  1,234 tokens/s  left: path 0:20, plan 0:20",
        "root  20/30  loss 2.500  1,234 tokens/s  left: path 0:10, plan 0:10",
    ]


def test_a_further_worker_says_where_a_run_begins_and_no_more() -> None:
    clock, text = Clock(), io.StringIO()
    progress = PlanProgress(Console(file=text), runs=1, updates=30, clock=clock, interval=0, pace=False)

    progress.begin_run(run())
    progress.advance(run(), position=1, loss=2.5, tokens_per_second=1234.0)
    progress.publish_wait("waiting", first=True)

    assert text.getvalue() == "[1/1] root: from initial weights to 30\n"
