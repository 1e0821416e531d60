"""What an export has written: plain facts for the model card, and the digests of its files."""

import pathlib
from dataclasses import dataclass

from lrpath.records.files import digest_file
from lrpath.records.remote.folder import is_plain


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedRelease:
    """What an export has made and compared.

    Args:
        dtype: Type of the weights, `fp32` or `bf16`.
        files: Number of weight files.
        bytes: Their size together [bytes].
        architecture: Class of transformers that loads them.
        transformers: Version of transformers that was used.
        end_mark: The mark that ends every document; None when only ids were given.
        end_id: Its id.
        window: Tokens of a training window.
        compared: What was compared with the states and the store, a sentence each.
        notes: What a reader must know of the conversion, a paragraph each.
    """

    dtype: str
    files: int
    bytes: int
    architecture: str
    transformers: str
    end_mark: str | None
    end_id: int | None
    window: int
    compared: tuple[str, ...]
    notes: tuple[str, ...]


SUMS_FILE = "SHA256SUMS"
"""In an exported folder: what `sha256sum -c SHA256SUMS` compares a copy with, wherever it is."""
_EDITABLE = ("README.md",)
"""The model card, which people go on writing."""


def write_sums(folder: pathlib.Path) -> None:
    """Write the digests of the files of an exported folder, all but the model card."""
    files = sorted(file for file in folder.iterdir() if file.name not in _EDITABLE)
    lines = [f"{digest_file(file)}  {file.name}\n" for file in files]
    (folder / SUMS_FILE).write_text("".join(lines), encoding="utf-8")


def sums_problem(folder: pathlib.Path, *, reads: bool) -> str | None:
    """Return what of an exported folder is not as it was written, in a sentence; None if nothing is.

    Args:
        folder: The folder.
        reads: Whether the files are read, and not only looked for.
    """
    lines = (folder / SUMS_FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    for line in lines:
        digest, _, name = line.partition("  ")
        if not is_plain(name) or not (folder / name).is_file():
            return f"{folder / SUMS_FILE} lists {name[:80]!r}, which is not there"
        if reads and digest_file(folder / name) != digest:
            return f"{folder / name} was altered: its SHA-256 is not the one in {SUMS_FILE}"
    return None
