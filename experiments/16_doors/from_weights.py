"""Checkpoints that lrpath has not made, and what it makes of them: a tiny GPT-NeoX, Llama and Qwen3.

    python experiments/16_doors/from_weights.py             makes outputs/checkpoints/<family>, a minute on one core
    python experiments/16_doors/from_weights.py --all       trains on from each, releases it, and trains on from that

A plain loop of PyTorch trains them on Python's standard library. `+exp=rewarm/from_weights scale=mini` begins with the
first one. Every lrpath command is printed before it is run.
"""

import math
import pathlib
import shlex
import subprocess
import sys
import sysconfig

import torch
from hydra import compose, initialize_config_dir
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPTNeoXConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

from lrpath.assembly.project import Project
from lrpath.config import schema
from lrpath.models import CausalLM, quiet_transformers
from lrpath.records.study import Study

CHECKPOINTS = pathlib.Path("outputs/checkpoints")
IDS, WINDOW, SEQUENCES, UPDATES, PEAK = 512, 128, 8, 600, 1e-2
SIZES = {"vocab_size": IDS, "hidden_size": 32, "intermediate_size": 88, "num_hidden_layers": 2,
         "num_attention_heads": 2, "max_position_embeddings": WINDOW, "initializer_range": 0.08,
         "tie_word_embeddings": True}  # fmt: skip
FAMILIES: dict[str, tuple[PreTrainedConfig, torch.dtype, str]] = {
    "gpt_neox": (GPTNeoXConfig(**SIZES), torch.float32, "5GB"),
    "llama": (LlamaConfig(**SIZES), torch.float16, "40KB"),
    "qwen3": (Qwen3Config(**SIZES, num_key_value_heads=1, head_dim=16), torch.bfloat16, "5GB"),
}
"""By family: its sizes, the type in which it is saved, and the largest file."""


def standard_library() -> str:
    """Return some modules of the standard library as one text, each ended by the mark."""
    files = sorted(pathlib.Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    return "".join(file.read_text(encoding="utf-8", errors="ignore") + "</s>" for file in files[:120])


def make_tokenizer(text: str) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=IDS, special_tokens=["</s>"], initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(text.split("</s>"), trainer=trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="</s>")


def pretrain(config: PreTrainedConfig, ids_N: Tensor) -> tuple[PreTrainedModel, float]:
    """Return a model trained for `UPDATES` updates under a cosine, and its last loss."""
    torch.manual_seed(1)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.1, betas=(0.9, 0.95))
    draw = torch.Generator().manual_seed(1)
    loss = torch.zeros(())
    for update in range(UPDATES):
        warm, decayed = (update + 1) / 40, (1 + math.cos(math.pi * update / UPDATES)) / 2
        optimizer.param_groups[0]["lr"] = PEAK * min(warm, 0.1 + 0.9 * decayed)
        starts = torch.randint(len(ids_N) - WINDOW, (SEQUENCES,), generator=draw)
        batch_BT = torch.stack([ids_N[start : start + WINDOW] for start in starts.tolist()])
        loss = model(input_ids=batch_BT, labels=batch_BT).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return model, loss.item()


def make_checkpoints() -> None:
    """Write the checkpoints that are not there."""
    missing = [family for family in FAMILIES if not (CHECKPOINTS / family / "config.json").exists()]
    if not missing:
        return
    text = standard_library()
    tokenizer = make_tokenizer(text)
    with quiet_transformers():
        ids_N = torch.tensor(tokenizer(text)["input_ids"])
        for family in missing:
            config, dtype, shard = FAMILIES[family]
            model, loss = pretrain(config, ids_N)
            tokenizer.save_pretrained(CHECKPOINTS / family)
            model.to(dtype).save_pretrained(CHECKPOINTS / family, max_shard_size=shard)
            files = len(list((CHECKPOINTS / family).glob("*.safetensors")))
            print(f"{CHECKPOINTS / family}: {model.num_parameters():,} parameters, {dtype}, {files} files, {loss:.3f}")


def run(*words: str) -> None:
    """Print and run a command of lrpath."""
    print(f"$ python -m {shlex.join(words)}", flush=True)
    subprocess.run([sys.executable, "-m", *words], check=True)


def first_losses(folder: pathlib.Path, overrides: list[str], study: str) -> tuple[float, float, float]:
    """Return the first loss of a study's root, that of the folder's model, and the latter as transformers sums it."""
    with initialize_config_dir(version_base="1.3", config_dir=str(schema.conf_folder())):
        project = Project(schema.load(compose("config", overrides=overrides)))
    batches = project.batches(project.plan.tree.paths[0], store=project.prepare())
    ids_BL = torch.as_tensor(batches.batch(0))
    read_BT, targets_BT = ids_BL[:, :-1].contiguous(), ids_BL[:, 1:].contiguous()
    with quiet_transformers():
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).train()
    own = CausalLM(model)(ids_BL)
    summed = model(input_ids=read_BT, labels=read_BT, shift_labels=targets_BT).loss
    (root,) = (one for one in Study(pathlib.Path("outputs") / study).folders() if one.recipe()["model"].get("weights"))
    return float(root.metrics.rows()[0].loss), own.item(), summed.item()


def settings(folder: pathlib.Path, study: str) -> list[str]:
    """Return the overrides of a study that re-warms a folder's weights on the installed packages."""
    return [
        "model=weights", f"model.weights={folder}", f"study={study}", "data=python_packages", "text_bytes=900_000",
        "versions=1", "increment=200 updates", "warmup=10 updates", "peak=5e-3", "paradigm=[rewarm]",
        f"batch.sequences_per_update={SEQUENCES}", f"batch.tokens_per_sequence={WINDOW}",
        "cadence.evaluate_every=100", "strategy.threads=1", "logger=none", "strategy.accelerator=cpu",
    ]  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)
    make_checkpoints()
    if sys.argv[1:] != ["--all"]:
        return
    for family in FAMILIES:
        study, released = f"doors_{family}", pathlib.Path(f"outputs/released/{family}")
        run("lrpath.train", *settings(CHECKPOINTS / family, study))
        run("lrpath.export", f"study={study}", "release=v1", f"folder={released}")
        run("lrpath.verify", f"study={study}")
        run("lrpath.train", *settings(released, f"{study}_again"))
        print("first losses: in the study, by the model that transformers loads, and as transformers sums and divides")
        for folder, name in ((CHECKPOINTS / family, study), (released, f"{study}_again")):
            first, own, summed = first_losses(folder, settings(folder, name), name)
            print(f"{name}: {first!r}, {own!r} ({'equal' if first == own else 'different'}), {summed!r}")
        with quiet_transformers():
            tokenizer, model = AutoTokenizer.from_pretrained(released), AutoModelForCausalLM.from_pretrained(released)
            ids = model.generate(**tokenizer("def ", return_tensors="pt"), max_new_tokens=12, do_sample=False)
        print(f"{type(model).__name__} by AutoModelForCausalLM goes on: {tokenizer.decode(ids[0])!r}", flush=True)


if __name__ == "__main__":
    main()
