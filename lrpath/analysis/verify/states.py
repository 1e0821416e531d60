"""Compares paths and states with their digests, and what states have read with the plan."""

import contextlib
import pathlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from lrpath.analysis.verify.finding import Check, Finding
from lrpath.analysis.verify.study_index import StudyIndex
from lrpath.errors import PlanError, StateError
from lrpath.planning.lineage import canonical, content_id, differences
from lrpath.planning.paths import Path, StateKey
from lrpath.planning.stream_record import reading_records
from lrpath.records.files import digest_file, read_json
from lrpath.records.manifest import check_state, read_manifest, state_files
from lrpath.records.path_folder import PathFolder
from lrpath.records.read_segments import ReadSegments, digests_in, folded, without_contents

Seen = Callable[[int, int], None]
"""Called with the bytes compared so far and those there are."""


def verify_paths(index: StudyIndex) -> Check:
    """Compare every path's id with the digest of what its file says it is, and with its folder's name."""
    findings: list[Finding] = []
    folders: dict[str, PathFolder] = {}
    for folder in index.folders():
        problem, first = _path_problem(folder), folders.setdefault(folder.path_id, folder)
        if first is not folder:
            problem = f"is a second folder of path {folder.path_id}, beside {first.folder.name}; remove the copy"
        if problem is not None:
            findings.append(Finding(path=index.name(folder), text=f"{folder.folder} {problem}"))
    strays = sorted(folder.folder.name for path_id, folder in folders.items() if not index.knows(path_id))
    return Check(
        name="paths",
        statement="a path's id is the digest of what its path.json says it is",
        count=len(folders),
        findings=tuple(findings),
        notes=tuple(f"paths/{name} belongs to no plan of the study; it is compared by itself" for name in strays),
    )


def _path_problem(folder: PathFolder) -> str | None:
    path_id, file = folder.path_id, folder.folder / "path.json"
    if not file.exists() and not folder.positions():
        return None  # just made: a run that is killed here writes it next time
    try:
        record = read_json(file)
    except StateError as error:
        return f"has no path.json that can be read ({error})"
    if not isinstance(record, dict) or "identity" not in record:
        return "has a path.json that does not say what the path is; restore it from a copy"
    try:
        found = content_id(record["identity"])
    except ValueError:  # NaN or an infinity, which canonical JSON refuses
        found = "none"
    if not found == path_id == record.get("id"):
        return f"has a path.json whose content gives id {found}, not {path_id}: it was altered; restore it from a copy"
    return None


def _states(index: StudyIndex) -> Iterator[tuple[StateKey, PathFolder]]:
    for folder in index.folders():
        for position in folder.positions():
            yield StateKey(folder.path_id, position), folder


def verify_states(index: StudyIndex, *, digests: bool, seen: Seen = lambda _done, _all: None) -> Check:
    """Compare every state with its manifest: name, files, sizes, SHA-256, and the path's identity.

    Args:
        index: The study.
        digests: Whether files are read and their SHA-256 compared.
        seen: Called while files are read.
    """
    states = list(_states(index))
    sizes = [_size(folder, key.position) for key, folder in states]
    reader = _Reader(total=sum(sizes), seen=seen)
    findings = []
    for key, folder in states:
        problem = _state_problem(index, key, folder, digest=reader.digest if digests else None)
        if problem is not None:
            findings.append(Finding(path=index.name(folder), position=key.position, text=problem))
    contents = "sizes and SHA-256" if digests else "and sizes (SHA-256 not compared: digests=false)"
    return Check(
        name="states",
        statement=f"names, files, {contents} are those of the manifests, {sum(sizes) / 1e6:,.1f} MB",
        count=len(states),
        findings=tuple(findings),
    )


def _size(folder: PathFolder, position: int) -> int:
    """Return the size of a state's files; of one at a URL alone, as its manifest says."""
    with contextlib.suppress(StateError):
        if not folder.is_here(position):
            return sum(entry["bytes"] for entry in read_manifest(folder.state(position))["files"].values())
    state = folder.state(position)
    return sum((state / name).lstat().st_size for name in state_files(state))


class _Reader:
    """Digests files and says how many bytes it has read of all there are."""

    def __init__(self, *, total: int, seen: Seen) -> None:
        self._total = total
        self._seen = seen
        self._done = 0

    def digest(self, file: pathlib.Path) -> str:
        return digest_file(file, seen=self._add)

    def _add(self, count: int) -> None:
        self._done += count
        self._seen(self._done, self._total)


def _state_problem(
    index: StudyIndex, key: StateKey, folder: PathFolder, *, digest: Callable[[pathlib.Path], str] | None
) -> str | None:
    place = folder.state(key.position)
    try:
        if (problem := folder.remote_problem(key.position, reads=digest is not None)) is not None:
            return problem
        here = folder.is_here(key.position)
        manifest = check_state(place, key=key, digest=digest) if here else read_manifest(place)
    except (StateError, FileNotFoundError) as error:
        removed = key.position not in folder.positions() and key not in index.needed
        return None if removed else str(error)  # a rolling state that a run has removed meanwhile
    if not index.knows(key.path_id):
        return None
    lines = differences(manifest.get("identity"), index.tree.path(key.path_id).identity())
    if lines:
        return f"{place} says it is of another path ({'; '.join(lines)}); remove it and run the plan again"
    return None


def verify_data(index: StudyIndex) -> Check:
    """Compare what every state has read since its path began with the plan, and increments' digests with each other."""
    findings = []
    digests: dict[tuple[str, str], tuple[Any, str]] = {}
    count = 0
    for path in index.tree.paths:
        increments = (increment for segment in path.stream.segments for increment in segment.increments)
        contents, planned = {increment.version: increment.content for increment in increments}, _planned(path)
        for position, read in data_consumed(index, path):
            count += 1
            place = f"{index.label(path)} at {position:,}"
            add = partial(Finding, path=index.label(path), position=position)
            lines = differences(_comparable(read), planned(position))
            if lines:
                findings.append(
                    add(
                        text=f"{place}: the state has read other data than the plan says ({'; '.join(lines)}); "
                        "remove the states and tables of this path and run the plan again"
                    )
                )
            for version, digest in digests_in(read):
                # Plans that were kept before ids followed from content only say which source they read.
                content = contents.get(version) or canonical(path.recipe.data)
                known, first = digests.setdefault((content, version), (digest, place))
                if digest != known:
                    findings.append(
                        add(
                            text=f"{place}: the state has read {version} with other tokens than {first} "
                            f"({str(digest)[:12]}, not {str(known)[:12]}); one of the two was trained on altered data: "
                            "restore the data and run that path again"
                        )
                    )
    return Check(
        name="data",
        statement="what a state has read, and from where to where, is what the plan says",
        count=count,
        findings=tuple(findings),
    )


def data_consumed(index: StudyIndex, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield `(position, what was read since the path began)` by the manifests of a path's states."""
    folder = index.folder(path)
    for position in index.positions(path):
        assert folder is not None
        try:
            read = read_manifest(folder.state(position)).get("read")
        except StateError:
            continue  # a finding of `verify_states`
        yield position, read if isinstance(read, dict) else {}


def _comparable(read: dict[str, Any]) -> dict[str, Any]:
    kept = without_contents(folded(read))
    return {name: value for name, value in kept.items() if name != "repeat"}


def _planned(path: Path) -> Callable[[int], dict[str, Any]]:
    """Return what says, by position, ascending, which data a state of a path has read by the plan; not its tokens."""
    recipe = path.recipe
    head = {
        "sequences": recipe.sequences_per_update,
        "length": recipe.tokens_per_sequence,
        "seed": recipe.order_seed,
    }
    read = ReadSegments(
        head,
        start=path.start,
        parts=lambda begin, end: reading_records(path.stream, begin, end, batch=recipe.batch),
    )

    def until(position: int) -> dict[str, Any]:
        try:
            return without_contents(read.until(position))
        except PlanError as error:
            return {"segments": str(error)}

    return until


def verify_needed(index: StudyIndex) -> Check:
    """Look for the states that the plans need: a missing one is unfinished work, or was lost."""
    findings, notes, there = [], [], 0
    for path in index.tree.paths:
        made = set(index.positions(path))
        missing = [position for position in index.tree.needed(path.id) if position not in made]
        there += len(index.tree.needed(path.id)) - len(missing)
        for position in [position for position in missing if index.was_made(StateKey(path.id, position))]:
            missing.remove(position)
            findings.append(
                Finding(
                    path=index.label(path),
                    position=position,
                    text=f"{index.label(path)}: its state at {position:,}, which a plan needs, was made and is gone; "
                    "restore it from a copy, or run the plan again to make it from the state before",
                )
            )
        if missing:
            notes.append(_unfinished(index, path, missing))
        notes += _left_over(index, path, finished=not missing)
    return Check(
        name="needed",
        statement="states that plans need (forks and releases) are there",
        count=there,
        findings=tuple(findings),
        notes=tuple(notes),
    )


def _unfinished(index: StudyIndex, path: Path, missing: list[int]) -> str:
    made, runs = index.positions(path), [run for run in index.runs if run.path_id == path.id]
    ended = {
        "done": "",
        "running": "; a run of it is at work, or was killed,",
        "killed": "; its last run was killed",
        "stopped": "; its last run was stopped",
    }.get(runs[-1].outcome if runs else "done", "")
    ended += f" at {runs[-1].end:,}" if ended else ""
    where = f"it has states up to {made[-1]:,}" if made else "it has no state yet"
    wanted = ", ".join(f"{position:,}" for position in missing)
    return f"{index.label(path)} is unfinished: {where}, and needs {wanted}{ended}; run the plan again to go on"


def _left_over(index: StudyIndex, path: Path, *, finished: bool) -> list[str]:
    folder, notes, name = index.folder(path), [], index.label(path)
    if folder is None:
        return []
    kept = {*index.tree.needed(path.id), *index.tree.increment_ends(path.id)}
    rolling = [position for position in index.positions(path) if position not in kept]
    if rolling and finished:
        listed = ", ".join(f"{position:,}" for position in rolling)
        goes_on = path.schedule.end is None  # `lrpath.training.checkpoints.retention` spares the newest of these
        until = "they stay until the next version leads it on" if goes_on else "the next run removes them"
        notes.append(f"{name} keeps rolling states that no plan needs, at {listed}; {until}")
    incomplete = folder.incomplete()
    if incomplete:
        names = ", ".join(place.name for place in incomplete)
        notes.append(
            f"{name} has incomplete states, which are never loaded: {names}; the next run of the path removes them"
        )
    return notes
