"""Every file of `conf/model` gives a shape, and every shape the model it names."""

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from lrpath.models import build_model
from lrpath.planning.shape import ModelShape
from tests.planning.strategies import shape_of

FOLDER = Path(__file__).parents[2] / "conf" / "model"
DECLARED = sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem not in ("hf_file", "own", "weights"))


def fields(name: str, vocab_size: int = 32_000, window: int = 2048) -> dict[str, Any]:
    root = OmegaConf.create(
        {"data": {"tokenizer": {"vocab_size": vocab_size}}, "batch": {"tokens_per_sequence": window}}
    )
    root["model"] = OmegaConf.load(FOLDER / f"{name}.yaml")
    content = OmegaConf.to_container(root, resolve=True)
    assert isinstance(content, dict)
    return content["model"]


@pytest.mark.parametrize("name", DECLARED)
def test_a_declared_model_has_the_parameters_that_its_plan_counts(name: str) -> None:
    shape = shape_of(fields(name))

    built = sum(parameter.numel() for parameter in build_model(shape, seed=0, device="meta").parameters())
    assert built == shape.parameters


@pytest.mark.parametrize("name", DECLARED)
def test_a_declared_model_names_every_field(name: str) -> None:
    of_files = {"file", "file_digest", "stated_parameters", "weights"}
    assert fields(name).keys() == ModelShape.__dataclass_fields__.keys() - of_files


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_key_has_a_comment(path: Path) -> None:
    keys = [line for line in path.read_text(encoding="utf-8").splitlines() if line.split("#")[0].strip()]
    keys = [line for line in keys if not line.endswith(":")]  # a key of further keys is explained by them

    assert [line for line in keys if "  # " not in line] == []


@pytest.mark.parametrize(
    ("name", "non_embedding"),
    [
        ("106m", 106_192_128),
        ("203m", 202_408_960),
        ("410m", 303_612_928),
        ("1.2b", 1_214_351_360),
        ("3.1b", 3_056_782_080),
    ],
)
def test_the_papers_models_have_the_sizes_that_their_files_say(name: str, non_embedding: int) -> None:
    assert shape_of(fields(name)).non_embedding_parameters == non_embedding


@pytest.mark.parametrize(("name", "parameters"), [("7b", 6_738_415_616), ("70b", 68_976_648_192)])
def test_the_llama_2_models_have_their_published_sizes(name: str, parameters: int) -> None:
    assert shape_of(fields(name)).parameters == parameters


def test_a_model_by_file_takes_the_tokenizers_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        '{"model_type": "gpt2", "vocab_size": 9, "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 64}'
    )
    root = OmegaConf.create({"data": {"tokenizer": {"vocab_size": 11}}, "batch": {"tokens_per_sequence": 64}})
    root["model"] = OmegaConf.load(FOLDER / "hf_file.yaml")
    root["model"]["file"] = str(tmp_path / "config.json")
    content = OmegaConf.to_container(root, resolve=True)

    assert isinstance(content, dict)
    assert shape_of(content["model"]).vocab_size == 11
