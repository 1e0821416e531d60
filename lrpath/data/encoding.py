"""Encodes the text of one increment: reading, encoding and writing overlap, and what is written does not depend on it.

    a thread            reads documents, decompresses them, and divides them into pieces
    two threads         encode calls of some MiB; the tokenizers library divides each among the cores
    the caller          looks for held-out passages, writes tokens and digests, and remembers what was encoded

Everything is handed on in order and in bounded number, so that memory is bounded whichever of them is slowest. One
increment is encoded at a time: its calls take all cores already, and a second one would need as much memory again.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

from lrpath.data.ahead import gathered, read_ahead
from lrpath.data.encoder import Encoder, check_known
from lrpath.data.encoding_log import EncodingLog
from lrpath.data.heldout import Decision, Divider, Known, Piece, add_text
from lrpath.data.heldout_sets import HeldOutSets
from lrpath.data.manifest import HELD_OUT_FILE, MARKS_FILE, TOKENIZER_FILE
from lrpath.data.sources import Arrival, Document, TextOrigin
from lrpath.data.store import TokenStore
from lrpath.data.tokenizer import read_tokenizer
from lrpath.data.writer import IncrementWriter
from lrpath.errors import DataError

# Enough documents for all cores; the encodings of so much text take some 200 MB.
_CALL_CHARACTERS = 1 << 20
_CALLS_AHEAD = 2
_ENCODED_FILE = ".encoded"  # in a store, while an increment is prepared


def documents_ahead(source: TextOrigin, arrival: Arrival) -> Iterator[Document]:
    """Yield the documents of an increment, which a thread reads some MiB ahead."""
    lists = gathered(source.documents(arrival), size_of=lambda document: len(document.text), size=_CALL_CHARACTERS)
    with closing(read_ahead(lists, ahead=_CALLS_AHEAD)) as found:
        for documents in found:
            yield from documents


@dataclass(slots=True)
class _Reading:
    """The pieces of an increment as a thread reads them, and its counts, which are whole when the pieces have ended.

    Args:
        source: Where the documents come from.
        arrival: The increment.
        divider: Divides the documents.
    """

    source: TextOrigin
    arrival: Arrival
    divider: Divider
    documents: int = 0
    characters: int = 0
    texts: int = 0

    def pieces(self) -> Iterator[Piece]:
        for document in self.source.documents(self.arrival):
            self.documents += 1
            self.texts = add_text(self.texts, document)
            self.characters += len(document.text)
            yield from self.divider.pieces(document)


def encode_increment(  # noqa: PLR0913  what an increment is made of, and who is told
    source: TextOrigin,
    arrival: Arrival,
    earlier: TokenStore,
    *,
    decision: Decision,
    known: Known,
    end_mark: str,
    report: Callable[[str, int, int | None], None],
    say: Callable[[str], None],
) -> str:
    """Encode an increment into its place in a store and return the place's name.

    Args:
        source: Where the text comes from.
        arrival: The increment.
        earlier: The store at the increments before it.
        decision: What of it is held out.
        known: The texts of the increments before it.
        end_mark: Token that ends a document.
        report: Called with a label, the characters that are done, and all.
        say: Called with a line for people.

    Raises:
        DataError: If the text cannot be read or encoded, or has changed since the decision.
    """
    encoder = Encoder(read_tokenizer(earlier.folder / TOKENIZER_FILE), end_mark=end_mark)
    reading = _Reading(source, arrival, Divider(decision, source.heldout, known))
    sets = HeldOutSets(earlier, end_id=encoder.end_id)
    log = EncodingLog(earlier.folder / _ENCODED_FILE, encoder=encoder, vocab_size=earlier.vocab_size)
    writer = IncrementWriter(earlier.folder, version=arrival.version, vocab_size=earlier.vocab_size)
    train_bytes = done = 0
    with log, writer:
        lists = gathered(reading.pieces(), size_of=lambda piece: len(piece.text), size=_CALL_CHARACTERS)
        with closing(read_ahead(lists, ahead=_CALLS_AHEAD)) as ahead:
            for pieces, ids in log.encode(ahead):
                sets.add(pieces, ids, writer)
                check_known(log.counts["tokens"], log.counts["unknown"], place=arrival.version)
                train_bytes += sum(len(piece.text.encode()) for piece in pieces if piece.split == "train")
                done += sum(len(piece.text) for piece in pieces)
                report(f"{arrival.version}: encode", done, decision.characters)
        if log.counts["known"]:
            say(
                f"{arrival.version}: {log.counts['known']:,} characters were encoded by a preparation that was "
                "stopped, and not again"
            )
        if (reading.documents, reading.texts) != (decision.documents, decision.texts):
            raise DataError(
                f"the text of {arrival.version} is not the same when it is read again: {decision.documents:,} "
                f"documents of {decision.characters:,} characters, then {reading.documents:,} of "
                f"{reading.characters:,}; prepare again when it is whole, and let a source of your own give the same "
                "texts every time",
                field="data.source",
                value=arrival.version,
            )
        sets.write(writer)
        writer.add_digests(MARKS_FILE, sorted(decision.fingerprints))
        writer.add_digests(HELD_OUT_FILE, sorted(decision.sets))
        counts = {
            **arrival.tally,
            **(reading.divider.counts + sets.counts),
            "characters": reading.characters,
            "trained_before": decision.trained_before,
            "unknown": log.counts["unknown"],
            "end_marks": log.counts["end_marks"],
            "passages": sum(size for (_, domain), size in decision.sizes.items() if domain in decision.cut),
        }
        return writer.finish(
            source=source.increment_spec(arrival.number),
            documents=reading.documents,
            text_bytes=train_bytes,
            counts={name: count for name, count in sorted(counts.items()) if count},
        )
