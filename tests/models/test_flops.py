"""The FLOPs and the memory of a plan against what is counted on a running model."""

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from lrpath.models import CausalLM, build_model
from lrpath.planning.cost import flops_per_token, memory_per_rank
from lrpath.planning.shape import ModelShape
from tests.planning.strategies import ADAMW, SIZES

WINDOW = 24
LAYERS = 2
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("llama", {}),
    ("llama", {"tie_embeddings": True}),
    ("qwen2", {"kv_heads": 2}),
    ("qwen3", {"kv_heads": 2, "head_dim": 16}),
    ("internlm", {}),
    ("internlm2", {"kv_heads": 2}),
]
ATEN = torch.ops.aten


def tiny(family: str, **changes: Any) -> ModelShape:
    return ModelShape(
        family=family,
        vocab_size=96,
        hidden_size=32,
        layers=LAYERS,
        heads=4,
        ffn_size=56,
        context=WINDOW,
        **(SIZES | changes),
    )


def _forward(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


def _backward(grad: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_backward_flop_count(grad, query, key, value))


def counted_per_token(shape: ModelShape, attention: Any) -> float:
    """Count a forward and a backward pass, the fused kernel of CPUs like the others; torch's table lacks it."""
    model = CausalLM(build_model(shape, seed=0, attention=attention))
    ids = torch.randint(shape.vocab_size, (2, WINDOW + 1))
    fused = {
        ATEN._scaled_dot_product_flash_attention_for_cpu: _forward,
        ATEN._scaled_dot_product_flash_attention_for_cpu_backward: _backward,
    }
    with FlopCounterMode(display=False, custom_mapping=fused) as counter:
        model(ids).backward()
    return int(counter.get_total_flops()) / (2 * WINDOW)


@pytest.mark.parametrize(("family", "changes"), VARIANTS)
def test_a_plan_predicts_the_flops_of_a_pass_exactly(family: str, changes: dict[str, Any]) -> None:
    shape = tiny(family, **changes)

    assert counted_per_token(shape, "eager") == flops_per_token(shape, sequence_length=WINDOW)


@pytest.mark.parametrize(("family", "changes"), VARIANTS)
def test_fused_attention_adds_one_score_product_that_the_plan_leaves_out(family: str, changes: dict[str, Any]) -> None:
    shape = tiny(family, **changes)
    recomputed = 2 * WINDOW * shape.query_size * LAYERS

    assert counted_per_token(shape, "sdpa") == flops_per_token(shape, sequence_length=WINDOW) + recomputed


@pytest.mark.parametrize("kv_heads", [4, 2])
def test_the_activations_that_are_kept_are_near_the_estimate(kv_heads: int) -> None:
    shape = ModelShape(family="llama", vocab_size=64, hidden_size=64, layers=4, heads=4,
                       ffn_size=172, context=64, **(SIZES | {"kv_heads": kv_heads}))  # fmt: skip
    model = CausalLM(build_model(shape, seed=0))
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model(torch.randint(64, (16, 65)))
    measured = sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in weights)
    estimate = memory_per_rank(
        shape, strategy="single", ranks=1, micro_batch=16, sequence_length=64, compute="fp32", optimizer=ADAMW
    ).activations

    assert loss.requires_grad
    # Estimated besides: the loss's chunk of logits, which does not outlive the forward pass.
    assert measured == pytest.approx(estimate - 2 * 4 * 512 * 64, rel=0.1)
