import numpy as np
import pytest
import torch

from lrpath.models import CausalLM, build_model
from lrpath.training import evaluation
from lrpath.training.evaluation import HeldOutLoss, evaluate
from tests.models.test_causal_lm import tiny

CPU = torch.device("cpu")


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_the_sums_over_ranks_are_those_of_one_process_to_the_last_bit(ranks: int) -> None:
    sets = [("v1", "code")] * 7 + [("v2", "code")] * 4
    batches = torch.rand((11, 3), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    whole, merged = HeldOutLoss(sets), HeldOutLoss(sets)
    parts = [HeldOutLoss(sets) for _ in range(ranks)]

    for batch, nll_B in enumerate(batches):
        whole.update(batch, nll_B, tokens=5)
        parts[batch % ranks].update(batch, nll_B, tokens=5)
    for part in parts:
        merged.merge_state(part)

    assert (merged.nll_K.tolist(), merged.tokens_K.tolist()) == (whole.nll_K.tolist(), whole.tokens_K.tolist())
    assert whole.compute()["v2", "code"] == (sum(float(nll_B.sum()) for nll_B in batches[7:]), 20)


def test_losses_are_summed_by_held_out_set_and_the_models_mode_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "WINDOWS_PER_BATCH", 2)
    windows_NL = np.random.default_rng(0).integers(96, size=(5, 17))
    model = CausalLM(build_model(tiny(), seed=0)).train()

    losses = evaluate(model, {("v1", "a"): windows_NL, ("v1", "b"): windows_NL[:1]}, device=CPU, precision="fp32")

    with torch.no_grad():
        expected = [model.nll(torch.from_numpy(windows_NL[first : first + 2])).sum() for first in (0, 2, 4)]
        alone = model.nll(torch.from_numpy(windows_NL[:1])).sum()
    assert losses == {("v1", "a"): (float(sum(expected)), 80), ("v1", "b"): (float(alone), 16)}
    assert model.training


def test_nothing_is_evaluated_without_held_out_sets() -> None:
    assert evaluate(CausalLM(build_model(tiny(), seed=0)), {}, device=CPU, precision="fp32") == {}
