"""A folder on a file system of fsspec, as far as a study needs one: whole objects, listed, put, fetched and removed."""

import contextlib
import hashlib
import logging
import os
import pathlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from lrpath.errors import ConfigError, LrpathError, StorageError
from lrpath.records.files import atomic_file

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_EXTRAS = {"s3": "s3", "s3a": "s3"}
_BLOCK = 1 << 22
_EXCLUSIVE = frozenset({"s3", "s3a", "gs", "gcs", "memory"})
"""Protocols whose fsspec class makes an object only if it is not there, in one request (`mode="create"`)."""
_MODIFIED = ("LastModified", "mtime", "updated", "modified", "last_modified", "created")
_DIGESTS = ("ETag", "etag", "generation", "blob_id", "md5Hash")


def is_address(place: str) -> bool:
    """Say whether a place is a URL; a `file://` URL is one that names a local folder.

    >>> is_address("s3://bucket/studies"), is_address("outputs"), is_address("C:/outputs")
    (True, False, False)
    """
    return _ADDRESS.match(place) is not None


def split_address(address: str) -> tuple[str, str]:
    """Return protocol and path of a URL.

    >>> split_address("s3://bucket/studies/")
    ('s3', 'bucket/studies')
    """
    found = _ADDRESS.match(address)
    assert found is not None, address
    return found[1].lower(), found[2].rstrip("/")


def check_address(place: str | None, *, field: str) -> None:
    """Refuse a URL that no installed file system reads and writes; places on this machine are not looked at.

    Raises:
        ConfigError: Saying what to install, or which protocols there are.
    """
    if place is None or not is_address(place):
        return
    import fsspec

    protocol, path = split_address(place)
    try:
        fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        extra = f"lrpath[{_EXTRAS[protocol]}]" if protocol in _EXTRAS else None
        advice = f"pip install '{extra}'" if extra else str(error).rstrip(".")
        text = f"{field}={place}: file system {protocol}:// is not installed: {advice}"
        raise ConfigError(text, field=field, value=place) from None
    except ValueError:
        raise ConfigError(
            f"{field}={place}: unknown protocol {protocol}://; give the path of a folder, or a URL that fsspec knows: "
            "s3://, gs://, hf://, abfs://",
            field=field,
            value=place,
        ) from None
    if not path.strip("/") and protocol != "file":
        text = f"{field}={place} names no bucket; write {protocol}://bucket/folder"
        raise ConfigError(text, field=field, value=place)


def is_plain(name: str) -> bool:
    """Say whether a name stays inside the folder that it is put in: object stores allow `..` in names.

    >>> is_plain("plans/a.json"), is_plain("plans/../../a.json"), is_plain("/etc/passwd")
    (True, False, False)
    """
    return "\\" not in name and "\0" not in name and not {"", ".", ".."} & set(name.split("/"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteEntry:
    """An object, by the listing.

    Args:
        size: Its size [bytes].
        stamp: Changes when the object does: its ETag, or time and size.
        modified: When it was written, by the file system's clock [s since 1970]; None where that is not said.
    """

    size: int
    stamp: str
    modified: float | None


Entries = dict[str, RemoteEntry]
"""Objects of a folder by name."""


class RemoteFolder:
    """A folder at a URL. Names are relative to it, with `/` between their parts.

    Whatever goes wrong on the way is a `StorageError` that names the object. Credentials, endpoints and retries are
    those of the fsspec file system: https://filesystem-spec.readthedocs.io/en/latest/features.html#configuration.

    Args:
        address: Its URL.
    """

    def __init__(self, address: str) -> None:
        import fsspec  # torch and Lightning need it anyway, but a study on a disk does not

        self.address = address.rstrip("/")
        self.protocol, _ = split_address(address)
        logging.getLogger("botocore").setLevel(logging.WARNING)  # Hydra shows where it has found credentials, else
        with self._explained(""):
            # A listing that is remembered would hide what another machine has written since.
            self._fs, root = fsspec.core.url_to_fs(self.address, use_listings_cache=False)
        self._root: str = root.rstrip("/")

    @property
    def is_exclusive(self) -> bool:
        """Whether `create` is one request, so that of two machines one is refused."""
        return self.protocol in _EXCLUSIVE

    def below(self, name: str) -> "RemoteFolder":
        """Return a folder of this folder."""
        return RemoteFolder(f"{self.address}/{name}")

    def entries(self, below: str = "") -> Entries:
        """Return all objects of the folder, or of a folder in it, at any depth, by name."""
        place = self._place(below) if below else self._root
        with self._explained(below):
            self._fs.invalidate_cache()
            try:
                found = self._fs.find(place, detail=True)
            except FileNotFoundError:
                return {}
        names = {name[len(self._root) + 1 :]: info for name, info in found.items()}
        return {name: entry_of(info) for name, info in names.items() if is_plain(name)}

    def read(self, name: str) -> bytes:
        """Return the content of an object.

        Raises:
            FileNotFoundError: If it is not there.
        """
        with self._explained(name, missing=True):
            content: bytes = self._fs.cat_file(self._place(name))
        return content

    def write(self, name: str, content: bytes) -> None:
        """Write an object, whole or not at all, in place of one that is there."""
        with self._explained(name):
            self._fs.pipe_file(self._place(name), content)

    def create(self, name: str, content: bytes) -> bool:
        """Write an object unless one is there, and say whether it was written."""
        with self._explained(name):
            try:
                if self.is_exclusive:
                    self._fs.pipe_file(self._place(name), content, mode="create")
                    return True
            except FileExistsError:
                return False
            if self._fs.exists(self._place(name)):
                return False
            self._fs.pipe_file(self._place(name), content)
        return True

    def upload(self, file: pathlib.Path, name: str) -> None:
        """Write a file's content as an object, in parts if it is large."""
        with self._explained(name):
            self._fs.put_file(str(file), self._place(name))

    def download(self, name: str, file: pathlib.Path) -> None:
        """Write an object's content to a file, whole or not at all.

        Raises:
            FileNotFoundError: If it is not there.
        """
        with atomic_file(file) as temporary, self._explained(name, missing=True):
            self._fs.get_file(self._place(name), str(temporary))

    def remove(self, name: str) -> None:
        """Remove an object, if it is there."""
        with self._explained(name), contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._place(name))

    def digest(self, name: str) -> str:
        """Return the SHA-256 of an object, which is read and not kept."""
        digest = hashlib.sha256()
        with self._explained(name, missing=True), self._fs.open(self._place(name), "rb") as handle:
            while block := handle.read(_BLOCK):
                digest.update(block)
        return digest.hexdigest()

    def now(self) -> float:
        """Return the time by the file system's clock [s since 1970]; by this machine's where it does not say."""
        name = f"clock-{uuid4().hex[:12]}"
        self.write(name, b"")
        try:
            with self._explained(name):
                modified = entry_of(self._fs.info(self._place(name))).modified
        finally:
            self.remove(name)
        return time.time() if modified is None else modified

    def _place(self, name: str) -> str:
        return f"{self._root}/{name}"

    @contextlib.contextmanager
    def _explained(self, name: str, *, missing: bool = False) -> Iterator[None]:
        """Turn what a file system raises, whatever its class, into one line; a missing object may be an answer."""
        try:
            yield
        except LrpathError:
            raise
        except Exception as error:
            if missing and isinstance(error, FileNotFoundError):
                raise
            where = f"{self.address}/{name}" if name else self.address
            reason = " ".join(str(error).split()) or type(error).__name__
            raise StorageError(
                f"{where}: {reason}. Nothing is lost: what is saved on this machine is whole; correct the URL, the "
                "credentials or the connection, and run the same command again",
                value=where,
            ) from error


def entry_of(info: dict[str, Any]) -> RemoteEntry:
    """Return size, stamp and time of an object, from whatever its file system calls them."""
    times = [info[name] for name in _MODIFIED if info.get(name) is not None]
    modified = _seconds(times[0]) if times else None
    digest = next((str(info[name]) for name in _DIGESTS if info.get(name)), None)
    size = int(info["size"] or 0)
    return RemoteEntry(size=size, stamp=digest or f"{modified} {size}", modified=modified)


def _seconds(value: object) -> float | None:
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp()
    return float(value) if isinstance(value, int | float) else None


def cache_folder() -> pathlib.Path:
    """Return the folder of working copies: that of the variable `LRPATH_CACHE`, or `~/.cache/lrpath`."""
    given = os.environ.get("LRPATH_CACHE")
    if given:
        return pathlib.Path(given).expanduser().absolute()
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "lrpath"


def local_folder(place: str) -> pathlib.Path:
    """Return the folder on this machine that a place is, or has its working copy in.

    >>> local_folder("outputs").as_posix(), local_folder("file:///data/outputs").as_posix()
    ('outputs', '/data/outputs')
    >>> local_folder("s3://bucket/studies").relative_to(cache_folder()).as_posix()
    's3/bucket/studies'
    """
    if not is_address(place):
        return pathlib.Path(place)
    protocol, path = split_address(place)
    if protocol in ("file", "local"):
        return pathlib.Path(path or "/")
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    return cache_folder().joinpath(protocol, *parts)


def remote_of(place: str) -> str | None:
    """Return the URL that a place has its truth at, None for a place on this machine."""
    return place.rstrip("/") if is_address(place) and split_address(place)[0] not in ("file", "local") else None
