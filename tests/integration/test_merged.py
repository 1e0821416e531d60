"""A merged release is the weighted mean of its states, and is evaluated as such."""

import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from lrpath.analysis.scores import release_folder
from lrpath.planning.paths import Release
from lrpath.records.rows import EvaluationRow
from lrpath.records.study import Study
from lrpath.records.tables import Table
from lrpath.training.checkpoints.releases import load_release
from tests.integration.lab import Lab

pytestmark = pytest.mark.slow

MERGED = ("paradigm=[merged]", "paradigms.merged.states=3", "paradigms.merged.spacing=2")


def mean_by_hand(study: Study, release: Release) -> dict[str, torch.Tensor]:
    """Return the weighted sum of the weights in the states' files, in float64, by transformers' names."""
    sums: dict[str, torch.Tensor] = {}
    for key, weight in release.parts:
        folder = study.find(key.path_id)
        assert folder is not None
        (shard,) = folder.state(key.position).glob("*.safetensors")
        for name, tensor in load_file(shard).items():
            if name.startswith("model.lm."):
                short = name.removeprefix("model.lm.")
                sums[short] = sums.get(short, torch.zeros(())) + tensor.double() * weight
    return sums


def test_a_merged_release_is_the_weighted_mean_of_its_states_and_is_evaluated_as_such(lab: Lab) -> None:
    runner = lab.runner(*MERGED)
    runner.run()
    study = lab.study()

    for release in runner.tree.releases:
        expected = mean_by_hand(study, release)
        folder = study.find(release.last.path_id)
        assert folder is not None
        assert sum(weight for _, weight in release.parts) == pytest.approx(1, abs=1e-12)
        assert len({weight for _, weight in release.parts}) == 3  # or the weights would not matter

        merged = dict(load_release(study, release).lm.named_parameters())
        assert merged.keys() == expected.keys()
        for name, tensor in merged.items():
            assert torch.equal(tensor, expected[name].float()), name

        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder.folder / "backbone"))
        model.load_state_dict({name: tensor.float() for name, tensor in expected.items()})
        table = Table(release_folder(study, release=release) / "evaluation.csv", EvaluationRow)
        rows = {row.held_out: row for row in table.rows()}
        assert rows.keys() == runner.path_trainer.held_out.keys()
        for name, windows in runner.path_trainer.held_out.items():
            assert rows[name].tokens == windows[:, 1:].size
            # float32 logits of another kernel; the sum is over 128 tokens
            assert rows[name].nll == pytest.approx(nll_by_hand(model, windows), rel=1e-5)
            assert math.isfinite(rows[name].nll)


def nll_by_hand(model: torch.nn.Module, windows: np.ndarray) -> float:
    ids = torch.from_numpy(windows)
    with torch.no_grad():
        logits = model(input_ids=ids[:, :-1]).logits.double()
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="sum").item()


def test_a_merged_release_is_evaluated_once_and_again_if_it_was_not(lab: Lab) -> None:
    lab.run(*MERGED)
    release = lab.project(*MERGED).plan.tree.releases[0]
    file = release_folder(lab.study(), release=release) / "evaluation.csv"
    before = file.read_bytes()

    lab.run(*MERGED)
    assert file.read_bytes() == before
    file.unlink()
    assert lab.run(*MERGED) == 0
    assert file.read_bytes() == before
