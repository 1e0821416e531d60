"""The file of a shard is the one that torch's own writer makes, written without a copy of it in memory."""

import json
import pathlib
from collections.abc import Iterator

import torch
from safetensors.torch import load_file, save

from lrpath.training.checkpoints.shard_file import ShardPart, in_order_of_file, write_shard

TENSORS = {
    "model.b": torch.randn(3, 4, generator=torch.Generator().manual_seed(1)),
    "model.a": torch.randn(4, 6, generator=torch.Generator().manual_seed(2))[:, ::2],
    "step.b": torch.tensor(7.0),
    "model.half": torch.ones(3, dtype=torch.bfloat16),
    "count": torch.tensor([1, 2], dtype=torch.int64),
    "none": torch.empty(0, 4),
}


def parts_of(tensors: dict[str, torch.Tensor]) -> list[ShardPart]:
    return [
        ShardPart(name=name, dtype=one.dtype, offsets=(0,) * one.dim(), sizes=tuple(one.shape))
        for name, one in tensors.items()
    ]


def as_torch_writes(tensors: dict[str, torch.Tensor]) -> bytes:
    places = {name: {"saved_offsets": [0] * one.dim()} for name, one in tensors.items()}
    metadata = {"DCP_SHARDING_INFO": json.dumps(places), "DCP_VERSION": "1.0", "format": "pt"}
    content = save({name: one.contiguous() for name, one in tensors.items()}, metadata=metadata)
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    return content[:8] + text.ljust(length) + content[8 + length :]


def test_a_shard_is_byte_for_byte_that_of_the_safetensors_package_with_sorted_metadata(tmp_path: pathlib.Path) -> None:
    parts, file = parts_of(TENSORS), tmp_path / "shard.safetensors"

    write_shard(file, parts, (TENSORS[parts[number].name] for number in in_order_of_file(parts)))

    assert file.read_bytes() == as_torch_writes(TENSORS)
    assert all(torch.equal(one, TENSORS[name]) for name, one in load_file(file).items())


def test_a_tensor_is_asked_for_when_the_one_before_is_written(tmp_path: pathlib.Path) -> None:
    tensors = {f"model.{number}": torch.full((1 << 18,), float(number)) for number in range(4)}
    parts, file, sizes = parts_of(tensors), tmp_path / "shard.safetensors", []

    def values() -> Iterator[torch.Tensor]:
        for one in tensors.values():
            sizes.append(file.stat().st_size >> 20)  # [MiB]
            yield one

    write_shard(file, parts, values())

    assert sizes == [0, 1, 2, 3]
