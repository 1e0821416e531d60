"""What a state has read since its path began, as its manifest says it: the last segment, and digests of the others.

    "read": {"sequences": 8, "length": 128, "seed": 0, "repeat": false,
             "before": {"segments": 299, "order": "…", "contents": "…"},
             "segments": [{"segment": {…}, "first": 0, "updates": 300, "increments": {"v300": {"digest": "…", …}}}]}

With every segment in every manifest, the states of a main path would take the square of its versions. A state is kept
where an increment ends, so each segment stands whole in the manifest of one of them. Manifests of earlier versions hold
all segments; `folded` returns what a manifest of this version would have in their place.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lrpath.errors import StateError
from lrpath.planning.lineage import canonical
from lrpath.records.manifest import read_manifest
from lrpath.records.path_folder import PathFolder

_CONTENTS = "increments"
"""Field of a segment that says which tokens each of its increments had; the others say what was read of them, where."""

LABELLING = "labelling"
"""Field of an increment read by domains: which tokens are of which domain, by a digest. Old states do not say it, so it
is in no digest of segments; each segment stands whole in the state where it ends."""


class ReadSegments:
    """The records of what a path has read up to one position after another, each made from the one before.

    Args:
        head: Fields beside the segments.
        start: Where the path begins.
        parts: Returns the records of the segments, or parts of segments, that lie between two positions.
    """

    def __init__(
        self, head: dict[str, Any], *, start: int, parts: Callable[[int, int], Sequence[dict[str, Any]]]
    ) -> None:
        self._head = head
        self._begin = start
        self._parts = parts
        self._before = _Digests()

    def until(self, position: int) -> dict[str, Any]:
        """Return the record for a state at a position, which lies behind that of the last call.

        Raises:
            PlanError: As `parts`.
        """
        parts = self._parts(self._begin, position)
        for part in parts[:-1]:
            self._before.add(part)
            self._begin += part["updates"]
        return self._head | self._before.fields() | {"segments": list(parts[-1:])}


class _Digests:
    """Digests of the segments before the last: of what was read where, which the plan says, and of its tokens."""

    def __init__(self) -> None:
        self._count = 0
        self._order, self._contents = hashlib.sha256(), hashlib.sha256()

    def add(self, part: Any) -> None:
        is_record = isinstance(part, dict)
        order = {name: value for name, value in part.items() if name != _CONTENTS} if is_record else part
        self._order.update(f"{canonical(order)}\n".encode())
        contents = without_labelling(part.get(_CONTENTS)) if is_record else None
        self._contents.update(f"{canonical(contents)}\n".encode())
        self._count += 1

    def fields(self) -> dict[str, Any]:
        if not self._count:
            return {}
        digests = {"order": self._order.hexdigest(), "contents": self._contents.hexdigest()}
        return {"before": {"segments": self._count} | digests}


def folded(read: Any) -> Any:
    """Return a record with digests in place of all segments but the last; another record is returned as it is."""
    segments = read.get("segments") if isinstance(read, dict) else None
    if not isinstance(segments, list) or len(segments) < 2 or "before" in read:
        return read
    digests = _Digests()
    try:
        for part in segments[:-1]:
            digests.add(part)
    except ValueError:  # NaN or an infinity, which canonical JSON refuses and no lrpath writes
        return read
    return read | digests.fields() | {"segments": segments[-1:]}


def without_labelling(record: Any) -> Any:
    """Return a record without what it says of labels of tokens, at any depth."""
    if isinstance(record, dict):
        return {name: without_labelling(value) for name, value in record.items() if name != LABELLING}
    return [without_labelling(value) for value in record] if isinstance(record, list) else record


def without_contents(read: dict[str, Any]) -> dict[str, Any]:
    """Return a folded record without what it says of tokens: what is left, the plan says too."""
    before = read.get("before")
    kept = {"before": _without(before, "contents")} if isinstance(before, dict) else {}
    segments = [_without(part, _CONTENTS) for part in segments_of(read)]
    return read | kept | {"segments": segments}


def _without(record: dict[str, Any], field: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != field}


def segments_of(read: Any) -> list[dict[str, Any]]:
    """Return the segments that stand whole in a record; what is no segment is left out."""
    found = read.get("segments") if isinstance(read, dict) else None
    return [part for part in found if isinstance(part, dict)] if isinstance(found, list) else []


def digests_in(read: Any) -> Iterator[tuple[str, Any]]:
    """Yield the versions whose segments stand whole in a record, with the digests of their tokens."""
    for part in segments_of(read):
        increments = part.get(_CONTENTS)
        for version, entry in increments.items() if isinstance(increments, dict) else ():
            yield version, entry.get("digest") if isinstance(entry, dict) else None


def digests_read(folder: PathFolder, *, until: int | None = None) -> dict[str, str]:
    """Return, by version, the digest of the tokens that a path has read up to a state, as far as its states tell.

    Args:
        folder: The path's folder.
        until: Position of the state; None for the last.
    """
    found: dict[str, str] = {}
    for position in reversed(folder.positions()):
        if until is not None and position > until:
            continue
        try:
            read = read_manifest(folder.state(position)).get("read")
        except StateError:
            continue  # the verification of the study says so
        for version, digest in digests_in(read):
            found.setdefault(version, str(digest))
        if not (isinstance(read, dict) and "before" in read):
            break  # all that the path has read stands here
    return found
