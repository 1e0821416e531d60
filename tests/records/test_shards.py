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
from tests.refusals import refused

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
    "empty": lambda folder: (folder / "a.safetensors").write_bytes(b""),
    "a pickle": lambda folder: (folder / "a.safetensors").write_bytes(pickle.dumps({"a": 1})),
    "a zip": lambda folder: (folder / "a.safetensors").write_bytes(b"PK\3\4" + bytes(99)),
    "a length of 2^60": lambda folder: (folder / "a.safetensors").write_bytes((1 << 60).to_bytes(8, "little") + b"{}"),
    "a length just past the end": lambda folder: (folder / "a.safetensors").write_bytes(
        (3).to_bytes(8, "little") + b"{}"
    ),
    "no JSON": lambda folder: write(folder, b"{" + b"x" * 20),
    "not UTF-8": lambda folder: write(folder, b'{"\xff": 1}'),
    "a list": lambda folder: write(folder, b"[1, 2]"),
    "blanks before it": lambda folder: write(folder, b"  {}", data=0),
    "nested deeply": lambda folder: write(folder, b'{"a":' * 100_000),
    "an absurd number": lambda folder: write(folder, b'{"a": ' + b"9" * 5_000 + b"}"),
    "a name twice": lambda folder: write(folder, b'{"a": 1, "a": ' + json.dumps(entry([7], 0)).encode() + b"}"),
    "an entry that is none": lambda folder: write(folder, {"a": [1]}),
    "another field": lambda folder: write(folder, {"a": entry([7], 0) | {"x": 1}}),
    "an object's type": lambda folder: write(folder, {"a": entry([7], 0, dtype="O")}),
    "no type": lambda folder: write(folder, {"a": entry([7], 0) | {"dtype": ["F32"]}}),
    "an absurd shape": lambda folder: write(folder, {"a": entry([1 << 61], 0)}),
    "a shape past 2^64": lambda folder: write(folder, {"a": entry([1 << 40, 1 << 40], 0)}),
    "a shape past all bounds": lambda folder: write(folder, {"a": entry([1 << 70], 0)}),
    "a shape of a billion": lambda folder: write(folder, {"a": entry([7], 0) | {"shape": [10**9]}}),
    "a negative size": lambda folder: write(folder, {"a": entry([-7], 0)}),
    "a size that is true": lambda folder: write(folder, {"a": entry([7], 0) | {"shape": [True, 7]}}),
    "too many dimensions": lambda folder: write(folder, {"a": entry([7] + [1] * 8, 0)}),
    "a place before the data": lambda folder: write(folder, {"a": entry([7], 0) | {"data_offsets": [-28, 0]}}),
    "a place past the file": lambda folder: write(folder, {"a": entry([7], 4)}),
    "a gap": lambda folder: write(folder, {"a": entry([3], 0), "b": entry([3], 16)}),
    "an overlap": lambda folder: write(folder, {"a": entry([4], 0), "b": entry([4], 12)}),
    "data that nobody names": lambda folder: write(folder, {"a": entry([3], 0)}),
    "data that is cut": lambda folder: write(folder, {"a": entry([7], 0)}, data=27),
    "metadata of another kind": lambda folder: write(folder, good() | {"__metadata__": {"a": 1}}),
    "places that are no JSON": lambda folder: write(
        folder, {"a": entry([7], 0), "__metadata__": {"DCP_SHARDING_INFO": "{"}}
    ),
    "places nested deeply": lambda folder: write(
        folder, {"a": entry([7], 0), "__metadata__": {"DCP_SHARDING_INFO": "[" * 100_000}}
    ),
    "places of other tensors": lambda folder: write(folder, {"a": entry([7], 0), "__metadata__": places(a=[0], z=[0])}),
    "places of too few dimensions": lambda folder: write(folder, {"a": entry([7], 0), "__metadata__": places(a=[])}),
    "a negative place": lambda folder: write(folder, {"a": entry([7], 0), "__metadata__": places(a=[-1])}),
    "a part alone that lies far out": lambda folder: write(
        folder, {"a": entry([7], 0), "__metadata__": places(a=[1 << 61])}
    ),
    "a part alone that lies late": lambda folder: write(folder, {"a": entry([7], 0), "__metadata__": places(a=[7])}),
    "a part twice": lambda folder: [write(folder, {"a": entry([7], 0)}, name=f"{n}.safetensors") for n in (1, 2)],
    "a number twice": lambda folder: [
        write(folder, {"a": entry([], 0)}, data=4, name=f"{n}.safetensors") for n in (1, 2)
    ],
    "parts that overlap": lambda folder: [
        write(folder, {"a": entry([7], 0), "__metadata__": places(a=[n * 6])}, name=f"{n}.safetensors") for n in (0, 1)
    ],
    "parts of a chequerboard": lambda folder: [
        write(folder, {"a": entry([1, 7], 0), "__metadata__": places(a=[n, n * 7])}, name=f"{n}.safetensors")
        for n in (0, 1)
    ],
    "parts of several types": lambda folder: [
        write(folder, {"a": entry([7], 0, dtype=dtype), "__metadata__": places(a=[n])}, name=f"{n}.safetensors")
        for n, dtype in ((0, "F32"), (7, "I32"))
    ],
    "a name of two lines": lambda folder: write(folder, {"a\n\x1b[31merror": [1]}),
    "an endless name": lambda folder: write(folder, {"a" * 10**6: [1]}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_header_is_refused_with_one_line_and_little_memory(tmp_path: pathlib.Path, name: str) -> None:
    make = HOSTILE[name]
    make(tmp_path)
    tracemalloc.start()

    with refused(StateError) as caught:
        stored_tensors(tmp_path)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50 << 20
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 700
    assert "run the plan again" in str(caught.value)


def test_a_header_of_a_gigabyte_is_not_read(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "a.safetensors"
    file.write_bytes((1 << 30).to_bytes(8, "little") + b"{}")
    with file.open("r+b") as handle:
        handle.truncate((1 << 30) + 8)  # a hole, which takes no disk

    with refused(StateError):
        stored_tensors(tmp_path)
