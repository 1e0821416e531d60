"""Verifies a study's tokens: they are those that were prepared, and no held-out document of them is trained on.

A study keeps no tokens: its plans name them by their digests, and the folder of token stores is searched for these.
"""

import pathlib
from collections.abc import Iterable, Iterator, Sequence

from lrpath.analysis.compare import read_plans
from lrpath.analysis.verify.finding import Check, Finding
from lrpath.data.catalog import stored_increments, torn_increments
from lrpath.data.leaks import Leak, find_leaks, held_out_passages, unknown_passages
from lrpath.data.store import TokenStore
from lrpath.errors import DataError
from lrpath.planning.streams import Increment
from lrpath.records.study import Study


def verify_tokens(study: Study, *, folder: pathlib.Path, reads: bool = True) -> Check:
    """Compare the token files of a study's plans with the digests that their manifests have of them.

    Args:
        study: The study.
        folder: Where token stores are kept, `data.folder`.
        reads: Whether files are read, and not only their sizes looked at.

    Raises:
        StateError: If a plan was altered.
        PlanError: If a plan cannot be read.
    """
    contents = "sizes and SHA-256" if reads else "sizes (SHA-256 not compared: digests=false)"
    findings: dict[str, Finding] = {}
    compared: set[pathlib.Path] = set()
    for increments, store in _stores(study, folder, findings):
        known = () if store is None else store.versions
        for version in known:
            assert store is not None
            if (place := store.place(version)) in compared:
                continue
            compared.add(place)
            try:
                store.check(version, contents=reads)
            except DataError as error:
                findings[str(error)] = Finding(text=str(error))
        if any(one.version not in known for one in increments):  # it may be one of those that cannot be read
            findings |= {text: Finding(text=text) for text in torn_increments(folder)}
    return Check(
        name="tokens",
        statement=f"{contents} of token files are those of their manifests",
        count=len(compared),
        findings=tuple(findings.values()),
    )


def verify_held_out(study: Study, *, folder: pathlib.Path, reads: bool = True) -> Check:
    """Look for the held-out documents of a study's plans in the training tokens of all their versions.

    Args:
        study: The study.
        folder: Where token stores are kept, `data.folder`.
        reads: Whether tokens are read, about a second for 10 million of them.

    Raises:
        StateError: If a plan was altered.
        PlanError: If a plan cannot be read.
    """
    statement = "no held-out document stands in the tokens that any version trains on"
    if not reads:
        return Check(name="held-out", statement=f"{statement} (not looked for: digests=false)", count=0)
    findings: dict[str, Finding] = {}
    notes: dict[str, None] = {}
    looked_for: set[tuple[pathlib.Path, str]] = set()
    count = 0
    for increments, store in _stores(study, folder, findings):
        known = set() if store is None else set(store.versions)
        if mapped := [] if store is None else [name for name in store.versions if store.manifest(name).mapped]:
            notes[f"the ids of {', '.join(mapped)} lie in files outside of {folder}, and are not looked through"] = None
            store = _without(store, mapped)
        if missing := [one.version for one in increments if one.version not in known]:
            notes[
                f"the tokens of {', '.join(missing)} are not in {folder}, so that held-out text is not looked for in "
                "them; name their folder with data.folder=…"
            ] = None
        if store is None:
            continue
        for version in store.versions:
            if (place := (store.folder, store.increments[version])) not in looked_for:
                looked_for.add(place)
                if unknown := unknown_passages(store, version):
                    notes[
                        f"of {unknown:,} long held-out documents of {version} an earlier version of lrpath did not "
                        "record where their passages begin, so that they are looked for as a whole, which an edited "
                        "copy is not; text that is prepared anew in another data.folder is looked through"
                    ] = None
                count += len({place for place, _ in held_out_passages(store, version)})
        findings |= {text: Finding(text=text) for text in _texts(store, find_leaks(store))}
    return Check(
        name="held-out", statement=statement, count=count, findings=tuple(findings.values()), notes=tuple(notes)
    )


def _stores(
    study: Study, folder: pathlib.Path, findings: dict[str, Finding]
) -> Iterator[tuple[tuple[Increment, ...], TokenStore | None]]:
    """Yield the increments of a study's plans, each with the store that holds the most of them.

    Args:
        study: The study.
        folder: Where token stores are kept.
        findings: Gets what is wrong with a store that cannot be opened, whose increments are left out.
    """
    for increments in dict.fromkeys(plan.increments for plan in read_plans(study)):
        try:
            store = _open(increments, folder)
        except DataError as error:
            findings[str(error)] = Finding(text=str(error))
            continue
        yield increments, store


def _open(increments: tuple[Increment, ...], folder: pathlib.Path) -> TokenStore | None:
    """Open the store that holds the most of a plan's increments; None if there is none."""
    best: tuple[pathlib.Path, dict[str, str]] | None = None
    for store, stored in stored_increments(folder).items():
        names = {}
        for one in increments:
            same = [other for other in stored if one.content is not None and other.manifest.content == one.content]
            same.sort(key=lambda other: other.manifest.held_out != one.held_out)
            if same:
                names[one.version] = same[0].name
        if names and (best is None or len(names) > len(best[1])):
            best = store, names
    return None if best is None else TokenStore.open(best[0], increments=best[1])


def _without(store: TokenStore | None, versions: Sequence[str]) -> TokenStore | None:
    """Return a store without some of its versions; None if there are no others."""
    if store is None or set(store.versions) <= set(versions):
        return None
    kept = {version: name for version, name in store.increments.items() if version not in versions}
    return TokenStore.open(store.folder, increments=kept)


def _texts(store: TokenStore, leaks: Iterable[Leak]) -> list[str]:
    return [
        f"{leak.trained} trains on document {leak.document:,} of the {leak.split} set of {leak.version}, domain "
        f"{leak.domain} (token {leak.position:,} of {store.place(leak.trained)}), so that losses on it say nothing of "
        "text that was not seen; hold out other text: prepare it again in another data.folder and train another study"
        for leak in leaks
    ]
