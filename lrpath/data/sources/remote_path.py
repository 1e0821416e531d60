"""Text at a URL: a file or folder on any fsspec file system, read as one on this machine is, and never written to."""

import contextlib
import io
import pathlib
from collections.abc import Iterator
from functools import cached_property
from types import SimpleNamespace
from typing import Any, cast

from lrpath.errors import StorageError
from lrpath.records.remote.folder import RemoteEntry, entry_of, is_address, local_folder, remote_of

_READ_BLOCK = 4 << 20  # a request to an object store takes some 50 ms, whatever it asks for


class RemotePath:
    """The part of `pathlib.Path` that sources use, for a URL.

    What is not text yet (whether a folder, size, ETag) is asked once and then known: a source looks at its files many
    times while a plan is made.

    Args:
        address: The URL.
        info: What a listing has said of it.
    """

    def __init__(self, address: str, *, info: dict[str, Any] | None = None) -> None:
        self._address = address.rstrip("/")
        self._given = info

    @property
    def name(self) -> str:
        """Last part of the URL."""
        return self._address.rpartition("/")[2]

    @cached_property
    def _fs(self) -> Any:
        import fsspec

        return fsspec.core.url_to_fs(self._address)[0]

    @cached_property
    def _info(self) -> dict[str, Any] | None:
        """What the file system says of the object; None if it is not there."""
        if self._given is not None:
            return self._given
        with self._explained():
            self._fs.invalidate_cache()
            try:
                return dict(self._fs.info(self._address))
            except FileNotFoundError:
                return None

    @property
    def entry(self) -> RemoteEntry:
        """Size and stamp of the file.

        Raises:
            FileNotFoundError: If it is not there.
        """
        if self._info is None:
            raise FileNotFoundError(self._address)
        return entry_of(self._info)

    @property
    def stamp(self) -> str:
        """What stands for the content while nothing of it is read: the ETag, or time and size."""
        return self.entry.stamp

    def exists(self) -> bool:
        """Say whether there is something at the URL."""
        return self._info is not None

    def is_dir(self) -> bool:
        """Say whether it is a folder, which in an object store is what names begin with."""
        return self._info is not None and self._info["type"] == "directory"

    def is_file(self) -> bool:
        """Say whether it is a file."""
        return self._info is not None and self._info["type"] == "file"

    def iterdir(self) -> "Iterator[RemotePath]":
        """Yield the files and folders in the folder."""
        with self._explained():
            found = self._fs.ls(self._address, detail=True)
        for info in found:
            name = info["name"].removesuffix("/" if info["type"] == "directory" else "").rpartition("/")[2]
            if name:  # an object that stands for the folder itself has none
                yield RemotePath(f"{self._address}/{name}", info=info)

    def glob(self, pattern: str) -> "Iterator[RemotePath]":
        """Yield what `iterdir` does; `*` is the only pattern."""
        assert pattern == "*"
        return self.iterdir()

    @contextlib.contextmanager
    def open(self, mode: str) -> Iterator[Any]:
        """Open the file for reading its bytes."""
        assert mode == "rb"
        with self._explained(), self._fs.open(self._address, "rb", block_size=_READ_BLOCK) as handle:
            yield io.BufferedReader(handle)  # fsspec's own `readline` takes no limit

    def stat(self) -> SimpleNamespace:
        """Return an object with `st_size`.

        Raises:
            FileNotFoundError: If it is not there.
        """
        return SimpleNamespace(st_size=self.entry.size)

    def resolve(self) -> "RemotePath":
        """Return the URL itself: there are no links."""
        return self

    def relative_to(self, other: "RemotePath") -> pathlib.PurePosixPath:
        """Return what comes behind another URL."""
        return pathlib.PurePosixPath(self._address.removeprefix(f"{other}/"))

    def __truediv__(self, name: str) -> "RemotePath":
        return RemotePath(f"{self._address}/{name}")

    def __str__(self) -> str:
        return self._address

    def __repr__(self) -> str:
        return f"RemotePath({self._address!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and self._address == other._address

    def __hash__(self) -> int:
        return hash(self._address)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what a file system raises into one line; what pathlib would raise stays what it is."""
        try:
            yield
        except Exception as error:
            if isinstance(error, OSError | EOFError | ValueError | StorageError) or _is_own(error):
                raise
            raise StorageError(
                f"{self._address}: {' '.join(str(error).split())}; correct the URL, the credentials or the connection",
                value=self._address,
            ) from error


def _is_own(error: Exception) -> bool:
    """Say whether an error comes from what is done with the bytes, and not from reading them."""
    return not type(error).__module__.startswith(("botocore", "aiobotocore", "aiohttp", "google", "azure", "gcsfs"))


def source_path(place: str) -> pathlib.Path:
    """Return the file or folder that a source names, on this machine or at a URL.

    The type is that of pathlib for all who read text; of a URL they get the part of it that they use.
    """
    if remote_of(place) is not None:
        return cast(pathlib.Path, RemotePath(place))
    return local_folder(place) if is_address(place) else pathlib.Path(place)
