"""What is known of each increment, in lines for people."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

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
    "foreign": "pairs of sampled ids that the tokenizer reads otherwise",
    "also_trained": "samples of held-out ids that are trained on too",
    "empty": "files without a record",
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


@dataclass(frozen=True, slots=True, kw_only=True)
class IncrementFacts:
    """What a prepared increment was made of, and how much of it is read.

    Args:
        version: Its version.
        documents: Documents, held-out ones included; 0 when ids were given.
        text_bytes: UTF-8 bytes of the training text; 0 when ids were given.
        tokens: Training tokens.
        read: Training tokens that a plan reads; more than there are where it reads them again.
        held_out: Documents of the `valid` and of the `test` set by domain, or passages where documents were cut.
        asked: Documents that each held-out set was asked for.
        counts: What the preparation counted: see `lrpath.data.prepare`.
        domains: Training tokens of each domain, where that is known.
        mixed: Training tokens of each domain that one reading of the increment takes; empty without a mixture.
    """

    version: str
    documents: int
    text_bytes: int
    tokens: int
    read: int
    held_out: Mapping[str, tuple[int, int]]
    asked: int
    counts: Mapping[str, int]
    domains: Mapping[str, int] = field(default_factory=dict)
    mixed: Mapping[str, int] = field(default_factory=dict)

    @property
    def epochs(self) -> dict[str, float]:
        """How often one reading of the increment reads the text of each domain; empty without a mixture."""
        return {name: tokens / self.domains[name] for name, tokens in self.mixed.items() if self.domains.get(name)}

    @property
    def few(self) -> tuple[str, ...]:
        """Domains of which a set has fewer documents than it was asked for."""
        return tuple(domain for domain, sizes in self.held_out.items() if min(sizes) < self.asked)

    def line(self) -> str:
        """Return the facts in a line."""
        parts = [f"{self.counts['files']:,} files"] if self.counts.get("files") else []
        if self.documents:
            parts += [f"{self.documents:,} documents", f"{self.text_bytes:,} bytes of training text"]
        parts += [f"{self.tokens:,} training tokens, of which {min(self.read, self.tokens):,} "]
        parts[-1] += f"({min(self.read / self.tokens, 1):.0%}) are read"
        if self.mixed:
            parts[-1:] = [f"{self.tokens:,} training tokens, mixed: {', '.join(self._mixed_texts())}"]
        elif len(self.domains) > 1:
            parts[-1] += f" ({', '.join(f'{name} {tokens:,}' for name, tokens in self.domains.items())})"
        sets = [f"{domain} {valid:,} + {test:,}" for domain, (valid, test) in self.held_out.items()]
        parts += [f"held-out documents (valid + test): {', '.join(sets) or 'none'}"]
        if self.few:
            parts[-1] += f", fewer than the {self.asked:,} that were asked for of {', '.join(self.few)}"
        parts += [f"{self.counts[name]:,} {text}" for name, text in _COUNTED.items() if self.counts.get(name)]
        return f"{self.version}: {'; '.join(parts)}"

    def _mixed_texts(self) -> list[str]:
        total = sum(self.mixed.values())
        return [
            f"{name} {self.mixed[name]:,} tokens ({self.mixed[name] / total:.2%}), which is {epochs:.3g} epochs of its "
            f"{self.domains[name]:,}"
            for name, epochs in self.epochs.items()
        ]

    def as_record(self) -> dict[str, Any]:
        """Return the facts as plain data."""
        return asdict(self)


def increment_facts(
    store: TokenStore,
    *,
    reads: Mapping[str, int],
    asked: int,
    mixed: Mapping[str, Mapping[str, int]] | None = None,
) -> list[IncrementFacts]:
    """Return the facts of each increment of a store.

    Args:
        store: The store.
        reads: Training tokens that a plan reads of each version.
        asked: Documents that each held-out set was asked for.
        mixed: Training tokens of each domain that one reading takes, of each version that has a mixture.
    """
    found = []
    for version in store.versions:
        manifest = store.manifest(version)
        domains = sorted({*manifest.domains_of("valid"), *manifest.domains_of("test")})
        sizes = {
            domain: (
                held_out_documents(store, version, domain, "valid"),
                held_out_documents(store, version, domain, "test"),
            )
            for domain in domains
        }
        found.append(
            IncrementFacts(
                version=version,
                documents=manifest.documents,
                text_bytes=manifest.text_bytes,
                tokens=manifest.tokens,
                read=reads[version],
                held_out=sizes,
                asked=asked,
                counts=dict(manifest.counts),
                domains=dict(manifest.trained),
                mixed=dict((mixed or {}).get(version, {})),
            )
        )
    return found


def held_out_documents(store: TokenStore, version: str, domain: str, split: str) -> int:
    """Return how many documents (or passages of documents, where those were cut) a held-out set has."""
    if domain not in store.manifest(version).domains_of(split):
        return 0
    return len(store.document_starts(version, domain, split))
