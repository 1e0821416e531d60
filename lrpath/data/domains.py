"""Where the training tokens of each domain of an increment lie, so that windows can be cut from one domain alone.

`domains.bin` holds a row of two 64-bit numbers for each run of tokens of one domain: at which token it begins, and the
number of the domain in the manifest. The tokens of a domain are those of its runs one after another, and its windows
are cut from them as those of an increment are from all: documents of other domains between them are passed over.

Shapes: R runs, N windows, L + 1 ids of a window.
"""

import pathlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Read = Callable[[int, int], NDArray[Any]]
"""Returns the training tokens of an increment at `[begin, end)`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainRuns:
    """The runs of one domain.

    Args:
        begins_R: At which training token of the increment each run begins.
        ends_R: Tokens of the domain up to the end of each run.

    >>> runs = DomainRuns(begins_R=np.array([0, 10]), ends_R=np.array([3, 7]))
    >>> runs.windows(np.array([1]), length=4, read=lambda begin, end: np.arange(begin, end))
    array([[ 1,  2, 10, 11]])
    """

    begins_R: NDArray[np.int64]
    ends_R: NDArray[np.int64]

    def windows(self, starts_N: NDArray[np.int64], *, length: int, read: Read) -> NDArray[Any]:
        """Return the domain's ids at `[start, start + length)` for each start, `[N, length]`."""
        return np.array([self._window(start, length, read) for start in starts_N.tolist()])

    def _window(self, start: int, length: int, read: Read) -> NDArray[Any]:
        parts, at, end = [], int(np.searchsorted(self.ends_R, start, side="right")), start + length
        while start < end:
            stop = min(int(self.ends_R[at]), end)
            shift = int(self.begins_R[at]) - (int(self.ends_R[at - 1]) if at else 0)
            parts.append(read(start + shift, stop + shift))
            start, at = stop, at + 1
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


@lru_cache(maxsize=64)
def read_runs(file: pathlib.Path, *, number: int, tokens: int) -> DomainRuns:
    """Return the runs of a domain. They are kept: an increment's folder is named after its files, which never change.

    Args:
        file: The increment's `domains.bin`.
        number: Of the domain, in the manifest.
        tokens: Training tokens of the increment.
    """
    rows = np.fromfile(file, dtype="<i8").reshape(-1, 2)
    begins_R = rows[:, 0]
    lengths_R = np.diff(begins_R, append=tokens)
    mine = rows[:, 1] == number
    return DomainRuns(begins_R=begins_R[mine].copy(), ends_R=np.cumsum(lengths_R[mine]))
