"""A Hugging Face folder whose weights paths begin with, read without torch: sizes, tokenizer, and a digest of tensors.

    config.json                      sizes
    model.safetensors                all tensors, or
    model.safetensors.index.json     {"weight_map": {"<tensor>": "<file>", …}} and the files it names
    tokenizer.json                   the tokenizer; tokenizer_config.json names its end mark

The digest is of the tensors, sorted by name: a folder that was moved, renamed or cut into other shards has the same.
Reading 14 GB for it takes some ten seconds, so it is remembered by the sizes and times of the files:

    <data.folder>/weights/<digest of the place>/weights.json, config.json, tokenizer.json, …

Training reads the tensors again, and compares the digest of what it has loaded. The small files are remembered too: a
study whose root paths have states goes on when the folder is gone.
"""

import contextlib
import hashlib
import json
import math
import pathlib
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from safetensors import SafetensorError, safe_open

from lrpath.errors import ConfigError, LrpathError, StateError
from lrpath.planning.lineage import content_id
from lrpath.planning.starting_weights import StartingWeights
from lrpath.records.files import make_folder, read_json, write_json, write_whole
from lrpath.records.shards import MalformedError, read_header, shown
from lrpath.records.weight_hub import is_hub_name, snapshot_of

CONFIG, TOKENIZER, INDEX, SINGLE = "config.json", "tokenizer.json", "model.safetensors.index.json", "model.safetensors"
_MARKS = ("tokenizer_config.json", "special_tokens_map.json", "generation_config.json")
_REMEMBERED = (CONFIG, TOKENIZER, *_MARKS)
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".msgpack", ".h5", ".gguf")
_FLOATS = {"F64": "float64", "F32": "float32", "BF16": "bfloat16", "F16": "float16"}
_WHOLE = ("BOOL", "U8", "I8", "I16", "I32", "I64", "U16", "U32", "U64")
"""Types of buffers, such as a mask that files of GPT-NeoX hold. All others are of weights in 8 bits or fewer."""
_BUFFER = re.compile(r"(^|\.)(masked_bias|inv_freq)$")
_MASK = re.compile(r"(^|\.)(attn|attention)\.bias$")
_BLOCK = 1 << 22


@dataclass(frozen=True, slots=True)
class _Tensor:
    """Where a tensor lies: type, sizes, file, and the bytes there."""

    dtype: str
    shape: tuple[int, ...]
    file: pathlib.Path
    begin: int
    end: int

    def is_parameter(self, name: str) -> bool:
        """Say whether it is trained: masks and rotary frequencies are in some files too."""
        is_mask = _MASK.search(name) and len(self.shape) == 4
        return self.dtype in _FLOATS and not is_mask and not _BUFFER.search(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What is remembered of the tensors."""

    digest: str
    dtypes: tuple[str, ...]
    tensors: int
    parameters: int


@dataclass(frozen=True)
class WeightFolder:
    """A folder of weights, or what is remembered of one that is gone.

    Args:
        given: The folder or hub name, as it was configured.
        folder: Where it is; None if it is gone.
        memory: Folder with what is remembered of it.
    """

    given: str
    folder: pathlib.Path | None
    memory: pathlib.Path

    @classmethod
    def find(cls, given: str, *, memories: pathlib.Path) -> "WeightFolder":
        """Find a folder of weights.

        Args:
            given: The folder, or a name on the hub.
            memories: Folder with what is remembered of all.

        Raises:
            ConfigError: If there is none, or it holds no weights that are read; nothing in it is run.
        """
        place = pathlib.Path(given)
        memory = memories / content_id({"weights": str(place.absolute())})
        if place.exists():
            found = cls(given, place, memory)
            found._check_files()
            return found
        if (memory / "weights.json").exists():
            return cls(given, None, memory)
        if not is_hub_name(given):
            raise refusal(given, "does not exist; give a folder with config.json and model.safetensors")
        named = cls(given, None, memories / content_id({"hub": given}))
        try:
            found = cls(given, snapshot_of(given), named.memory)
        except ConfigError:
            if (named.memory / "weights.json").exists():
                return named
            raise
        found._check_files()
        return found

    def file(self, name: str) -> pathlib.Path:
        """Return the place of a small file of the folder, or of its copy; it need not exist."""
        return (self.folder or self.memory) / name

    @cached_property
    def starting_weights(self) -> StartingWeights:
        """What a plan says of the weights.

        Raises:
            ConfigError: As `check_tensors`.
        """
        facts = self._facts
        return StartingWeights(given=self.given, digest=facts.digest, dtypes=facts.dtypes, tensors=facts.tensors)

    @property
    def parameters(self) -> int:
        """Number of parameters, by the headers of the files."""
        return self._facts.parameters

    @cached_property
    def end_mark(self) -> str | None:
        """The token that ends a text, as the folder names it; None if it names none."""
        for name in _MARKS[:2]:
            mark = self._content(name).get("eos_token")
            mark = mark.get("content") if isinstance(mark, dict) else mark
            if isinstance(mark, str) and mark:
                return mark
        ids = next((one for name in (CONFIG, _MARKS[2]) if (one := self._content(name).get("eos_token_id"))), 0)
        first = ids[0] if isinstance(ids, list) and ids else ids
        added = self._content(TOKENIZER).get("added_tokens") or []
        return next((str(one["content"]) for one in added if one.get("id") == first), None)

    @property
    def vocab_size(self) -> int | None:
        """Rows of the embedding, by `config.json`; None if it does not say."""
        size = self._content(CONFIG).get("vocab_size")
        return size if type(size) is int else None

    def current_digest(self) -> str:
        """Return the digest of the tensors as they are in the files now, read as a whole.

        Raises:
            ConfigError: If the folder is gone, or as `check_tensors`.
        """
        if self.folder is None:
            raise refusal(self.given, "is gone, and a path is to begin with its weights; restore it")
        return _digest(self._tensors())

    @cached_property
    def _facts(self) -> _Facts:
        known = self._remembered()
        if self.folder is None:
            if known is None:
                raise refusal(self.given, f"is gone, and {self.memory} was altered; restore the folder of weights")
            return known[1]
        prints = self._fingerprint()
        if known is not None and known[0] == prints:
            return known[1]
        tensors = self._tensors()
        trained = {name: one for name, one in tensors.items() if one.is_parameter(name)}
        facts = _Facts(
            digest=_digest(tensors),
            dtypes=tuple(sorted({_FLOATS[one.dtype] for one in trained.values()})),
            tensors=len(trained),
            parameters=sum(math.prod(one.shape) for name, one in trained.items() if not self._is_tied(name)),
        )
        with contextlib.suppress(OSError):  # where nothing can be written, it is read again next time
            self._remember(facts, prints)
        return facts

    def _is_tied(self, name: str) -> bool:
        """Say whether a tensor is the embedding once more, as the output head."""
        tied = bool(self._content(CONFIG).get("tie_word_embeddings", False))
        return tied and name in ("lm_head.weight", "embed_out.weight")

    def _remembered(self) -> tuple[dict[str, Any], _Facts] | None:
        try:
            record = read_json(self.memory / "weights.json")
            facts = record["facts"]
            return record["files"], _Facts(**(facts | {"dtypes": tuple(facts["dtypes"])}))
        except (StateError, KeyError, TypeError):
            return None  # none yet, or damaged: what it knew is in the files

    def _remember(self, facts: _Facts, prints: dict[str, Any]) -> None:
        make_folder(self.memory)
        for name in _REMEMBERED:
            if self.file(name).is_file():
                write_whole(self.memory / name, self.file(name).read_bytes())
            else:
                (self.memory / name).unlink(missing_ok=True)
        write_json(self.memory / "weights.json", {"given": self.given, "files": prints, "facts": asdict(facts)})

    def _fingerprint(self) -> dict[str, Any]:
        """Return sizes and times of the files that are read."""
        assert self.folder is not None
        files = [*self._weight_files(), *(self.folder / name for name in (INDEX, *_REMEMBERED))]
        return {one.name: [one.stat().st_size, one.stat().st_mtime_ns] for one in files if one.is_file()}

    def _content(self, name: str) -> dict[str, Any]:
        """Return a JSON object of the folder; an empty one for a file that is missing."""
        file = self.file(name)
        if not file.is_file():
            return {}
        remedy = "restore it"
        content = read_json(file, remedy=remedy, kind=ConfigError)
        return content if isinstance(content, dict) else {}

    def _check_files(self) -> None:
        """Refuse a folder that is not one of a model's weights, before any of them is read."""
        assert self.folder is not None
        if not self.folder.is_dir():
            raise refusal(self.given, "is a file; give the folder that it is in")
        if (self.folder / "adapter_config.json").exists():
            raise refusal(
                self.given, "is an adapter (adapter_config.json), not a model; merge it into its base model first"
            )
        if not (self.folder / CONFIG).is_file():
            raise refusal(self.given, f"has no {CONFIG}; give a folder that transformers' save_pretrained has written")
        self._weight_files()

    def _weight_files(self) -> list[pathlib.Path]:
        """Return the files that transformers reads: the single one first, else those of the index."""
        assert self.folder is not None
        if (self.folder / SINGLE).is_file():
            return [self.folder / SINGLE]
        weight_map = self._content(INDEX).get("weight_map")
        if not isinstance(weight_map, dict):
            raise self._no_weights()
        names = sorted({str(name) for name in weight_map.values()})
        for name in names:
            if pathlib.PurePath(name).name != name or not (self.folder / name).is_file():
                raise refusal(self.given, f"lacks {shown(name)}, which {INDEX} names; download or copy it whole")
        return [self.folder / name for name in names]

    def _no_weights(self) -> ConfigError:
        assert self.folder is not None
        pickles = sorted(file.name for file in self.folder.iterdir() if file.suffix in _PICKLES)
        if not pickles:
            return refusal(self.given, f"has neither {SINGLE} nor {INDEX}; give a folder that has one of them")
        return refusal(
            self.given,
            f"has no safetensors but {', '.join(map(shown, pickles[:3]))}, and such files are never read: a pickle "
            "runs code. Where you trust it, load it with transformers and write it with save_pretrained(folder)",
        )

    def _tensors(self) -> dict[str, _Tensor]:
        """Return the tensors of all files by name, in order.

        Raises:
            ConfigError: If a file is not one of safetensors, or a tensor is stored twice or quantized.
        """
        found: dict[str, _Tensor] = {}
        for file in self._weight_files():
            for name, tensor in self._tensors_in(file):
                if name in found:
                    raise refusal(self.given, f"has {shown(name)} in {found[name].file.name} and in {file.name}")
                found[name] = tensor
        if not any(one.is_parameter(name) for name, one in found.items()):
            raise refusal(self.given, "has no tensor of numbers; download or copy it whole")
        return dict(sorted(found.items()))

    def _tensors_in(self, file: pathlib.Path) -> Iterator[tuple[str, _Tensor]]:
        try:
            with safe_open(file, framework="numpy"):  # checks types, shapes, offsets, and that they fill the file
                pass
            header = read_header(file)
        except (MalformedError, SafetensorError, ValueError, RecursionError) as error:
            why = str(error)[:200]
            why = why if why.isprintable() else ascii(why)
            raise refusal(self.given, f"has a torn or foreign {file.name} ({why}); download or copy it again") from None
        with file.open("rb") as handle:
            data = 8 + int.from_bytes(handle.read(8), "little")
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            if entry["dtype"] not in _FLOATS and entry["dtype"] not in _WHOLE:
                raise refusal(
                    self.given,
                    f"has {shown(name)} in {entry['dtype']}, which is quantized; give weights in bf16, fp16 or fp32",
                )
            begin, end = entry["data_offsets"]
            yield name, _Tensor(entry["dtype"], tuple(entry["shape"]), file, data + begin, data + end)


def refusal(given: str, problem: str) -> ConfigError:
    """Return the error about a folder of weights."""
    return ConfigError(f"model.weights={given} {problem}", field="model.weights", value=given)


def _digest(tensors: dict[str, _Tensor]) -> str:
    """Return the SHA-256 of tensors in order of their names: of each a line of JSON, then its bytes."""
    digest = hashlib.sha256()
    for name, one in tensors.items():
        digest.update(json.dumps([name, one.dtype, list(one.shape)]).encode() + b"\n")
        with one.file.open("rb") as handle:
            handle.seek(one.begin)
            left = one.end - one.begin
            while left:
                block = handle.read(min(left, _BLOCK))
                if not block:
                    raise LrpathError(f"{one.file} became shorter while it was read; copy it again")
                digest.update(block)
                left -= len(block)
    return digest.hexdigest()
