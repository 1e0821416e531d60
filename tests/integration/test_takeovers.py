"""Promise 8: who was taken over writes no more, whatever it was doing; the long form is in experiments/09_exactness."""

import pytest

from tests.integration.lab import Lab, states_of, tables_of
from tests.integration.takeovers import take_over

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("flock", [True, False], ids=["flock", "no flock"])
def test_an_owner_that_wakes_up_after_it_was_taken_over_leaves_no_trace(lab: Lab, *, flock: bool) -> None:
    lab.run("study=undisturbed")
    undisturbed = states_of(lab.study("undisturbed")), tables_of(lab.study("undisturbed"))
    # After a row of an evaluation, between shards and manifest, before the state's rename, after it, and in an update.
    moments = ("row:3", "shards:3", "manifest:6", "rename:6", "micro:9") if flock else ("row:9", "shards:6")

    made = [
        take_over(lab, moment.replace(":", "-"), moment=moment, flock=flock, undisturbed=undisturbed)
        for moment in moments
    ]

    assert {one.moment: one.outcome for one in made} == dict.fromkeys(moments, "equal")
