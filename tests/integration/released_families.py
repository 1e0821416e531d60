"""Releases of every family of models, loaded in a process without lrpath and compared with what was trained."""

import json
import os
import pathlib
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load_file

from lrpath.analysis.release_choice import choose_release
from lrpath.training.checkpoints.backbone import read_backbone
from lrpath.training.checkpoints.export import Dtype, export_release
from lrpath.training.checkpoints.releases import load_release
from tests.integration.lab import Lab

TEXTS = ["main path, branch path", "The year 2024 and 3.14", "cafe\u0301", "def f(x):\n    return  x\n"]
LONGEST = 2000
"""Tokens within which a generated text must have ended."""

LOAD = """
import json, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
torch.set_num_threads(1)  # as the laboratory: sums are split by thread
texts, longest = json.loads(sys.argv[1]), int(sys.argv[2])
for folder in sys.argv[3:]:
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(texts[0], return_tensors="pt").input_ids[:, :16]
    with torch.no_grad():
        logits = model(ids).logits.float().tolist()
        padded = tokenizer(texts, return_tensors="pt", padding=True, truncation=True, max_length=8)
        torch.manual_seed(0)
        made = model.generate(**padded, max_new_tokens=longest, do_sample=True, top_k=0)
    assert not any(name.split(".")[0] == "lrpath" for name in sys.modules)
    print(json.dumps({
        "ids": [tokenizer(text).input_ids for text in texts],
        "logits": logits,
        "ended": [row[8:].tolist().count(tokenizer.eos_token_id) > 0 for row in made],
        "new": made.shape[1] - padded.input_ids.shape[1],
        "end": tokenizer.eos_token,
        "pad": tokenizer.pad_token,
        "longest": tokenizer.model_max_length,
        "class": type(model).__name__,
        "dtype": str(model.dtype),
        "cache": model.config.use_cache,
        "eos": [model.config.eos_token_id, model.generation_config.eos_token_id],
        "bos": [model.config.bos_token_id, model.generation_config.bos_token_id],
    }))
"""

SIZES = {"vocab_size": 300, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
         "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 2048}  # fmt: skip
FAMILIES: dict[str, dict[str, Any] | None] = {
    "llama": None,
    "qwen2": None,
    "qwen3": None,
    "internlm": None,
    "internlm2": None,
    "internlm3": None,
    "gpt_neox": {"rotary_pct": 0.5, "rotary_emb_base": 5000.0},
    "olmo2": {"rope_theta": 500000.0},
    "mistral": {"sliding_window": None},
    "gemma": {"head_dim": 8},
}
"""Families that conf/model has, and those that are given as a Hugging Face configuration, with their own settings."""


@dataclass(frozen=True, kw_only=True)
class LoadedRelease:
    """A release as a process without lrpath found it, beside what was trained.

    Args:
        family: Of the model.
        dtype: Of the exported weights.
        found: What the other process printed.
        ids: Token ids of `TEXTS` under the tokenizer of the training.
        logits: Of the trained weights in fp32, [1, T, V].
        different_weights: Tensors of the release that are not the trained ones rounded to its type, bit for bit.
    """

    family: str
    dtype: Dtype
    found: dict[str, Any]
    ids: list[list[int]]
    logits: torch.Tensor
    different_weights: tuple[str, ...]

    @property
    def logit_difference(self) -> float:
        """Largest difference of a logit."""
        return float((torch.tensor(self.found["logits"]) - self.logits).abs().max())

    @property
    def largest_logit(self) -> float:
        """Largest magnitude of a logit."""
        return float(self.logits.abs().max())

    @property
    def logit_bound(self) -> float:
        """Largest difference of a logit that the type explains: bf16 has 8 bits, 0.4 % at each rounding."""
        return 1e-6 if self.dtype == "fp32" else 0.05 * self.largest_logit


def load_families(lab: Lab, chosen: list[tuple[str, Dtype]]) -> list[LoadedRelease]:
    """Train a small model of each family, export it in each of the types, and load all in one other process."""
    folders = []
    for family, dtype in chosen:
        if not lab.study(family).folder.exists():
            lab.run(*_model(lab, family), f"study={family}", "paradigm=[from_scratch]", "versions=1", "peak=0.01")
        study, folder = lab.study(family), lab.folder / f"{family}-{dtype}"
        _, release = choose_release(study, name="v1")
        export_release(study, release, folder=folder, card=lambda _: "", dtype=dtype, shard_bytes=10**9, loads=True)
        folders.append(folder)
    loaded = _load_elsewhere(*folders)
    return [
        _beside_trained(lab, family, dtype, found, folder)
        for (family, dtype), found, folder in zip(chosen, loaded, folders, strict=True)
    ]


def _model(lab: Lab, family: str) -> list[str]:
    own = FAMILIES[family]
    if own is None:
        return [f"model.family={family}", "model.context=2048", "model.rope_theta=500000"]
    file = lab.folder / f"{family}.json"
    file.write_text(json.dumps(SIZES | {"model_type": family} | own))
    return ["model=hf_file", f"model.file={file}"]


def _load_elsewhere(*folders: pathlib.Path) -> list[dict[str, Any]]:
    """Load folders in a process that knows nothing of lrpath."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-I", "-c", LOAD, json.dumps(TEXTS), str(LONGEST), *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def _beside_trained(lab: Lab, family: str, dtype: Dtype, found: dict[str, Any], folder: pathlib.Path) -> LoadedRelease:
    study = lab.study(family)
    _, release = choose_release(study, name="v1")
    trained = load_release(study, release).lm.eval()
    tokenizer = read_backbone(study.folders()[0]).tokenizer
    assert tokenizer is not None
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
    with torch.no_grad():
        logits = trained(torch.tensor([ids[0][:16]])).logits
    return LoadedRelease(
        family=family,
        dtype=dtype,
        found=found,
        ids=ids,
        logits=logits,
        different_weights=_different_weights(trained, folder),
    )


def _different_weights(trained: torch.nn.Module, folder: pathlib.Path) -> tuple[str, ...]:
    """Return the tensors of a release that are not the trained ones, rounded to its type, to the last bit.

    Files of GPT-NeoX have another name for the output layer, and a Qwen2 as Llama has zeros for its further biases.
    """
    trained_weights = {_public(name): value.detach() for name, value in trained.named_parameters()}
    released = {_public(name): value for name, value in load_file(folder / "model.safetensors").items()}
    wrong = trained_weights.keys() - released.keys()
    for name, value in released.items():
        ours = trained_weights.get(name, torch.zeros_like(value))
        wrong |= set() if torch.equal(value, ours.to(value.dtype)) else {name}
    return tuple(sorted(wrong))


def _public(name: str) -> str:
    return name.replace("embed_out.", "lm_head.")
