"""Which files a path stands for, and which entries of a folder are the versions. Nothing is left out silently.

Read are `.txt`, `.jsonl`, `.json` and `.csv`, each also compressed (`.gz`, `.zst`), and `.parquet`, in upper or lower
case. Entries whose name begins with a dot are left out at every depth; links are followed. Everything else is refused
by name: a licence beside the versions would become a version, and an archive that nobody unpacked is text that is
missing.
"""

import pathlib
import re
from collections.abc import Iterator, Sequence

from lrpath.errors import DataError

READABLE = ".txt, .jsonl, .json, .csv (also .gz or .zst) or .parquet"

_TEXT_FORMATS = ("txt", "jsonl", "json", "csv")
_COMPRESSIONS = ("gz", "zst")
_SUFFIXES = re.compile(r"\.(txt|jsonl|json|csv|parquet)(\.(gz|zst))?$", re.IGNORECASE)
_NAMED = 8
_YEARS = 1000  # a numbering that begins here or later counts years, not versions


def format_of(path: pathlib.Path) -> tuple[str, str] | None:
    """Return format and compression of a file by its name; None if it is not read.

    >>> format_of(pathlib.Path("V1.JSONL.gz")), format_of(pathlib.Path("a.parquet")), format_of(pathlib.Path("LICENSE"))
    (('jsonl', 'gz'), ('parquet', ''), None)
    """
    _, *suffixes = path.name.lower().split(".")
    compression = suffixes.pop() if suffixes and suffixes[-1] in _COMPRESSIONS else ""
    kind = suffixes[-1] if suffixes else ""
    if kind in _TEXT_FORMATS or (kind == "parquet" and not compression):
        return kind, compression
    return None


def version_entries(folder: pathlib.Path) -> list[pathlib.Path]:
    """Return the files or folders of a folder that are its versions, `V2` before `V10`.

    Raises:
        DataError: If an entry is not read, files and folders are mixed, or a numbering has a gap.
    """
    entries = sorted(_visible(folder), key=natural_key)
    unread = [entry for entry in entries if not entry.is_dir() and not _is_readable(entry)]
    if unread:
        raise DataError(
            f"{folder} holds {_names(unread)} beside the versions, and each entry must be a folder or a {READABLE} "
            "file; move it elsewhere, or list the versions in data.source.paths"
        )
    if not entries:
        raise DataError(f"{folder} holds no {READABLE} file and no folder; give another folder")
    files = [entry for entry in entries if not entry.is_dir()]
    if files and len(files) < len(entries):
        raise DataError(
            f"{folder} holds files ({_names(files)}) and folders, and each entry would be a version; move the files "
            "elsewhere, or list the versions in data.source.paths"
        )
    _check_numbering(folder, entries)
    return entries


def _check_numbering(folder: pathlib.Path, entries: Sequence[pathlib.Path]) -> None:
    """Refuse names that are numbered and miss a number: the version after a lost one would take its place."""
    patterns = {re.sub(r"\d+", "#", _stem(entry)) for entry in entries}
    numbers = [[int(part) for part in re.findall(r"\d+", _stem(entry))] for entry in entries]
    if not any(numbers):
        return
    advice = "rename or move it, or list the versions in data.source.paths"
    if len(patterns) > 1:
        names = ", ".join(sorted(entry.name for entry in entries)[:_NAMED])
        raise DataError(
            f"{folder} has entries that are not named alike ({names}), so their order of arrival is not known; {advice}"
        )
    if len(numbers[0]) != 1:  # dates such as 2017-03 may skip a month
        return
    found = [number for (number,) in numbers]
    first = found[0] if found[0] >= _YEARS else min(found[0], 1)
    if found != list(range(first, first + len(found))):
        missing = sorted(set(range(first, found[-1] + 1)) - set(found))
        what = f"lacks number {missing[0]}" if missing else "has a number twice"
        raise DataError(
            f"{folder} {what} ({', '.join(entry.name for entry in entries[:_NAMED])}), so the versions after it would "
            f"take another's place; restore it, or list the versions in data.source.paths"
        )


def files_below(path: pathlib.Path) -> list[pathlib.Path]:
    """Return the file itself, or all files of a folder at any depth, in the order of their names.

    Raises:
        DataError: If the path is missing, a file is not read, stands twice, or a link leads back to its own folder.
    """
    if not path.is_dir():
        if not path.is_file():
            raise DataError(
                f"{path} does not exist or is not a regular file; correct data.source.paths or data.source.domains"
            )
        if format_of(path) is None:
            raise DataError(f"{path} must end in {READABLE}; convert or rename it")
        return [path]
    found = sorted(_inside(path, above=(path.resolve(),)), key=str)
    if unread := [file for file in found if not _is_readable(file)]:
        raise DataError(
            f"{path} holds {_names(unread, below=path)}, and only {READABLE} files are read; move it elsewhere, "
            "convert or unpack it"
        )
    if not found:
        raise DataError(f"{path} holds no {READABLE} file; give another folder")
    places: dict[pathlib.Path, pathlib.Path] = {}
    for file in found:
        if (other := places.setdefault(file.resolve(), file)) is not file:
            raise DataError(f"{file} and {other} are one file, whose text would be read twice; remove one of the links")
    return found


def _inside(folder: pathlib.Path, *, above: tuple[pathlib.Path, ...]) -> Iterator[pathlib.Path]:
    for entry in _visible(folder):
        if not entry.is_dir():
            yield entry
        elif (target := entry.resolve()) in above:
            raise DataError(f"{entry} is a link to a folder that it lies in; remove the link")
        else:
            yield from _inside(entry, above=(*above, target))


def _visible(folder: pathlib.Path) -> list[pathlib.Path]:
    try:
        return [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(
            f"{folder} cannot be read ({error.strerror}); allow it, or correct data.source.paths"
        ) from error


def _is_readable(entry: pathlib.Path) -> bool:
    return entry.is_file() and format_of(entry) is not None


def _stem(entry: pathlib.Path) -> str:
    return entry.name if entry.is_dir() else _SUFFIXES.sub("", entry.name)


def natural_key(path: pathlib.Path) -> tuple[list[tuple[int, str]], str]:
    """Return a sort key by path in which `V2` comes before `V10`; two of one number have one order everywhere.

    >>> [path.name for path in sorted(map(pathlib.Path, ["V10", "V1", "V2", "V01"]), key=natural_key)]
    ['V01', 'V1', 'V2', 'V10']
    """
    whole = str(path)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", whole)], whole


def _names(entries: Sequence[pathlib.Path], *, below: pathlib.Path | None = None) -> str:
    names = [str(entry.relative_to(below)) if below else entry.name for entry in entries[:_NAMED]]
    more = f" and {len(entries) - _NAMED} more" if len(entries) > _NAMED else ""
    return ", ".join(names) + more
