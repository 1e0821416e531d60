"""Turns a source into a store: trains the tokenizer, has each increment encoded once, and may be killed at any moment.

A store is prepared increment by increment, under a lock. What the catalog remembers is not made again. Of an increment
that was not finished, what was encoded is kept in the store (`encoding_log`), so that a killed preparation reads its
text again and encodes the rest; all else that it left is removed. The same source and settings give the same bytes.

The text of every increment that is not there is read twice: once to decide what is held out and to find what is
malformed, of all versions, before hours are spent on encoding; and once to encode it. The manifest counts:

    files           files that were read
    characters      characters that were read
    copies          documents or passages that are not trained on, since a copy of them is held out
    repeats         second copies inside a held-out set, left out
    trained_before  documents declared as held out that an earlier version trained on; they are in no set
    waiting         records that belong to none of the versions that were prepared
    bad             malformed records that were left out
    unknown         tokens that stand for what the tokenizer does not know
    shared          held-out documents that were left out of their set, since a passage of them is trained on
    end_marks       documents in which the end mark stood as text
    passages        held-out passages of documents that are trained on in their other parts
    foreign         of ids, pairs in samples that are others when they are decoded and encoded again
    also_trained    of ids, samples of held-out ones that are trained on too, see `lrpath.data.given_ids`
    empty           files without a record
"""

import json
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from tokenizers import Tokenizer

from lrpath.data.catalog import STORE_PREFIX, Catalog, StoredData
from lrpath.data.copying import copy_increment, with_shards
from lrpath.data.encoding import documents_ahead, encode_increment
from lrpath.data.facts import decided_line
from lrpath.data.heldout import Decision, Divider, Known, decide
from lrpath.data.manifest import (
    FORMAT,
    MANIFEST_FILE,
    STORE_FILE,
    TOKENIZER_FILE,
    is_name,
)
from lrpath.data.remote import upload_stores
from lrpath.data.sources import Arrival, Document, PythonSource, Source, TextOrigin, TextSource, TokensSource
from lrpath.data.sources.document import hashed_share
from lrpath.data.store import TokenStore
from lrpath.data.tokenizer import (
    LONGEST_RUN,
    TokenizerSettings,
    has_long_run,
    load_tokenizer,
    remarks,
    train_tokenizer,
)
from lrpath.errors import ConfigError, DataError
from lrpath.planning.lineage import content_id
from lrpath.records.files import digest_file, locked, remove_temporaries, write_json, write_whole
from lrpath.records.manifest import seal_manifest

PreparationProgress = Callable[[str, int, int | None], None]
"""Called with a label, what is done, and the total if it is known; both in characters, or in tokens for ids."""

Notice = Callable[[str], None]
"""Called with a line for people."""

# More text changes little in a vocabulary, and training takes memory for every distinct word.
_TOKENIZER_CHARACTERS = 1_000_000_000


def prepare(  # noqa: PLR0913  what a preparation may be told
    source: Source,
    *,
    tokenizer: TokenizerSettings | None,
    versions: Sequence[str],
    folder: pathlib.Path,
    progress: PreparationProgress | None = None,
    notice: Notice | None = None,
    needs_heldout: bool = False,
    needs_domains: Set[int] = frozenset(),
    old: Sequence[Mapping[str, Any]] = (),
) -> TokenStore:
    """Prepare the increments of some versions and return their store.

    The tokenizers library encodes on all cores; set `RAYON_NUM_THREADS` to bound them. Documents are read in a thread.
    At most some ten MiB of text are in memory at a time, a few documents, and 16 bytes for each document there is.

    Args:
        source: Where the text or the ids come from.
        tokenizer: Settings of the tokenizer; None for ids that come without one.
        versions: Names in the order of arrival.
        folder: Where stores and catalog are; made if it does not exist.
        progress: Called as each increment advances.
        notice: Called with what was decided and counted of each increment, before any is encoded.
        needs_heldout: Refuse text of which no version has a held-out set.
        needs_domains: Numbers of versions that are prepared again if it is not recorded which of their tokens are of
            which domain, as it was not in earlier versions of lrpath.
        old: What plans of before ids followed from content say of their data, see `lrpath.data.catalog`.

    Raises:
        ConfigError: If the versions are unusable as names, or a tokenizer is missing.
        DataError: If the source is missing, malformed or too small.
    """
    _check_versions(versions)
    _check_tokenizer(source, tokenizer)
    catalog = Catalog(folder)
    work = _Preparation(
        source=catalog.completed(source),
        given=source,
        tokenizer=tokenizer,
        catalog=catalog,
        folder=folder,
        progress=progress,
        notice=notice,
        needs_heldout=needs_heldout,
        needs_domains=needs_domains,
        old=() if needs_domains else old,  # none of their stores knows domains
    )
    stored = work.find(len(versions))
    for line in _written_since(work.source, stored):
        work.say(line)
    if len(stored.increments) < len(versions):
        for number in range(len(stored.increments), len(versions)):  # a missing file is reported before hours are spent
            work.source.increment_spec(number)
        stored = work.run(versions)
    catalog.remember(source, tokenizer=tokenizer, stored=stored)
    upload_stores(folder)
    return with_shards(_opened(stored, versions), source, versions)


def _written_since(source: Source, stored: StoredData) -> Iterator[str]:
    """Yield a line for each increment whose text was written to after its tokens were stored.

    A changed text is told by its size and samples of it, for no terabyte is read to plan; a change of some letters
    between the samples is not seen.
    """
    if not isinstance(source, TextSource) or stored.store is None:
        return
    for number, increment in enumerate(stored.increments):
        then = (stored.store / increment.name / MANIFEST_FILE).stat().st_mtime
        try:
            files = [file for file in source.files(number) if isinstance(file, pathlib.Path)]
        except DataError:
            continue  # it is gone, and its tokens are here
        if newer := [file for file in files if file.stat().st_mtime > then]:
            more = f" and {len(newer) - 1:,} more" if len(newer) > 1 else ""
            yield (
                f"{newer[0]}{more} was written after its tokens were stored, and looks the same by its size and "
                "samples of it, so that these tokens are used; if its text was changed, prepare it again: "
                "data.folder=FOLDER"
            )


def _opened(stored: StoredData, versions: Sequence[str]) -> TokenStore:
    """Open the store at as many versions as are stored."""
    store = stored.open(versions)
    assert store is not None
    return store


def _check_versions(versions: Sequence[str]) -> None:
    bad = [name for name in versions if not is_name(name)]
    if not versions or bad or len(set(versions)) < len(versions):
        raise ConfigError(
            "versions must be distinct short names of letters, digits, `.`, `_`, `-`, and one at least: "
            f"{list(versions)}",
            field="versions",
            value=list(versions),
        )


def _check_tokenizer(source: Source, tokenizer: TokenizerSettings | None) -> None:
    if tokenizer is None and not isinstance(source, TokensSource):
        raise ConfigError("text needs a tokenizer; give data.tokenizer", field="data.tokenizer", value=None)
    if tokenizer is not None and tokenizer.file is None and isinstance(source, TokensSource):
        raise ConfigError(
            "ids cannot train a tokenizer; give data.tokenizer.file, or no tokenizer",
            field="data.tokenizer.file",
            value=None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Preparation:
    """One source on its way into one store."""

    source: Source
    given: Source  # as configured, of which the catalog knows what is gone
    tokenizer: TokenizerSettings | None
    catalog: Catalog
    folder: pathlib.Path
    progress: PreparationProgress | None
    notice: Notice | None
    needs_heldout: bool
    needs_domains: Set[int]
    old: Sequence[Mapping[str, Any]]

    def find(self, count: int) -> StoredData:
        """Return what is stored already."""
        found = self.catalog.find(self.given, tokenizer=self.tokenizer, count=count, old=self.old)
        unknown = (n for n, one in enumerate(found.increments) if n in self.needs_domains and not one.manifest.trained)
        return replace(found, increments=found.increments[: next(unknown, len(found.increments))])

    def run(self, versions: Sequence[str]) -> StoredData:
        """Make what is missing."""
        name = self.catalog.key_of(self.given, tokenizer=self.tokenizer)
        with locked(self.folder / ".preparing" / name):  # others of this text wait and then find it prepared
            stored = self.find(len(versions))
            if len(stored.increments) == len(versions):
                return stored
            decisions = {} if isinstance(self.source, TokensSource) else self._decide(self.source, versions, stored)
            if stored.store is None:
                stored = self._begin(versions, decisions)
            assert stored.store is not None
            with locked(stored.store):  # other texts may have the same tokenizer
                remove_temporaries(stored.store)
                return self._fill(versions, decisions, stored)

    def _fill(self, versions: Sequence[str], decisions: Mapping[str, Decision], stored: StoredData) -> StoredData:
        known = Known()
        for number, version in enumerate(versions):
            if number < len(stored.increments):
                self._recall(version, known, _opened(stored, versions))
                continue
            arrival = Arrival(version=version, number=number, used=known.used, versions=versions)
            earlier = _opened(stored, versions)
            if isinstance(self.source, TokensSource):
                name = copy_increment(self.source, arrival, earlier, report=self._report, say=self.say)
            else:
                assert self.tokenizer is not None
                name = encode_increment(
                    self.source,
                    arrival,
                    earlier,
                    decision=decisions[version],
                    known=known,
                    end_mark=self.tokenizer.end_mark,
                    report=self._report,
                    say=self.say,
                )
                decisions[version].extend(known)
            stored = self.catalog.add(stored, name=name)
            self.catalog.remember(self.given, tokenizer=self.tokenizer, stored=stored)
        return stored

    def _decide(self, source: TextOrigin, versions: Sequence[str], stored: StoredData) -> dict[str, Decision]:
        """Read every increment that is not prepared, and decide what of it is held out."""
        known, decisions = Known(), {}
        has_heldout = False
        for number, version in enumerate(versions):
            if number < len(stored.increments):
                store = _opened(stored, versions)
                self._recall(version, known, store)
                has_heldout |= bool(store.manifest(version).domains)
                continue
            arrival = Arrival(version=version, number=number, used=known.used, versions=versions)
            size = source.expected_bytes(number) if isinstance(source, PythonSource) else None  # of others nobody knows
            documents = self._watched(documents_ahead(source, arrival), f"{version}: read", size)
            decision = decisions[version] = decide(documents, source.heldout, known)
            has_heldout |= bool(decision.sizes)
            self.say(decided_line(version, decision, arrival.tally))
            if not decision.trained:
                raise DataError(
                    f"increment {version} has {decision.documents:,} documents and none of them is trained on; give it "
                    "text, or lower data.source.heldout.share"
                )
            decision.extend(known)
        if self.needs_heldout and not has_heldout:
            settings = source.heldout
            off = settings.share == 0 or settings.documents == 0
            raise DataError(
                "no version has held-out text, so that no release could be evaluated: "
                + (
                    "raise data.source.heldout.share and data.source.heldout.documents above 0"
                    if off
                    else f"a domain needs three documents, or one of three passages of {settings.passage_characters:,} "
                    "characters; give more text, or lower data.source.heldout.passage_characters"
                ),
                field="data.source.heldout.share" if off else "data.source.heldout.passage_characters",
                value=settings.share if off else settings.passage_characters,
            )
        return decisions

    def _recall(self, version: str, known: Known, store: TokenStore) -> None:
        """Add an increment of the store to what the next one must not contradict."""
        known.used |= store.marks(version)
        known.held |= store.held_out_digests(version)
        known.has_passages |= store.manifest(version).counts.get("passages", 0) > 0

    def _watched(self, documents: Iterable[Document], label: str, size: int | None) -> Iterator[Document]:
        done = 0
        for document in documents:
            yield document
            if done >> 20 != (done := done + len(document.text)) >> 20:
                self._report(label, done, size)

    def _begin(self, versions: Sequence[str], decisions: Mapping[str, Decision]) -> StoredData:
        """Make the tokenizer and its store; `store.json` comes last: a store without it counts as not begun."""
        record: dict[str, Any] = {"format": FORMAT, "end_id": None, "tokenizer": None}
        text, content = None, None
        if self.tokenizer is not None:
            tokenizer = self._make_tokenizer(versions, decisions, settings=self.tokenizer)
            text = tokenizer.to_str(pretty=True)
            content = json.loads(text)
            record["vocab_size"] = tokenizer.get_vocab_size(with_added_tokens=True)
            record["end_id"] = tokenizer.token_to_id(self.tokenizer.end_mark)
        if isinstance(self.source, TokensSource):
            self._check_vocabulary(self.source, record.get("vocab_size"))
            record["vocab_size"] = self.source.vocab_size
        store = self.folder / f"{STORE_PREFIX}{content_id([content, record['vocab_size'], record['end_id']])}"
        if not (store / STORE_FILE).exists():
            if text is not None:
                write_whole(store / TOKENIZER_FILE, text)
                size, digest = (store / TOKENIZER_FILE).stat().st_size, digest_file(store / TOKENIZER_FILE)
                record["tokenizer"] = {"bytes": size, "sha256": digest}
            write_json(store / STORE_FILE, seal_manifest(record))
        return self.catalog.remember_store(self.given, tokenizer=self.tokenizer, store=store)

    def _make_tokenizer(
        self, versions: Sequence[str], decisions: Mapping[str, Decision], *, settings: TokenizerSettings
    ) -> Tokenizer:
        if settings.file is not None:
            for line in remarks(pathlib.Path(settings.file)):
                self.say(line)
            return load_tokenizer(pathlib.Path(settings.file), settings=settings)
        assert not isinstance(self.source, TokensSource)
        arrival = Arrival(version=versions[0], number=0, versions=versions)
        texts = self._training_texts(self.source, arrival, decisions[versions[0]])
        return train_tokenizer(texts, settings=settings)

    def _training_texts(self, source: TextOrigin, arrival: Arrival, decision: Decision) -> Iterator[str]:
        """Yield the training text of the first increment, or a random sample of so much as a vocabulary needs."""
        share = min(_TOKENIZER_CHARACTERS / max(decision.characters, 1), 1.0)
        if share < 1:
            self.say(
                f"the tokenizer is trained on {share:.1%} of the documents of {arrival.version}, "
                f"{_TOKENIZER_CHARACTERS:,} of {decision.characters:,} characters"
            )
        done, cut_runs = 0, 0
        divider = Divider(decision, source.heldout, Known())
        for document in documents_ahead(source, arrival):
            for piece in divider.pieces(document):
                sampled = share == 1 or hashed_share(document.digest, seed=0, word="tokenizer") < share
                if piece.split == "train" and sampled:
                    cut_runs += has_long_run(piece.text)
                    yield piece.text
                    done += len(piece.text)
                    self._report("train the tokenizer", done, int(decision.characters * share))
        if cut_runs:
            self.say(
                f"the tokenizer is trained with runs of more than {LONGEST_RUN} letters, digits, signs or spaces cut, "
                f"in {cut_runs:,} documents"
            )

    def _check_vocabulary(self, source: TokensSource, of_tokenizer: int | None) -> None:
        if of_tokenizer is not None and of_tokenizer > source.vocab_size:
            raise ConfigError(
                f"data.source.vocab_size is {source.vocab_size}, and the tokenizer has {of_tokenizer} tokens; raise it",
                field="data.source.vocab_size",
                value=source.vocab_size,
            )

    def say(self, line: str) -> None:
        """Tell people a line, if anyone listens."""
        if self.notice is not None:
            self.notice(line)

    def _report(self, label: str, done: int, total: int | None) -> None:
        if self.progress is not None:
            self.progress(label, done, total)
