"""What is known of each increment, in lines for people."""

from collections.abc import Mapping, Sequence

from lrpath.data.heldout import Decision
from lrpath.data.store import TokenStore

_COUNTED = {
    "copies": "not trained on, since a copy is held out",
    "repeats": "second copies inside a held-out set, left out",
    "trained_before": "declared as held out but trained on by an earlier version, left out",
    "shared": "held-out documents of which a passage is trained on, left out of their set",
    "waiting": "records of no version that is prepared, left out",
    "bad": "malformed records, left out",
    "unknown": "tokens unknown to the tokenizer",
    "end_marks": "documents with the end mark as text",
}


def decided_line(version: str, decision: Decision, tally: Mapping[str, int]) -> str:
    """Return what was decided of an increment before it is encoded."""
    parts = [f"{tally['files']:,} files"] if tally.get("files") else []
    parts += [f"{decision.documents:,} documents", f"{decision.characters:,} characters"]
    parts += [f"held out: {_sizes(decision)}"]
    parts += [
        f"{count:,} {_COUNTED[name]}"
        for name, count in {**tally, "trained_before": decision.trained_before}.items()
        if name in _COUNTED and count
    ]
    return f"{version}: {'; '.join(parts)}"


def _sizes(decision: Decision) -> str:
    found = []
    for domain in sorted({domain for _, domain in decision.sizes}):
        valid, test = (decision.sizes.get((split, domain), 0) for split in ("valid", "test"))
        what = "passages" if domain in decision.cut else "documents"
        found.append(f"{domain} {valid:,} {what} to choose on, {test:,} to report")
    return ", ".join(found) or "nothing"


def increment_lines(store: TokenStore, *, reads: Mapping[str, int] | None = None) -> list[str]:
    """Return a line for each increment of a store: what it was made of and how much of it is read.

    Args:
        store: The store.
        reads: Training tokens that a plan reads of each version.
    """
    return [_line(store, version, reads=(reads or {}).get(version)) for version in store.versions]


def _line(store: TokenStore, version: str, *, reads: int | None) -> str:
    manifest = store.manifest(version)
    counts = manifest.counts
    parts = [f"{counts['files']:,} files"] if counts.get("files") else []
    if manifest.documents:
        parts += [f"{manifest.documents:,} documents", f"{manifest.text_bytes:,} bytes of training text"]
    parts += [f"{manifest.tokens:,} training tokens"]
    if reads is not None:
        parts[-1] += f", of which {reads:,} ({reads / manifest.tokens:.0%}) are read"
    sets = [
        f"{domain} {held_out_documents(store, version, domain, 'valid'):,} + "
        f"{held_out_documents(store, version, domain, 'test'):,}"
        for domain in sorted({*manifest.domains_of("valid"), *manifest.domains_of("test")})
    ]
    parts += [f"held-out documents (valid + test): {', '.join(sets) or 'none'}"]
    parts += [f"{counts[name]:,} {text}" for name, text in _COUNTED.items() if counts.get(name)]
    return f"{version}: {'; '.join(parts)}"


def held_out_documents(store: TokenStore, version: str, domain: str, split: str) -> int:
    """Return how many documents (or passages of documents, where those were cut) a held-out set has."""
    if domain not in store.manifest(version).domains_of(split):
        return 0
    return len(store.document_starts(version, domain, split))


def few_documents(store: TokenStore, *, at_least: int) -> Sequence[tuple[str, str, int]]:
    """Return version, domain and number of documents of the `valid` sets that are smaller than they should be."""
    sizes = [
        (version, domain, held_out_documents(store, version, domain, "valid"))
        for version in store.versions
        for domain in store.manifest(version).domains
    ]
    return [entry for entry in sizes if entry[2] < at_least]
