"""Shapes: refusals, hand-worked counts, records, and files."""

import json
from pathlib import Path
from typing import Any

import pytest

from lrpath.errors import ConfigError
from lrpath.planning.shape import FAMILIES, ModelShape, load_config_file
from tests.planning.strategies import SIZES, shape_of, shape_of_file
from tests.refusals import refused

TINY: dict[str, Any] = {
    "family": "llama",
    "vocab_size": 10,
    "hidden_size": 8,
    "layers": 3,
    "heads": 2,
    "ffn_size": 5,
    "context": 16,
} | SIZES
GPT2 = {
    "model_type": "gpt2",
    "vocab_size": 100,
    "n_embd": 8,
    "n_layer": 2,
    "n_head": 2,
    "n_positions": 32,
    "n_inner": None,
}


def shape(**changes: Any) -> ModelShape:
    return ModelShape(**(TINY | changes))


def write(folder: Path, content: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(content))
    return path


def test_counts_of_a_small_llama_are_those_worked_by_hand() -> None:
    small = shape()

    # q, k, v, o: 4 · 8 · 8 = 256; gate, up, down: 3 · 8 · 5 = 120; two norms: 16.
    assert small.layer_matrix_parameters == 376
    assert small.layer_parameters == 392
    assert small.embedding_parameters == 160
    assert small.non_embedding_parameters == 3 * 392 + 8
    assert small.parameters == 160 + 3 * 392 + 8
    assert small.matrix_parameters == 3 * 376 + 80


def test_a_tied_head_is_counted_once_and_still_multiplied_with() -> None:
    tied, untied = shape(tie_embeddings=True), shape()

    assert untied.parameters - tied.parameters == 80
    assert tied.matrix_parameters == untied.matrix_parameters
    assert tied.non_embedding_parameters == untied.non_embedding_parameters


@pytest.mark.parametrize(
    ("family", "more"),
    [("llama", 0), ("qwen2", 3 * 8), ("qwen3", 2 * 4), ("internlm", 4 * 8), ("internlm2", 0), ("internlm3", 0)],
)
def test_families_differ_by_their_biases_and_head_norms(family: str, more: int) -> None:
    assert shape(family=family).layer_parameters == shape().layer_parameters + more


def test_grouped_heads_share_keys_and_values() -> None:
    grouped = shape(heads=4, kv_heads=2)

    assert (grouped.query_size, grouped.kv_size) == (8, 4)
    assert grouped.layer_matrix_parameters == 8 * (2 * 8 + 2 * 4) + 120


@pytest.mark.parametrize(
    "changes",
    [
        {"family": "gpt5"},
        {"layers": 0},
        {"vocab_size": -1},
        {"kv_heads": 0},
        {"head_dim": -2},
        {"norm_eps": 0.0},
        {"rope_theta": float("nan")},
        {"init_std": 0.0},
        {"heads": 3},
        {"heads": 4, "kv_heads": 3},
        {"family": "qwen2", "head_dim": 8},
        {"head_dim": 3},
        {"family": "file"},
        {"file": "config.json"},
        {"stated_parameters": 5},
    ],
)
def test_an_impossible_shape_is_refused(changes: dict[str, Any]) -> None:
    with refused(ConfigError):
        shape(**changes)


def test_an_explicit_head_size_frees_the_heads_from_the_width() -> None:
    assert shape(family="qwen3", heads=3, head_dim=4).query_size == 12


def test_a_default_that_is_written_out_gives_the_same_record() -> None:
    assert shape(kv_heads=2, head_dim=4).as_record() == shape().as_record()


def test_the_record_holds_what_determines_the_numbers() -> None:
    assert shape().as_record() == {
        "family": "llama",
        "vocab_size": 10,
        "hidden_size": 8,
        "layers": 3,
        "heads": 2,
        "kv_heads": 2,
        "head_dim": 4,
        "ffn_size": 5,
        "context": 16,
        "tie_embeddings": False,
        "rope_theta": 10_000.0,
        "norm_eps": 1e-5,
        "init_std": 0.02,
    }


def test_a_file_gives_sizes_under_their_old_names(tmp_path: Path) -> None:
    read = shape_of_file(write(tmp_path, GPT2))

    assert (read.hidden_size, read.layers, read.heads, read.context) == (8, 2, 2, 32)
    assert read.ffn_size == 4 * 8


def test_a_file_has_no_counts_until_they_are_stated(tmp_path: Path) -> None:
    path = write(tmp_path, GPT2)
    unknown, known = shape_of_file(path), shape_of_file(path, stated_parameters=5_000)

    assert (unknown.parameters, unknown.non_embedding_parameters, unknown.matrix_parameters) == (None, None, None)
    assert (known.parameters, known.non_embedding_parameters) == (5_000, 5_000 - 2 * 800)
    assert known.as_record() == unknown.as_record()


def test_the_record_of_a_file_follows_its_content_and_not_its_place(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first = shape_of_file(write(tmp_path, GPT2)).as_record()
    same = shape_of_file(write(tmp_path / "other", GPT2 | {"transformers_version": "4.0"})).as_record()
    changed = shape_of_file(write(tmp_path / "other", GPT2 | {"activation_function": "relu"})).as_record()

    assert first == same
    assert first != changed


@pytest.mark.parametrize(
    "content",
    [
        [1],
        GPT2 | {"auto_map": {"AutoModel": "evil.Model"}, "model_type": "internlm2"},
        {"model_type": "gpt2", "n_embd": 8},
    ],
)
def test_a_file_that_cannot_be_trusted_or_read_is_refused(tmp_path: Path, content: Any) -> None:
    with refused(ConfigError):
        shape_of_file(write(tmp_path, content))


def test_a_missing_or_torn_file_is_refused(tmp_path: Path) -> None:
    with refused(ConfigError):
        load_config_file(tmp_path / "absent.json")
    (tmp_path / "torn.json").write_text('{"vocab_size": ')
    with refused(ConfigError):
        load_config_file(tmp_path / "torn.json")


def test_a_window_longer_than_a_files_positions_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, GPT2)

    assert shape_of_file(path, context=32).context == 32
    with refused(ConfigError):
        shape_of_file(path, context=33)


def test_fields_of_a_configuration_become_a_shape(tmp_path: Path) -> None:
    path = write(tmp_path, GPT2)

    assert shape_of(TINY) == shape()
    assert shape_of_file(path, vocab_size=50).vocab_size == 50


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        (TINY | {"n_layer": 3}, "model.n_layer"),
        (TINY | {"file": "x"}, "model.file"),
        ({"family": "llama", "vocab_size": 10}, "model.context"),
        ({"family": "file"}, "model.context"),
        ({"family": "file", "file": "x", "layers": 2}, "model.layers"),
    ],
)
def test_fields_that_do_not_fit_the_family_are_refused(fields: dict[str, Any], field: str) -> None:
    with refused(ConfigError, field=field):
        shape_of(fields)


def test_every_family_but_file_counts_its_parameters() -> None:
    assert all(shape(family=family).parameters for family in FAMILIES if family != "file")
