"""Promise 3 at random moments, which a seed draws; the long form is experiments/09_exactness/kills.py."""

from collections.abc import Iterator

import pytest

from tests.integration.harness import Standby, kill_until_finished, run_undisturbed
from tests.integration.lab import Lab, write_texts

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def standby(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standby]:
    folder = tmp_path_factory.mktemp("kills")
    write_texts(folder / "texts")
    with Standby(Lab(folder=folder, texts=folder / "texts", stores=folder / "stores")) as process:
        yield process


# Each seed draws a moment inside the writing of a state first, which is always met, and then one by the clock.
@pytest.mark.parametrize(("strategy", "seed"), [("single", "40"), ("fsdp", "16")])
def test_a_plan_killed_at_random_and_run_again_equals_one_that_was_not(
    standby: Standby, strategy: str, seed: str
) -> None:
    undisturbed = run_undisturbed(standby, strategy)

    kills = kill_until_finished(standby, strategy, undisturbed, seed=seed, most=2)

    assert kills
    assert {kill.outcome for kill in kills} == {"equal"}
