"""Copies the ids of an increment into a store, or notes where their files lie, and checks them against the others.

`encoding` does the same for text. Ids are named by the user, and nobody knows their documents: see `given_ids`.
"""

from collections.abc import Callable, Sequence

import numpy as np

from lrpath.data.given_ids import HeldOutSamples, foreign_ids
from lrpath.data.manifest import TRAIN_FILE, heldout_file
from lrpath.data.sources import Arrival, Source, TokensSource
from lrpath.data.store import TokenStore
from lrpath.data.tokenizer import read_tokenizer
from lrpath.data.writer import IncrementWriter

_CHUNK_IDS = 1 << 22


def copy_increment(
    source: TokensSource,
    arrival: Arrival,
    earlier: TokenStore,
    *,
    report: Callable[[str, int, int | None], None],
    say: Callable[[str], None],
) -> str:
    """Copy an increment into a store, or note where its files lie, and return its name in the store.

    Args:
        source: Where the ids come from.
        arrival: Which increment, and after which others.
        earlier: The store at the increments before.
        report: Called with a label, ids that are done, and all.
        say: Called with a line for people.

    Raises:
        DataError: If most of a held-out set stand in training ids too, or ids do not fit.
    """
    shards = source.train_ids(arrival)
    files = {heldout_file(domain): ids_N for domain, ids_N in source.heldout_ids(arrival).items()}
    with IncrementWriter(earlier.folder, version=arrival.version, vocab_size=earlier.vocab_size) as writer:
        if source.is_mapped(arrival.number):
            label = f"{arrival.version}: read {len(shards.files)} files"
            writer.map_tokens(shards, progress=lambda done: report(label, done, len(shards)))
        else:
            files = {TRAIN_FILE: shards.read(0, len(shards)), **files}
        for name, ids_N in files.items():
            for at in range(0, len(ids_N), _CHUNK_IDS):
                writer.add_tokens(name, ids_N[at : at + _CHUNK_IDS])
                report(f"{arrival.version}: copy {name}", min(at + _CHUNK_IDS, len(ids_N)), len(ids_N))
        for domain, tokens in source.train_domains(arrival).items():
            writer.add_domain(domain, tokens)
        own = source.increment_spec(arrival.number)
        found = {"also_trained": _held_out_that_is_trained_on(source, arrival, earlier)}
        if earlier.tokenizer_file is not None:
            lost, sampled = foreign_ids(shards, read_tokenizer(earlier.tokenizer_file))
            found["foreign"] = lost
            if lost:
                say(
                    f"{arrival.version}: of {sampled:,} pairs of ids in samples of the text, {lost / sampled:.0%} "
                    "are others when they are decoded and encoded again, which few are with the tokenizer that "
                    "made them: is it data.tokenizer.file?"
                )
        counts = {name: count for name, count in found.items() if count}
        return writer.finish(source=own, documents=0, text_bytes=0, counts=counts)


def with_shards(store: TokenStore, source: Source, versions: Sequence[str]) -> TokenStore:
    """Return the store with the files of its source that it has left where they lie."""
    if not isinstance(source, TokensSource):
        return store
    return store.with_shards(
        {
            version: source.train_ids(Arrival(version=version, number=number))
            for number, version in enumerate(versions)
            if store.manifest(version).mapped
        }
    )


def _held_out_that_is_trained_on(source: TokensSource, arrival: Arrival, earlier: TokenStore) -> int:
    """Return how many samples of held-out ids are trained on, of an increment and those before it.

    Raises:
        DataError: If the most of a set are.
    """
    before = with_shards(earlier, source, earlier.versions)
    own = {(domain, arrival.version): ids_N for domain, ids_N in source.heldout_ids(arrival).items()}
    held = {(domain, name): ids_N for name in before.versions for domain, ids_N in before.heldout(name).items()}
    found = HeldOutSamples(held | own).look_through(source.train_ids(arrival), version=arrival.version)
    new = {
        (domain, version): ids_N
        for (domain, version), ids_N in own.items()
        if not any(np.array_equal(ids_N, known) for (other, _), known in held.items() if other == domain)
    }
    samples = HeldOutSamples(new)  # a set that is every version's was looked for in the earlier ones before
    return found + sum(samples.look_through(before.training_ids(name), version=name) for name in before.versions)
