"""What a plan must know of a model without torch: its sizes, its exact parameter counts, its part of a path id.

One layer of the families `llama`, `qwen2`, `qwen3` and `internlm`, `internlm2`, `internlm3` is

    x + W_o · attention(W_q n, W_k n, W_v n)     with n = norm(x)
    x + W_down (silu(W_gate n) ⊙ W_up n)         with n = norm(x)

and differs only in biases (`qwen2`: on q, k, v; `internlm`: on q, k, v, o) and in norms of q and k (`qwen3`). The
family `file` is any causal language model with a Hugging Face `config.json`; its count of parameters has to be stated.
"""

import hashlib
import json
import math
import pathlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from lrpath.errors import ConfigError
from lrpath.planning.config_file import checked_content
from lrpath.planning.starting_weights import StartingWeights

Family = Literal["llama", "qwen2", "qwen3", "internlm", "internlm2", "internlm3", "file"]
FAMILIES: tuple[Family, ...] = get_args(Family)

_FREE_HEAD_DIM = ("llama", "qwen3", "internlm", "internlm2", "internlm3", "file")
"""Families whose head size need not be `hidden_size / heads`; Qwen2's configuration has no such field."""

_FILE_NAMES = {
    "vocab_size": ("vocab_size",),
    "hidden_size": ("hidden_size", "n_embd", "d_model"),
    "layers": ("num_hidden_layers", "n_layer", "num_layers", "n_layers"),
    "heads": ("num_attention_heads", "n_head", "num_heads", "n_heads"),
    "kv_heads": ("num_key_value_heads",),
    "head_dim": ("head_dim",),
    "ffn_size": ("intermediate_size", "n_inner", "ffn_dim"),
    "context": ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"),
}
"""Names under which Hugging Face configurations of several generations keep one size."""

_NOT_CONTENT = ("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version", "use_cache")
"""Keys of a `config.json` that do not change the numbers of a model trained here."""

_OF_FILES = {"given": False}
"""Marks fields that no configuration gives to a family of ours; see `lrpath.planning.plain.given_fields`."""

_NO_EFFECT = 1.0
"""Value of a constant that family `file` has in its `config.json`, if at all."""


MAX_LAYERS = 10_000
"""Most decoder layers; building a model takes time for each, even one without numbers, so a slip would never end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """Sizes and constants that determine a model up to its seed.

    Args:
        family: One of `FAMILIES`.
        vocab_size: Rows of the embedding [tokens].
        hidden_size: Width of the residual stream [features].
        layers: Number of decoder layers.
        heads: Number of query heads.
        kv_heads: Number of key and value heads; None means as many as `heads`.
        head_dim: Size of one head [features]; None means `hidden_size / heads`.
        ffn_size: Inner width of the gated feed-forward block [features].
        context: Longest sequence the positions are made for [tokens].
        tie_embeddings: Whether the output head is the embedding.
        rope_theta: Base of the rotary position frequencies.
        norm_eps: Constant added to the mean square inside a norm.
        init_std: Standard deviation of the initial weights.
        file: Path of a `config.json`; family `file` only, made by `FileModel.shape`. It is not part of the record, its
            content is.
        file_digest: SHA-256 of the content of `file`.
        stated_parameters: Count of parameters that the user states for family `file`.
        weights: The weights that root paths begin with, family `file` only; None draws them from the seed.

    Raises:
        ConfigError: If a size is not positive, sizes do not divide, or a field does not fit the family.
    """

    family: Family
    vocab_size: int
    hidden_size: int
    layers: int
    heads: int
    ffn_size: int
    context: int
    kv_heads: int | None
    head_dim: int | None
    tie_embeddings: bool
    rope_theta: float
    norm_eps: float
    init_std: float
    file: str | None = field(default=None, metadata=_OF_FILES)
    file_digest: str | None = field(default=None, metadata=_OF_FILES)
    stated_parameters: int | None = field(default=None, metadata=_OF_FILES)
    weights: StartingWeights | None = field(default=None, metadata=_OF_FILES)

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            text = f"model.family={self.family!r} must be one of {', '.join(FAMILIES)}"
            raise ConfigError(text, field="model.family", value=self.family)
        self._check_positive()
        self._check_heads()
        self._check_file()

    def _check_positive(self) -> None:
        names = ("vocab_size", "hidden_size", "layers", "heads", "ffn_size", "context", "rope_theta", "norm_eps")
        for name in names:
            if not 0 < getattr(self, name) < math.inf:
                value = getattr(self, name)
                raise ConfigError(f"model.{name}={value} must be positive", field=f"model.{name}", value=value)
        for name in ("kv_heads", "head_dim", "stated_parameters"):
            value = getattr(self, name)
            if value is not None and value < 1:
                text = f"model.{name}={value} must be at least 1, or null"
                raise ConfigError(text, field=f"model.{name}", value=value)
        if self.layers > MAX_LAYERS:
            raise ConfigError(
                f"model.layers={self.layers} must be at most {MAX_LAYERS:_}; the deepest published language models "
                "have some hundred",
                field="model.layers",
                value=self.layers,
            )
        if not 0 < self.init_std <= 1:
            text = f"model.init_std={self.init_std} must lie in (0, 1]"
            raise ConfigError(text, field="model.init_std", value=self.init_std)

    def _check_heads(self) -> None:
        if self.head_dim is None and self.hidden_size % self.heads:
            raise ConfigError(
                f"model.hidden_size={self.hidden_size} is not divisible by model.heads={self.heads}; "
                "change one of them, or give model.head_dim",
                field="model.heads",
                value=self.heads,
            )
        if self.heads % self.num_kv_heads:
            raise ConfigError(
                f"model.heads={self.heads} is not divisible by model.kv_heads={self.kv_heads}; "
                "every key and value head serves the same number of query heads",
                field="model.kv_heads",
                value=self.kv_heads,
            )
        if self.family not in _FREE_HEAD_DIM and self.query_size != self.hidden_size:
            raise ConfigError(
                f"model.head_dim={self.head_dim} × model.heads={self.heads} must be model.hidden_size="
                f"{self.hidden_size} in family {self.family}; give model.head_dim=null",
                field="model.head_dim",
                value=self.head_dim,
            )
        if self.family != "file" and self.head_size % 2:
            text = f"model.head_dim={self.head_size} must be even for rotary positions"
            raise ConfigError(text, field="model.head_dim", value=self.head_size)

    def _check_file(self) -> None:
        if self.family == "file" and (self.file is None or self.file_digest is None):
            raise ConfigError(
                "model.family=file needs model.file; make the shape with FileModel.shape", field="model.file"
            )
        if self.family != "file" and (self.file is not None or self.stated_parameters is not None):
            raise ConfigError(
                f"model.file and model.stated_parameters belong to family file, not to {self.family}; remove them",
                field="model.file",
                value=self.file,
            )

    @property
    def num_kv_heads(self) -> int:
        """Number of key and value heads, the default filled in."""
        return self.heads if self.kv_heads is None else self.kv_heads

    @property
    def head_size(self) -> int:
        """Size of one head [features], the default filled in."""
        return self.hidden_size // self.heads if self.head_dim is None else self.head_dim

    @property
    def query_size(self) -> int:
        """Width of all query heads together [features]."""
        return self.heads * self.head_size

    @property
    def kv_size(self) -> int:
        """Width of all key heads together, which is that of all value heads [features]."""
        return self.num_kv_heads * self.head_size

    @property
    def layer_matrix_parameters(self) -> int:
        """Parameters of the matrices of one layer: q, k, v, o, gate, up, down."""
        attention = self.hidden_size * (2 * self.query_size + 2 * self.kv_size)
        return attention + 3 * self.hidden_size * self.ffn_size

    @property
    def layer_parameters(self) -> int:
        """Parameters of one layer: matrices, biases and norms."""
        bias = {
            "qwen2": self.query_size + 2 * self.kv_size,
            "internlm": self.query_size + 2 * self.kv_size + self.hidden_size,
        }.get(self.family, 0)
        head_norms = 2 * self.head_size if self.family == "qwen3" else 0
        return self.layer_matrix_parameters + bias + head_norms + 2 * self.hidden_size

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the embedding and of the output head; one matrix when they are tied."""
        return self.vocab_size * self.hidden_size * (1 if self.tie_embeddings else 2)

    @property
    def parameters(self) -> int | None:
        """All parameters, exact; for family `file` what the user stated, or None."""
        if self.family == "file":
            return self.stated_parameters
        return self.embedding_parameters + self.layers * self.layer_parameters + self.hidden_size

    @property
    def non_embedding_parameters(self) -> int | None:
        """Parameters besides the embedding and the output head, or None where `parameters` is."""
        return None if self.parameters is None else self.parameters - self.embedding_parameters

    @property
    def matrix_parameters(self) -> int | None:
        """Parameters that every token is multiplied with: layer matrices and output head, tied or not.

        For family `file` the count takes every parameter besides the embeddings for a matrix, which is some
        thousandths too much.
        """
        is_file = self.family == "file"
        inner = self.non_embedding_parameters if is_file else self.layers * self.layer_matrix_parameters
        return None if inner is None else inner + self.vocab_size * self.hidden_size

    def as_record(self) -> dict[str, Any]:
        """Return what determines the numbers of a model besides its seed, as plain data for path ids.

        Defaults are filled in, so a default that is written out gives the same record. Where a file lies and what is
        stated about it are left out; the digest of its content is not. Weights are there by their digest, and without
        weights nothing is, so that ids from before there were any stay.
        """
        record = asdict(self) | {"kv_heads": self.num_kv_heads, "head_dim": self.head_size}
        del record["file"], record["stated_parameters"], record["weights"]
        if self.family != "file":
            del record["file_digest"]
            return record
        known = {name: record[name] for name in ("family", "file_digest", "vocab_size")}
        return known if self.weights is None else known | {"weights": self.weights.digest}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileModel:
    """A model that a Hugging Face `config.json` describes, and what a configuration says besides.

    Args:
        family: `file`.
        file: Path of the JSON file.
        vocab_size: Rows of the embedding [tokens], to fit another tokenizer than the file's; None for the file's.
        context: Training window [tokens]; at most what the file allows. The shape keeps the file's value.
        stated_parameters: Count of parameters, which a plan without torch cannot know; None leaves cost in FLOPs,
            states in bytes and memory unknown.
    """

    family: Literal["file"]
    file: str
    vocab_size: int | None
    context: int | None
    stated_parameters: int | None

    def shape(self) -> ModelShape:
        """Return the sizes that the file has.

        Raises:
            ConfigError: If the file is missing, is not a JSON object, is refused by `checked_content`, lacks a
                size, or has fewer positions than `context`.
        """
        content = load_config_file(self.file)
        sizes = _sizes(content, self.file)
        if self.vocab_size is not None:
            sizes["vocab_size"] = self.vocab_size
        missing = [name for name, value in sizes.items() if value is None and name not in ("kv_heads", "head_dim")]
        if missing:
            keys = "; ".join(f"{name} ({' or '.join(_FILE_NAMES[name])})" for name in missing)
            raise ConfigError(f"model.file {self.file} does not say {keys}; add it to the file", **self._as_field())
        if self.context is not None and self.context > sizes["context"]:
            raise ConfigError(
                f"model.file {self.file} has {sizes['context']} positions, fewer than the training window of "
                f"{self.context} tokens; shorten batch.tokens_per_sequence, or give the file more positions",
                field="model.context",
                value=self.context,
            )
        return ModelShape(
            family="file",
            file=self.file,
            file_digest=digest_content(content),
            stated_parameters=self.stated_parameters,
            tie_embeddings=bool(content.get("tie_word_embeddings", False)),
            rope_theta=_NO_EFFECT,
            norm_eps=_NO_EFFECT,
            init_std=_NO_EFFECT,
            **sizes,
        )

    def _as_field(self) -> dict[str, Any]:
        return {"field": "model.file", "value": self.file}


def _sizes(content: Mapping[str, Any], file: str) -> dict[str, Any]:
    """Return the sizes in a `config.json` under our names; None for those that it does not say."""
    sizes = {name: _first(content, keys) for name, keys in _FILE_NAMES.items()}
    if sizes["ffn_size"] is None and type(sizes["hidden_size"]) is int:
        sizes["ffn_size"] = 4 * sizes["hidden_size"]  # GPT-2's rule for `n_inner: null`
    odd = {name: value for name, value in sizes.items() if value is not None and type(value) is not int}
    if odd:
        name, value = next(iter(odd.items()))
        keys = " or ".join(_FILE_NAMES[name])
        text = f"model.file {file} has {keys} = {value!r}, which must be a whole number; correct it"
        raise ConfigError(text, field="model.file", value=file)
    return sizes


def load_config_file(file: str | pathlib.Path) -> dict[str, Any]:
    """Return the content of a Hugging Face `config.json`, without what would run code.

    Raises:
        ConfigError: If the file is missing, is not a JSON object, or as `checked_content`.
    """

    def refusal(problem: str) -> ConfigError:
        return ConfigError(f"model.file {file} {problem}", field="model.file", value=str(file))

    try:
        content = json.loads(pathlib.Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise refusal(f"cannot be read: {error.strerror}; give the path of a config.json") from None
    except (ValueError, RecursionError) as error:
        raise refusal(f"is not JSON: {error}; restore it") from None
    if not isinstance(content, dict):
        raise refusal(f"must hold a JSON object, not a {type(content).__name__}")
    return checked_content(content, file=str(file))


def digest_content(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 [hex] of a `config.json`, without the keys that change no number."""
    kept = {name: value for name, value in content.items() if name not in _NOT_CONTENT}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _first(content: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    return next((content[key] for key in keys if content.get(key) is not None), None)
