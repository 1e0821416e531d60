"""Looks at the first KiB of a file that is said to hold token ids, and refuses what is something else.

A file of ids is nothing but ids, so nothing in it says how wide they are. But a wrong width, a header or another format
shows in the first numbers; it would otherwise be trained on without an error.
"""

import ast
import pathlib
from collections.abc import Iterator

import numpy as np

from lrpath.errors import DataError

_LOOK_BYTES = 4096
_LEAST_WORDS = 64
"""Fewer 16-bit words than this say nothing: a toy file may well have a 0 at every second place."""

_FIELD = "data.source.bits"

_MAGICS = {
    b"\x93NUMPY": "a NumPy array file with a header",
    b"PK\x03\x04": "a zip archive, as .npz is",
    b"MMIDIDX\x00\x00": "the index (.idx) of a Megatron data set; name the .bin file beside it",
    b"\x1f\x8b": "compressed with gzip; unpack it",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; unpack it",
    b"PAR1": "a Parquet file; read it with data=text if it holds text",
    b"ARROW1": "an Arrow file; read it with data=hf",
    b"\x89HDF": "an HDF5 file",
}

_LLM_C = {20240520: (16, "GPT-2"), 20240801: (32, "Llama 3")}
"""First of the 256 little-endian 32-bit numbers that stand before the ids in files of llm.c; the width of an id
(karpathy/llm.c, dev/data/data_common.py)."""
_LLM_C_BYTES = 1024
_LLM_C_VERSIONS = 64  # 1 for GPT-2, 7 for Llama 3 so far

_MEGATRON_INDEX = b"MMIDIDX\x00\x00"
_MEGATRON_BITS = {1: 8, 2: 8, 3: 16, 4: 32, 5: 64, 6: 64, 7: 32, 8: 16}
"""Code of a type in byte 17 of a Megatron index, after magic and version; the width of an id (NVIDIA/Megatron-LM,
megatron/core/datasets/indexed_dataset.py)."""


def check_ids(path: pathlib.Path, *, bits: int) -> None:
    """Check that a file looks like little-endian ids of a width, and like nothing else.

    Args:
        path: The file; a sample of it is read.
        bits: Width of an id, 16 or 32.

    Raises:
        DataError: Naming what the file is, and the width that fits.
    """
    with path.open("rb") as handle:
        head = handle.read(_LOOK_BYTES)
    beside = (_index_beside(path, bits), _datatrove_beside(path, bits))
    for problem in (_magic(head, bits), *beside, _text(head), _width(head, bits)):
        if problem is not None:
            raise DataError(f"{path} {problem}", field=_FIELD, value=bits)


def _magic(head: bytes, bits: int) -> str | None:
    for magic, what in _MAGICS.items():
        if head.startswith(magic):
            return f"is {what}{_numpy_advice(head)}" if magic == b"\x93NUMPY" else f"is {what}"
    number = int.from_bytes(head[:4], "little")
    if number in _LLM_C and len(head) >= _LLM_C_BYTES and 0 < int.from_bytes(head[4:8], "little") <= _LLM_C_VERSIONS:
        width, name = _LLM_C[number]
        fitting = "" if width == bits else f" and give data.source.bits={width}"
        return (
            f"is a shard of llm.c for {name}: a header of {_LLM_C_BYTES:_} bytes and ids of {width} bits; cut the "
            f"header off, tail -c +{_LLM_C_BYTES + 1} FILE > IDS{fitting}"
        )
    return None


def _numpy_advice(head: bytes) -> str:
    """Return what a .npy header says, and how to write the ids alone."""
    try:  # `\x93NUMPY`, two bytes of version, the length of the header, and a Python dict as text
        size = 2 if head[6] == 1 else 4
        length = int.from_bytes(head[8 : 8 + size], "little")
        header = ast.literal_eval(head[8 + size : 8 + size + length].decode("latin-1").strip())
        dtype = np.dtype(header["descr"])
    except (ValueError, SyntaxError, KeyError, TypeError, IndexError):
        return "; write the ids alone with .tofile"
    width = 32 if dtype.itemsize > 2 else 16
    return (
        f" (type {dtype.name}, shape {header.get('shape')}); write the ids alone, "
        f'numpy.load(FILE).astype("<u{width // 8}").tofile(IDS), and give data.source.bits={width}'
    )


def _index_beside(path: pathlib.Path, bits: int) -> str | None:
    """Compare the width with the one in a Megatron index beside the file; that format's .bin has no header."""
    index = path.with_suffix(".idx")
    if index == path or not index.is_file():
        return None
    with index.open("rb") as handle:
        head = handle.read(18)
    width = _MEGATRON_BITS.get(head[17]) if head.startswith(_MEGATRON_INDEX) and len(head) == 18 else None
    if width is None or width == bits:
        return None
    fitting = f"give data.source.bits={width}" if width in (16, 32) else "write them as 16 or 32 bits"
    return f"has ids of {width} bits by its index {index.name}, and data.source.bits is {bits}; {fitting}"


def _datatrove_beside(path: pathlib.Path, bits: int) -> str | None:
    """Compare the size with the count of ids in an index of datatrove beside the file, `x.ds.index` of `x.ds`.

    The index holds the end of every document, counted in ids, as 64-bit numbers; a mask `x.ds.loss` has a byte for each
    id (huggingface/datatrove, src/datatrove/pipeline/tokens/tokenizer.py).
    """
    index = path.with_name(f"{path.name}.index")
    if path.with_name(f"{path.name}.loss").is_file():
        return (
            "has a loss mask beside it, and lrpath trains on every token; write the ids without save_loss_metadata, "
            "or move the .loss file away to train on all of them"
        )
    if not index.is_file() or not (ends := np.fromfile(index, dtype="<u8")).size or not (count := int(ends[-1])):
        return None
    size = path.stat().st_size
    if size == count * bits // 8:
        return None
    width = 8 * size // count if size % count == 0 else 0
    fitting = f"give data.source.bits={width}" if width in (16, 32) else "it is not whole; restore it"
    return f"has {size:_} bytes, and by its index {index.name} {count:_} ids, not of {bits} bits; {fitting}"


def _text(head: bytes) -> str | None:
    """Recognise text: of ids, hardly any KiB has printable characters only."""
    if len(head) < 2 * _LEAST_WORDS or any((byte < 32 and byte not in b"\t\n\r") or byte > 126 for byte in head):
        return None
    start = head[:20].decode("ascii")
    return f"is text ({start!r} …), not ids; read it with data=text"


def _width(head: bytes, bits: int) -> str | None:
    """Find ids of twice or four times the width: their upper halves are small, as a vocabulary is."""
    words_N = np.frombuffer(head[: len(head) // 8 * 8], dtype="<u2")
    if len(words_N) < _LEAST_WORDS:
        return None
    found = next(_widths_that_fit(words_N), 16)
    if found <= bits:
        return None
    fitting = "give data.source.bits=32" if found == 32 else "write them as 32 bits and give data.source.bits=32"
    return (
        f"looks like ids of {found} bits: read as {bits} bits, the upper part of each would be an id of its own, "
        f"mostly 0; {fitting}"
    )


_LARGEST_UPPER = 63
"""Upper 16 bits of the largest id of a vocabulary of 4,194,304."""


def _widths_that_fit(words_N: np.ndarray) -> Iterator[int]:
    """Yield the widths, widest first, in which all ids lie below 4,194,304 and differ in their lower 16 bits."""
    for width, step in ((64, 4), (32, 2)):
        lower_N = words_N[::step]
        uppers = [words_N[1::step].max(), *(words_N[at::step].max() for at in range(2, step))]
        varied = len(np.unique(lower_N)) > 1 and lower_N.max() > _LARGEST_UPPER
        if varied and uppers[0] <= _LARGEST_UPPER and not any(uppers[1:]):
            yield width
