"""Token ids in one or several files that lie elsewhere, read in place as if they were one array.

Shapes: L + 1 ids of a window, N windows.
"""

import os
import pathlib
import stat
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from errno import EISDIR
from functools import cached_property
from hashlib import sha256
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrpath.errors import DataError

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
        return list(accumulate(_size_of(file) // width for file in self.files))

    def __len__(self) -> int:
        """Return the number of ids."""
        return self._ends[-1]

    def read(self, begin: int, end: int) -> NDArray[Any]:
        """Return the ids at `[begin, end)`; a view of the file if one holds them all."""
        parts = []
        at = bisect_right(self._ends, begin)
        while begin < end:
            first = self._first(at)
            parts.append(self._map(at)[begin - first : end - first])
            begin, at = self._ends[at], at + 1
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def windows(self, starts_N: NDArray[np.int64], *, length: int) -> NDArray[Any]:
        """Return the ids at `[start, start + length)` for each start, `[N, length]`.

        Raises:
            DataError: If a file cannot be read there.
        """
        with self.opened() as read:
            return np.array([read(start, start + length) for start in starts_N.tolist()], dtype=self.dtype)

    @contextmanager
    def opened(self) -> Iterator[Callable[[int, int], NDArray[Any]]]:
        """Return a function that copies the ids at `[begin, end)`, for many small places, while the block runs.

        It reads the files, and maps none: other threads go on while a disk is slow, and what cannot be read is an
        error, where a map would kill the process. The function raises DataError.
        """
        with ExitStack() as files:
            handles: dict[int, int] = {}
            width = np.dtype(self.dtype).itemsize

            def read(begin: int, end: int) -> NDArray[Any]:
                data = bytearray((end - begin) * width)
                left, at = memoryview(data), bisect_right(self._ends, begin)
                while left:
                    if at == len(self.files):
                        raise _unreadable(self.files[-1], "it is shorter than it was")
                    if at not in handles:
                        handles[at] = _open(self.files[at])
                        files.callback(os.close, handles[at])
                    here = min((self._ends[at] - begin) * width, len(left))
                    _fill(left[:here], self.files[at], handles[at], offset=(begin - self._first(at)) * width)
                    left, begin, at = left[here:], self._ends[at], at + 1
                return np.frombuffer(data, dtype=self.dtype)

            yield read

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

    def _first(self, number: int) -> int:
        """Return the place of the first id of a file."""
        return self._ends[number - 1] if number else 0

    def _map(self, number: int) -> NDArray[Any]:
        return np.asarray(np.memmap(self.files[number], dtype=self.dtype, mode="r"))


def _size_of(file: pathlib.Path) -> int:
    try:
        status = file.stat()
    except OSError as error:
        raise _unreadable(file, error.strerror) from error
    if stat.S_ISDIR(status.st_mode):  # a folder has a size too, another one on every file system
        raise _unreadable(file, os.strerror(EISDIR))
    return status.st_size


def _open(file: pathlib.Path) -> int:
    try:
        return os.open(file, os.O_RDONLY)
    except OSError as error:
        raise _unreadable(file, error.strerror) from error


def _fill(buffer: memoryview, file: pathlib.Path, handle: int, *, offset: int) -> None:
    """Fill a buffer with the bytes of a file from an offset on."""
    done = 0
    while done < len(buffer):
        try:
            count = os.preadv(handle, [buffer[done:]], offset + done)
        except OSError as error:
            raise _unreadable(file, error.strerror) from error
        if not count:
            raise _unreadable(file, f"it ends at byte {offset + done:,}")
        done += count


def _unreadable(file: pathlib.Path, why: str | None) -> DataError:
    return DataError(
        f"{file} cannot be read any more ({why}); restore it, and run the same command again: it goes on from the last "
        "states"
    )
