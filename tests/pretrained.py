"""Checkpoints as transformers writes them: a tiny GPT-NeoX, Llama and Qwen3 with a tokenizer, in a folder each."""

import copy
import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    GPTNeoXConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

from lrpath.models import quiet_transformers
from tests.integration.lab import WORDS

END_MARK, PADDING_ROWS = "</s>", 4
IDS = 257 + 23
SIZES: dict[str, Any] = {"vocab_size": IDS + PADDING_ROWS, "hidden_size": 16, "intermediate_size": 32,
                         "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 64}  # fmt: skip
CONFIGS: dict[str, PreTrainedConfig] = {
    "gpt_neox": GPTNeoXConfig(**SIZES),
    "llama": LlamaConfig(**SIZES, tie_word_embeddings=True, pad_token_id=0),
    "qwen3": Qwen3Config(**SIZES, num_key_value_heads=1, head_dim=8),
}


def made_tokenizer(end_mark: str = END_MARK, *, ids: int = IDS) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE with an end mark."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=ids,
        special_tokens=[end_mark],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([" ".join(random.Random(1).choices(WORDS, k=400))], trainer=trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=end_mark)


def made_model(family: str, *, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """Return a model that is sure of something, so that another model has another loss."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(7)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(
            copy.deepcopy(CONFIGS[family]),
            dtype=torch.float32,  # which it would note in the configuration
        )
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.2)
    return model.to(dtype)


def write_checkpoint(
    folder: Path,
    family: str = "llama",
    *,
    dtype: torch.dtype = torch.float32,
    shard: str = "5GB",
    tokenizer: bool = True,
) -> Path:
    """Write a checkpoint into a folder, and return the folder."""
    with quiet_transformers():
        made_model(family, dtype=dtype).save_pretrained(folder, max_shard_size=shard)
        if tokenizer:
            made_tokenizer().save_pretrained(folder)
    return folder


def load_checkpoint(folder: Path) -> PreTrainedModel:
    """Load a checkpoint as everybody does, in fp32."""
    with quiet_transformers():
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model
