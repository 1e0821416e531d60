"""Token ids in one or several files that lie elsewhere, read in place as if they were one array.

Shapes: L + 1 ids of a window, N windows.
"""

import pathlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CHUNK_IDS = 1 << 22


@dataclass(frozen=True, kw_only=True)
class IdShards:
    """Ids by place, file after file.

    Files are opened when they are read, and none is kept open: the store goes to a loader's worker by value.

    Args:
        files: In the order in which they are read.
        dtype: Type of an id in the files, `<u2` or `<u4`.

    >>> import tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> np.array([1, 2, 3], dtype="<u2").tofile(folder / "a.bin")
    >>> np.array([4, 5], dtype="<u2").tofile(folder / "b.bin")
    >>> shards = IdShards(files=(folder / "a.bin", folder / "b.bin"), dtype="<u2")
    >>> len(shards), shards.windows(np.array([1, 2]), length=3).tolist()
    (5, [[2, 3, 4], [3, 4, 5]])
    """

    files: tuple[pathlib.Path, ...]
    dtype: str

    @cached_property
    def _ends(self) -> Sequence[int]:
        """Place behind the last id of each file."""
        width = np.dtype(self.dtype).itemsize
        return list(accumulate(file.stat().st_size // width for file in self.files))

    def __len__(self) -> int:
        """Return the number of ids."""
        return self._ends[-1]

    def read(self, begin: int, end: int) -> NDArray[Any]:
        """Return the ids at `[begin, end)`; a view of the file if one holds them all."""
        parts = []
        at = bisect_right(self._ends, begin)
        while begin < end:
            first = self._ends[at] - self._count(at)
            parts.append(self._map(at)[begin - first : end - first])
            begin, at = self._ends[at], at + 1
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def windows(self, starts_N: NDArray[np.int64], *, length: int) -> NDArray[Any]:
        """Return the ids at `[start, start + length)` for each start, `[N, length]`."""
        ids_NL = np.empty((len(starts_N), length), dtype=self.dtype)
        for row, start in enumerate(starts_N.tolist()):
            ids_NL[row] = self.read(start, start + length)
        return ids_NL

    def chunks(self) -> Iterator[NDArray[Any]]:
        """Yield all ids, some millions at a time."""
        for begin in range(0, len(self), _CHUNK_IDS):
            yield self.read(begin, min(begin + _CHUNK_IDS, len(self)))

    def digest(self, dtype: str) -> str:
        """Return the SHA-256 of all ids written as one file of a type, whatever files they are in."""
        digest = sha256()
        for ids_N in self.chunks():
            digest.update(np.ascontiguousarray(ids_N, dtype=dtype).tobytes())
        return digest.hexdigest()

    def _count(self, number: int) -> int:
        return self._ends[number] - (self._ends[number - 1] if number else 0)

    def _map(self, number: int) -> NDArray[Any]:
        return np.asarray(np.memmap(self.files[number], dtype=self.dtype, mode="r"))
