"""The module around a backbone: its loss, its names, its parts, and its weights under FSDP2."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

from lrpath.errors import ConfigError
from lrpath.models import NAME_PREFIX, CausalLM, backbone_and_head, build_model
from lrpath.planning.shape import ModelShape
from tests.integration.lab import call_on_ranks
from tests.planning.strategies import SIZES
from tests.refusals import refused


def tiny(family: str = "llama", **changes: Any) -> ModelShape:
    return ModelShape(
        family=family, vocab_size=96, hidden_size=32, layers=2, heads=4, ffn_size=56, context=16, **(SIZES | changes)
    )


@pytest.fixture
def ids() -> torch.Tensor:
    return torch.randint(96, (3, 17), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "internlm"])
def test_loss_and_gradients_are_those_of_the_models_own_logits(family: str, ids: torch.Tensor, *, tied: bool) -> None:
    model = CausalLM(build_model(tiny(family, tie_embeddings=tied), seed=0))
    parameters = list(model.parameters())
    loss = model(ids)
    expected = cross_entropy(model.lm(input_ids=ids[:, :-1]).logits.flatten(0, 1), ids[:, 1:].flatten())

    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    pairs = zip(torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters), strict=True)
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_nll_sums_each_sequence_in_double_precision(ids: torch.Tensor) -> None:
    model = CausalLM(build_model(tiny(), seed=0))
    sums = model.nll(ids)

    assert (sums.shape, sums.dtype, sums.requires_grad) == ((3,), torch.float64, False)
    assert sums.sum().item() / (3 * 16) == pytest.approx(model(ids).item(), rel=1e-6)


def test_a_models_first_loss_is_near_that_of_guessing(ids: torch.Tensor) -> None:
    loss = CausalLM(build_model(tiny(), seed=0))(ids).item()

    # Logits of deviation 0.02 · √32 = 0.11 add about 0.11² / 2 to log V on average.
    assert loss == pytest.approx(torch.tensor(96.0).log().item(), abs=0.1)


def test_names_are_those_of_transformers_behind_one_prefix() -> None:
    lm = build_model(tiny(), seed=0, device="meta")
    names = [name for name, _ in lm.named_parameters()]

    assert [name for name, _ in CausalLM(lm).named_parameters()] == [NAME_PREFIX + name for name in names]


def test_a_tied_head_is_one_parameter_of_the_module() -> None:
    names = [name for name, _ in CausalLM(build_model(tiny(tie_embeddings=True), seed=0)).named_parameters()]

    assert not any("lm_head" in name for name in names)


def test_blocks_are_the_decoder_layers() -> None:
    model = CausalLM(build_model(tiny(), seed=0, device="meta"))

    assert list(model.blocks) == list(model.lm.model.layers)


def test_the_head_of_another_architecture_is_found() -> None:
    config = transformers.GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=11, n_positions=4)
    backbone, weight = backbone_and_head(AutoModelForCausalLM.from_config(config))

    assert type(backbone).__name__ == "GPT2Model"
    assert weight.shape == (11, 8)


def test_a_head_with_a_bias_is_refused() -> None:
    model = build_model(tiny(), seed=0, device="meta")
    model.lm_head = torch.nn.Linear(32, 96, bias=True, device="meta")

    with refused(ConfigError):
        backbone_and_head(model)


SHARDED = """
import sys
import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from lrpath.models import CausalLM, build_model
from lrpath.planning.shape import ModelShape

SIZES = {"kv_heads": None, "head_dim": None, "rope_theta": 10_000.0, "norm_eps": 1e-5, "init_std": 0.02}
dist.init_process_group("gloo")
tied = sys.argv[1] == "tied"
shape = ModelShape(family="llama", vocab_size=96, hidden_size=32, layers=2, heads=4, ffn_size=56, context=16,
                   tie_embeddings=tied, **SIZES)
ids = torch.randint(96, (4, 17), generator=torch.Generator().manual_seed(0))
whole, sharded = (CausalLM(build_model(shape, seed=0)) for _ in range(2))
mesh = dist.device_mesh.init_device_mesh("cpu", (2,))
for block in sharded.blocks:
    fully_shard(block, mesh=mesh)
fully_shard(sharded, mesh=mesh)
mine = ids[dist.get_rank() :: 2]
torch.testing.assert_close(sharded.nll(mine), whole.nll(mine), rtol=1e-6, atol=0)
whole(ids).backward()
sharded(mine).backward()
expected = dict(whole.named_parameters())
for name, parameter in sharded.named_parameters():
    torch.testing.assert_close(parameter.grad.full_tensor(), expected[name].grad, rtol=1e-4, atol=1e-6)
dist.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.parametrize("head", ["tied", "untied"])
def test_sharded_by_fsdp2_the_loss_and_gradients_are_the_same(tmp_path: Path, head: str) -> None:
    script = tmp_path / "sharded.py"
    script.write_text(SHARDED)

    done = call_on_ranks(str(script), head, ranks=2, folder=tmp_path)

    assert done.code == 0, done.err


def dropping() -> CausalLM:
    config = transformers.GPT2Config(n_embd=8, n_layer=2, n_head=2, vocab_size=96, n_positions=32, resid_pdrop=0.3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return CausalLM(AutoModelForCausalLM.from_config(config)).train()


def test_dropout_is_known_by_module_or_field() -> None:
    assert dropping().has_dropout
    assert not CausalLM(build_model(tiny(), seed=0)).has_dropout
    config = build_model(tiny(), seed=0, device="meta").config
    config.attention_dropout = 0.1
    assert CausalLM(AutoModelForCausalLM.from_config(config)).has_dropout


def test_a_sequence_drops_the_same_units_in_every_micro_batch(ids: torch.Tensor) -> None:
    model, seeds = dropping(), [5, 6, 7]
    whole = model(ids, seeds=seeds)
    torch.rand(3)  # the state of the generator does not count
    parts = torch.stack([model(ids[n : n + 1], seeds=seeds[n : n + 1]) for n in range(3)])

    assert whole.item() == pytest.approx(parts.mean().item(), rel=1e-6)
    assert model(ids, seeds=[7, 6, 5]).item() != pytest.approx(whole.item(), rel=1e-6)
