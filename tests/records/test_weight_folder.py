"""Folders of weights without torch: what is refused before anything is read, and what a digest is of."""

import json
import os
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
from safetensors.numpy import save_file

from lrpath.errors import ConfigError
from lrpath.records.weight_folder import WeightFolder
from tests.refusals import refused

TENSORS = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b.bias": np.zeros(3, np.float16)}
BUFFERS = {"x.attention.bias": np.ones((1, 1, 2, 2), bool), "x.rotary_emb.inv_freq": np.ones(2, np.float32)}


def write_folder(folder: Path, tensors: dict[str, Any] = TENSORS, **config: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"} | config))
    save_file(tensors, folder / "model.safetensors")
    return folder


def write_shards(folder: Path, tensors: dict[str, Any] = TENSORS) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    files = {name: f"model-{number}.safetensors" for number, name in enumerate(tensors)}
    for name, file in files.items():
        save_file({name: tensors[name]}, folder / file, metadata={"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    return folder


def find(folder: Path | str) -> WeightFolder:
    memories = Path(folder).parent / "memories" if isinstance(folder, Path) else Path("memories")
    return WeightFolder.find(str(folder), memories=memories)


def digest(folder: Path) -> str:
    return find(folder).starting_weights.digest


def test_a_digest_is_of_tensors_and_not_of_shards_places_or_metadata(tmp_path: Path) -> None:
    whole, shards = write_folder(tmp_path / "whole"), write_shards(tmp_path / "shards")
    reordered = write_folder(tmp_path / "reordered", dict(reversed(TENSORS.items())))
    renamed = write_folder(tmp_path / "renamed", {"c.weight": TENSORS["a.weight"], "b.bias": TENSORS["b.bias"]})
    wider = write_folder(tmp_path / "wider", TENSORS | {"b.bias": np.zeros(3, np.float32)})
    one_bit = write_folder(tmp_path / "one_bit", TENSORS | {"b.bias": np.array([0, 0, -0.0], np.float16)})

    assert digest(whole) == digest(shards) == digest(reordered)
    assert len({digest(one) for one in (whole, renamed, wider, one_bit)}) == 4


def test_parameters_are_counted_without_buffers_and_tied_ones_once(tmp_path: Path) -> None:
    untied = find(
        write_folder(tmp_path / "untied", TENSORS | BUFFERS | {"lm_head.weight": np.zeros((5, 2), np.float32)})
    )
    tied = find(
        write_folder(
            tmp_path / "tied", TENSORS | {"lm_head.weight": np.zeros((5, 2), np.float32)}, tie_word_embeddings=True
        )
    )

    assert (untied.parameters, untied.starting_weights.tensors) == (19, 3)
    assert tied.parameters == 9
    assert untied.starting_weights.dtypes == ("float16", "float32")


def test_what_is_known_of_files_is_remembered_by_their_sizes_and_times(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder")
    before, times = digest(folder), (folder / "model.safetensors").stat().st_mtime_ns

    save_file(TENSORS | {"b.bias": np.ones(3, np.float16)}, folder / "model.safetensors")
    os.utime(folder / "model.safetensors", ns=(times, times))

    assert digest(folder) == before  # nothing tells that it changed, until its tensors are read to begin with them
    assert find(folder).current_digest() != before
    os.utime(folder / "model.safetensors", ns=(times, times + 1))
    assert digest(folder) == find(folder).current_digest()


def test_a_folder_that_is_gone_is_remembered_with_its_small_files(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", eos_token_id=1)
    (folder / "tokenizer.json").write_text(json.dumps({"added_tokens": [{"id": 1, "content": "<end>"}]}))
    there = find(folder)
    weights = there.starting_weights
    folder.rename(tmp_path / "elsewhere")

    gone = find(folder)

    assert (gone.folder, gone.starting_weights, gone.end_mark) == (None, weights, "<end>")
    assert gone.file("config.json").read_text() == (tmp_path / "elsewhere/config.json").read_text()
    with refused(ConfigError, field="model.weights", value=str(folder)):
        gone.current_digest()


@pytest.mark.parametrize("mark", ["</s>", {"content": "</s>", "lstrip": False}])
def test_the_end_mark_is_the_one_that_the_tokenizers_settings_name(tmp_path: Path, mark: Any) -> None:
    folder = write_folder(tmp_path / "folder")
    assert find(folder).end_mark is None
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": mark}))

    assert find(folder).end_mark == "</s>"


def only_pickles(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def no_shard(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "model-2.safetensors"}}))


def foreign_shard(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "outside.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../outside.safetensors"}}))


def adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")


@pytest.mark.parametrize(
    "damage",
    [
        only_pickles,
        no_shard,
        foreign_shard,
        adapter,
        lambda folder: (folder / "config.json").unlink(),
        lambda folder: (folder / "model.safetensors").unlink(),
    ],
    ids=["only_pickles", "no_shard", "foreign_shard", "adapter", "no_config", "nothing"],
)
def test_a_folder_that_is_not_one_of_weights_is_refused_when_it_is_found(tmp_path: Path, damage: Any) -> None:
    folder = write_folder(tmp_path / "folder")
    damage(folder)

    with refused(ConfigError, field="model.weights", value=str(folder)):
        find(folder)


def test_a_torn_quantized_or_doubled_file_is_refused_when_it_is_read(tmp_path: Path) -> None:
    torn, doubled = write_folder(tmp_path / "torn"), write_shards(tmp_path / "doubled")
    content = (torn / "model.safetensors").read_bytes()
    (torn / "model.safetensors").write_bytes(content[:-2])
    quantized = write_folder(tmp_path / "quantized")
    (quantized / "model.safetensors").write_bytes(content.replace(b'"F16","shape":[3]', b'"F8_E5M2","shape":[6]', 1))
    save_file(TENSORS, doubled / "model-0.safetensors")
    header = json.dumps({"q": {"dtype": "F8_E5M2", "shape": [1], "data_offsets": [0, 1]}}).encode()
    (quantized / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"0")

    for folder in (torn, quantized, doubled):
        with refused(ConfigError, field="model.weights", value=str(folder)):
            _ = find(folder).starting_weights


def test_a_file_in_place_of_a_folder_and_a_name_that_is_nothing_are_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder")

    for given in (folder / "model.safetensors", tmp_path / "none"):
        with refused(ConfigError, field="model.weights", value=str(given)):
            find(given)


def test_a_name_on_the_hub_is_its_snapshot_or_what_is_remembered_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    cached = tmp_path / "cache/models--owner--name"
    snapshot = write_folder(cached / "snapshots" / ("0" * 40))
    (cached / "refs").mkdir()
    (cached / "refs/main").write_text("0" * 40)

    found = find("owner/name")
    weights = found.starting_weights

    assert found.folder == snapshot
    assert weights.given == "owner/name"
    (cached / "refs/main").unlink()
    assert (find("owner/name").folder, find("owner/name").starting_weights) == (None, weights)
    with refused(ConfigError, field="model.weights", value="owner/other", stable=False):
        find("owner/other")
