"""What a field is called: names that were changed, words that people type for it, and the nearest one to a slip.

A configuration written for an earlier version is refused with the new name, never understood silently: the same file
would otherwise mean one thing here and nothing there.
"""

import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType

RENAMED: Mapping[str, str] = MappingProxyType(
    {
        "beyond": "extrapolate",
        "draws": "bootstrap_samples",
    }
)
"""Fields of earlier versions → what they are called now."""

SYNONYMS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "batch_size": ("batch.sequences_per_update",),
        "global_batch_size": ("batch.sequences_per_update",),
        "train_batch_size": ("batch.sequences_per_update",),
        "rampup_batch_size": ("batch.growth",),
        "micro_batch_size": ("strategy.micro_batch",),
        "per_device_train_batch_size": ("strategy.micro_batch",),
        "gradient_checkpointing": ("strategy.recompute",),
        "activation_checkpointing": ("strategy.recompute",),
        "seq_len": ("batch.tokens_per_sequence",),
        "sequence_length": ("batch.tokens_per_sequence",),
        "context_length": ("batch.tokens_per_sequence",),
        "block_size": ("batch.tokens_per_sequence",),
        "max_seq_len": ("batch.tokens_per_sequence",),
        "lr": ("peak",),
        "learning_rate": ("peak",),
        "max_lr": ("peak",),
        "peak_lr": ("peak",),
        "min_lr": ("floor",),
        "warmup_steps": ("warmup",),
        "warmup_updates": ("warmup",),
        "steps": ("increment",),
        "max_steps": ("increment",),
        "train_steps": ("increment",),
        "num_steps": ("increment",),
        "updates": ("increment",),
        "iterations": ("increment",),
        "scheduler": ("schedule",),
        "lr_scheduler": ("schedule",),
        "optim": ("optimizer",),
        "betas": ("optimizer.beta1", "optimizer.beta2"),
        "wd": ("optimizer.weight_decay",),
        "weight_decay": ("optimizer.weight_decay",),
        "grad_clip": ("optimizer.clip_norm",),
        "max_grad_norm": ("optimizer.clip_norm",),
        "gradient_clip_val": ("optimizer.clip_norm",),
        "dtype": ("precision",),
        "bf16": ("precision",),
        "output_dir": ("outputs",),
        "out_dir": ("outputs",),
        "name": ("study",),
        "run_name": ("study",),
        "dataset": ("data",),
        "n_layer": ("layers", "model.layers"),
        "num_layers": ("layers", "model.layers"),
        "num_hidden_layers": ("layers", "model.layers"),
        "n_head": ("heads", "model.heads"),
        "num_heads": ("heads", "model.heads"),
        "num_attention_heads": ("heads", "model.heads"),
        "num_key_value_heads": ("kv_heads", "model.kv_heads"),
        "n_embd": ("hidden_size", "model.hidden_size"),
        "d_model": ("hidden_size", "model.hidden_size"),
        "intermediate_size": ("ffn_size", "model.ffn_size"),
        "max_position_embeddings": ("context", "model.context"),
        "max_bytes": ("documents", "data.source.heldout.documents"),
        "text_column": ("text_field", "data.source.text_field"),
        "eos_token": ("end_mark", "data.tokenizer.end_mark"),
        "log_interval": ("log_every", "cadence.log_every"),
        "eval_interval": ("evaluate_every", "cadence.evaluate_every"),
        "eval_steps": ("evaluate_every", "cadence.evaluate_every"),
        "save_interval": ("save_every", "cadence.save_every"),
        "save_steps": ("save_every", "cadence.save_every"),
    }
)
"""What other frameworks call a field → what it is called here: its own name, or where it is not known, the full one."""


def unknown_field(name: str, known: Iterable[str], *, place: str) -> str:
    """Return the message about a field that does not exist, with the one that was meant and all that there are.

    >>> unknown_field("alhpa", ["alpha", "floor"], place="")
    "unknown field 'alhpa'; did you mean 'alpha'? Known fields: alpha, floor"
    >>> unknown_field("beyond", ["extrapolate"], place="")
    "unknown field 'beyond', which is called 'extrapolate' now. Known fields: extrapolate"
    """
    names = sorted(known)
    return f"unknown field '{dotted(place, name)}'{_meant(name, names)} Known fields: {', '.join(names)}"


def _meant(name: str, names: list[str]) -> str:
    if RENAMED.get(name) in names:
        return f", which is called '{RENAMED[name]}' now."
    fields = SYNONYMS.get(name.lower(), ())
    if fields:
        other = next((field for field in fields if field in names), fields[-1])
        return f"; did you mean '{other}'?"
    return nearest(name, names) or "."


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a question about the nearest of the known names, or nothing if none is near.

    >>> nearest("mainn", ["main", "v2"]), nearest("zzz", ["main"])
    ("; did you mean 'main'?", '')
    """
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def dotted(place: str, name: str) -> str:
    """Return the name of a field as it is written on a command line, from the root."""
    return f"{place}.{name}" if place else name
