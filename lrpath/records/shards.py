r"""The headers of a state's shards, read as hostile text before torch opens a file.

A safetensors file is a length n (8 bytes, little-endian), n bytes of JSON, and data:

    {"<tensor>": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, …, "__metadata__": {…}}

torch's distributed checkpoint adds, as JSON text in `__metadata__`, where in the whole tensor a file's part of it lies:

    {"DCP_SHARDING_INFO": "{\"<tensor>\": {\"saved_offsets\": [4, 0]}, …}"}

Its reader does not check these places: where parts leave a gap, the tensor silently keeps what was in memory there.
"""

import itertools
import json
import math
import pathlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from safetensors import SafetensorError, safe_open

from lrpath.errors import StateError

SUFFIX = ".safetensors"

MAX_HEADER_BYTES = 16 << 20
"""Largest header that is read: some 300 bytes a tensor leave room for 50,000 of them."""

DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
"""Names in torch by names in the file."""
_METADATA = "__metadata__"
PLACES = "DCP_SHARDING_INFO"
_MAX_DIMENSIONS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """A whole tensor of a state.

    Args:
        dtype: Type of its numbers, as torch names it: `float32`.
        shape: Its sizes.
    """

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """The part of a tensor that a file holds: a box of `sizes` at `offsets` of the whole."""

    dtype: str
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]


def stored_tensors(folder: pathlib.Path) -> dict[str, StoredTensor]:
    """Return the tensors of a state by name, put together from the headers of its shards; reads no data.

    Raises:
        StateError: If a header is not one of safetensors, does not fit its file, or the parts of a tensor do not make
            a whole; names the file or tensor.
    """
    parts: dict[str, list[_Part]] = defaultdict(list)
    for file in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            for name, part in _parts(file):
                parts[name].append(part)
        except (MalformedError, SafetensorError, ValueError, RecursionError) as error:
            why = str(error)[:200]
            why = why if why.isprintable() else ascii(why)  # it may name a tensor, which may be named anything
            raise StateError(
                f"{file} is not a shard of a state ({why}); remove {folder} and run the plan again"
            ) from None
    try:
        return {name: _whole(name, found) for name, found in parts.items()}
    except MalformedError as error:
        raise StateError(f"{folder}: {error}; remove {folder} and run the plan again") from None


class MalformedError(Exception):
    """What is wrong with a header; the caller knows the file."""


def _check(condition: object, what: str) -> None:
    if not condition:
        raise MalformedError(what)


def _parts(file: pathlib.Path) -> Iterable[tuple[str, _Part]]:
    """Yield the parts of tensors in a file."""
    header = read_header(file)
    # safetensors checks types, shapes and offsets, that tensors follow each other without gap or overlap, and that they
    # fill the file. It does not check what `read_header`, `_entry` and `_places` do.
    with safe_open(file, framework="numpy"):
        pass
    places = _places(header.pop(_METADATA, {}), names=header)
    for name, entry in header.items():
        dtype, sizes = _entry(name, entry)
        offsets = tuple(places.get(name, [0] * len(sizes)))
        _check(len(offsets) == len(sizes), f"{shown(name)} has {len(sizes)} dimensions and {len(offsets)} offsets")
        yield name, _Part(dtype, offsets, sizes)


def read_header(file: pathlib.Path) -> dict[str, Any]:
    """Return a file's header: a JSON object that names nothing twice and is no longer than any that we write."""
    size = file.stat().st_size
    with file.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        _check(8 + length <= size, f"its header would end at byte {8 + length:,}, the file has {size:,}")
        _check(length <= MAX_HEADER_BYTES, f"its header has {length:,} bytes; at most {MAX_HEADER_BYTES:,} are read")
        text = handle.read(length)
    _check(text.startswith(b"{"), "its header is not a JSON object")
    header: dict[str, Any] = json.loads(text.decode(), object_pairs_hook=_without_duplicates)
    return header


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; of two entries of one name, another reader might take the one that was not checked."""
    found = dict(pairs)
    _check(len(found) == len(pairs), "a name stands in it twice")
    return found


def _entry(name: str, entry: dict[str, Any]) -> tuple[str, tuple[int, ...]]:
    """Return type and sizes of a header's entry."""
    _check(set(entry) == {"dtype", "shape", "data_offsets"}, f"{shown(name)} has other fields than a tensor")
    _check(entry["dtype"] in DTYPES, f"{shown(name)} has type {entry['dtype']}, which a state never has")
    _check(len(entry["shape"]) <= _MAX_DIMENSIONS, f"{shown(name)} has {len(entry['shape'])} dimensions")
    return DTYPES[entry["dtype"]], tuple(entry["shape"])


def _places(metadata: Any, *, names: Iterable[str]) -> dict[str, list[int]]:
    """Return where the parts of the named tensors lie in the whole, none if all are whole."""
    texts = isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())
    _check(texts, f"{_METADATA} is not a JSON object of texts")
    if PLACES not in metadata:
        return {}
    places = json.loads(metadata[PLACES], object_pairs_hook=_without_duplicates)
    _check(isinstance(places, dict) and set(places) == set(names), f"{PLACES} is not of the tensors in the file")
    for name, place in places.items():
        right = isinstance(place, dict) and set(place) == {"saved_offsets"} and _are_counts(place["saved_offsets"])
        _check(right, f"{PLACES} has no offsets for {shown(name)}")
    return {name: place["saved_offsets"] for name, place in places.items()}


def _are_counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(one) is int and 0 <= one < 1 << 62 for one in value)


def _whole(name: str, parts: Sequence[_Part]) -> StoredTensor:
    """Return the tensor that parts make: one, or several that lie one behind another along one dimension."""
    _check(len({(part.dtype, len(part.sizes)) for part in parts}) == 1, f"the parts of {shown(name)} are not alike")
    filled = [part for part in parts if math.prod(part.sizes)] or parts[:1]  # a rank may hold nothing of a tensor
    ends = [[offset + size for offset, size in zip(part.offsets, part.sizes, strict=True)] for part in filled]
    shape = tuple(map(max, zip(*ends, strict=True)))
    cut = [axis for axis, size in enumerate(shape) if any(part.sizes[axis] != size for part in filled)]
    axis = cut[0] if cut else 0
    stretches = sorted((part.offsets[axis], part.sizes[axis]) for part in filled) if shape else [(0, 0)] * len(filled)
    begins = list(itertools.accumulate((size for _, size in stretches), initial=0))[:-1]
    fits = len(cut) <= 1 and [begin for begin, _ in stretches] == begins and (shape or len(filled) == 1)
    _check(fits, f"the parts of {shown(name)} do not fill its shape {shape}: one is missing, or stands in two files")
    return StoredTensor(dtype=parts[0].dtype, shape=shape)


def shown(name: str) -> str:
    """Return a name from a file in a form that is safe to print on one line."""
    return name if name.isprintable() and len(name) <= 100 else ascii(name[:100])
