"""Headers of shards, good and hostile; what is good is compared with the library that reads the data."""

import json
import math
import pathlib
import pickle
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from lrpath.errors import StateError
from lrpath.records.shards import StoredTensor, stored_tensors

Header = dict[str, Any]


def entry(shape: list[int], begin: int, *, dtype: str = "F32", width: int = 4) -> Header:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, begin + math.prod(shape) * width]}


def good() -> Header:
    return {"a": entry([2, 3], 0), "b": entry([], 24), "c": entry([0, 5], 28), "__metadata__": {"format": "pt"}}


def places(**offsets: Any) -> Header:
    return {"DCP_SHARDING_INFO": json.dumps({name: {"saved_offsets": place} for name, place in offsets.items()})}


def write(
    folder: pathlib.Path, header: Header | bytes, *, data: int = 28, name: str = "shard-1.safetensors"
) -> pathlib.Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    (folder / name).write_bytes(len(text).to_bytes(8, "little") + text + bytes(data))
    return folder


def test_a_header_says_types_and_shapes(tmp_path: pathlib.Path) -> None:
    assert stored_tensors(write(tmp_path, good())) == {
        "a": StoredTensor(dtype="float32", shape=(2, 3)),
        "b": StoredTensor(dtype="float32", shape=()),
        "c": StoredTensor(dtype="float32", shape=(0, 5)),
    }


@pytest.mark.parametrize("axis", [0, 1])
def test_parts_of_several_files_make_a_whole_in_whatever_order_they_come(tmp_path: pathlib.Path, axis: int) -> None:
    sizes, begin = [3, 1, 0, 2], 0
    for number, size in enumerate(sizes):
        shape, offsets = [4, 4], [0, 0]
        shape[axis], offsets[axis] = size, begin
        begin += size
        header = {"a": entry(shape, 0), "__metadata__": places(a=offsets)}
        write(tmp_path, header, data=16 * size, name=f"shard-{9 - number}.safetensors")

    shape = [4, 4]
    shape[axis] = 6
    assert stored_tensors(tmp_path) == {"a": StoredTensor(dtype="float32", shape=tuple(shape))}


HOSTILE: dict[str, tuple[Callable[[pathlib.Path], object], str]] = {
    "empty": (lambda folder: (folder / "a.safetensors").write_bytes(b""), "would end at byte 8, the file has 0"),
    "a pickle": (lambda folder: (folder / "a.safetensors").write_bytes(pickle.dumps({"a": 1})), "header would end at"),
    "a zip": (lambda folder: (folder / "a.safetensors").write_bytes(b"PK\3\4" + bytes(99)), "no JSON object|would end"),
    "a length of 2^60": (
        lambda folder: (folder / "a.safetensors").write_bytes((1 << 60).to_bytes(8, "little") + b"{}"),
        "header would end at byte 1,152,921,504,606,846,984, the file has 10",
    ),
    "a length just past the end": (
        lambda folder: (folder / "a.safetensors").write_bytes((3).to_bytes(8, "little") + b"{}"),
        "header would end at byte 11, the file has 10",
    ),
    "no JSON": (lambda folder: write(folder, b"{" + b"x" * 20), "Expecting property name"),
    "not UTF-8": (lambda folder: write(folder, b'{"\xff": 1}'), "utf-8"),
    "a list": (lambda folder: write(folder, b"[1, 2]"), "no JSON object"),
    "blanks before it": (lambda folder: write(folder, b"  {}", data=0), "no JSON object"),
    "nested deeply": (lambda folder: write(folder, b'{"a":' * 100_000), "recursion"),
    "an absurd number": (lambda folder: write(folder, b'{"a": ' + b"9" * 5_000 + b"}"), "Exceeds the limit|integer"),
    "a name twice": (
        lambda folder: write(folder, b'{"a": 1, "a": ' + json.dumps(entry([7], 0)).encode() + b"}"),
        "a name is there twice",
    ),
    "an entry that is none": (lambda folder: write(folder, {"a": [1]}), "a is no tensor"),
    "another field": (lambda folder: write(folder, {"a": entry([7], 0) | {"x": 1}}), "a is no tensor"),
    "an object's type": (lambda folder: write(folder, {"a": entry([7], 0, dtype="O")}), "a has an unknown type"),
    "no type": (lambda folder: write(folder, {"a": entry([7], 0) | {"dtype": ["F32"]}}), "a has an unknown type"),
    "an absurd shape": (lambda folder: write(folder, {"a": entry([1 << 61], 0)}), "a has no place"),
    "a shape past 2^64": (lambda folder: write(folder, {"a": entry([1 << 40, 1 << 40], 0)}), "a has no place"),
    "a shape past all bounds": (lambda folder: write(folder, {"a": entry([1 << 70], 0)}), "a has no shape"),
    "a shape of a billion": (
        lambda folder: write(folder, {"a": entry([7], 0) | {"shape": [10**9]}}),
        "a of shape .* needs 4,000,000,000 bytes, not 28",
    ),
    "a negative size": (lambda folder: write(folder, {"a": entry([-7], 0)}), "a has no shape"),
    "a size that is true": (lambda folder: write(folder, {"a": entry([7], 0) | {"shape": [True, 7]}}), "has no shape"),
    "too many dimensions": (lambda folder: write(folder, {"a": entry([7] + [1] * 8, 0)}), "a has no shape"),
    "a place before the data": (
        lambda folder: write(folder, {"a": entry([7], 0) | {"data_offsets": [-28, 0]}}),
        "a has no place",
    ),
    "a place past the file": (lambda folder: write(folder, {"a": entry([7], 4)}), "a begins at byte 4 of the data"),
    "a gap": (lambda folder: write(folder, {"a": entry([3], 0), "b": entry([3], 16)}), "b begins at byte 16"),
    "an overlap": (lambda folder: write(folder, {"a": entry([4], 0), "b": entry([4], 12)}), "b begins at byte 12"),
    "data that nobody names": (
        lambda folder: write(folder, {"a": entry([3], 0)}),
        "take 12 bytes, and the file has 28",
    ),
    "data that is cut": (lambda folder: write(folder, {"a": entry([7], 0)}, data=27), "take 28 bytes, .* has 27"),
    "metadata of another kind": (lambda folder: write(folder, good() | {"__metadata__": {"a": 1}}), "of texts"),
    "places that are no JSON": (
        lambda folder: write(folder, {"a": entry([7], 0), "__metadata__": {"DCP_SHARDING_INFO": "{"}}),
        "Expecting property name",
    ),
    "places nested deeply": (
        lambda folder: write(folder, {"a": entry([7], 0), "__metadata__": {"DCP_SHARDING_INFO": "[" * 100_000}}),
        "recursion",
    ),
    "places of other tensors": (
        lambda folder: write(folder, {"a": entry([7], 0), "__metadata__": places(a=[0], z=[0])}),
        "DCP_SHARDING_INFO is not of the tensors",
    ),
    "places of too few dimensions": (
        lambda folder: write(folder, {"a": entry([7], 0), "__metadata__": places(a=[])}),
        "a has 1 dimensions and 0 offsets",
    ),
    "a negative place": (
        lambda folder: write(folder, {"a": entry([7], 0), "__metadata__": places(a=[-1])}),
        "DCP_SHARDING_INFO has no place for a",
    ),
    "a part alone that lies far out": (
        lambda folder: write(folder, {"a": entry([7], 0), "__metadata__": places(a=[1 << 61])}),
        "parts of a do not make a whole",
    ),
    "a part alone that lies late": (
        lambda folder: write(folder, {"a": entry([7], 0), "__metadata__": places(a=[7])}),
        r"parts of a do not make a whole of shape \(14,\): one is missing, or there twice",
    ),
    "a part twice": (
        lambda folder: [write(folder, {"a": entry([7], 0)}, name=f"{n}.safetensors") for n in (1, 2)],
        "parts of a do not make a whole",
    ),
    "a number twice": (
        lambda folder: [write(folder, {"a": entry([], 0)}, data=4, name=f"{n}.safetensors") for n in (1, 2)],
        "parts of a do not make a whole",
    ),
    "parts that overlap": (
        lambda folder: [
            write(folder, {"a": entry([7], 0), "__metadata__": places(a=[n * 6])}, name=f"{n}.safetensors")
            for n in (0, 1)
        ],
        "parts of a do not make a whole",
    ),
    "parts of a chequerboard": (
        lambda folder: [
            write(folder, {"a": entry([1, 7], 0), "__metadata__": places(a=[n, n * 7])}, name=f"{n}.safetensors")
            for n in (0, 1)
        ],
        r"parts of a do not make a whole of shape \(2, 14\)",
    ),
    "parts of several types": (
        lambda folder: [
            write(folder, {"a": entry([7], 0, dtype=dtype), "__metadata__": places(a=[n])}, name=f"{n}.safetensors")
            for n, dtype in ((0, "F32"), (7, "I32"))
        ],
        "parts of a are not alike",
    ),
    "a name of two lines": (
        lambda folder: write(folder, {"a\n\x1b[31merror": [1]}),
        r"'a\\n\\x1b\[31merror' is no tensor",
    ),
    "an endless name": (lambda folder: write(folder, {"a" * 10**6: [1]}), "is no tensor"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_header_is_refused_with_one_line_and_little_memory(tmp_path: pathlib.Path, name: str) -> None:
    make, message = HOSTILE[name]
    make(tmp_path)
    tracemalloc.start()

    with pytest.raises(StateError, match=message) as refused:
        stored_tensors(tmp_path)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50 << 20
    assert len(str(refused.value).splitlines()) == 1
    assert len(str(refused.value)) < 700
    assert "run the plan again" in str(refused.value)


def test_a_header_of_a_gigabyte_is_not_read(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "a.safetensors"
    file.write_bytes((1 << 30).to_bytes(8, "little") + b"{}")
    with file.open("r+b") as handle:
        handle.truncate((1 << 30) + 8)  # a hole, which takes no disk

    with pytest.raises(StateError, match=r"its header has 1,073,741,824 bytes; at most 16,777,216 are read"):
        stored_tensors(tmp_path)
