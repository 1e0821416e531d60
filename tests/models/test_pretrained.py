"""Models with the weights of a folder: exactly these, in fp32, or one error that says what does not fit."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lrpath.errors import ConfigError
from lrpath.models import load_pretrained
from lrpath.planning.shape import FileModel, ModelShape
from tests.pretrained import CONFIGS, made_model, write_checkpoint
from tests.refusals import refused

Tensors = dict[str, torch.Tensor]


def shape_of(folder: Path) -> ModelShape:
    given = {"vocab_size": None, "context": None, "stated_parameters": None}
    return FileModel(family="file", file=str(folder / "config.json"), **given).shape()


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_weights_are_those_of_the_folder_in_fp32_and_training_is_on(
    tmp_path: Path, family: str, dtype: torch.dtype
) -> None:
    folder = write_checkpoint(tmp_path, family, dtype=dtype, tokenizer=False)
    expected = {name: one.detach().float() for name, one in made_model(family, dtype=dtype).named_parameters()}
    before = torch.get_rng_state()

    model = load_pretrained(shape_of(folder), folder=folder)

    found = dict(model.named_parameters())
    assert found.keys() == expected.keys()
    assert all(one.dtype == torch.float32 and torch.equal(one, expected[name]) for name, one in found.items())
    assert all(one.requires_grad for one in found.values())
    assert all(part.training for part in model.modules())
    assert torch.equal(torch.get_rng_state(), before)


def test_a_head_that_is_stored_beside_the_embedding_it_is_tied_to_is_the_embedding(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, "llama", tokenizer=False)
    change(folder, lambda tensors: tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"].clone()})

    model = load_pretrained(shape_of(folder), folder=folder)

    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def change(folder: Path, how: Callable[[Tensors], Tensors]) -> None:
    file = folder / "model.safetensors"
    save_file(how(load_file(file)), file, metadata={"format": "pt"})


DAMAGES: dict[str, Callable[[Tensors], Tensors]] = {
    "missing": lambda tensors: {name: one for name, one in tensors.items() if name != "model.norm.weight"},
    "unexpected": lambda tensors: tensors | {"model.extra.weight": torch.zeros(2), "model.more.weight": torch.zeros(2)},
    "other_shape": lambda tensors: tensors | {"model.norm.weight": torch.zeros(3)},
    "not_finite": lambda tensors: tensors | {"model.norm.weight": torch.full((16,), float("nan"))},
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_weights_that_do_not_fit_are_refused_in_one_sentence(tmp_path: Path, damage: str) -> None:
    folder = write_checkpoint(tmp_path / "folder", "llama", tokenizer=False)
    change(folder, DAMAGES[damage])

    with refused(ConfigError, field="model.weights", value=str(folder)):
        load_pretrained(shape_of(folder), folder=folder)
