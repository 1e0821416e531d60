"""On which held-out tokens the paths of a study are evaluated, and how much text these are; `held_out.json`.

A loss says nothing without what it is the loss on. Losses on tokens of equal digests are of one scale; losses on other
tokens, be it the same text under another tokenizer, are not, and stand in tables of their own.
"""

import pathlib
from collections.abc import Iterable, Mapping, Set
from dataclasses import asdict, dataclass
from typing import Any

from lrpath.errors import MismatchError, StateError
from lrpath.planning.lineage import content_id
from lrpath.records.files import locked, read_json, write_json
from lrpath.records.manifest import seal_manifest

_FIELDS = frozenset({"collections", "paths"})

SetName = tuple[str, str]
"""Version and domain of a held-out set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutSet:
    """One held-out set, as it is evaluated.

    Args:
        sha256: Digest of the windows, in order.
        tokens: Tokens that are predicted.
        text_bytes: UTF-8 bytes of the text of these tokens; None where ids came without a tokenizer.
        documents: Documents that they are of; None likewise.
    """

    sha256: str
    tokens: int
    text_bytes: int | None
    documents: int | None


class HeldOutFile:
    """The held-out sets of every path of a study.

    Args:
        folder: The study's folder.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self._file = folder / "held_out.json"

    def read(self) -> dict[str, dict[SetName, HeldOutSet]]:
        """Return the sets by path id; a study of an older lrpath has none.

        Raises:
            StateError: If the file was altered.
        """
        collections, paths = self._parts()
        try:
            known = {name: _sets(record) for name, record in collections.items()}
            return {path_id: known[name] for path_id, name in paths.items()}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise StateError(f"{self._file} cannot be read ({error!r}); restore it from a copy") from None

    def add(
        self, path_ids: Iterable[str], sets: Mapping[SetName, HeldOutSet], *, exchanged: Set[str] = frozenset()
    ) -> None:
        """Note that paths are evaluated on some sets from now on.

        Args:
            path_ids: The paths.
            sets: The sets by version and domain.
            exchanged: Versions for which plans of the study have different data: a path that several of these plans
                share keeps the sets that it was evaluated on first.

        Raises:
            MismatchError: If a path was evaluated on other tokens of a set of that name.
            StateError: As `read`.
        """
        before, wanted = self.read(), list(path_ids)
        merged = self._merged(before, wanted, sets, exchanged)
        if all(before.get(path_id) == merged[path_id] for path_id in wanted):
            return
        with locked(self._file.parent):
            collections, paths = self._parts()
            for path_id in wanted:
                record = _record(merged[path_id])
                paths[path_id] = content_id(record)
                collections[paths[path_id]] = record
            used = {name: collections[name] for name in dict.fromkeys(paths.values())}
            write_json(self._file, seal_manifest({"collections": used, "paths": paths}))

    def check(
        self, path_ids: Iterable[str], sets: Mapping[SetName, HeldOutSet], *, exchanged: Set[str] = frozenset()
    ) -> None:
        """Raise if paths were evaluated on other tokens of some sets; as `add`, which notes them too."""
        self._merged(self.read(), path_ids, sets, exchanged)

    def _merged(
        self,
        before: Mapping[str, Mapping[SetName, HeldOutSet]],
        path_ids: Iterable[str],
        sets: Mapping[SetName, HeldOutSet],
        exchanged: Set[str],
    ) -> dict[str, dict[SetName, HeldOutSet]]:
        """Return what paths were and are evaluated on."""
        merged = {}
        for path_id in path_ids:
            known = before.get(path_id, {})
            kept = {version for version, _ in known} & exchanged
            added = {name: one for name, one in sets.items() if name[0] not in kept}
            for name in sorted(added.keys() & known.keys()):
                self._check_same(path_id, name, known[name], added[name])
            merged[path_id] = {**known, **added}
        return merged

    def _check_same(self, path_id: str, name: SetName, before: HeldOutSet, now: HeldOutSet) -> None:
        if before.sha256 != now.sha256:
            raise MismatchError(
                f"{self._file} says that path {path_id} was evaluated on other held-out tokens of {'/'.join(name)}: "
                f"{before.tokens:,} with digest {before.sha256[:12]}, now {now.tokens:,} with {now.sha256[:12]}. "
                "Restore the text and cadence.held_out_windows, or choose another study"
            )

    def _parts(self) -> tuple[dict[str, Any], dict[str, str]]:
        if not self._file.exists():
            return {}, {}
        record = read_json(self._file)
        if not (isinstance(record, dict) and record.keys() >= _FIELDS):
            raise StateError(f"{self._file} does not say on what paths are evaluated; restore it from a copy")
        # What is unknown counts as the digest, which files of earlier versions lack: its name may be what was altered.
        if record.keys() - _FIELDS and record != seal_manifest(record):
            raise StateError(f"{self._file} was altered: its digest is of other content; restore it from a copy")
        return record["collections"], record["paths"]


def _record(sets: Mapping[SetName, HeldOutSet]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for (version, domain), found in sorted(sets.items()):
        record.setdefault(version, {})[domain] = asdict(found)
    return record


def _sets(record: dict[str, Any]) -> dict[SetName, HeldOutSet]:
    return {
        (version, domain): HeldOutSet(
            sha256=str(entry["sha256"]),
            tokens=int(entry["tokens"]),
            text_bytes=None if entry["text_bytes"] is None else int(entry["text_bytes"]),
            documents=None if entry["documents"] is None else int(entry["documents"]),
        )
        for version, domains in record.items()
        for domain, entry in domains.items()
    }
