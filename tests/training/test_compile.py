"""Compiled blocks and loss: the same function, one graph for a process, and evaluations that are not compiled."""

import dataclasses

import pytest
import torch
from torch._dynamo.utils import counters

from lrpath.models import CausalLM, build_model
from lrpath.training.distributed.parallelize import compile_blocks, recompute_blocks
from tests.models.test_causal_lm import tiny


def three_blocks(seed: int) -> CausalLM:
    return CausalLM(build_model(dataclasses.replace(tiny(), layers=3), seed=seed))


def compiled(seed: int, *, recompute: bool) -> CausalLM:
    model = three_blocks(seed)
    compile_blocks(model)
    if recompute:
        recompute_blocks(model)
    return model


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::Warning")  # torch's compiler warns of itself
def test_all_blocks_of_all_models_of_a_process_share_one_graph_and_compute_what_they_did() -> None:
    ids_BL = torch.randint(96, (3, 17), generator=torch.Generator().manual_seed(0))
    counters.clear()
    for seed in (0, 1):
        ours, plain = compiled(seed, recompute=seed == 1), three_blocks(seed)
        loss, expected = ours(ids_BL), plain(ids_BL)

        torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
        gradients = (
            torch.autograd.grad(one, list(model.parameters())) for one, model in ((loss, ours), (expected, plain))
        )
        for found, wanted in zip(*gradients, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)  # fused sums run in another order
    with torch.compiler.set_stance("force_eager"):
        assert torch.equal(ours.nll(ids_BL[:2]), plain.nll(ids_BL[:2]))
    assert counters["stats"]["unique_graphs"] == 2  # a block, and a chunk of the loss
