"""A folder of weights that are all zero, made without torch: for plans, which read sizes and digest."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models


def write_zero_weights(folder: Path) -> Path:
    """Write a GPT-NeoX that says its sizes and its count of parameters, with a tokenizer, and return the folder."""
    folder.mkdir(parents=True)
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1, "num_attention_heads": 4}
    shape = {"model_type": "gpt_neox", "vocab_size": 300, "max_position_embeddings": 2048, "eos_token_id": 0}
    (folder / "config.json").write_text(json.dumps(shape | sizes))
    save_file({"weight": np.zeros((256, 160), np.float32)}, folder / "model.safetensors")
    letters = {chr(number): number - 47 for number in range(48, 123)}
    tokenizer = Tokenizer(models.WordLevel({"<end>": 0} | letters, unk_token="<end>"))
    tokenizer.add_special_tokens(["<end>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
