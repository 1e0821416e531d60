"""Writes a shard of a state: a safetensors file that says where in the whole each of its tensors lies, as torch's does.

torch's own writer calls `safetensors.torch.save`, which holds the bytes of all tensors twice before the first is
written: 24 bytes a parameter under AdamW. Here they are written one after another, from where they are. The file is the
same but for the order of its metadata, which the safetensors package draws anew in every process. Here it is sorted, so
that equal states are equal bytes.
"""

import json
import pathlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from lrpath.records.shards import DTYPES, PLACES

_NAMES = {getattr(torch, name): short for short, name in DTYPES.items()}
_ALIGNMENT = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardPart:
    """A tensor, or the part of it that one rank writes: a box in the whole.

    Args:
        name: Name of the tensor.
        dtype: Type of its numbers.
        offsets: Where the box begins.
        sizes: Its sizes.
    """

    name: str
    dtype: torch.dtype
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]


def in_order_of_file(parts: Sequence[ShardPart]) -> list[int]:
    """Return the numbers of parts in the order in which a file has them: wide types first, then by name."""
    return sorted(range(len(parts)), key=lambda number: (-parts[number].dtype.itemsize, parts[number].name))


def write_shard(file: pathlib.Path, parts: Sequence[ShardPart], tensors: Iterator[torch.Tensor]) -> None:
    """Write a file.

    Args:
        file: The file.
        parts: What it holds.
        tensors: Their values, on any device, in the order that `in_order_of_file` gives; each is asked for when the one
            before is written.
    """
    ordered = [parts[number] for number in in_order_of_file(parts)]
    places = {part.name: {"saved_offsets": list(part.offsets)} for part in parts}
    metadata = {PLACES: json.dumps(places), "DCP_VERSION": "1.0", "format": "pt"}
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    end = 0
    for part in ordered:
        begin, end = end, end + part.dtype.itemsize * torch.Size(part.sizes).numel()
        header[part.name] = {"dtype": _NAMES[part.dtype], "shape": list(part.sizes), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text = text.ljust(-(-len(text) // _ALIGNMENT) * _ALIGNMENT)
    with file.open("wb") as handle:
        handle.write(len(text).to_bytes(8, "little") + text)
        for part, tensor in zip(ordered, tensors, strict=True):
            assert (tensor.dtype, tuple(tensor.shape)) == (part.dtype, part.sizes), part.name
            handle.write(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
