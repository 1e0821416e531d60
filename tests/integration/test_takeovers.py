"""Promise 8: who was taken over writes no more, whatever it was doing; the long form is in experiments/09_exactness."""

from collections.abc import Iterator

import pytest

from tests.integration.harness import Standby
from tests.integration.lab import Lab, states_of, tables_of, write_texts
from tests.integration.takeovers import take_over

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Standby, Standby]]:
    folder = tmp_path_factory.mktemp("takeovers")
    write_texts(folder / "texts")
    lab = Lab(folder=folder, texts=folder / "texts", stores=folder / "stores")
    with Standby(lab, name="first") as first, Standby(lab, name="second") as second:
        lab.run("study=undisturbed")
        yield first, second


@pytest.mark.parametrize("flock", [True, False], ids=["flock", "no flock"])
def test_an_owner_that_wakes_up_after_it_was_taken_over_leaves_no_trace(
    machines: tuple[Standby, Standby], *, flock: bool
) -> None:
    whole = machines[0].lab.study("undisturbed")
    # After a row of an evaluation, between shards and manifest, in an update, and while it begins to count a run's.
    moments = ("row:3", "shards:3", "micro:9") if flock else ("shards:6", "reach:6")

    made = [
        take_over(
            machines,
            moment.replace(":", "-"),
            moment=moment,
            flock=flock,
            undisturbed=(states_of(whole), tables_of(whole)),
        )
        for moment in moments
    ]

    assert {one.moment: one.outcome for one in made} == dict.fromkeys(moments, "equal")
