"""Ties the tables of a path to its states: a state's manifest holds the digests of the rows up to its position.

    "tables": {"metrics": {"rows": 14, "sha256": "…"}, "evaluation": {…}, "guard": {…}}

So a digit that has changed in a table is found, and a state and its rows cannot be of two histories. What a state of a
version before has no digests for is taken as it is, once, when the path is run or verified next. `speed.csv` determines
nothing and has none.
"""

import hashlib
import pathlib
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lrpath.errors import StateError
from lrpath.records.document_losses import DocumentLoss, document_losses_text
from lrpath.records.files import digest_file, make_folder, write_json, write_whole
from lrpath.records.manifest import MANIFEST, read_manifest, seal_manifest
from lrpath.records.path_folder import PathFolder
from lrpath.records.rows import RepairRow, RowDigest
from lrpath.records.tables import Table

NAMES = ("metrics", "evaluation", "guard")
DOCUMENTS = "documents"
"""Losses by document, a file for each state that a plan needs."""
_DOCUMENTS_TO_COME = "documents_to_come"
"""Digest of the file that is about to take the place of the one that is there."""
DAMAGED = "damaged"
"""Folder of a path into which tables are copied before they are mended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alteration:
    """A table whose rows are not those that a state's manifest has the digest of.

    Args:
        table: Name of the table.
        first: First position whose rows are in doubt.
        last: Last of them, the path's last state: the digests of all later states hold the rows in doubt too.
        problem: What is wrong, in one line.
        is_readable: Whether every line of the table is a row.
    """

    table: str
    first: int
    last: int
    problem: str
    is_readable: bool = True


def table_of(folder: PathFolder, name: str) -> Table[Any]:
    """Return a table of a path by its name."""
    found: Table[Any] = getattr(folder, name)
    return found


def written_digests(folder: PathFolder, position: int) -> dict[str, Any]:
    """Return the manifest's field for a state at the position that a run has reached, without reading long tables."""
    return {
        "metrics": folder.metrics.written_digest(position)._asdict(),
        "evaluation": evaluation_digest(folder, position),
        "guard": folder.guard.digest(position)._asdict(),  # under `rewind` it also holds rows of later positions
        DOCUMENTS: _documents_digest(folder, position),
    }


def row_digests(folder: PathFolder, position: int) -> dict[str, Any]:
    """Return the manifest's field for a state at a position, from the tables as they are."""
    tables = {name: _digest(folder, name, position, known=None) for name in NAMES}
    return tables | {DOCUMENTS: _documents_digest(folder, position)}


def _documents_digest(folder: PathFolder, position: int) -> str | None:
    """Return the SHA-256 of a state's losses by document; None where it has none."""
    file = folder.document_losses(position)
    return digest_file(file) if file.exists() else None


def _digest(folder: PathFolder, name: str, position: int, *, known: object) -> dict[str, Any]:
    """Return a table's digest for a state, comparable with the one that its manifest has."""
    if name == "evaluation":
        return evaluation_digest(folder, position, known=known)
    return table_of(folder, name).digest(position)._asdict()


def evaluation_digest(folder: PathFolder, position: int, *, known: object = None) -> dict[str, Any]:
    """Return the digest of the evaluations up to a state's position, with the positions and held-out sets it is of.

    Evaluations may be added before a state that exists: at a fork that is asked for later, on a set that did not exist.
    So a digest is compared with that of the same positions and sets.

    Args:
        folder: The path's folder.
        position: The state's position.
        known: Digest that it is to be compared with; None for one of all rows.
    """
    lines = [(at, line.split(",")[1:3], line) for at, line in folder.evaluation.lines() if at <= position]
    ranges = _known_ranges(known)
    if isinstance(known, dict) and ranges is not None and isinstance(known.get("sets"), list):
        wanted = {at for one in ranges for at in _between(one, position)}, set(map(str, known["sets"]))
        lines = [one for one in lines if one[0] in wanted[0] and str(one[1]) in wanted[1]]
        positions, sets = known["positions"], known["sets"]
    else:
        positions = ranges_of(sorted({at for at, _, _ in lines}))
        sets = sorted(held_out for held_out in {tuple(names) for _, names, _ in lines})
    text = "".join(f"{line}\n" for _, _, line in lines)
    digest = RowDigest(rows=len(lines), sha256=hashlib.sha256(text.encode()).hexdigest())
    return digest._asdict() | {"positions": positions, "sets": [list(names) for names in sets]}


def ranges_of(positions: Iterable[int]) -> list[list[int]]:
    """Return ascending positions as ranges `[first, last, step]`: every state of a path holds those before it.

    >>> ranges_of([100, 200, 300, 350, 400, 500, 600])
    [[100, 300, 100], [350, 400, 50], [500, 600, 100]]
    """
    found: list[list[int]] = []
    for position in positions:
        _extend(found, position)
    return found


def _extend(ranges: list[list[int]], position: int) -> None:
    """Add a position behind all others; a range of one has step 0."""
    first, last, step = ranges[-1] if ranges else (position, position, -1)
    if first == last and step == 0:
        ranges[-1] = [first, position, position - first]
    elif position - last == step:
        ranges[-1][1] = position
    else:
        ranges.append([position, position, 0])


def _known_ranges(known: object) -> list[list[int]] | None:
    """Return the ranges in a known digest; earlier versions wrote every position. None for what is no such digest."""
    given = known.get("positions") if isinstance(known, dict) else None
    if not isinstance(given, list):
        return None
    if all(type(one) is int for one in given):
        return ranges_of(given)
    are_ranges = all(isinstance(one, list) and len(one) == 3 and all(type(n) is int for n in one) for one in given)
    return given if are_ranges else None


def _between(one: list[int], position: int) -> range:
    """Return the positions of a range up to one; whatever stands in a manifest, they are no more than those."""
    first, last, step = one
    return range(max(first, 0), min(last, position) + 1, max(step, 1))


def _evaluation_digests(folder: PathFolder, kept: Sequence[tuple[int, object]]) -> list[dict[str, Any]]:
    """Return what `evaluation_digest` does for states, by position, each with its known digest, in one reading.

    Most states have all the evaluations up to their positions, and the digest of one goes on from that of the one
    before. The others are looked at one by one.
    """
    lines = folder.evaluation.lines()
    found: list[dict[str, Any]] = []
    ranges: list[list[int]] = []
    sets: set[tuple[str, ...]] = set()
    digest, count = hashlib.sha256(), 0
    for position, known in kept:
        while count < len(lines) and lines[count][0] <= position:
            at, line = lines[count]
            digest.update(f"{line}\n".encode())
            if not ranges or ranges[-1][1] != at:
                _extend(ranges, at)
            sets.add(tuple(line.split(",")[1:3]))
            count += 1
        names = [list(one) for one in sorted(sets)]
        if isinstance(known, dict) and (_known_ranges(known), known.get("sets")) == (ranges, names):
            rows = RowDigest(rows=count, sha256=digest.hexdigest())._asdict()
            found.append(rows | {"positions": known["positions"], "sets": names})
        else:
            found.append(evaluation_digest(folder, position, known=known))
    return found


def find_alterations(folder: PathFolder) -> list[Alteration]:
    """Compare the tables of a path with the manifests of its states.

    Returns:
        At most one alteration for each table, and one for each file of losses by document.
    """
    kept: list[tuple[int, dict[str, Any]]] = []
    for position in folder.positions():
        try:
            tables = read_manifest(folder.state(position)).get("tables")
        except StateError:
            continue  # its own finding, and no witness
        if isinstance(tables, dict):
            kept.append((position, tables))
    found = [_alteration(folder, name, kept) for name in NAMES]
    found += [
        Alteration(
            table=DOCUMENTS,
            first=position,
            last=position,
            problem=f"{folder.document_losses(position)} was altered: the state at {position:,} was saved with another",
        )
        for position, tables in kept
        if DOCUMENTS in tables and _documents_digest(folder, position) not in _digests_of_documents(tables)
    ]
    return [alteration for alteration in found if alteration is not None]


def _alteration(folder: PathFolder, name: str, kept: Sequence[tuple[int, dict[str, Any]]]) -> Alteration | None:
    table, good = table_of(folder, name), folder.start
    last = max(folder.positions(), default=good)
    try:
        digests = _digests(folder, name, kept)
    except StateError as error:
        return Alteration(table=name, first=good + 1, last=max(last, good + 1), problem=str(error), is_readable=False)
    for (position, tables), digest in zip(kept, digests, strict=True):
        if tables.get(name) != digest:
            problem = (
                f"{table.file} was altered: its rows from position {good + 1:,} to {position:,} are not those that the "
                f"state at {position:,} was saved with"
            )
            return Alteration(table=name, first=good + 1, last=last, problem=problem)
        good = position
    # Rows behind the last state with digests are looked at one by one; those before it are known to be whole.
    return None if kept and good == last else _unreadable_or_missing(folder, name, first=good + 1, last=last)


def _digests(folder: PathFolder, name: str, kept: Sequence[tuple[int, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the digests of a table for some states, comparable with those in their manifests."""
    if name == "evaluation":
        return _evaluation_digests(folder, [(position, tables.get(name)) for position, tables in kept])
    return [digest._asdict() for digest in table_of(folder, name).digests([position for position, _ in kept])]


def _unreadable_or_missing(folder: PathFolder, name: str, *, first: int, last: int) -> Alteration | None:
    table = table_of(folder, name)
    try:
        there = {row.position for row in table.rows()}
    except StateError as error:
        return Alteration(table=name, first=first, last=max(first, last), problem=str(error), is_readable=False)
    lost = lost_positions(folder) if name == "metrics" else set()
    expected = range(folder.start + 1, last + 1) if name == "metrics" else ()
    missing = [position for position in expected if position not in there and position not in lost]
    if not missing:
        return None
    problem = (
        f"{table.file} lacks rows for {len(missing):,} of the positions from {missing[0]:,} to {missing[-1]:,}, "
        f"and the state at {last:,} is on disk"
    )
    return Alteration(table=name, first=missing[0], last=missing[-1], problem=problem)


def check_digests(folder: PathFolder, position: int) -> None:
    """Raise unless the tables, cut to a state's position, are those that it was saved with.

    Raises:
        StateError: Naming the table and what to do.
    """
    tables = read_manifest(folder.state(position)).get("tables")
    if not isinstance(tables, dict):  # a state of a version before
        return
    for name in NAMES:
        table = table_of(folder, name)
        if name == "metrics":  # the longest, which `cut` has just read
            digest = folder.metrics.written_digest(position)._asdict()
        else:
            digest = _digest(folder, name, position, known=tables.get(name))
        if tables.get(name) != digest:
            raise StateError(
                f"{table.file} was altered: its rows up to position {position:,} are not those that the state there "
                f"was saved with; {MEND}"
            )


MEND = (
    "restore the file from a copy, or add mend=true: what can be read is kept, what states can tell is computed again, "
    "and training goes on"
)


def seal(folder: PathFolder, *, only_missing: bool) -> list[int]:
    """Write the digests of the tables, as they are, into the manifests of a path's states; return their positions.

    Args:
        folder: The path's folder, which this process owns.
        only_missing: Whether digests that are there stay.
    """
    sealed = []
    for position in folder.positions():
        file = folder.state(position) / MANIFEST
        try:
            manifest = read_manifest(folder.state(position))
        except StateError:
            continue
        if not (only_missing and "tables" in manifest):
            folder.check_owned()
            write_json(file, seal_manifest(manifest | {"tables": row_digests(folder, position)}))
            sealed.append(position)
    return sealed


def rewrite_documents(folder: PathFolder, position: int, losses: Iterable[DocumentLoss]) -> None:
    """Write the losses by document of a state anew, and their digest; a file that was wrong before stays wrong.

    File and manifest cannot change at once. So the manifest first gets the digest of the file to come beside that of
    the file that is there: whichever a kill leaves has its digest.

    Args:
        folder: The path's folder.
        position: Position of the state.
        losses: All losses that the file is to hold.
    """
    file, text = folder.document_losses(position), document_losses_text(losses)
    manifest = read_manifest(folder.state(position))
    tables = manifest.get("tables")
    known = _documents_digest(folder, position)
    if not isinstance(tables, dict) or known not in _digests_of_documents(tables):
        write_whole(file, text)
        return
    new = hashlib.sha256(text.encode()).hexdigest()
    for digests, then in (({DOCUMENTS: known, _DOCUMENTS_TO_COME: new}, text), ({DOCUMENTS: new}, None)):
        kept = {name: digest for name, digest in tables.items() if name != _DOCUMENTS_TO_COME}
        write_json(folder.state(position) / MANIFEST, seal_manifest(manifest | {"tables": kept | digests}))
        if then is not None:
            write_whole(file, then)


def _digests_of_documents(tables: dict[str, Any]) -> list[str | None]:
    """Return the digests that a file of losses by document may have."""
    return [tables[name] for name in (DOCUMENTS, _DOCUMENTS_TO_COME) if name in tables]


def file_of(folder: PathFolder, alteration: Alteration) -> pathlib.Path:
    """Return the file that was altered."""
    if alteration.table == DOCUMENTS:
        return folder.document_losses(alteration.first)
    return table_of(folder, alteration.table).file


def keep_copy(folder: PathFolder, alteration: Alteration) -> None:
    """Copy what was altered aside before it is mended; the path must be owned by this process."""
    file, copies = file_of(folder, alteration), folder.folder / DAMAGED
    folder.check_owned()
    if file.exists():
        make_folder(copies)
        shutil.copy2(file, copies / f"{time.strftime('%Y-%m-%dT%H%M%S')}-{file.name}")


def leave_out_unreadable(folder: PathFolder, name: str) -> None:
    """Leave out of a table the lines that are not rows, and rows that are there twice."""
    table_of(folder, name).mend()


def note_repair(folder: PathFolder, alteration: Alteration) -> RepairRow:
    """Note which rows of a mended table are in doubt, and how many are lost.

    The states' digests of the table are then to be made anew by `seal`.
    """
    there = {row.position for row in table_of(folder, alteration.table).rows()}
    expected = range(alteration.first, alteration.last + 1) if alteration.table == "metrics" else ()
    missing = sum(position not in there for position in expected)
    row = RepairRow(position=alteration.last, first=alteration.first, table=alteration.table, missing=missing)
    folder.repairs.append([row])
    return row


def lost_positions(folder: PathFolder) -> set[int]:
    """Return the positions whose rows of the metrics are lost for good, by what was noted when the table was mended."""
    rows = [row for row in folder.repairs.rows() if row.table == "metrics" and row.missing]
    if not rows:
        return set()
    there = {row.position for row in folder.metrics.rows()}
    return {position for row in rows for position in range(row.first, row.position + 1)} - there
