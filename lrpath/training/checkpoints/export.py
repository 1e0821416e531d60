"""Writes a release as a Hugging Face folder: weights in shards, configuration, tokenizer, and how generation ends.

Weights go from the states to the shards tensor by tensor, so that memory holds one shard and not the model.
"""

import json
import pathlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import transformers
from safetensors.torch import save_file
from transformers import GenerationConfig, LlamaConfig, PreTrainedConfig

from lrpath.errors import DataError, StateError
from lrpath.models import NAME_PREFIX, model_of
from lrpath.planning import optimizers
from lrpath.planning.optimizers import Optimizer
from lrpath.planning.paths import Release
from lrpath.records.files import atomic_folder
from lrpath.records.manifest import check_state
from lrpath.records.released import ExportedRelease, write_sums
from lrpath.records.shards import stored_tensors
from lrpath.records.study import Study
from lrpath.training.checkpoints.backbone import Backbone, read_backbone
from lrpath.training.checkpoints.loading import read_tensors
from lrpath.training.checkpoints.public_door import check_generation_ends, check_logits, check_tokenizer, ids_differ
from lrpath.training.checkpoints.releases import folders_of
from lrpath.training.optimizers import combined

Dtype = Literal["fp32", "bf16"]

_DTYPES: dict[Dtype, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}
_PREFIX = f"model.{NAME_PREFIX}"

_PUBLIC_NAMES = {"gpt_neox": {"lm_head.weight": "embed_out.weight"}}
"""Names that files of a model type have had since transformers 4; version 5 renames them when it loads them."""


def export_release(
    study: Study,
    release: Release,
    *,
    folder: pathlib.Path,
    card: Callable[[ExportedRelease], str],
    dtype: Dtype,
    shard_bytes: int,
    loads: bool,
) -> ExportedRelease:
    """Write a release as a Hugging Face folder that transformers loads without lrpath, and compare it with the study.

    Args:
        study: Where its states are.
        release: The release.
        folder: Folder to make; must not hold files yet.
        card: Returns the text of the model card.
        dtype: Type of the weights.
        shard_bytes: Most bytes of a weight file, unless one tensor has more.
        loads: Whether the folder is loaded, run and compared with the states, which takes the model's memory; else
            the ids of its tokenizer alone are compared.

    Raises:
        DataError: If the folder holds files, or what was written is not the model that was trained.
        StateError: If a state or what lies beside it is missing or altered.
    """
    if folder.exists() and any(folder.iterdir()):
        raise DataError(
            f"{folder} holds files already; choose another folder or remove them", field="folder", value=str(folder)
        )
    weights = ReleaseWeights.of(study, release)
    with atomic_folder(folder) as beside:
        config, notes = _write_public_files(beside, weights.backbone, dtype=dtype)
        compared = _compare_tokenizer(beside, weights.backbone)
        files, size = _write_shards(beside, weights, config=config, dtype=_DTYPES[dtype], shard_bytes=shard_bytes)
        _share_modes(beside)
        if loads:
            compared += check_logits(beside, weights, dtype=_DTYPES[dtype])
            compared += check_generation_ends(beside, weights.backbone)
        made = ExportedRelease(
            dtype=dtype,
            files=files,
            bytes=size,
            architecture=config.architectures[0],
            transformers=transformers.__version__,
            end_mark=weights.backbone.end_mark,
            end_id=weights.backbone.end_id,
            window=weights.backbone.window,
            compared=tuple(compared),
            notes=tuple(notes),
        )
        (beside / "README.md").write_text(card(made), encoding="utf-8")
        write_sums(beside)
    return made


@dataclass(frozen=True, kw_only=True)
class ReleaseWeights:
    """The weights of a release, read tensor by tensor from its states.

    Args:
        parts: Folder of each state and its weight in the mean.
        backbone: What lies beside them.
        shapes: Shape of each tensor by its name in transformers.
        optimizer: Says of which tensors of a state the released weights are made.
    """

    parts: tuple[tuple[pathlib.Path, float], ...]
    backbone: Backbone
    optimizer: Optimizer
    shapes: Mapping[str, tuple[int, ...]]

    @classmethod
    def of(cls, study: Study, release: Release) -> "ReleaseWeights":
        """Find the weights of a release and compare its states with their digests.

        Raises:
            StateError: If a state or what lies beside it is missing or altered.
        """
        folders = folders_of(study, release)
        parts = [
            (folder.fetched_state(key.position), weight)
            for (key, weight), folder in zip(release.parts, folders, strict=True)
        ]
        for (key, _), (place, _) in zip(release.parts, parts, strict=True):
            check_state(place, key=key)
        stored = stored_tensors(parts[0][0])
        shapes = {name.removeprefix(_PREFIX): one.shape for name, one in stored.items() if name.startswith(_PREFIX)}
        optimizer = optimizers.from_record(folders[-1].recipe()["optimizer"])
        return cls(parts=tuple(parts), backbone=read_backbone(folders[-1]), shapes=shapes, optimizer=optimizer)

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield the tensors by name, in fp32; of several states, the weighted mean, summed in float64.

        Raises:
            StateError: If a state cannot be read, or lacks a tensor that another has.
        """
        kinds = list(self.optimizer.released)
        readers = [
            zip(*(read_tensors(place, prefix=f"{kind}.{NAME_PREFIX}") for kind in kinds), strict=True)
            for place, _ in self.parts
        ]
        for of_parts in zip(*readers, strict=True):
            names = {name.partition(f".{NAME_PREFIX}")[2] for of_kinds in of_parts for name, _ in of_kinds}
            if len(names) > 1:
                raise StateError(f"the states of the release have other tensors: {sorted(names)[:2]}; restore them")
            weights = [
                combined({kind: one for kind, (_, one) in zip(kinds, row, strict=True)}, settings=self.optimizer)
                for row in of_parts
            ]
            yield names.pop(), self._mean(weights)

    def _mean(self, tensors: list[torch.Tensor]) -> torch.Tensor:
        if len(tensors) == 1:
            return tensors[0]
        total = tensors[0].double() * self.parts[0][1]
        for tensor, (_, weight) in zip(tensors[1:], self.parts[1:], strict=True):
            total += tensor.double() * weight
        return total.to(tensors[0].dtype)


def _write_public_files(
    folder: pathlib.Path, backbone: Backbone, *, dtype: Dtype
) -> tuple[PreTrainedConfig, list[str]]:
    """Write configuration and tokenizer; return the former, and what was changed so that all load what was trained."""
    config, notes = backbone.config, []
    _write_tokenizer(folder, backbone)
    _write_config(folder, config, backbone, dtype=dtype)
    if backbone.tokenizer is not None and config.model_type == "qwen2" and ids_differ(folder, backbone):
        config = _as_llama(config)
        _write_config(folder, config, backbone, dtype=dtype)
        notes.append(
            "Trained as Qwen2 and released as Llama with biases, those of the attention's output 0: the same function "
            "of the same weights. AutoTokenizer gives a `qwen2` model another tokenizer than the one of its training."
        )
    GenerationConfig(eos_token_id=backbone.end_id, pad_token_id=backbone.end_id, bos_token_id=None).save_pretrained(
        folder
    )
    return config, notes


def _as_llama(config: PreTrainedConfig) -> PreTrainedConfig:
    """Return the configuration of a Llama that computes what a Qwen2 does, given zeros for its further biases.

    Raises:
        DataError: If the model slides its attention window, which Llama does not.
    """
    if getattr(config, "use_sliding_window", False):
        raise DataError(
            "this Qwen2 model slides its attention window, and AutoTokenizer does not read the tokenizer it was "
            "trained with; train it with use_sliding_window=false, or with a tokenizer of Qwen2's own kind"
        )
    same = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
            "num_key_value_heads", "hidden_act", "max_position_embeddings", "initializer_range", "rms_norm_eps",
            "tie_word_embeddings", "rope_parameters", "attention_dropout")  # fmt: skip
    fields = {name: getattr(config, name) for name in same}
    return LlamaConfig(**fields, attention_bias=True, mlp_bias=False)


def _write_config(folder: pathlib.Path, config: PreTrainedConfig, backbone: Backbone, *, dtype: Dtype) -> None:
    """Write `config.json`: with the end mark, the key-value cache on, and read alike by transformers 4 and 5.

    It has no padding id. That would make the end mark's row of the embedding zero for whoever trains on, and cut its
    gradient; `generation_config.json` and the tokenizer have one.
    """
    config.use_cache = True
    config.eos_token_id, config.bos_token_id, config.pad_token_id = backbone.end_id, None, None
    with torch.device("meta"):
        config.architectures = [type(model_of(config, dtype=_DTYPES[dtype])).__name__]  # sets config.dtype too
    config.save_pretrained(folder)
    file = folder / "config.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content |= {"use_cache": True, "eos_token_id": backbone.end_id, "bos_token_id": None, "pad_token_id": None}
    file.write_text(json.dumps(content | _for_transformers_4(config), indent=2) + "\n", encoding="utf-8")


def _for_transformers_4(config: PreTrainedConfig) -> dict[str, Any]:
    """Return rotary settings under the names of transformers 4, which does not read `rope_parameters`."""
    rope = getattr(config, "rope_parameters", None) or {}
    if "rope_theta" not in rope:  # no rotary positions, or others for each kind of layer
        return {}
    names = {"rope_theta": rope["rope_theta"]}
    if config.model_type == "gpt_neox":
        names = {"rotary_emb_base": rope["rope_theta"], "rotary_pct": rope.get("partial_rotary_factor", 1.0)}
    elif "partial_rotary_factor" in rope:
        names["partial_rotary_factor"] = rope["partial_rotary_factor"]
    if rope.get("rope_type", "default") != "default":
        names["rope_scaling"] = {key: value for key, value in rope.items() if key != "rope_theta"}
    return names


def _write_tokenizer(folder: pathlib.Path, backbone: Backbone) -> None:
    """Write the tokenizer so that a text becomes the ids that it was in training: nothing is put before or after it."""
    if backbone.tokenizer is None:
        return
    content = json.loads(backbone.tokenizer.to_str())
    probe = backbone.tokenizer.encode("a b").ids, backbone.tokenizer.encode("a b", add_special_tokens=False).ids
    if probe[0] != probe[1]:
        content["post_processor"] = None  # it puts a mark before a text, which training never saw there
    (folder / "tokenizer.json").write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",  # reads tokenizer.json as it is, in transformers 4 and 5
        "eos_token": backbone.end_mark,
        "pad_token": backbone.end_mark,
        "model_max_length": backbone.window,
        "padding_side": "left",  # a text is continued at its right end
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _compare_tokenizer(folder: pathlib.Path, backbone: Backbone) -> list[str]:
    return ["no tokenizer: only ids were given"] if backbone.tokenizer is None else check_tokenizer(folder, backbone)


def _write_shards(
    folder: pathlib.Path, weights: ReleaseWeights, *, config: PreTrainedConfig, dtype: torch.dtype, shard_bytes: int
) -> tuple[int, int]:
    """Write the weights, at most so many bytes a file, and return the number of files and their bytes."""
    writer = _ShardWriter(folder, sizes=_sizes(weights, config, dtype), most=shard_bytes)
    public = _PUBLIC_NAMES.get(config.model_type, {})
    for name, tensor in weights.tensors():
        writer.add(public.get(name, name), tensor.to(dtype))
    for name, shape in _further_biases(weights, config).items():
        writer.add(name, torch.zeros(shape, dtype=dtype))
    return writer.finish()


def _sizes(weights: ReleaseWeights, config: PreTrainedConfig, dtype: torch.dtype) -> list[int]:
    """Return the bytes of each tensor in the order in which they are written."""
    shapes = [*(weights.shapes[name] for name in sorted(weights.shapes)), *_further_biases(weights, config).values()]
    return [torch.Size(shape).numel() * dtype.itemsize for shape in shapes]


def _further_biases(weights: ReleaseWeights, config: PreTrainedConfig) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the biases that a Qwen2 released as Llama has besides: of the attention's output."""
    if not (config.model_type == "llama" and weights.backbone.config.model_type == "qwen2"):
        return {}
    places = range(config.num_hidden_layers)
    return {f"model.layers.{place}.self_attn.o_proj.bias": (config.hidden_size,) for place in places}


class _ShardWriter:
    """Writes tensors into numbered files, of which the number is known before the first is written."""

    def __init__(self, folder: pathlib.Path, *, sizes: list[int], most: int) -> None:
        self._folder = folder
        self._ends: list[int] = []
        filled = 0
        for place, size in enumerate(sizes):
            if filled and filled + size > most:
                self._ends.append(place)
                filled = 0
            filled += size
        self._ends.append(len(sizes))
        self._total = sum(sizes)
        self._count = 0
        self._files: dict[str, str] = {}
        self._held: dict[str, torch.Tensor] = {}

    def add(self, name: str, tensor: torch.Tensor) -> None:
        self._held[name] = tensor.contiguous()
        self._count += 1
        if self._count in self._ends:
            self._write()

    def _write(self) -> None:
        number, of = self._ends.index(self._count) + 1, len(self._ends)
        name = "model.safetensors" if of == 1 else f"model-{number:05d}-of-{of:05d}.safetensors"
        save_file(self._held, self._folder / name, metadata={"format": "pt"})
        self._files |= dict.fromkeys(self._held, name)
        self._held = {}

    def finish(self) -> tuple[int, int]:
        if len(self._ends) > 1:
            index = {"metadata": {"total_size": self._total}, "weight_map": dict(sorted(self._files.items()))}
            file = self._folder / "model.safetensors.index.json"
            file.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
        return len(self._ends), self._total


def _share_modes(folder: pathlib.Path) -> None:
    """Give all files the mode of one written in the ordinary way; safetensors writes them for their owner alone."""
    mode = (folder / "config.json").stat().st_mode & 0o777
    for file in folder.iterdir():
        file.chmod(mode)
