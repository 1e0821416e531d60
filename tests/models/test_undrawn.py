"""A model whose weights are not drawn is the drawn one but for its weights."""

import pytest
import torch

from lrpath.models import build_model
from tests.planning.strategies import SIZES, shape_of

FAMILIES = ["llama", "qwen2", "qwen3", "internlm", "internlm2"]


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_undrawn_model_has_the_buffers_the_ties_and_with_equal_weights_the_numbers_of_a_drawn_one(
    family: str, tied: bool
) -> None:
    sizes = {"layers": 1, "hidden_size": 16, "ffn_size": 32, "heads": 2, "vocab_size": 64, "context": 32}
    shape = shape_of({"family": family} | SIZES | sizes | {"tie_embeddings": tied})
    drawn, undrawn = (build_model(shape, seed=1, drawn=choice) for choice in (True, False))

    given, wanted = dict(drawn.named_parameters()), dict(undrawn.named_parameters())
    assert wanted.keys() == given.keys()
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(given[name])
    for (name, one), (other_name, other) in zip(drawn.named_buffers(), undrawn.named_buffers(), strict=True):
        assert name == other_name
        assert torch.equal(one, other)
    ids = torch.arange(20).reshape(1, 20)
    assert torch.equal(drawn(input_ids=ids).logits, undrawn(input_ids=ids).logits)
