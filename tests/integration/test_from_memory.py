"""A branch that begins from the copy in memory is, bit for bit, the one that begins from the disk."""

from pathlib import Path
from typing import Any

import pytest

from lrpath.training.callbacks import restore_state
from tests.integration.lab import Lab, states_of, tables_of


@pytest.mark.slow
def test_a_branch_begins_from_memory_with_the_bits_that_are_on_disk(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: dict[str, list[bool]] = {"memory": [], "disk": []}
    recall = restore_state.recall

    def watched(folder: Path, **names: Any) -> dict[str, Any] | None:
        manifest = recall(folder, **names)
        begun[folder.parents[3].name].append(manifest is not None)
        return manifest

    monkeypatch.setattr(restore_state, "recall", watched)
    lab.run("study=memory", "cadence.save_in_background=true")
    lab.run("study=disk", "cadence.save_in_background=false")  # without a copy, there is nothing in memory

    assert begun == {"memory": [True, False, True], "disk": [False] * 3}  # v1's branch, the main path again, v2's
    assert states_of(lab.study("memory")) == states_of(lab.study("disk"))
    assert tables_of(lab.study("memory")) == tables_of(lab.study("disk"))
