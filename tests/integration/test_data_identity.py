"""A state counts as made only if it has read the data that the plan says: path ids hold the first segment alone."""

import json

import pytest

from lrpath.errors import MismatchError, PlanError
from tests.integration.lab import Lab

pytestmark = pytest.mark.slow


def test_another_size_of_a_later_increment_is_refused_and_not_taken_for_made(lab: Lab) -> None:
    """Both plans have a branch from 14 to 20 and a main path whose first segment is the same."""
    lab.run("versions=3", "increment=[10,10,10]", "alpha=0.6")

    with pytest.raises(PlanError, match="increments may be appended to a path, not changed: use another study"):
        lab.run("versions=3", "increment=[10,12,8]", "alpha=[0.6,0.5,0.75]")


def test_a_made_state_that_read_other_tokens_is_refused_by_name(lab: Lab) -> None:
    lab.run()
    file = next((lab.folder / "study" / "paths").glob("*.v2-*/states/000000020/state.json"))
    manifest = json.loads(file.read_text())
    manifest["read"]["segments"][0]["increments"]["v2"]["digest"] = "0" * 64
    file.write_text(json.dumps(manifest))

    with pytest.raises(MismatchError, match=r"000000020 has read other data.*increments\.v2\.digest"):
        lab.run()
